//! Plugins that are processes, with every fault that a process can have. After each test the
//! process, and what it started, is gone.

mod common;

use std::fs;
use std::time::{Duration, Instant};

use buildhook_host::{FaultKind, HookReport, Hooks, Host, Launch, Limits, PluginCommand, reason};
use buildhook_protocol::{Lease, ReasonCode, Unit};
use common::*;
use rustix::process::{Pid, test_kill_process};

/// What a user is promised: a plugin that hangs costs a build no more than this.
const PROMISE: Duration = Duration::from_secs(5);

/// A shell script that notes its process id, says hello, and goes on with `rest`.
fn greeting(fixture: &Fixture, rest: &str) -> Launch {
    let pids = fixture.path("pids");
    script(&format!("echo $$ >>{}; echo '{HELLO}'; {rest}", pids.display()))
}

/// A loop that answers `miss` to every request.
const ANSWER: &str = r#"
    id=0
    while read -r line; do
        id=$((id + 1))
        echo "{\"id\":$id,\"kind\":\"miss\",\"reason\":{\"code\":\"not-found\"}}"
    done"#;

#[track_caller]
fn assert_all_gone(fixture: &Fixture) {
    let pids = fs::read_to_string(fixture.path("pids")).expect("processes were started");
    for pid in pids.split_whitespace() {
        let pid = Pid::from_raw(pid.parse().expect("a number")).expect("not 0");
        // A process that is dead but not reaped can still be signalled.
        assert_eq!(test_kill_process(pid), Err(rustix::io::Errno::SRCH), "{pid:?} is left");
    }
}

fn only_fault(report: &HookReport) -> (FaultKind, &str) {
    let [fault] = &report.plugins[0].faults[..] else { panic!("{report:?}") };
    (fault.fault.kind, &fault.fault.message)
}

#[test]
fn a_good_plugin_ends_by_itself() {
    let fixture = Fixture::new();
    let host = Host::new(Hooks::both(greeting(&fixture, ANSWER)), patient());
    for _ in 0..100 {
        assert_eq!(miss(fixture.want(&host, "a")).code, ReasonCode::NOT_FOUND);
    }
    let report = host.close();
    assert_eq!(report.plugins[0].faults, []);
    assert_eq!(report.plugins[0].exit.as_deref(), Some("exit code 0"));
    assert_eq!(report.plugins[0].sessions, 1);
    assert_all_gone(&fixture);
}

#[test]
fn an_absent_program_is_told_by_name_with_what_to_do() {
    let fixture = Fixture::new();
    let no_script = fixture.path("no-such-plugin");
    fs::write(fixture.path("text"), "not a program").unwrap();
    let not_executable = fixture.path("text");
    let cases = [
        ("buildhook-no-such-plugin".into(), "is not on PATH: install it"),
        (no_script.into_os_string(), "does not exist: install it or correct"),
        (not_executable.into_os_string(), "may not be executed"),
    ];
    for (program, text) in cases {
        let command = PluginCommand::new(program.clone(), ["x"], path_only());
        let host = Host::new(Hooks::both(Launch::Command(command)), patient());
        let message = miss(fixture.want(&host, "a")).message.unwrap();
        assert!(message.contains(text), "{message}");
        assert!(message.contains(program.to_str().unwrap()), "{message}");
        assert_eq!(miss(fixture.want(&host, "a")).code, reason::SWITCHED_OFF);
        let report = host.close();
        assert_eq!(only_fault(&report).0, FaultKind::Start);
    }
}

#[test]
fn a_plugin_that_exits_at_once_is_noticed_at_once() {
    let fixture = Fixture::new();
    let pids = fixture.path("pids");
    let launch =
        script(&format!("echo $$ >>{}; echo no configuration >&2; exit 2", pids.display()));
    let host = Host::new(Hooks::both(launch), patient());
    let started = Instant::now();
    let message = miss(fixture.want(&host, "a")).message.unwrap();
    assert!(message.contains("exit code 2"), "{message}");
    assert!(message.contains("no configuration"), "{message}");
    assert_eq!(miss(fixture.want(&host, "a")).code, reason::SWITCHED_OFF);
    assert!(started.elapsed() < patient().hello, "no time limit was waited for");
    let report = host.close();
    assert_eq!(only_fault(&report).0, FaultKind::Start);
    assert_all_gone(&fixture);
}

