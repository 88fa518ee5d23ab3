//! Filters over a child of the suite's own, which notes what it receives and
//! does what it is told.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::bench::{Bench, expect_hit, expect_stored};
use super::{Check, Need, Run};
use crate::session::{Session, short, unix_ms};
use crate::verdict::{Outcome, Stop, fail, require};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "filter-waits-for-hello",
        requirement: "BH-FILT-001",
        title: "the filter says hello after its child, which takes half a second",
        needs: &[Need::Filter],
        run: Run::Active(waits_for_hello),
    },
    Check {
        id: "filter-intersects",
        requirement: "BH-FILT-001",
        title: "the filter announces no hook and no feature that its child lacks",
        needs: &[Need::Filter],
        run: Run::Active(intersects),
    },
    Check {
        id: "filter-max-in-flight",
        requirement: "BH-FILT-002",
        title: "`max-in-flight` is not above the child's",
        needs: &[Need::Filter],
        run: Run::Active(max_in_flight),
    },
    Check {
        id: "filter-forwards-down",
        requirement: "BH-FILT-003",
        title: "unknown members of requests, units and file records reach the child unaltered",
        needs: &[Need::Filter, Need::Want],
        run: Run::Active(forwards_down),
    },
    Check {
        id: "filter-forwards-up",
        requirement: "BH-FILT-003",
        title: "unknown members of hits, misses, done and file records come up unaltered",
        needs: &[Need::Filter, Need::Entries],
        run: Run::Active(forwards_up),
    },
    Check {
        id: "filter-deadline",
        requirement: "BH-FILT-004",
        title: "the child's deadline is the filter's, less the time that the filter used",
        needs: &[Need::Filter, Need::Want],
        run: Run::Active(deadline),
    },
    Check {
        id: "filter-closes-child",
        requirement: "BH-FILT-005",
        title: "the child's standard input ends when the filter's does",
        needs: &[Need::Filter],
        run: Run::Active(closes_child),
    },
    Check {
        id: "filter-waits-for-end",
        requirement: "BH-FILT-006",
        title: "the filter ends after its child, which takes 300 ms to clean up",
        needs: &[Need::Filter],
        run: Run::Active(waits_for_end),
    },
    Check {
        id: "filter-names-what-it-adds",
        requirement: "BH-FILE-004",
        title: "files that the filter adds or changes are named `@…/…` below it",
        needs: &[Need::Filter, Need::Built],
        run: Run::Active(names_what_it_adds),
    },
    Check {
        id: "filter-takes-away",
        requirement: "BH-FILE-005",
        title: "what the filter added is not in the hit above it",
        needs: &[Need::Filter, Need::Entries],
        run: Run::Active(takes_away),
    },
    Check {
        id: "filter-drops-relocated",
        requirement: "BH-BUILT-011",
        title: "a filter that changes bytes does not pass `relocated` on",
        needs: &[Need::ChangesBytes, Need::Built],
        run: Run::Active(drops_relocated),
    },
    Check {
        id: "filter-finish-order",
        requirement: "BH-END-007",
        title: "an answer that the child gives first is not held back for a slower one",
        needs: &[Need::Filter, Need::Parallel, Need::Want],
        run: Run::Active(finish_order),
    },
];

fn over(bench: &Bench<'_>, options: &[&str]) -> Outcome<Session> {
    bench.session_from(&bench.launch_over(options))
}

fn waits_for_hello(bench: &mut Bench<'_>) -> Outcome {
    let start = Instant::now();
    let mut session = bench.start(&bench.launch_over(&["--hello-delay-ms", "500"]))?;
    session.any_hello()?;
    let took = start.elapsed();
    require!(
        took >= Duration::from_millis(500),
        "the filter's hello came after {} ms, its child's came after 500 ms",
        took.as_millis()
    );
    session.close().map(|_| ())
}

fn names(hello: &Value, member: &str) -> BTreeSet<String> {
    let all = hello[member].as_array().into_iter().flatten();
    all.filter_map(|name| name.as_str().map(str::to_owned)).collect()
}

