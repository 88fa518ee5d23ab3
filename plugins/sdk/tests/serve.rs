//! Sessions over in-memory pipes: what goes in, what comes out.

use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Mutex};

use buildhook_sdk::protocol::{Hook, Stored};
use buildhook_sdk::{About, Built, Call, Done, Error, Plugin, Served, Want, serve};

const KEY: &str = "blake3:0000000000000000000000000000000000000000000000000000000000000000";

/// Panics for the unit `panic`, misses for others; drains once.
#[derive(Default)]
struct Sample {
    drained: AtomicBool,
}

impl Plugin for Sample {
    fn about(&self) -> About {
        About::new("sample", "1").both_hooks()
    }
    fn want_to_build(&self, call: &Call) -> Result<Want, Error> {
        assert_ne!(call.unit.name.as_deref(), Some("panic"), "as asked");
        Ok(Want::not_found())
    }
    fn built_a_thing(&self, _: &Call, built: &Built) -> Result<Done, Error> {
        Ok(Done::declined("policy", format!("{} files", built.files.len())))
    }
    fn drain(&self) {
        assert!(!self.drained.swap(true, Ordering::Relaxed));
    }
}

/// The lines that `input` brings about, without the hello.
fn session(input: &str) -> (Served, Vec<String>) {
    let plugin = Sample::default();
    let mut output = Vec::new();
    let served = serve(&plugin, input.as_bytes(), &mut output).unwrap();
    assert!(plugin.drained.into_inner());
    let text = String::from_utf8(output).unwrap();
    let mut lines = text.lines().map(str::to_owned);
    assert_eq!(
        lines.next().as_deref(),
        Some(
            r#"{"hooks":["want-to-build","built-a-thing"],"plugin":{"name":"sample","version":"1"},"v":[1]}"#
        )
    );
    (served, lines.collect())
}

fn want(id: u64, more: &str) -> String {
    format!(
        r#"{{"v":1,"id":{id},"kind":"want-to-build","key":"{KEY}","unit":{{}},"scratch":"/s","deadline-ms":9{more}}}"#
    )
}

fn built(more: &str) -> String {
    format!(
        r#"{{"v":1,"id":1,"kind":"built-a-thing","key":"{KEY}","unit":{{}},"scratch":"/s","deadline-ms":9{more}}}"#
    )
}

fn file(name: &str) -> String {
    format!(
        r#"{{"name":"{name}","path":"/p","size":1,"digest":"{KEY}","executable":false,"lease":"borrowed"}}"#
    )
}

