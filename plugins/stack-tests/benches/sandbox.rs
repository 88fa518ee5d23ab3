//! What the sandbox costs: `local-dir` native and in `buildhook-wasm`, side by side.
//!
//!     cargo bench -p buildhook-stack-tests --bench sandbox
//!
//! Medians of a warm store and a warm module: start of the process to its first answer, one
//! miss and one hit in a session, a file of 256 MiB stored and had again, and the largest
//! resident memory of the process trees after that.

use std::ffi::OsString;
use std::time::{Duration, Instant};

use buildhook_sdk::testing::{Fixture, Session};
use buildhook_stack_tests::{Setup, session};
use serde_json::Value;

const STARTS: usize = 41;
const CALLS: usize = 1001;
const BIG_BYTES: usize = 256 << 20;

fn main() {
    let setup = Setup::new();
    let plain = [
        setup.fixture.file("out/lib.rlib", &noise(280_000), false),
        setup.fixture.file("out/lib.rmeta", &noise(20_000), false),
        setup.fixture.file("log/stderr", b"", false),
    ];
    let big = setup.fixture.file("out/big", &noise(BIG_BYTES), false);
    for (name, command) in
        [("native", setup.local_dir()), ("sandboxed", setup.sandboxed_local_dir("sandboxed"))]
    {
        let mut first = session(&command);
        assert_eq!(first.ask(setup.fixture.built("plain", &plain))["stored"], "yes");
        drop(first.close());
        println!("{name}");
        println!("  start to first answer  {:>9.2?}", starts(&setup.fixture, &command));
        let mut open = session(&command);
        println!("  miss in a session      {:>9.2?}", calls(&mut open, &setup.fixture, "none"));
        println!("  hit in a session       {:>9.2?}", calls(&mut open, &setup.fixture, "plain"));
        let request = setup.fixture.built("big", std::slice::from_ref(&big));
        println!("  storing 256 MiB        {:>9.2?}", timed(|| open.ask(request)));
        let want = setup.fixture.want("big");
        println!("  having 256 MiB again   {:>9.2?}", timed(|| open.ask(want)));
        println!("  resident at most       {:>6} MiB", resident_kib(open.pid()) / 1024);
    }
}

fn starts(fixture: &Fixture, command: &[OsString]) -> Duration {
    median((0..STARTS).map(|_| {
        let request = fixture.want("none");
        let started = Instant::now();
        let mut session = session(command);
        let _ = session.ask(request);
        let took = started.elapsed();
        drop(session.close());
        took
    }))
}

fn calls(session: &mut Session, fixture: &Fixture, key: &str) -> Duration {
    let request = fixture.want(key);
    median((0..CALLS).map(|_| {
        let request = request.clone();
        let started = Instant::now();
        let _ = session.ask(request);
        started.elapsed()
    }))
}

fn timed(call: impl FnOnce() -> Value) -> Duration {
    let started = Instant::now();
    let answer = call();
    let took = started.elapsed();
    assert!(answer["kind"] == "hit" || answer["stored"] == "yes", "{answer}");
    took
}

fn median(times: impl Iterator<Item = Duration>) -> Duration {
    let mut times: Vec<_> = times.collect();
    times.sort();
    times[times.len() / 2]
}

/// The peaks of a process and its children, together.
fn resident_kib(pid: u32) -> u64 {
    let status = fs_err::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let own = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let own = own.and_then(|text| text.split_whitespace().next()?.parse().ok()).unwrap_or(0);
    let children = format!("/proc/{pid}/task/{pid}/children");
    let children = fs_err::read_to_string(children).unwrap_or_default();
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).map(resident_kib).sum::<u64>()
        + own
}

/// What no file system or store makes smaller.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut out = Vec::with_capacity(bytes + 8);
    while out.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend(state.to_le_bytes());
    }
    out.truncate(bytes);
    out
}