fn intersects(bench: &mut Bench<'_>) -> Outcome {
    for (hooks, absent) in [("want-to-build", "built-a-thing"), ("built-a-thing", "want-to-build")]
    {
        let mut session = bench.start(&bench.launch_over(&["--hooks", hooks]))?;
        let hello = session.any_hello()?;
        let announced = names(&hello, "hooks");
        require!(!announced.contains(absent), "announces {absent}, which its child does not");
        let mut extra = names(&hello, "features");
        // A filter may look at manifests itself.
        extra.remove("manifest");
        require!(extra.is_empty(), "announces the features {extra:?}, of which its child has none");
        session.close()?;
    }
    Ok(())
}

fn max_in_flight(bench: &mut Bench<'_>) -> Outcome {
    for child in ["1", "3"] {
        let session = over(bench, &["--max-in-flight", child])?;
        let announced = session.max_in_flight();
        let most = child.parse().unwrap_or(1);
        require!(announced <= most, "announces {announced}, its child {child}");
        session.close()?;
    }
    Ok(())
}

/// A value with all kinds of JSON in it that are legal on the wire.
fn luggage() -> Value {
    json!({"list": [1, "two", [true, false], {}], "text": "\u{fc}\"\\\u{1f980}", "most": crate::wire::MAX_INTEGER})
}

fn forwards_down(bench: &mut Bench<'_>) -> Outcome {
    let mut session = bench.session()?;
    let entry = bench.entry("luggage")?;
    let mut requests = vec![bench.want(&entry)?];
    if session.has_hook("built-a-thing") {
        requests.push(bench.built(&entry)?);
    }
    for mut request in requests {
        request["x-conformance"] = luggage();
        request["unit"]["x-conformance"] = luggage();
        for record in crate::wire::records_mut(&mut request, "files") {
            record["x-conformance"] = luggage();
        }
        session.ask(request)?;
    }
    session.close()?;
    let received = bench.child_received()?;
    if received.is_empty() {
        return Err(Stop::NotApplicable("the filter forwarded nothing".to_owned()));
    }
    for note in received {
        let message = &note["message"];
        let kind = &message["kind"];
        require!(
            message["x-conformance"] == luggage(),
            "{kind}: a member of the request is lost or altered"
        );
        require!(
            message["unit"]["x-conformance"] == luggage(),
            "{kind}: a member of `unit` is lost or altered"
        );
        let carried = message["files"].as_array().into_iter().flatten();
        let carried = carried.filter(|record| record["x-conformance"] == luggage()).count();
        let sent = if kind == "built-a-thing" { entry.pieces.len() } else { 0 };
        require!(carried >= sent, "{kind}: a member of a file record is lost or altered");
    }
    Ok(())
}

fn forwards_up(bench: &mut Bench<'_>) -> Outcome {
    let entry = bench.entry("decorated")?;
    let mut session = over(bench, &["--decorate"])?;
    let absent = bench.entry("absent")?;
    let missed = bench.ask(&mut session, &absent)?;
    let mut answers = vec![missed];
    if bench.setup.capabilities.built {
        answers.push(bench.tell(&mut session, &entry)?);
    } else {
        bench.seed(&mut session, &entry)?;
    }
    let hit = bench.expect_hit(&mut session, &entry)?;
    let decorated = |record: &Value| record["x-child"] == json!({"n": [1, {"deep": "ü"}]});
    let records = hit["files"].as_array().into_iter().flatten();
    let bare = records.filter(|record| !decorated(record)).count();
    require!(bare == 0, "a member of {bare} file records of a hit is lost or altered");
    answers.push(hit);
    for answer in &answers {
        require!(decorated(answer), "a member of the answer is lost or altered: {}", short(answer));
    }
    session.close().map(|_| ())
}

/// What a busy machine may add between the two clocks.
const CLOCK_SLACK_MS: u64 = 400;

