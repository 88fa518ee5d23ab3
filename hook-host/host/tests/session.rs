//! The session's state machine, over pipes in memory.

mod common;

use std::io::{BufRead, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use buildhook_host::{FaultKind, Hooks, Host, Launch, Limits, Lookup, reason};
use buildhook_protocol::{Hook, Lease, ReasonCode};
use common::*;
use serde_json::{Value, json};

/// A plugin whose every answer is these lines, with `ID` replaced.
fn writing(hello: &'static str, lines: &str) -> Launch {
    let lines = lines.to_owned();
    in_memory(move |requests, mut output| {
        // The host may hang up at any moment: that is not what is tested.
        let _ = writeln!(output, "{hello}");
        for line in requests.lines().map_while(Result::ok) {
            let request: Value = serde_json::from_str(&line).unwrap();
            let _ = output.write_all(lines.replace("ID", &request["id"].to_string()).as_bytes());
        }
    })
}

#[test]
fn a_hit_is_read_and_restored() {
    let fixture = Fixture::new();
    let record = fixture.file("store/a", "out/a", b"content", Lease::Shared);
    let answer = hit("a", std::slice::from_ref(&record));
    let host = host(answering(move |request| reply(request, answer.clone())));
    let entry = entry(fixture.want(&host, "a"));
    assert_eq!(entry.read("out/a", 7).unwrap(), b"content");
    let destination = fixture.path("restored");
    let restored = entry.restore(&[(name("out/a"), destination.clone())]).unwrap();
    assert_eq!(std::fs::read(&destination).unwrap(), b"content");
    assert_eq!(restored[0].digest, record.digest);
    let report = host.close();
    assert_eq!(report.plugins[0].faults, []);
    assert_eq!((report.want_to_build.hits, report.want_to_build.hit_bytes), (1, 7));
    assert_eq!(report.plugins[0].sessions, 1);
}

#[test]
fn answers_in_any_order_reach_who_asked() {
    // Collects eight requests, then answers them last first, each with its own key.
    let plugin = in_memory(|requests, mut output| {
        writeln!(output, "{HELLO}").unwrap();
        let mut waiting = Vec::new();
        for line in requests.lines() {
            let request: Value = serde_json::from_str(&line.unwrap()).unwrap();
            waiting.push(request);
            if waiting.len() == 8 {
                for request in waiting.drain(..).rev() {
                    let reason = json!({"code": "other", "message": request["key"]});
                    let answer = json!({"id": request["id"], "kind": "miss", "reason": reason});
                    writeln!(output, "{answer}").unwrap();
                }
            }
        }
    });
    let host = Host::new(Hooks::both(plugin), patient());
    let fixture = Fixture::new();
    thread::scope(|scope| {
        for asker in 0..32 {
            let (host, fixture) = (&host, &fixture);
            scope.spawn(move || {
                let of = format!("key {asker}");
                let reason = miss(fixture.want(host, &of));
                assert_eq!(reason.message, Some(key(&of).to_string()));
            });
        }
    });
    let report = host.close();
    assert_eq!(report.plugins[0].faults, []);
    assert_eq!(report.plugins[0].sessions, 1);
    assert_eq!(report.want_to_build.timing.calls, 32);
}

#[test]
fn no_more_requests_in_flight_than_announced() {
    const HELLO_3: &str = r#"{"v":[1],"plugin":{"name":"f","version":"1"},"hooks":["want-to-build"],"max-in-flight":3}"#;
    let most = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&most);
    let plugin = in_memory(move |requests, mut output| {
        writeln!(output, "{HELLO_3}").unwrap();
        let (arrived, arrives) = mpsc::channel();
        let in_flight = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&in_flight);
        let answerer = thread::spawn(move || {
            for id in arrives {
                // Leaves the host time to send more than it may.
                thread::yield_now();
                count.fetch_sub(1, Ordering::SeqCst);
                writeln!(output, r#"{{"id":{id},"kind":"miss"}}"#).unwrap();
            }
        });
        for line in requests.lines() {
            let request: Value = serde_json::from_str(&line.unwrap()).unwrap();
            seen.fetch_max(in_flight.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            arrived.send(request["id"].as_u64().unwrap()).unwrap();
        }
        drop(arrived);
        answerer.join().unwrap();
    });
    let host = Host::new(Hooks::both(plugin), patient());
    let fixture = Fixture::new();
    thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| (0..20).for_each(|_| drop(miss(fixture.want(&host, "a")))));
        }
    });
    assert_eq!(host.close().plugins[0].faults, []);
    assert!((1..=3).contains(&most.load(Ordering::SeqCst)), "{most:?}");
}

