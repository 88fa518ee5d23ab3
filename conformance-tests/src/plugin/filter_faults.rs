//! Filters whose child is wrong, and requests that a filter must not forward.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::bench::{Bench, says_stored};
use super::{Check, Need, Run};
use crate::session::short;
use crate::verdict::{Outcome, require};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "filter-child-fails",
        requirement: "BH-FILT-007",
        title: "a child that dies, is silent or writes nonsense gives a miss, a `no` or an error",
        needs: &[Need::Filter, Need::Want],
        run: Run::Active(child_fails),
    },
    Check {
        id: "filter-child-slow",
        requirement: "BH-REQ-005",
        title: "a child that is slower than the deadline does not make the filter late",
        needs: &[Need::Filter, Need::Want],
        run: Run::Active(child_slow),
    },
    Check {
        id: "filter-child-late",
        requirement: "BH-FILT-011",
        title: "of a child that is slower than the deadline a filter says that it is late",
        needs: &[Need::Filter, Need::Want],
        run: Run::Active(child_late),
    },
    Check {
        id: "filter-verifies-up",
        requirement: "BH-FILT-008",
        title: "a filter that changes bytes makes no hit of content that its child corrupted",
        needs: &[Need::ChangesBytes, Need::Entries],
        run: Run::Active(verifies_up),
    },
    Check {
        id: "filter-verifies-down",
        requirement: "BH-FILT-008",
        title: "a filter that changes bytes passes no file on whose digest is wrong",
        needs: &[Need::ChangesBytes, Need::Built],
        run: Run::Active(verifies_down),
    },
    Check {
        id: "filter-unknown-kind",
        requirement: "BH-FILT-009",
        title: "an unknown kind does not reach the child",
        needs: &[Need::Filter, Need::Want],
        run: Run::Active(unknown_kind),
    },
    Check {
        id: "filter-child-missing",
        requirement: "BH-FILT-010",
        title: "a child that does not exist gives a hello with an error of kind child",
        needs: &[Need::Filter],
        run: Run::Active(child_missing),
    },
    Check {
        id: "filter-child-version",
        requirement: "BH-FILT-010",
        title: "a child that speaks version 99 only gives a hello with an error of kind child",
        needs: &[Need::Filter],
        run: Run::Active(child_version),
    },
];

/// A deadline for requests to a child that will not answer.
const SHORT_DEADLINE_MS: u64 = 1_500;

/// What a busy machine may take until the filter reads a request.
const READING_MS: u64 = 300;

fn child_fails(bench: &mut Bench<'_>) -> Outcome {
    for option in ["--die-on-request", "--die-in-answer", "--nonsense", "--silent"] {
        let mut session = bench.session_from(&bench.launch_over(&[option]))?;
        for index in 0..2 {
            let entry = bench.entry(&format!("{option} {index}"))?;
            let mut request = if index == 1 && session.has_hook("built-a-thing") {
                bench.built(&entry)?
            } else {
                bench.want(&entry)?
            };
            request["deadline-ms"] = SHORT_DEADLINE_MS.into();
            let answer = session.ask(request)?;
            let declined = answer["kind"] == "done" && answer["stored"] == "no";
            require!(
                declined || answer["kind"] == "miss" || answer["kind"] == "error",
                "with a child that has {option} the answer is {}",
                short(&answer)
            );
        }
        session.close()?;
    }
    Ok(())
}

fn child_slow(bench: &mut Bench<'_>) -> Outcome {
    let mut session = bench.session_from(&bench.launch_over(&["--answer-delay-ms", "4000"]))?;
    let entry = bench.entry("slow")?;
    let mut request = bench.want(&entry)?;
    request["deadline-ms"] = SHORT_DEADLINE_MS.into();
    let start = Instant::now();
    let answer = session.ask(request)?;
    let took = start.elapsed();
    // The deadline counts from when the filter reads the request.
    let limit = bench.limit(Duration::from_millis(SHORT_DEADLINE_MS + READING_MS));
    require!(took <= limit, "answered after {} of {SHORT_DEADLINE_MS} ms", took.as_millis());
    require!(answer["kind"] != "hit", "a hit that nobody stored: {}", short(&answer));
    Ok(())
}

fn child_late(bench: &mut Bench<'_>) -> Outcome {
    let mut session = bench.session_from(&bench.launch_over(&["--answer-delay-ms", "4000"]))?;
    let entry = bench.entry("late")?;
    let mut request = bench.want(&entry)?;
    request["deadline-ms"] = SHORT_DEADLINE_MS.into();
    let answer = session.ask(request)?;
    let miss = answer["kind"] == "miss" && answer["reason"]["code"] == "timeout";
    let error = answer["kind"] == "error" && answer["error"]["kind"] == "timeout";
    require!(miss || error, "of a child that is late the filter says {}", short(&answer));
    Ok(())
}

fn verifies_up(bench: &mut Bench<'_>) -> Outcome {
    let entry = bench.entry("corrupted")?;
    let mut session = bench.session()?;
    bench.seed(&mut session, &entry)?;
    bench.expect_hit(&mut session, &entry)?;
    session.close()?;
    let mut session = bench.session_from(&bench.launch_over(&["--corrupt"]))?;
    let answer = bench.ask(&mut session, &entry)?;
    require!(answer["kind"] != "hit", "a hit made of corrupted content: {}", short(&answer));
    session.close().map(|_| ())
}

fn verifies_down(bench: &mut Bench<'_>) -> Outcome {
    let mut session = bench.session()?;
    let mut entry = bench.entry("lying")?;
    entry.pieces[1].digest = crate::wire::digest(b"something else");
    entry.reseal();
    let answer = bench.tell(&mut session, &entry)?;
    require!(!says_stored(&answer), "a file with a wrong digest was accepted");
    session.close()?;
    let built = |note: &Value| note["message"]["kind"] == "built-a-thing";
    require!(
        !bench.child_received()?.iter().any(built),
        "the child got what was made of a wrong file"
    );
    Ok(())
}

fn unknown_kind(bench: &mut Bench<'_>) -> Outcome {
    let mut session = bench.session()?;
    let entry = bench.entry("kinds")?;
    let mut request = bench.want(&entry)?;
    request["kind"] = "x-conformance".into();
    let answer = session.ask(request)?;
    require!(
        answer["error"]["kind"] == "unknown-kind",
        "an unknown kind was answered: {}",
        short(&answer)
    );
    session.close()?;
    let leaked = |note: &Value| note["message"]["kind"] == "x-conformance";
    require!(!bench.child_received()?.iter().any(leaked), "the child got the unknown kind");
    Ok(())
}

fn expect_child_error(bench: &mut Bench<'_>, child: &[String]) -> Outcome {
    let argv = bench.setup.command.expand(&bench.store_folder(), child);
    let mut session = bench.start(&bench.launch_argv(argv))?;
    let hello = session.any_hello()?;
    require!(
        hello["error"]["kind"] == "child",
        "expected an error of kind child, got {}",
        short(&hello)
    );
    Ok(())
}

fn child_missing(bench: &mut Bench<'_>) -> Outcome {
    let missing = super::bench::text(&bench.folder.join("suite/no-such-program"));
    expect_child_error(bench, &[missing])
}

fn child_version(bench: &mut Bench<'_>) -> Outcome {
    let child = bench.child(&["--versions", "99"]);
    expect_child_error(bench, &child)
}
