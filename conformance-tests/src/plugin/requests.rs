//! Requests: ids, what identifies an entry, what is refused.

use std::time::Instant;

use serde_json::{Value, json};

use super::bench::{Bench, LONG_DEADLINE_MS, expect_hit, expect_stored};
use super::{Check, Need, Run};
use crate::session::{Session, short};
use crate::verdict::{Outcome, Stop, require};
use crate::wire::MAX_INTEGER;

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "request-ids",
        requirement: "BH-REQ-001",
        title: "each request gets one answer with its id, whatever the id",
        needs: &[Need::Want],
        run: Run::Active(ids),
    },
    Check {
        id: "request-whole-key",
        requirement: "BH-REQ-002",
        title: "keys that differ in one digit, wherever, are different entries",
        needs: &[Need::Entries],
        run: Run::Active(whole_key),
    },
    Check {
        id: "request-purpose",
        requirement: "BH-REQ-003",
        title: "outputs and inputs under one key are different entries",
        needs: &[Need::Built],
        run: Run::Active(purposes),
    },
    Check {
        id: "request-description",
        requirement: "BH-REQ-004",
        title: "unit, id, scratch, deadline and unknown members do not decide the entry",
        needs: &[Need::Entries],
        run: Run::Active(description),
    },
    Check {
        id: "request-deadline",
        requirement: "BH-REQ-005",
        title: "ordinary requests are answered before their deadline",
        needs: &[Need::Want],
        run: Run::Active(deadline),
    },
    Check {
        id: "request-unknown-kind",
        requirement: "BH-REQ-007",
        title: "an unknown kind gets an error of kind unknown-kind, and the session goes on",
        needs: &[Need::Want],
        run: Run::Active(unknown_kind),
    },
    Check {
        id: "request-unknown-purpose",
        requirement: "BH-REQ-007",
        title: "an unknown purpose is neither found nor stored",
        needs: &[Need::Built],
        run: Run::Active(unknown_purpose),
    },
    Check {
        id: "request-bad",
        requirement: "BH-REQ-008",
        title: "a request that lacks a member or has a wrong one gets bad-request; the session goes on",
        needs: &[Need::Want],
        run: Run::Active(bad_want),
    },
    Check {
        id: "request-bad-built",
        requirement: "BH-REQ-008",
        title: "the same for built-a-thing and its file records",
        needs: &[Need::Built],
        run: Run::Active(bad_built),
    },
];

fn ids(bench: &mut Bench<'_>) -> Outcome {
    let mut session = bench.session()?;
    for id in [5, 1, MAX_INTEGER, 4_294_967_296, 2] {
        let entry = bench.entry(&format!("absent {id}"))?;
        let mut request = bench.want(&entry)?;
        request["id"] = id.into();
        let answer = session.ask(request)?;
        require!(answer["id"] == id, "request {id} was answered as {}", answer["id"]);
    }
    let ending = session.close()?;
    let extra = ending.answers.values().next();
    require!(extra.is_none(), "an answer too many: {}", short(extra.unwrap_or(&Value::Null)));
    let broken = bench.log.violations();
    let broken = broken.iter().find(|violation| violation.requirement == "BH-REQ-001");
    require!(broken.is_none(), "{}", broken.map(|violation| &*violation.text).unwrap_or_default());
    Ok(())
}

/// Keys that differ from `key` in one digit: the first, the last and some between.
fn neighbours(key: &str) -> Vec<String> {
    let first = "blake3:".len();
    let places = [
        first,
        first + 1,
        first + 15,
        first + 16,
        first + 31,
        first + 32,
        first + 48,
        key.len() - 1,
    ];
    let change = |place: &usize| {
        let mut digits = key.as_bytes().to_vec();
        digits[*place] = if digits[*place] == b'0' { b'1' } else { b'0' };
        String::from_utf8_lossy(&digits).into_owned()
    };
    places.iter().map(change).collect()
}

