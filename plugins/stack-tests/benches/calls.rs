//! What a call costs: one process for one call, and one call of a session, of local-dir
//! alone, below each filter, and below five of them.
//!
//! `cargo bench -p buildhook-stack-tests` prints medians and best times in microseconds, and
//! what each stack adds to local-dir alone; the best are what a busy machine leaves to read.
//! Once more for executables that are linked statically.
//! Stacks take turns, so that what else the machine does falls on all of them. The entry has
//! three files of together 300 kB, as a small library has.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write as _};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use buildhook_sdk::testing::Fixture;
use buildhook_stack_tests::{Setup, statically};
use serde_json::Value;

/// Turns that every stack has.
const TURNS: usize = 40;
/// Calls of one session in a turn.
const CALLS: usize = 50;

/// A running plugin.
struct Plugin {
    child: Child,
    stdout: BufReader<ChildStdout>,
    line: String,
}

impl Plugin {
    fn start(command: &[OsString]) -> Self {
        let mut child = Command::new(&command[0])
            .args(&command[1..])
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

/// Times of one stack.
#[derive(Default)]
struct Times {
    one_shot: Vec<Duration>,
    hit: Vec<Duration>,
    miss: Vec<Duration>,
    store: Vec<Duration>,
}

fn line(mut request: Value, id: usize) -> String {
    request["id"] = (id + 1).into();
    request.to_string() + "\n"
}

fn timed(work: impl FnOnce()) -> Duration {
    let started = Instant::now();
    work();
    started.elapsed()
}

fn percentile_us(times: &[Duration], percentile: usize) -> f64 {
    let mut times = times.to_vec();
    times.sort();
    times[(times.len() - 1) * percentile / 100].as_secs_f64() * 1e6
}

/// Three files that no other entry has.
fn built(fixture: &Fixture, key: &str) -> Value {
    let content = |size: usize| key.bytes().cycle().take(size).collect::<Vec<u8>>();
    let files = [
        fixture.file("out/libsample.rlib", &content(200_000), false),
        fixture.file("out/libsample.rmeta", &content(99_000), false),
        fixture.file("out/sample.d", &content(1_000), false),
    ];
    fixture.built(key, &files)
}

fn turn(setup: &Setup, number: usize, stack: &[OsString], name: &str, times: &mut Times) {
    let fixture = &setup.fixture;
    let key = format!("{name} {number}");
    let store = line(built(fixture, &key), 0);
    let hits: Vec<_> = (1..=CALLS).map(|id| line(fixture.want(&key), id)).collect();
    let misses: Vec<_> = (1..=CALLS).map(|id| line(fixture.want("none"), CALLS + id)).collect();

    let mut plugin = Plugin::start(stack);
    let stored = timed(|| plugin.call(&store, "yes"));
    times.store.push(stored);
    times.hit.extend(hits.iter().map(|request| timed(|| plugin.call(request, "hit"))));
    times.miss.extend(misses.iter().map(|request| timed(|| plugin.call(request, "miss"))));
    plugin.end();

    let shot = line(fixture.want(&key), 0);
    times.one_shot.push(timed(|| {
        let mut plugin = Plugin::start(stack);
        plugin.call(&shot, "hit");
        plugin.end();
    }));
}

fn main() {
    let setup = Setup::new();
    let log = setup.path("log.jsonl");
    let to: [&str; 2] = ["--to", log.to_str().unwrap()];
    // The requests name no origin; the five let everything through.
    let pass = ["--not-crate", "mine"];
    let alone = setup.local_dir();
    let five = (0..2)
        .fold(alone.clone(), |next, _| setup.above("log", &to, setup.above("only", &pass, next)));
    let stacks = [
        ("local-dir", alone.clone()),
        ("only", setup.above("only", &pass, alone.clone())),
        ("log", setup.above("log", &to, alone.clone())),
        ("compress", setup.above("compress", &[], alone.clone())),
        ("five", setup.above("only", &pass, five)),
    ];
    let linked =
        [("", stacks.clone()), (", static", stacks.map(|(name, stack)| (name, statically(stack))))];
    let mut times =
        linked.each_ref().map(|(_, stacks)| stacks.each_ref().map(|_| Times::default()));
    for number in 0..TURNS {
        for ((linking, stacks), times) in linked.iter().zip(&mut times) {
            for ((name, stack), times) in stacks.iter().zip(times) {
                turn(&setup, number, stack, &format!("{name}{linking}"), times);
            }
        }
    }

    for ((linking, stacks), times) in linked.iter().zip(&times) {
        for (title, part) in [("median", 50), ("best", 0)] {
            let rows = stacks.iter().map(|(name, _)| *name).zip(times);
            table(&format!("{title}{linking}, us"), rows, part);
        }
    }
}

/// One percentile of all times, and its difference to the first stack's.
fn table<'a>(title: &str, rows: impl Iterator<Item = (&'a str, &'a Times)>, percentile: usize) {
    let columns = ["one-shot hit", "hit", "miss", "store 300 kB"];
    print!("{title:<20}");
    println!("{}", columns.map(|column| format!("{column:>20}")).concat());
    let mut base = None;
    for (name, times) in rows {
        let row = [&times.one_shot, &times.hit, &times.miss, &times.store]
            .map(|times| percentile_us(times, percentile));
        let base = *base.get_or_insert(row);
        let cells =
            row.iter().zip(base).map(|(us, base)| format!("{us:>11.0} ({:>+6.0})", us - base));
        println!("{name:<20}{}", cells.collect::<String>());
    }
}