#[test]
fn a_late_answer_is_discarded_and_frees_its_place() {
    const HELLO_1: &str =
        r#"{"v":[1],"plugin":{"name":"slow","version":"1"},"hooks":["want-to-build"]}"#;
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let plugin = in_memory(move |requests, mut output| {
        writeln!(output, "{HELLO_1}").unwrap();
        for line in requests.lines() {
            let request: Value = serde_json::from_str(&line.unwrap()).unwrap();
            std::fs::write(format!("{}/partial", request["scratch"].as_str().unwrap()), "")
                .unwrap();
            released.lock().unwrap().recv().unwrap();
            let reason = json!({"code": "other", "message": request["key"]});
            let answer = json!({"id": request["id"], "kind": "miss", "reason": reason});
            writeln!(output, "{answer}").unwrap();
        }
    });
    let limits = Limits { lost: Duration::from_secs(60), ..quick() };
    let host = Host::new(Hooks::both(plugin), limits);
    let fixture = Fixture::new();
    assert_eq!(miss(fixture.want(&host, "late")).code, ReasonCode::TIMEOUT);
    assert_eq!(fixture.scratch_left().len(), 1, "the plugin may still be writing there");
    // The place is taken, so nothing is sent: the plugin would answer this one.
    assert_eq!(miss(fixture.want(&host, "waits")).code, ReasonCode::TIMEOUT);
    release.send(()).unwrap();
    release.send(()).unwrap();
    assert_eq!(miss(fixture.want(&host, "next")).message, Some(key("next").to_string()));
    assert_eq!(fixture.scratch_left(), Vec::<std::path::PathBuf>::new());
    let report = host.close();
    let plugin = &report.plugins[0];
    assert_eq!(plugin.sessions, 1);
    assert_eq!(plugin.fault_count(FaultKind::Timeout), 1);
    assert_eq!(plugin.fault_count(FaultKind::Busy), 1);
    assert!(plugin.lost_ms >= 600, "{plugin:?}");
}