#[test]
fn a_plugin_that_dies_on_each_request_is_started_anew_a_few_times() {
    let fixture = Fixture::new();
    let host = Host::new(Hooks::both(greeting(&fixture, "read -r line; kill -9 $$")), patient());
    for _ in 0..5 {
        let message = miss(fixture.want(&host, "a")).message.unwrap();
        assert!(message.contains("signal 9"), "{message}");
    }
    assert_eq!(miss(fixture.want(&host, "a")).code, reason::SWITCHED_OFF);
    let report = host.close();
    assert_eq!(only_fault(&report).0, FaultKind::Exited);
    assert_eq!(report.plugins[0].sessions, 5);
    assert_all_gone(&fixture);
}

/// With the limits that users get: the promise of five seconds for a whole build.
#[test]
fn a_plugin_that_hangs_costs_a_build_five_seconds() {
    let cases = [
        ("no hello", None),
        ("no answer", Some("while read -r line; do :; done; sleep 1000")),
        ("never reads, ignores signals", Some("trap '' TERM; while :; do sleep 1000; done")),
        ("stopped", Some("read -r line; kill -STOP $$")),
    ];
    std::thread::scope(|scope| {
        for (what, rest) in cases {
            scope.spawn(move || {
                let fixture = Fixture::new();
                let pids = fixture.path("pids");
                let launch = match rest {
                    Some(rest) => greeting(&fixture, rest),
                    None => script(&format!("echo $$ >>{}; sleep 1000", pids.display())),
                };
                let host = Host::new(Hooks::both(launch), Limits::default());
                let files = fixture.some_file();
                let started = Instant::now();
                for _ in 0..200 {
                    miss(fixture.want(&host, "a"));
                    not_stored(fixture.built(&host, "a", &files, false));
                }
                let report = host.close();
                eprintln!("{what}: {:?}", started.elapsed());
                assert!(started.elapsed() < PROMISE, "{what}: {:?}", started.elapsed());
                assert_eq!(report.plugins[0].switched_off.len(), 1, "{what}: {report:?}");
                assert_eq!(
                    report.plugins[0].faults[0].fault.kind,
                    match rest {
                        Some(_) => FaultKind::Timeout,
                        None => FaultKind::Hello,
                    }
                );
                assert_all_gone(&fixture);
            });
        }
    });
}

#[test]
fn a_plugin_that_does_not_end_is_ended() {
    let cases = [
        ("sleeps on", "sleep 1000", "signal 15"),
        ("ignores SIGTERM", "trap '' TERM; while :; do sleep 1000; done", "signal 9"),
    ];
    std::thread::scope(|scope| {
        for (what, after, exit) in cases {
            scope.spawn(move || {
                let fixture = Fixture::new();
                let launch = greeting(&fixture, &format!("{ANSWER}\n{after}"));
                let limits = Limits { exit: Duration::from_millis(100), ..patient() };
                let host = Host::new(Hooks::both(launch), limits);
                assert_eq!(miss(fixture.want(&host, "a")).code, ReasonCode::NOT_FOUND);
                let report = host.close();
                assert_eq!(only_fault(&report).0, FaultKind::Shutdown, "{what}");
                assert_eq!(report.plugins[0].exit.as_deref(), Some(exit), "{what}");
                assert_all_gone(&fixture);
            });
        }
    });
}