#[test]
fn every_request_has_its_answer() {
    let miss = r#"{"id":1,"kind":"miss","reason":{"code":"not-found"}}"#;
    let cases: Vec<(String, &str)> = vec![
        (want(1, ""), miss),
        (want(1, r#","unknown":{"a":[1]},"manifest":null"#), miss),
        (want(1, "").replace("want-to-build", r"want\u002dto-build"), miss),
        (want(1, r#","purpose":"graph""#), "unknown-kind"),
        (want(1, r#","purpose":7"#), "bad-request"),
        (want(1, "").replace(r#""v":1"#, r#""v":2"#), "bad-request"),
        (want(1, "").replace("want-to-build", "prefetch"), "unknown-kind"),
        (want(1, "").replace(r#""kind":"want-to-build","#, ""), "bad-request"),
        (want(1, "").replace("blake3:0", "blake3:O"), "bad-request"),
        (want(1, "").replace(r#""/s""#, r#""s""#), "bad-request"),
        (want(1, "").replace(r#""unit":{}"#, r#""unit":[]"#), "bad-request"),
        (built(""), "bad-request"),
        (built(r#","seal":"s""#), "bad-request"),
        (built(r#","seal":"s","files":{}"#), "bad-request"),
        (built(&format!(r#","seal":"s","files":[{},{}]"#, file("a"), file("A"))), "bad-request"),
        (built(&format!(r#","seal":"s","files":[{}]"#, file("../a"))), "bad-request"),
        (built(&format!(r#","seal":"s","files":[{}]"#, file("out/a"))), "1 files"),
    ];
    for (line, expected) in cases {
        let (served, answers) = session(&format!("{line}\n"));
        assert_eq!(served, Served::Cleanly);
        assert_eq!(answers.len(), 1, "{line}");
        assert!(answers[0].contains(expected), "{line}\n{}", answers[0]);
        assert!(answers[0].contains(r#""id":1"#), "{line}\n{}", answers[0]);
    }
}

#[test]
fn a_request_without_an_id_is_answered_under_zero() {
    for line in [want(0, ""), want(1, "").replace(r#""id":1"#, r#""id":"x""#)] {
        let (_, answers) = session(&format!("{line}\n{}\n", want(2, "")));
        assert!(answers[0].contains(r#""id":0"#), "{}", answers[0]);
        assert!(answers[1].contains(r#""id":2"#), "the session goes on");
    }
}

#[test]
fn a_line_that_is_no_message_ends_the_session() {
    let twice = want(1, r#","id":2"#);
    let deep = want(1, &format!(r#","x":{}{}"#, "[".repeat(32), "]".repeat(32)));
    let negative = want(1, r#","x":-1"#);
    for line in ["nonsense", "[]", "{", "", &twice, &deep, &negative] {
        let (served, answers) = session(&format!("{line}\n{}\n", want(7, "")));
        assert_eq!(served, Served::OutOfStep, "{line}");
        assert_eq!(answers.len(), 1, "{line}");
        assert!(answers[0].contains(r#""scope":"session""#), "{}", answers[0]);
        assert!(answers[0].contains(r#""id":0"#), "{}", answers[0]);
    }
}

#[test]
fn half_a_line_at_the_end_is_no_request() {
    let whole = want(1, "");
    let (served, answers) = session(&format!("{whole}\n{}", want(2, "")));
    assert_eq!(served, Served::OutOfStep);
    assert!(answers[0].contains(r#""kind":"miss""#));
    assert!(answers[1].contains(r#""kind":"error""#));
}

#[test]
fn a_panic_is_an_error_and_the_session_goes_on() {
    let panic = want(1, "").replace(r#""unit":{}"#, r#""unit":{"name":"panic"}"#);
    let (served, answers) = session(&format!("{panic}\n{}\n", want(2, "")));
    assert_eq!(served, Served::Cleanly);
    assert!(answers[0].contains("the plugin panicked") && answers[0].contains("as asked"));
    assert!(answers[1].contains(r#""kind":"miss""#));
}

/// Each call waits for all others: only answers when all are in flight at once.
struct Together {
    all: Barrier,
    limit: u32,
}

impl Plugin for Together {
    fn about(&self) -> About {
        About::new("together", "1").hook(Hook::WantToBuild).max_in_flight(self.limit)
    }
    fn want_to_build(&self, _: &Call) -> Result<Want, Error> {
        self.all.wait();
        Ok(Want::not_found())
    }
}

#[test]
fn as_many_at_once_as_announced() {
    let limit = 5;
    let plugin = Together { all: Barrier::new(limit as usize), limit };
    let input: String = (1..=u64::from(limit) * 3).map(|id| want(id, "") + "\n").collect();
    let mut output = Vec::new();
    assert_eq!(serve(&plugin, input.as_bytes(), &mut output).unwrap(), Served::Cleanly);
    let text = String::from_utf8(output).unwrap();
    let mut ids: Vec<u64> = text.lines().skip(1).map(id_of).collect();
    ids.sort_unstable();
    assert_eq!(ids, (1..=u64::from(limit) * 3).collect::<Vec<_>>());
}

fn id_of(line: &str) -> u64 {
    let rest = line.split_once(r#""id":"#).unwrap().1;
    rest.split([',', '}']).next().unwrap().parse().unwrap()
}

/// Answers `built-a-thing` with a list too long for a message.
struct Verbose;

impl Plugin for Verbose {
    fn about(&self) -> About {
        About::new("verbose", "1").both_hooks()
    }
    fn want_to_build(&self, _: &Call) -> Result<Want, Error> {
        Ok(Want::miss("other", "x".repeat(17 * 1024 * 1024)))
    }
    fn built_a_thing(&self, _: &Call, _: &Built) -> Result<Done, Error> {
        Ok(Done::stored(Stored::Yes))
    }
}

#[test]
fn an_answer_that_does_not_fit_becomes_an_error() {
    let mut output = Vec::new();
    let input = want(1, "") + "\n";
    assert_eq!(serve(&Verbose, input.as_bytes(), &mut output).unwrap(), Served::Cleanly);
    let text = String::from_utf8(output).unwrap();
    assert!(text.lines().nth(1).unwrap().contains(r#""kind":"error""#));
}

/// A stream whose other end is gone after the hello.
#[derive(Clone, Default)]
struct Deserted(Arc<Mutex<u32>>);

impl Write for Deserted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut writes = self.0.lock().unwrap();
        *writes += 1;
        if *writes == 1 { Ok(bytes.len()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Forever;

impl Read for Forever {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let line = want(1, "") + "\n";
        let count = line.len().min(buffer.len());
        buffer[..count].copy_from_slice(&line.as_bytes()[..count]);
        Ok(count)
    }
}

#[test]
fn a_host_that_no_longer_reads_ends_the_session() {
    let plugin = Sample::default();
    assert_eq!(serve(&plugin, Forever, Deserted::default()).unwrap(), Served::Deserted);
    assert!(plugin.drained.into_inner());
}