/// Whoever is out of step is left alone after one fault, told once, and costs no time.
#[test]
fn being_out_of_step_ends_the_session() {
    let deep = format!(r#"{{"id":ID,"kind":"miss","x":{}{}}}"#, "[".repeat(40), "]".repeat(40));
    let long = format!(r#"{{"id":ID,"kind":"miss","x":"{}"}}"#, "x".repeat(17 << 20));
    let cases: &[(&str, &str)] = &[
        ("not JSON", "warning: something\n"),
        ("not an object", "[1]\n"),
        ("two documents", "{\"id\":ID,\"kind\":\"miss\"}{\"id\":ID,\"kind\":\"miss\"}\n"),
        ("twice the same member", "{\"id\":ID,\"id\":ID,\"kind\":\"miss\"}\n"),
        ("negative", "{\"id\":-1,\"kind\":\"miss\"}\n"),
        ("above 2^53", "{\"id\":ID,\"kind\":\"miss\",\"x\":9007199254740993}\n"),
        ("lone surrogate", "{\"id\":ID,\"kind\":\"miss\",\"x\":\"\\ud800\"}\n"),
        ("not UTF-8", "{\"id\":ID,\"kind\":\"miss\",\"x\":\"\u{0}\"}\n"),
        ("array for object", "{\"id\":ID,\"kind\":\"miss\",\"reason\":[\"other\"]}\n"),
        ("array for a record", "{\"id\":ID,\"kind\":\"hit\",\"seal\":\"s\",\"files\":[[1]]}\n"),
        ("too deep", &format!("{deep}\n")),
        ("too long", &format!("{long}\n")),
        ("no id", "{\"kind\":\"miss\"}\n"),
        ("wrong id", "{\"id\":77,\"kind\":\"miss\"}\n"),
        ("id 0", "{\"id\":0,\"kind\":\"miss\"}\n"),
    ];
    for (what, lines) in cases {
        let fixture = Fixture::new();
        let host = Host::new(Hooks::both(writing(HELLO, lines)), patient());
        assert_eq!(miss(fixture.want(&host, "a")).code, ReasonCode::UNAVAILABLE, "{what}");
        assert_eq!(miss(fixture.want(&host, "b")).code, reason::SWITCHED_OFF, "{what}");
        let report = host.close();
        let plugin = &report.plugins[0];
        assert_eq!(plugin.faults.len(), 1, "{what}: {plugin:?}");
        assert_eq!(plugin.faults[0].fault.kind, FaultKind::Protocol, "{what}");
        assert_eq!(plugin.faults[0].count, 1, "{what}");
        assert_eq!(plugin.switched_off.len(), 1, "{what}");
        assert_eq!(plugin.sessions, 1, "{what}");
        assert_eq!(fixture.scratch_left(), Vec::<std::path::PathBuf>::new(), "{what}");
    }
}

#[test]
fn answering_twice_ends_the_session_after_the_first_answer() {
    let miss_line = "{\"id\":ID,\"kind\":\"miss\",\"reason\":{\"code\":\"not-found\"}}\n";
    let fixture = Fixture::new();
    let host = Host::new(Hooks::both(writing(HELLO, &miss_line.repeat(2))), patient());
    assert_eq!(miss(fixture.want(&host, "a")).code, ReasonCode::NOT_FOUND);
    // The second answer to the first request is in the pipe before that to the second.
    let _ = fixture.want(&host, "b");
    assert_eq!(miss(fixture.want(&host, "c")).code, reason::SWITCHED_OFF);
    let report = host.close();
    assert_eq!(report.plugins[0].fault_count(FaultKind::Protocol), 1);
    assert_eq!(report.plugins[0].faults.len(), 1);
}

#[test]
fn a_wrong_answer_is_a_miss_and_the_session_goes_on() {
    let cases: &[(&str, Value)] = &[
        ("no seal", json!({"kind": "hit", "files": []})),
        ("unknown kind", json!({"kind": "maybe"})),
        ("done for want", json!({"kind": "done", "stored": "yes"})),
        (
            "name",
            json!({"kind": "hit", "seal": "s", "files": [{"name": "../x", "path": "/x",
            "size": 1, "digest": key("a"), "executable": false, "lease": "shared"}]}),
        ),
        (
            "relative path",
            json!({"kind": "hit", "seal": "s", "files": [{"name": "out/x",
            "path": "x", "size": 1, "digest": key("a"), "executable": false,
            "lease": "shared"}]}),
        ),
    ];
    for (what, wrong) in cases {
        let wrong = wrong.clone();
        let host = host(answering(move |request| {
            let first = request["id"] == 1;
            let found = json!({"kind": "miss", "reason": {"code": "not-found"}});
            reply(request, if first { wrong.clone() } else { found })
        }));
        let fixture = Fixture::new();
        assert_eq!(miss(fixture.want(&host, "a")).code, ReasonCode::UNAVAILABLE, "{what}");
        assert_eq!(miss(fixture.want(&host, "a")).code, ReasonCode::NOT_FOUND, "{what}");
        let report = host.close();
        assert_eq!(report.plugins[0].fault_count(FaultKind::Answer), 1, "{what}");
        assert_eq!(report.plugins[0].sessions, 1, "{what}");
    }
}

#[test]
fn errors_switch_off_the_hook_that_they_concern() {
    let host = host(answering(|request| {
        let error = json!({"kind": "no-space", "message": "disk full: free some", "scope":
            "request", "caused-by": ["ENOSPC"]});
        reply(
            request,
            match request["kind"].as_str() {
                Some("built-a-thing") => json!({"kind": "error", "error": error}),
                _ => json!({"kind": "miss", "reason": {"code": "not-found"}}),
            },
        )
    }));
    let fixture = Fixture::new();
    for _ in 0..Limits::default().faults_until_off {
        let reason = not_stored(fixture.built(&host, "a", &fixture.some_file(), false));
        assert_eq!(reason.code, "no-space", "{reason:?}");
        assert_eq!(reason.message.as_deref(), Some("disk full: free some: ENOSPC"));
    }
    assert_eq!(
        not_stored(fixture.built(&host, "a", &fixture.some_file(), false)).code,
        reason::SWITCHED_OFF
    );
    assert_eq!(miss(fixture.want(&host, "a")).code, ReasonCode::NOT_FOUND);
    let report = host.close();
    let plugin = &report.plugins[0];
    assert_eq!(plugin.faults.len(), 1, "told once: {plugin:?}");
    assert_eq!(plugin.faults[0].hook, Some(Hook::BuiltAThing));
    assert_eq!(plugin.faults[0].count, 5);
    assert_eq!(plugin.switched_off.len(), 1);
    assert_eq!(report.built_a_thing.not_stored["no-space"], 5);
    assert_eq!(report.built_a_thing.not_stored[reason::SWITCHED_OFF], 1);
}

#[test]
fn an_error_of_scope_session_is_the_end() {
    for id in ["ID", "0"] {
        let line = format!(
            r#"{{"id":{id},"kind":"error","error":{{"kind":"auth","message":"log in","scope":"session"}}}}"#
        );
        let host = Host::new(Hooks::both(writing(HELLO, &format!("{line}\n"))), patient());
        let fixture = Fixture::new();
        assert!(miss(fixture.want(&host, "a")).message.unwrap().contains("log in"));
        assert_eq!(miss(fixture.want(&host, "a")).code, reason::SWITCHED_OFF);
        let report = host.close();
        assert_eq!(report.plugins[0].fault_count(FaultKind::Session), 1);
        assert_eq!(report.plugins[0].sessions, 1);
    }
}

#[test]
fn an_unknown_purpose_is_no_fault() {
    let error = r#"{"id":ID,"kind":"error","error":{"kind":"unknown-kind","message":"what?","scope":"request"}}"#;
    let host = Host::new(Hooks::both(writing(HELLO, &format!("{error}\n"))), patient());
    let fixture = Fixture::new();
    for _ in 0..20 {
        assert_eq!(miss(fixture.want(&host, "a")).code, "unknown-kind");
    }
    assert_eq!(host.close().plugins[0].faults, []);
}

#[test]
fn a_bad_hello_switches_off_at_once() {
    let cases: &[(&'static str, FaultKind, &str)] = &[
        ("hi", FaultKind::Protocol, "no message"),
        (r#"{"id":1,"kind":"miss"}"#, FaultKind::Hello, "hello is wrong"),
        (
            r#"{"v":[2,3],"plugin":{"name":"f","version":"1"},"hooks":[]}"#,
            FaultKind::Hello,
            "speaks versions [2, 3]",
        ),
        (
            r#"{"v":[1],"plugin":{"name":"f","version":"1"},"error":{"kind":"config","message":"no bucket set","scope":"session"}}"#,
            FaultKind::Hello,
            "no bucket set",
        ),
        (r#"{"v":[1],"plugin":{"name":"f","version":"1"}}"#, FaultKind::Hello, "exactly one"),
        (r#"{"v":[1],"plugin":["f","1"],"hooks":[]}"#, FaultKind::Hello, "array"),
        (
            r#"{"v":[1],"plugin":{"name":"f","version":"1"},"hooks":[],"max-in-flight":0}"#,
            FaultKind::Hello,
            "max-in-flight",
        ),
    ];
    for (hello, kind, text) in cases {
        let host = Host::new(Hooks::both(writing(hello, "")), patient());
        let fixture = Fixture::new();
        let message = miss(fixture.want(&host, "a")).message.unwrap();
        assert!(message.contains(text), "{hello}: {message}");
        assert_eq!(miss(fixture.want(&host, "a")).code, reason::SWITCHED_OFF, "{hello}");
        let report = host.close();
        assert_eq!(report.plugins[0].faults.len(), 1, "{hello}");
        assert_eq!(report.plugins[0].faults[0].fault.kind, *kind, "{hello}");
        assert_eq!(report.plugins[0].sessions, 0, "{hello}");
    }
}

#[test]
fn a_plugin_that_ends_is_noticed_at_once_and_started_anew() {
    // Answers the first request of each session, and ends instead of answering the second.
    let host = Host::new(
        Hooks::both(in_memory(|mut requests, mut output| {
            let mut line = String::new();
            writeln!(output, "{HELLO}").unwrap();
            requests.read_line(&mut line).unwrap();
            let request: Value = serde_json::from_str(&line).unwrap();
            let answer = json!({"id": request["id"], "kind": "miss",
                "reason": {"code": "not-found"}});
            writeln!(output, "{answer}").unwrap();
            requests.read_line(&mut line).unwrap();
        })),
        patient(),
    );
    let fixture = Fixture::new();
    let started = Instant::now();
    for _ in 0..5 {
        assert_eq!(miss(fixture.want(&host, "a")).code, ReasonCode::NOT_FOUND);
        assert_eq!(miss(fixture.want(&host, "a")).code, ReasonCode::UNAVAILABLE);
    }
    assert_eq!(miss(fixture.want(&host, "a")).code, reason::SWITCHED_OFF);
    assert!(started.elapsed() < patient().want, "no deadline was waited for");
    let report = host.close();
    let plugin = &report.plugins[0];
    assert_eq!(plugin.sessions, 5);
    assert_eq!(plugin.faults.len(), 1, "{plugin:?}");
    assert_eq!((plugin.faults[0].fault.kind, plugin.faults[0].count), (FaultKind::Exited, 5));
    assert_eq!(plugin.lost_ms, 0);
}

#[test]
fn a_plugin_that_hangs_costs_a_bounded_time_however_many_ask() {
    let plugin = in_memory(|requests, mut output| {
        writeln!(output, "{HELLO}").unwrap();
        for line in requests.lines() {
            line.unwrap();
        }
    });
    let host = Host::new(Hooks::both(plugin), quick());
    let fixture = Fixture::new();
    let started = Instant::now();
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let code = miss(fixture.want(&host, "a")).code;
                    assert!(
                        [ReasonCode::TIMEOUT, reason::SWITCHED_OFF].contains(&&*code),
                        "{code}"
                    );
                }
            });
        }
    });
    let took = started.elapsed();
    let report = host.close();
    assert!(report.plugins[0].lost_ms <= 1_500, "{report:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(report.plugins[0].switched_off.len(), 1);
    assert_eq!(report.want_to_build.timing.calls, 16 * 50);
    assert_eq!(fixture.scratch_left(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn hooks_are_asked_only_when_offered_and_configured() {
    const READ_ONLY: &str =
        r#"{"v":[1],"plugin":{"name":"ro","version":"1"},"hooks":["want-to-build"]}"#;
    let line = "{\"id\":ID,\"kind\":\"miss\",\"reason\":{\"code\":\"not-found\"}}\n";
    let fixture = Fixture::new();
    let host = Host::new(Hooks::both(writing(READ_ONLY, line)), patient());
    assert_eq!(miss(fixture.want(&host, "a")).code, ReasonCode::NOT_FOUND);
    assert_eq!(
        not_stored(fixture.built(&host, "a", &fixture.some_file(), false)).code,
        reason::NOT_OFFERED
    );
    assert_eq!(host.close().plugins[0].faults, []);

    let only_want = Hooks { want_to_build: Some(writing(READ_ONLY, line)), built_a_thing: None };
    let host = Host::new(only_want, patient());
    assert_eq!(
        not_stored(fixture.built(&host, "a", &fixture.some_file(), false)).code,
        reason::NO_PLUGIN
    );
    assert_eq!(host.report().plugins[0].sessions, 0, "nothing was started");
    host.close();
}

#[test]
fn two_plugins_are_two_sessions_and_fail_apart() {
    let found = "{\"id\":ID,\"kind\":\"miss\",\"reason\":{\"code\":\"not-found\"}}\n";
    let hooks = Hooks {
        want_to_build: Some(writing(HELLO, found)),
        built_a_thing: Some(writing(HELLO, "garbage\n")),
    };
    let host = Host::new(hooks, patient());
    let fixture = Fixture::new();
    not_stored(fixture.built(&host, "a", &fixture.some_file(), false));
    assert_eq!(
        not_stored(fixture.built(&host, "a", &fixture.some_file(), false)).code,
        reason::SWITCHED_OFF
    );
    assert_eq!(miss(fixture.want(&host, "a")).code, ReasonCode::NOT_FOUND);
    let report = host.close();
    assert_eq!(report.plugins.len(), 2);
    assert_eq!(report.plugins[0].hooks, [Hook::WantToBuild]);
    assert_eq!(report.plugins[0].faults, []);
    assert_eq!(report.plugins[1].faults.len(), 1);
}

#[test]
fn closing_is_the_end_and_happens_once() {
    let line = "{\"id\":ID,\"kind\":\"miss\"}\n";
    let host = Host::new(Hooks::both(writing(HELLO, line)), patient());
    let fixture = Fixture::new();
    let unsaid = miss(fixture.want(&host, "a"));
    assert_eq!(unsaid.code, ReasonCode::OTHER, "a miss without a reason");
    let report = host.close();
    assert_eq!(miss(fixture.want(&host, "a")).code, reason::CLOSED);
    let again = host.close();
    assert_eq!(again.plugins, report.plugins);
    let text = serde_json::to_string(&again).unwrap();
    assert_eq!(serde_json::from_str::<buildhook_host::HookReport>(&text).unwrap(), again);
    drop(host);
    assert_eq!(std::fs::read_dir(fixture.scratch_root()).unwrap().count(), 0);
}

#[test]
fn a_plugin_that_cannot_be_opened_is_a_miss() {
    let launch = Launch::InMemory(Arc::new(|| Err(std::io::Error::other("no store here"))));
    let host = host(launch);
    let fixture = Fixture::new();
    assert!(miss(fixture.want(&host, "a")).message.unwrap().contains("no store here"));
    assert_eq!(miss(fixture.want(&host, "a")).code, reason::SWITCHED_OFF);
}

#[test]
fn a_scratch_root_that_cannot_be_made_is_a_miss_and_no_fault_of_the_plugin() {
    let line = "{\"id\":ID,\"kind\":\"miss\"}\n";
    let host = Host::new(Hooks::both(writing(HELLO, line)), patient());
    let fixture = Fixture::new();
    std::fs::write(fixture.scratch_root(), "in the way").unwrap();
    for _ in 0..20 {
        assert!(miss(fixture.want(&host, "a")).message.unwrap().contains("scratch"));
    }
    std::fs::remove_file(fixture.scratch_root()).unwrap();
    assert_eq!(miss(fixture.want(&host, "a")).code, ReasonCode::OTHER);
    let report = host.close();
    assert_eq!(report.plugins[0].switched_off, Vec::<String>::new());
    assert_eq!(report.plugins[0].fault_count(FaultKind::Host), 20);
}

#[test]
fn a_scratch_root_that_is_removed_is_made_again() {
    let line = "{\"id\":ID,\"kind\":\"miss\"}\n";
    let host = Host::new(Hooks::both(writing(HELLO, line)), patient());
    let fixture = Fixture::new();
    for _ in 0..3 {
        assert!(matches!(fixture.want(&host, "a"), Lookup::Miss(_)));
        std::fs::remove_dir_all(fixture.scratch_root()).unwrap();
    }
    assert_eq!(host.close().plugins[0].faults, []);
}