fn whole_key(bench: &mut Bench<'_>) -> Outcome {
    let mut session = bench.session()?;
    let entry = bench.entry("key")?;
    bench.seed(&mut session, &entry)?;
    for key in neighbours(&entry.key) {
        let mut other = entry.clone();
        other.key = key;
        let answer = bench.ask(&mut session, &other)?;
        require!(answer["kind"] != "hit", "stored {}, asked {}: a hit", entry.key, other.key);
    }
    bench.expect_hit(&mut session, &entry)?;
    session.close().map(|_| ())
}

fn purposes(bench: &mut Bench<'_>) -> Outcome {
    let mut session = bench.session()?;
    let outputs = bench.entry("outputs")?;
    let mut inputs = bench.rival(&outputs, "inputs")?;
    inputs.purpose = Some("inputs");
    bench.store(&mut session, &outputs)?;
    bench.expect_no_hit(&mut session, &inputs)?;
    bench.store(&mut session, &inputs)?;
    bench.expect_hit(&mut session, &inputs)?;
    bench.expect_hit(&mut session, &outputs)?;
    let mut explicit = outputs.clone();
    explicit.purpose = Some("outputs");
    bench.expect_hit(&mut session, &explicit)?;
    session.close().map(|_| ())
}

fn description(bench: &mut Bench<'_>) -> Outcome {
    let mut session = bench.session()?;
    let entry = bench.entry("described")?;
    bench.seed(&mut session, &entry)?;
    let units = [
        json!({}),
        json!({"name": "bar", "type": "bin", "profile": "release", "features": ["x"]}),
        json!({"name": "foo", "origin": "workspace", "target": "wasm32-wasip1", "toolchain": "rustc 9"}),
    ];
    for (unit, id) in units.into_iter().zip([1_000, 77, 123_456]) {
        let mut request = bench.want(&entry)?;
        request["unit"] = unit;
        request["id"] = id.into();
        request["deadline-ms"] = (LONG_DEADLINE_MS + id).into();
        request["x-conformance"] = id.into();
        let answer = session.ask(request)?;
        // A policy may decline by what a unit is; it may not find another entry.
        let declined = matches!(answer["reason"]["code"].as_str(), Some("policy" | "out-of-scope"));
        if !(bench.setup.command.has_child() && declined) {
            expect_hit(&answer, &entry)?;
        }
    }
    let mut other = bench.entry("other")?;
    other.pieces.truncate(1);
    bench.expect_no_hit(&mut session, &other)?;
    session.close().map(|_| ())
}

fn deadline(bench: &mut Bench<'_>) -> Outcome {
    let mut session = bench.session()?;
    let entry = bench.entry("timed")?;
    if bench.setup.capabilities.built {
        bench.store(&mut session, &entry)?;
    }
    let absent = bench.entry("absent")?;
    for wanted in [&entry, &absent] {
        let mut request = bench.want(wanted)?;
        let deadline_ms = 1_500;
        request["deadline-ms"] = deadline_ms.into();
        let start = Instant::now();
        session.ask(request)?;
        let took = start.elapsed();
        let limit = bench.limit(std::time::Duration::from_millis(deadline_ms));
        require!(took <= limit, "answered after {} ms of {deadline_ms}", took.as_millis());
    }
    session.close().map(|_| ())
}

fn unknown_kind(bench: &mut Bench<'_>) -> Outcome {
    let mut session = bench.session()?;
    let entry = bench.entry("kinds")?;
    for kind in ["x-conformance", "prefetch", "hit"] {
        let mut request = bench.want(&entry)?;
        request["kind"] = kind.into();
        let answer = session.ask(request)?;
        require!(
            answer["kind"] == "error" && answer["error"]["kind"] == "unknown-kind",
            "the kind `{kind}` was answered: {}",
            short(&answer)
        );
    }
    bench.expect_no_hit(&mut session, &entry)?;
    session.close().map(|_| ())
}