#[test]
fn a_bad_exit_code_is_told() {
    let fixture = Fixture::new();
    let launch = greeting(&fixture, &format!("{ANSWER}\nexit 3"));
    let host = Host::new(Hooks::both(launch), patient());
    miss(fixture.want(&host, "a"));
    let report = host.close();
    let (kind, message) = only_fault(&report);
    assert_eq!(kind, FaultKind::Shutdown);
    assert!(message.contains("exit code 3"), "{message}");
}

#[test]
fn drain_is_granted_up_to_the_limit() {
    let hello = HELLO.replacen('{', "{\"drain-ms\":600000,", 1);
    let fixture = Fixture::new();
    let done = fixture.path("done");
    let rest = format!("{ANSWER}\nsleep 0.3; touch {}", done.display());
    let pids = fixture.path("pids");
    let text = format!("echo $$ >>{}; echo '{hello}'; {rest}", pids.display());
    // More than what may be lost by hanging: it is no loss.
    let drain = Duration::from_secs(60);
    let lost = Duration::from_millis(100);
    let limits = Limits { exit: Duration::ZERO, drain, lost, ..patient() };
    let host = Host::new(Hooks::both(script(&text)), limits);
    miss(fixture.want(&host, "a"));
    assert_eq!(host.close().plugins[0].faults, []);
    assert!(done.exists(), "the time that the hello asks for is given");

    let rest = format!("{ANSWER}\nsleep 1000");
    let text = format!("echo $$ >>{}; echo '{hello}'; {rest}", pids.display());
    let short = Duration::from_millis(100);
    let limits = Limits { exit: Duration::ZERO, drain: short, ..patient() };
    let host = Host::new(Hooks::both(script(&text)), limits);
    miss(fixture.want(&host, "a"));
    assert_eq!(only_fault(&host.close()).0, FaultKind::Shutdown, "but not ten minutes of it");
    assert_all_gone(&fixture);
}

#[test]
fn a_flood_of_stderr_blocks_nothing_and_is_bounded() {
    let fixture = Fixture::new();
    let flood = "i=0; while [ $i -lt 2000 ]; do printf '%01000d\\n' $i >&2; i=$((i + 1)); done;";
    let launch = greeting(&fixture, &format!("{flood} echo the end >&2; {ANSWER}"));
    let host = Host::new(Hooks::both(launch), patient());
    assert_eq!(miss(fixture.want(&host, "a")).code, ReasonCode::NOT_FOUND);
    let report = host.close();
    let plugin = &report.plugins[0];
    assert_eq!(plugin.faults, []);
    assert!(plugin.stderr_tail.ends_with("the end\n"));
    assert_eq!(plugin.stderr_tail.len(), patient().stderr_bytes);
    assert_eq!(plugin.stderr_dropped_bytes, 2_002_008 - patient().stderr_bytes as u64);
    assert_all_gone(&fixture);
}

#[test]
fn garbage_and_closed_streams_are_faults() {
    let cases = [
        ("garbage", "echo 'Compiling stuff...'; sleep 1000", FaultKind::Protocol),
        ("endless line", "tr '\\0' x </dev/zero", FaultKind::Protocol),
        ("half a line", "read -r line; printf '{\"id\":1,'", FaultKind::Protocol),
        ("closes its output", "exec >&-; sleep 1000", FaultKind::Exited),
    ];
    for (what, rest, kind) in cases {
        let fixture = Fixture::new();
        let limits = Limits { faults_until_off: 1, ..patient() };
        let host = Host::new(Hooks::both(greeting(&fixture, rest)), limits);
        assert_eq!(miss(fixture.want(&host, "a")).code, ReasonCode::UNAVAILABLE, "{what}");
        assert_eq!(miss(fixture.want(&host, "a")).code, reason::SWITCHED_OFF, "{what}");
        let report = host.close();
        assert_eq!(only_fault(&report).0, kind, "{what}: {report:?}");
        assert_all_gone(&fixture);
    }
}

