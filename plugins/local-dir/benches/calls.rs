//! What a call of the store costs: one process for one call, and one call of a session.
//!
//! `cargo bench -p buildhook-local-dir` prints medians and the 95th percentile in
//! microseconds. The entry has three files of together 300 kB, as a small library has.

use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use buildhook_sdk::testing::Fixture;
use serde_json::Value;

const ONE_SHOTS: usize = 200;
const SESSION_CALLS: usize = 2000;

struct Plugin {
    child: Child,
    stdout: BufReader<ChildStdout>,
    line: String,
}

impl Plugin {
    fn start(store: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_buildhook-local-dir"))
            .arg("--dir")
            .arg(store)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut plugin = Self { child, stdout, line: String::new() };
        plugin.read();
        plugin
    }

    fn read(&mut self) {
        self.line.clear();
        self.stdout.read_line(&mut self.line).unwrap();
    }

    fn call(&mut self, request: &str, expected: &str) {
        self.child.stdin.as_mut().unwrap().write_all(request.as_bytes()).unwrap();
        self.read();
        assert!(self.line.contains(expected), "{}", self.line);
    }

    fn end(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }
}

fn unlike_others(id: usize, size: usize) -> Vec<u8> {
    id.to_le_bytes().into_iter().cycle().take(size).collect()
}

fn line(mut request: Value, id: usize) -> String {
    request["id"] = (id + 1).into();
    request.to_string() + "\n"
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let us = |part: usize| times[(times.len() - 1) * part / 100].as_secs_f64() * 1e6;
    println!("{what:<32} median {:>8.1} us   p95 {:>8.1} us", us(50), us(95));
}

fn timed<T>(count: usize, mut each: impl FnMut(usize) -> T) -> Vec<Duration> {
    (0..count)
        .map(|index| {
            let started = Instant::now();
            let kept = each(index);
            let took = started.elapsed();
            drop(kept);
            took
        })
        .collect()
}

fn main() {
    let root = tempfile::tempdir().unwrap();
    let files = root.path().join("files");
    std::fs::create_dir(&files).unwrap();
    let (fixture, store) = (Fixture::new(&files), root.path().join("store"));
    let entry = [
        fixture.file("out/libsample.rlib", &vec![1; 200_000], false),
        fixture.file("out/libsample.rmeta", &vec![2; 99_000], false),
        fixture.file("out/sample.d", &vec![3; 1_000], false),
    ];

    let mut plugin = Plugin::start(&store);
    plugin.call(&line(fixture.built("k", &entry), 0), "yes");
    plugin.end();

    let shots = |request: Value, expected: &str| {
        timed(ONE_SHOTS, |_| {
            let mut plugin = Plugin::start(&store);
            plugin.call(&line(request.clone(), 0), expected);
            plugin.end();
        })
    };
    report("one-shot hit", shots(fixture.want("k"), "hit"));
    report("one-shot miss", shots(fixture.want("other"), "miss"));

    let mut plugin = Plugin::start(&store);
    let want: Vec<_> = (0..SESSION_CALLS).map(|id| line(fixture.want("k"), id)).collect();
    report("session hit", timed(SESSION_CALLS, |id| plugin.call(&want[id], "hit")));
    let offset = SESSION_CALLS;
    let other: Vec<_> =
        (0..SESSION_CALLS).map(|id| line(fixture.want("other"), offset + id)).collect();
    report("session miss", timed(SESSION_CALLS, |id| plugin.call(&other[id], "miss")));
    let offset = 2 * SESSION_CALLS;
    let built: Vec<_> = (0..ONE_SHOTS)
        .map(|id| {
            let entry = [
                fixture.file("out/libsample.rlib", &unlike_others(id, 200_000), false),
                fixture.file("out/libsample.rmeta", &unlike_others(id, 99_000), false),
                fixture.file("out/sample.d", &unlike_others(id, 1_000), false),
            ];
            line(fixture.built(&id.to_string(), &entry), offset + id)
        })
        .collect();
    report("session store of 300 kB", timed(ONE_SHOTS, |id| plugin.call(&built[id], "yes")));
    plugin.end();
}
