//! Leases, in both directions.

use std::fs;

use super::bench::{Bench, expect_hit, expect_stored};
use super::{Check, Need, Run};
use crate::verdict::{Outcome, fail};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "borrowed-is-only-read",
        requirement: "BH-FILE-006",
        title: "files lent as `borrowed` get no hard link",
        needs: &[Need::Built],
        run: Run::Active(borrowed),
    },
    Check {
        id: "shared-is-not-changed",
        requirement: "BH-FILE-007",
        title: "files lent as `shared` keep content, mode and time, and may vanish afterwards",
        needs: &[Need::Built],
        run: Run::Active(shared),
    },
    Check {
        id: "owned-may-be-taken",
        requirement: "BH-FILE-012",
        title: "files lent as `owned` are stored, whatever becomes of the originals",
        needs: &[Need::Built, Need::Want],
        run: Run::Active(owned),
    },
    Check {
        id: "borrowed-answer-stays",
        requirement: "BH-FILE-010",
        title: "a borrowed file of an answer stays as it is until the session ends",
        needs: &[Need::Entries],
        run: Run::Active(answer_stays),
    },
    Check {
        id: "shared-answer-never-changes",
        requirement: "BH-FILE-011",
        title: "a shared file of an answer is the same or gone, also after the entry was replaced",
        needs: &[Need::Built, Need::Want],
        run: Run::Active(shared_answer),
    },
    Check {
        id: "owned-answer-is-ours",
        requirement: "BH-FILE-010",
        title: "what the receiver does to an owned file of an answer does not change the entry",
        needs: &[Need::Entries],
        run: Run::Active(owned_answer),
    },
];

/// Fails when this check noticed a breach of `requirement`.
fn unbroken(bench: &Bench<'_>, requirement: &str) -> Outcome {
    let broken = bench.log.violations();
    match broken.iter().find(|violation| violation.requirement == requirement) {
        Some(violation) => fail!("{}", violation.text),
        None => Ok(()),
    }
}

fn borrowed(bench: &mut Bench<'_>) -> Outcome {
    let mut session = bench.session()?;
    for label in ["first", "second"] {
        let entry = bench.entry(label)?;
        bench.store(&mut session, &entry)?;
    }
    session.close()?;
    unbroken(bench, "BH-FILE-006")
}

fn shared(bench: &mut Bench<'_>) -> Outcome {
    let mut session = bench.session()?;
    let mut entry = bench.entry("shared")?;
    entry.lease = "shared";
    bench.store(&mut session, &entry)?;
    unbroken(bench, "BH-FILE-007")?;
    if bench.setup.capabilities.want {
        bench.expect_hit(&mut session, &entry)?;
        for path in entry.paths() {
            fs::remove_file(path)?;
        }
        bench.expect_hit(&mut session, &entry)?;
    }
    session.close().map(|_| ())
}

fn owned(bench: &mut Bench<'_>) -> Outcome {
    let mut session = bench.session()?;
    let mut entry = bench.entry("owned")?;
    entry.lease = "owned";
    let scratch = bench.scratch()?;
    for (index, piece) in entry.pieces.iter_mut().enumerate() {
        let path = scratch.join(format!("owned {index}"));
        fs::rename(&piece.path, &path)?;
        piece.path = path;
    }
    let mut request = bench.built(&entry)?;
    request["scratch"] = crate::plugin::bench::text(&scratch).into();
    expect_stored(&session.ask(request)?)?;
    fs::remove_dir_all(&scratch)?;
    bench.expect_hit(&mut session, &entry)?;
    session.close()?;
    let mut session = bench.session()?;
    bench.expect_hit(&mut session, &entry)?;
    session.close().map(|_| ())
}

fn answer_stays(bench: &mut Bench<'_>) -> Outcome {
    let mut session = bench.session()?;
    let entry = bench.entry("lent")?;
    bench.seed(&mut session, &entry)?;
    let answer = bench.expect_hit(&mut session, &entry)?;
    for index in 0..3 {
        let other = bench.entry(&format!("other {index}"))?;
        bench.ask(&mut session, &other)?;
        if bench.setup.capabilities.built {
            bench.tell(&mut session, &other)?;
        }
    }
    bench.expect_hit(&mut session, &entry)?;
    session.check_leases();
    // A shared file may be gone by now; a borrowed one may not.
    let lent = |record: &&serde_json::Value| record["lease"] == "borrowed";
    let mut still = answer.clone();
    let records = answer["files"].as_array().into_iter().flatten().filter(lent).cloned();
    still["files"] = records.collect::<Vec<_>>().into();
    if still["files"] == answer["files"] {
        expect_hit(&still, &entry)?;
    }
    session.close()?;
    unbroken(bench, "BH-FILE-010")
}

fn shared_answer(bench: &mut Bench<'_>) -> Outcome {
    let mut session = bench.session()?;
    let old = bench.entry("old")?;
    let new = bench.rival(&old, "new")?;
    bench.store(&mut session, &old)?;
    bench.expect_hit(&mut session, &old)?;
    let mut other = bench.session()?;
    let mut request = bench.built(&new)?;
    request["replace"] = true.into();
    bench.tell_as(&mut other, &new, request)?;
    other.close()?;
    // Looks at what `session` was lent before it closes.
    session.close()?;
    unbroken(bench, "BH-FILE-011")
}

fn owned_answer(bench: &mut Bench<'_>) -> Outcome {
    let mut session = bench.session()?;
    let entry = bench.entry("given")?;
    bench.seed(&mut session, &entry)?;
    let answer = bench.expect_hit(&mut session, &entry)?;
    for record in answer["files"].as_array().into_iter().flatten() {
        if let (true, Some(path)) = (record["lease"] == "owned", record["path"].as_str()) {
            fs::write(path, b"ours now")?;
        }
    }
    bench.expect_hit(&mut session, &entry)?;
    session.close().map(|_| ())
}
