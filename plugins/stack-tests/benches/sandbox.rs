//! What the sandbox costs: `local-dir` native and in `buildhook-wasm`, side by side.
//!
//! `cargo bench -p buildhook-stack-tests --bench sandbox` prints medians and best times, of a warm
//! store and a warm module: start of the process to its first answer (once more for executables
//! that are linked statically), a miss and a hit in a session, a file of 256 MiB stored (read,
//! digested and written by the plugin) and offered again, and the largest resident memory of the
//! processes, together, before and after that file. The two take turns, so that what else the
//! machine does falls on both; the best are what a busy machine leaves to read.

use std::ffi::OsString;
use std::time::{Duration, Instant};

use buildhook_sdk::testing::Fixture;
use buildhook_stack_tests::{Setup, session, statically};
use serde_json::Value;

/// Starts of each.
const STARTS: usize = 101;
/// Calls of each kind, of each.
const CALLS: usize = 1001;
/// Times that each stores the big file, under another key and with another content.
const BIG_FILES: u64 = 5;
const BIG_BYTES: usize = 256 << 20;

/// Times by what was timed.
#[derive(Default)]
struct Times(Vec<(&'static str, Vec<Duration>)>);

impl Times {
    fn add(&mut self, what: &'static str, took: Duration) {
        match self.0.iter_mut().find(|(name, _)| *name == what) {
            Some((_, times)) => times.push(took),
            None => self.0.push((what, vec![took])),
        }
    }
}

fn main() {
    let setup = Setup::new();
    let commands = [setup.local_dir(), setup.sandboxed_local_dir("sandboxed")];
    let mut times = [Times::default(), Times::default()];
    let plain = [
        setup.fixture.file("out/lib.rlib", &noise(1, 280_000), false),
        setup.fixture.file("out/lib.rmeta", &noise(2, 20_000), false),
        setup.fixture.file("log/stderr", b"", false),
    ];
    for command in &commands {
        let mut first = session(command);
        assert_eq!(first.ask(setup.fixture.built("plain", &plain))["stored"], "yes");
        drop(first.close());
    }
    let linked = [
        ("start to first answer", commands.clone()),
        ("the same, static", commands.clone().map(statically)),
    ];
    for _ in 0..STARTS {
        for (what, commands) in &linked {
            for (command, times) in commands.iter().zip(&mut times) {
                times.add(what, start(&setup.fixture, command));
            }
        }
    }
    let mut sessions = commands.each_ref().map(|command| session(command));
    let wants = ["none", "plain"].map(|key| setup.fixture.want(key));
    for _ in 0..CALLS {
        for (session, times) in sessions.iter_mut().zip(&mut times) {
            for (name, want) in ["miss in a session", "hit in a session"].into_iter().zip(&wants) {
                let started = Instant::now();
                let _ = session.ask(want.clone());
                times.add(name, started.elapsed());
            }
        }
    }
    let before = sessions.each_ref().map(|session| resident_kib(session.pid()));
    for number in 0..BIG_FILES {
        let big = [setup.fixture.file("out/big", &noise(3 + number, BIG_BYTES), false)];
        let key = format!("big {number}");
        for (session, times) in sessions.iter_mut().zip(&mut times) {
            let (built, want) = (setup.fixture.built(&key, &big), setup.fixture.want(&key));
            times.add("storing 256 MiB", timed(|| session.ask(built)).1);
            let (hit, took) = timed(|| session.ask(want));
            times.add("offering 256 MiB", took);
            drop(fs_err::remove_file(hit["files"][0]["path"].as_str().expect("a path")));
        }
        fs_err::remove_file(&big[0].path).expect("it was made here");
    }
    println!("{:<24}{:>12}{:>12}{:>12}", "", "native", "sandboxed", "difference");
    for (part, name) in [(50, "median"), (0, "best")] {
        for ((what, native), (_, sandboxed)) in times[0].0.iter().zip(&times[1].0) {
            let [native, sandboxed] = [native, sandboxed].map(|times| percentile(times, part));
            let more = sandboxed.saturating_sub(native);
            println!("{what:<24}{native:>12.2?}{sandboxed:>12.2?}{more:>12.2?}  {name}");
        }
    }
    let after = sessions.each_ref().map(|session| resident_kib(session.pid()));
    for (what, [native, sandboxed]) in [("resident, calls", before), ("resident, 256 MiB", after)] {
        println!("{what:<24}{:>8} MiB{:>8} MiB", native / 1024, sandboxed / 1024);
    }
}

fn start(fixture: &Fixture, command: &[OsString]) -> Duration {
    let request = fixture.want("none");
    let started = Instant::now();
    let mut session = session(command);
    let _ = session.ask(request);
    let took = started.elapsed();
    drop(session.close());
    took
}

fn timed(call: impl FnOnce() -> Value) -> (Value, Duration) {
    let started = Instant::now();
    let answer = call();
    let took = started.elapsed();
    assert!(answer["kind"] == "hit" || answer["stored"] == "yes", "{answer}");
    (answer, took)
}

fn percentile(times: &[Duration], part: usize) -> Duration {
    let mut times = times.to_vec();
    times.sort();
    times[(times.len() - 1) * part / 100]
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
fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed);
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