fn unknown_purpose(bench: &mut Bench<'_>) -> Outcome {
    let mut session = bench.session()?;
    let mut entry = bench.entry("purposes")?;
    bench.store(&mut session, &entry)?;
    entry.purpose = Some("x-conformance");
    let answer = bench.ask(&mut session, &entry)?;
    require!(
        answer["kind"] == "miss" || answer["error"]["kind"] == "unknown-kind",
        "an unknown purpose was answered: {}",
        short(&answer)
    );
    let answer = bench.tell(&mut session, &entry)?;
    let declined = answer["kind"] == "done" && answer["stored"] == "no";
    require!(
        declined || answer["error"]["kind"] == "unknown-kind",
        "an entry of an unknown purpose was answered: {}",
        short(&answer)
    );
    session.close().map(|_| ())
}

/// Sends `request`, which is wrong because of `what`, and expects bad-request.
fn refused(session: &mut Session, request: Value, what: &str) -> Outcome {
    // Without a usable id the answer's id has to be 0.
    let id = request["id"].as_u64().unwrap_or(0);
    let line = crate::wire::line(&request);
    session.send_as(id, request, line);
    let answer = session.answer(id).map_err(|stop| match stop {
        Stop::Fail(text) => Stop::Fail(format!("{what}: {text}")),
        other => other,
    })?;
    let error = &answer["error"];
    require!(
        answer["kind"] == "error" && error["kind"] == "bad-request" && error["scope"] == "request",
        "{what}: expected bad-request of scope request, got {}",
        short(&answer)
    );
    Ok(())
}

/// Variants of `request` that are wrong in one member of `at`.
fn spoil(session: &mut Session, request: &Value, members: &[(&str, Value)]) -> Outcome {
    for (name, wrong) in members {
        let mut lacking = request.clone();
        lacking["id"] = session.fresh_id().into();
        let mut mistyped = lacking.clone();
        mistyped["id"] = session.fresh_id().into();
        if let Some(object) = lacking.as_object_mut() {
            object.remove(*name);
        }
        mistyped[*name] = wrong.clone();
        refused(session, lacking, &format!("without `{name}`"))?;
        refused(session, mistyped, &format!("with `{name}` = {wrong}"))?;
    }
    Ok(())
}

fn bad_want(bench: &mut Bench<'_>) -> Outcome {
    let mut session = bench.session()?;
    let entry = bench.entry("bad")?;
    let request = bench.want(&entry)?;
    let members = [
        ("id", json!("one")),
        ("kind", json!(3)),
        ("key", json!(["blake3:00"])),
        ("unit", json!([])),
        ("scratch", json!(17)),
        ("deadline-ms", json!("soon")),
        ("v", json!("1")),
    ];
    spoil(&mut session, &request, &members)?;
    bench.expect_no_hit(&mut session, &entry)?;
    session.close().map(|_| ())
}

fn bad_built(bench: &mut Bench<'_>) -> Outcome {
    let mut session = bench.session()?;
    let entry = bench.entry("bad")?;
    let request = bench.built(&entry)?;
    spoil(&mut session, &request, &[("seal", json!(1)), ("files", json!({"out/a": "/a"}))])?;
    let record = entry.pieces[0].record("borrowed");
    let members = [
        ("name", json!(1)),
        ("path", json!(null)),
        ("size", json!("many")),
        ("digest", json!({})),
        ("executable", json!("no")),
        ("lease", json!(0)),
    ];
    for (name, wrong) in members {
        let mut spoiled = record.clone();
        spoiled[name] = wrong.clone();
        let mut other = request.clone();
        other["files"] = json!([spoiled]);
        other["id"] = session.fresh_id().into();
        refused(&mut session, other, &format!("with a file's `{name}` = {wrong}"))?;
    }
    let answer = bench.tell(&mut session, &entry)?;
    expect_stored(&answer)?;
    bench.expect_hit(&mut session, &entry)?;
    session.close().map(|_| ())
}