/// A request larger than the pipe to a plugin that reads nothing must not block the host.
#[test]
fn a_plugin_that_does_not_read_blocks_nothing() {
    let mut fixture = Fixture::new();
    fixture.unit = Unit { features: vec!["f".repeat(1000); 1000], ..Unit::default() };
    let host = Host::new(Hooks::both(greeting(&fixture, "sleep 1000")), quick());
    assert_eq!(miss(fixture.want(&host, "a")).code, ReasonCode::TIMEOUT);
    assert_eq!(host.close().plugins[0].fault_count(FaultKind::Timeout), 1);
    assert_all_gone(&fixture);
}

#[test]
fn what_a_plugin_started_ends_with_it() {
    let fixture = Fixture::new();
    let pids = fixture.path("pids");
    // In the background, as a careless uploader would; and holding no pipe of the host.
    let child = format!("sleep 1000 </dev/null >/dev/null 2>&1 & echo $! >>{};", pids.display());
    let host = Host::new(Hooks::both(greeting(&fixture, &format!("{child} {ANSWER}"))), patient());
    assert_eq!(miss(fixture.want(&host, "a")).code, ReasonCode::NOT_FOUND);
    let report = host.close();
    assert_eq!(report.plugins[0].exit.as_deref(), Some("exit code 0"));
    let pids = fs::read_to_string(pids).unwrap();
    let grandchild: i32 = pids.split_whitespace().nth(1).unwrap().parse().unwrap();
    // Reaped by whoever adopts it: not by the host, so a dead one may stay for a moment.
    let deadline = Instant::now() + Duration::from_secs(60);
    while is_running(grandchild) {
        assert!(Instant::now() < deadline, "the plugin's child is left");
        std::thread::yield_now();
    }
}

fn is_running(pid: i32) -> bool {
    let pid = Pid::from_raw(pid).unwrap();
    if test_kill_process(pid).is_err() {
        return false;
    }
    // `state` is the word after the name in parentheses.
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    !stat.is_ok_and(|stat| stat.rsplit(')').next().unwrap_or("").trim().starts_with('Z'))
}

#[test]
fn a_plugin_gets_three_descriptors_its_variables_and_a_group_of_its_own() {
    let fixture = Fixture::new();
    // As a job server's pipe is: meant for the children of this process, not for plugins.
    let inherited = fs::File::open("/dev/null").unwrap();
    rustix::io::fcntl_setfd(&inherited, rustix::io::FdFlags::empty()).unwrap();
    // Only the test of each descriptor counts: while a redirection lasts, a shell may use
    // another one to keep what it replaces.
    let look = "fd=3; while [ $fd -lt 64 ]; do \
         if [ -e /dev/fd/$fd ]; then echo fd $fd >&2; fi; fd=$((fd + 1)); done; \
         export -p >&2;";
    let host = Host::new(Hooks::both(greeting(&fixture, &format!("{look} {ANSWER}"))), patient());
    assert_eq!(miss(fixture.want(&host, "a")).code, ReasonCode::NOT_FOUND);
    drop(inherited);
    let pid = fs::read_to_string(fixture.path("pids")).unwrap().trim().parse().unwrap();
    let pid = Pid::from_raw(pid).unwrap();
    assert_eq!(rustix::process::getpgid(Some(pid)), Ok(pid), "it leads a group");
    let seen = host.close().plugins[0].stderr_tail.clone();
    assert!(!seen.contains("fd "), "{seen}");
    assert!(!seen.contains("CARGO"), "the test's own variables are not passed on: {seen}");
}

#[test]
fn a_host_that_is_dropped_leaves_nothing_behind() {
    let fixture = Fixture::new();
    let host = Host::new(Hooks::both(greeting(&fixture, ANSWER)), patient());
    let record = fixture.file("a", "out/a", b"a", Lease::Borrowed);
    not_stored(fixture.built(&host, "a", &[offered(&record)], false));
    drop(host);
    assert_all_gone(&fixture);
    assert_eq!(fs::read_dir(fixture.scratch_root()).unwrap().count(), 0);
}
