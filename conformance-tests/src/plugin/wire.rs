//! Wire format: what a plugin must be able to read, and when it must write.

use std::time::Duration;

use serde_json::{Value, json};

use super::bench::{Bench, expect_hit, expect_stored};
use super::entry::Entry;
use super::{Check, Need, Run};
use crate::session::{Session, short};
use crate::verdict::{Outcome, fail, require};
use crate::wire;

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "wire-flush",
        requirement: "BH-WIRE-004",
        title: "the answer to a request comes while standard input stays open and empty",
        needs: &[],
        run: Run::Active(flush),
    },
    Check {
        id: "wire-unknown-members",
        requirement: "BH-WIRE-005",
        title: "a request with unknown members everywhere means the same",
        needs: &[Need::Entries],
        run: Run::Active(unknown_members),
    },
    Check {
        id: "wire-unreadable-line",
        requirement: "BH-WIRE-010",
        title: "cut-off, binary and array lines get no hit and no done",
        needs: &[Need::Entries],
        run: Run::Active(unreadable_line),
    },
    Check {
        id: "wire-session-error",
        requirement: "BH-WIRE-011",
        title: "an unreadable line gets an error of scope session with id 0, and the plugin ends",
        needs: &[],
        run: Run::Active(session_error),
    },
    Check {
        id: "wire-escapes",
        requirement: "BH-WIRE-013",
        title: "a request written with \\u escapes only means the same",
        needs: &[Need::Entries],
        run: Run::Active(escapes),
    },
    Check {
        id: "wire-null-members",
        requirement: "BH-WIRE-015",
        title: "optional members that are null count as absent",
        needs: &[Need::Entries],
        run: Run::Active(null_members),
    },
    Check {
        id: "wire-lenient-reader",
        requirement: "BH-WIRE-017",
        title: "duplicate members, fractions and deep nesting are refused, not guessed at",
        needs: &[Need::Entries],
        run: Run::Active(lenient_reader),
    },
];

fn flush(bench: &mut Bench<'_>) -> Outcome {
    let mut session = bench.start(&bench.launch())?;
    session.any_hello()?;
    let entry = bench.entry("absent")?;
    let mut request = bench.want(&entry)?;
    if !session.has_hook("want-to-build") {
        request = bench.built(&entry)?;
    }
    let id = session.send(request);
    if session.answer(id).is_ok() {
        return session.close().map(|_| ());
    }
    let ending = session.close()?;
    if ending.answers.contains_key(&id) {
        fail!("the answer came only after standard input was closed");
    }
    fail!("no answer, neither before nor after standard input was closed");
}

fn unknown_members(bench: &mut Bench<'_>) -> Outcome {
    let mut session = bench.session()?;
    let entry = bench.entry("decorated")?;
    let extra = json!({"deep": [{"list": [1, "two", true, {}]}], "text": "ü\u{1f980}"});
    let decorate = |request: &mut Value| {
        request["x-conformance"] = extra.clone();
        request["unit"]["x-conformance"] = extra.clone();
        for record in crate::wire::records_mut(request, "files") {
            record["x-conformance"] = extra.clone();
        }
    };
    if bench.setup.capabilities.built {
        let mut built = bench.built(&entry)?;
        decorate(&mut built);
        let answer = bench.tell_as(&mut session, &entry, built)?;
        expect_stored(&answer)?;
    } else {
        bench.seed(&mut session, &entry)?;
    }
    let mut want = bench.want(&entry)?;
    decorate(&mut want);
    let answer = session.ask(want)?;
    expect_hit(&answer, &entry)?;
    bench.expect_hit(&mut session, &entry)?;
    session.close().map(|_| ())
}

/// Writes `line` in a session of its own and returns what came back within
/// the time that the plugin took to end or to answer.
fn provoke(bench: &mut Bench<'_>, line: Vec<u8>) -> Outcome<(Session, Option<Value>)> {
    let mut session = bench.session()?;
    // Ids that the malformed requests use, so that an answer finds its place.
    let request = json!({"kind": "want-to-build", "scratch": bench.scratch()?});
    session.send_as(7, request, line);
    let limit = bench.limit(Duration::from_secs(3));
    let answer = match session.next_answer(limit) {
        Ok(answer) => answer.map(|(_, message)| message),
        // It ended without an answer, which is its right.
        Err(_) => session.session_error(),
    };
    Ok((session, answer))
}

/// A request for a stored entry, as text, with id 7.
fn stored_request(bench: &mut Bench<'_>) -> Outcome<(Entry, Value)> {
    let mut session = bench.session()?;
    let entry = bench.entry("present")?;
    bench.seed(&mut session, &entry)?;
    bench.expect_hit(&mut session, &entry)?;
    session.close()?;
    let mut request = bench.want(&entry)?;
    request["id"] = 7.into();
    Ok((entry, request))
}