fn deadline(bench: &mut Bench<'_>) -> Outcome {
    let mut session = bench.session()?;
    let entry = bench.entry("timed")?;
    let mut requests = vec![bench.want(&entry)?];
    if session.has_hook("built-a-thing") {
        requests.push(bench.built(&entry)?);
    }
    for mut request in requests {
        let given = 20_000;
        request["deadline-ms"] = given.into();
        let before = unix_ms();
        session.ask(request)?;
        let notes = bench.child_received()?;
        let Some(note) = notes.last() else { continue };
        let left = note["message"]["deadline-ms"].as_u64().unwrap_or(u64::MAX);
        require!(left <= given, "given {given} ms, the child got {left} ms");
        let used = note["at-ms"].as_u64().unwrap_or(before).saturating_sub(before);
        require!(
            left + used <= given + CLOCK_SLACK_MS,
            "the request took {used} ms to reach the child, and still its deadline is {left} of {given} ms"
        );
    }
    session.close().map(|_| ())
}

/// Whether the child noted `event`.
fn child_noted(bench: &Bench<'_>, event: &str) -> Outcome<bool> {
    Ok(bench.child_notes()?.iter().any(|note| note["event"] == event))
}

fn closes_child(bench: &mut Bench<'_>) -> Outcome {
    let mut session = bench.session()?;
    let entry = bench.entry("ordinary")?;
    if session.has_hook("want-to-build") {
        bench.ask(&mut session, &entry)?;
    }
    session.close()?;
    require!(child_noted(bench, "end-of-input")?, "the child's standard input never ended");
    Ok(())
}

fn waits_for_end(bench: &mut Bench<'_>) -> Outcome {
    let session = over(bench, &["--exit-delay-ms", "300"])?;
    let ending = session.close()?;
    require!(ending.status.is_some(), "the filter did not end");
    let notes = bench.child_notes()?;
    let cleaned_up = notes.iter().find(|note| note["event"] == "exit");
    let cleaned_up = cleaned_up.and_then(|note| note["at-ms"].as_u64());
    let before = cleaned_up.is_some_and(|at_ms| at_ms <= ending.ended_unix_ms);
    require!(before, "the filter ended before its child had cleaned up");
    Ok(())
}

fn names_what_it_adds(bench: &mut Bench<'_>) -> Outcome {
    let mut session = bench.session()?;
    let entry = bench.entry("named")?;
    bench.store(&mut session, &entry)?;
    session.close()?;
    for note in bench.child_received()? {
        for record in note["message"]["files"].as_array().into_iter().flatten() {
            let name = record["name"].as_str().unwrap_or_default();
            let original = entry.pieces.iter().find(|piece| piece.name == name);
            let same = original.is_some_and(|piece| record["digest"] == piece.digest.as_str());
            let own = name.strip_prefix('@').is_some_and(|rest| rest.contains('/'));
            require!(
                same || own,
                "the child got {name:?}, which the filter made, without `@<filter>/`"
            );
        }
    }
    Ok(())
}

fn takes_away(bench: &mut Bench<'_>) -> Outcome {
    let mut session = bench.session()?;
    let entry = bench.entry("clean")?;
    bench.seed(&mut session, &entry)?;
    let answer = bench.ask(&mut session, &entry)?;
    let files = answer["files"].as_array().into_iter().flatten();
    let left =
        files.filter_map(|record| record["name"].as_str()).find(|name| name.starts_with('@'));
    require!(left.is_none(), "the hit still has {left:?}");
    expect_hit(&answer, &entry)?;
    session.close().map(|_| ())
}

fn drops_relocated(bench: &mut Bench<'_>) -> Outcome {
    let mut session = bench.session()?;
    let entry = bench.entry("relocated")?;
    let answer = bench.tell(&mut session, &entry)?;
    expect_stored(&answer)?;
    require!(answer["relocated"].is_null(), "passes on {}", answer["relocated"]);
    session.close().map(|_| ())
}

fn finish_order(bench: &mut Bench<'_>) -> Outcome {
    let mut session = over(bench, &["--slow-first-ms", "1500"])?;
    let slow = bench.entry("slow")?;
    let fast = bench.entry("fast")?;
    let slow_request = bench.want(&slow)?;
    let fast_request = bench.want(&fast)?;
    let slow_id = session.send(slow_request);
    let fast_id = session.send(fast_request);
    let limit = bench.limit(Duration::from_secs(5));
    match session.next_answer(limit)? {
        Some((id, _)) if id == fast_id => {}
        Some(_) => fail!("the child answered the second request at once, the filter held it back"),
        None => fail!("no answer"),
    }
    session.answer(slow_id)?;
    session.close().map(|_| ())
}
