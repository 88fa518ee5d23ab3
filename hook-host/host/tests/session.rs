//! The session's state machine, over pipes in memory.

mod common;

use std::io::{BufRead, Write};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use buildhook_host::{FaultKind, Hooks, Host, Limits, reason};
use buildhook_protocol::{Lease, Stored};
use common::*;
use serde_json::{Value, json};

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
    let limits = Limits { want: Duration::from_secs(20), ..Limits::default() };
    let host = Host::new(Hooks::both(plugin), limits);
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