fn unreadable_line(bench: &mut Bench<'_>) -> Outcome {
    let (_, request) = stored_request(bench)?;
    let text = request.to_string();
    let cut = format!("{}\n", &text[..text.len() - 1]);
    let binary = [b"\xff\xfe", text.as_bytes(), b"\n"].concat();
    let values: Vec<&Value> = ["v", "id", "kind", "key", "unit", "scratch", "deadline-ms"]
        .iter()
        .map(|name| &request[*name])
        .collect();
    let array = wire::line(&json!(values));
    let trailing = format!("{text}{text}\n");
    let lines = [
        ("a request that is cut off", cut.into_bytes()),
        ("a request after bytes that are not UTF-8", binary),
        ("an array instead of an object", array),
        ("two requests on one line", trailing.into_bytes()),
    ];
    for (what, line) in lines {
        let (_, answer) = provoke(bench, line)?;
        let kind = answer.as_ref().map(|answer| answer["kind"].clone()).unwrap_or_default();
        require!(kind != "hit" && kind != "done", "{what} was answered with {kind}");
    }
    Ok(())
}

fn session_error(bench: &mut Bench<'_>) -> Outcome {
    let (mut session, answer) = provoke(bench, b"{\"v\":1,\"id\":7,\"kind\":\n".to_vec())?;
    let Some(answer) = answer else { fail!("no error came") };
    let scope = &answer["error"]["scope"];
    require!(
        answer["kind"] == "error" && answer["id"] == 0 && scope == "session",
        "expected an error with id 0 and scope session, got {}",
        short(&answer)
    );
    let limit = bench.limit(Duration::from_secs(3));
    require!(session.wait_end(limit).is_some(), "the plugin goes on after it");
    Ok(())
}

fn escapes(bench: &mut Bench<'_>) -> Outcome {
    let mut session = bench.session()?;
    let entry = bench.entry("escaped \"quotes\" and \\ ü")?;
    if bench.setup.capabilities.built {
        let mut request = bench.built(&entry)?;
        let id = session.fresh_id();
        request["id"] = id.into();
        let line = wire::escaped_line(&request);
        session.send_as(id, request, line);
        expect_stored(&session.answer(id)?)?;
    } else {
        bench.seed(&mut session, &entry)?;
    }
    bench.expect_hit(&mut session, &entry)?;
    let mut request = bench.want(&entry)?;
    let id = session.fresh_id();
    request["id"] = id.into();
    let line = wire::escaped_line(&request);
    session.send_as(id, request, line);
    expect_hit(&session.answer(id)?, &entry)?;
    session.close().map(|_| ())
}

fn null_members(bench: &mut Bench<'_>) -> Outcome {
    let mut session = bench.session()?;
    let entry = bench.entry("nulls")?;
    if bench.setup.capabilities.built {
        let mut built = bench.built(&entry)?;
        for name in ["replace", "cost-ms", "purpose", "x-conformance"] {
            built[name] = Value::Null;
        }
        built["unit"]["profile"] = Value::Null;
        let answer = bench.tell_as(&mut session, &entry, built)?;
        expect_stored(&answer)?;
    } else {
        bench.seed(&mut session, &entry)?;
    }
    let mut want = bench.want(&entry)?;
    want["purpose"] = Value::Null;
    want["unit"]["version"] = Value::Null;
    if !bench.setup.capabilities.manifest {
        want["manifest"] = Value::Null;
    }
    expect_hit(&session.ask(want)?, &entry)?;
    bench.expect_hit(&mut session, &entry)?;
    session.close().map(|_| ())
}

fn lenient_reader(bench: &mut Bench<'_>) -> Outcome {
    let (entry, request) = stored_request(bench)?;
    let text = request.to_string();
    let open = &text[..text.len() - 1];
    let other = wire::digest(b"another key");
    let deep = format!("{open},\"x-deep\":{}1{}}}\n", "[".repeat(40), "]".repeat(40));
    let lines = [
        ("a second `key`", format!("{open},\"key\":\"{other}\"}}\n")),
        ("`key` before its last one", format!("{{\"key\":\"{other}\",{}\n", &text[1..])),
        ("a fraction", format!("{open},\"x-number\":1.5}}\n")),
        ("a lone surrogate", format!("{open},\"x-text\":\"\\ud800\"}}\n")),
        ("40 levels of nesting", deep),
    ];
    for (what, line) in lines {
        let (_, answer) = provoke(bench, line.into_bytes())?;
        let answer = answer.unwrap_or_default();
        let taken = matches!(answer["kind"].as_str(), Some("hit" | "miss" | "done"));
        require!(
            !taken,
            "a request with {what} for {} was answered: {}",
            entry.key,
            short(&answer)
        );
    }
    Ok(())
}
