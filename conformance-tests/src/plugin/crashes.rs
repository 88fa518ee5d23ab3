//! SIGKILL at seeded moments.

use std::time::{Duration, Instant};

use super::bench::{Bench, LONG_DEADLINE_MS};
use super::{Check, Need, Run};
use crate::session::describe;
use crate::verdict::{Outcome, fail, require};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "killed-while-storing",
        requirement: "BH-END-006",
        title: "killed at ten moments of storing, the store has the entry whole or not, and goes on",
        needs: &[Need::Built, Need::Want],
        run: Run::Active(killed_while_storing),
    },
    Check {
        id: "killed-while-replacing",
        requirement: "BH-BUILT-003",
        title: "killed while it replaces an entry, the store has the old or the new one",
        needs: &[Need::Built, Need::Want],
        run: Run::Active(killed_while_replacing),
    },
];

const KILLS: u32 = 10;
const FILES: usize = 12;
const FILE_BYTES: usize = 120_000;

/// An entry that takes a while to store.
fn large(bench: &mut Bench<'_>, label: &str) -> Outcome<super::entry::Entry> {
    let mut pieces = Vec::new();
    for index in 0..FILES {
        let content = bench.random.bytes(FILE_BYTES + index);
        pieces.push(bench.piece(&format!("out/part-{index}"), &content)?);
    }
    bench.entry_of(label, pieces)
}

/// How long storing such an entry takes here.
fn measure(bench: &mut Bench<'_>) -> Outcome<Duration> {
    let mut session = bench.session()?;
    let entry = large(bench, "measured")?;
    let start = Instant::now();
    bench.store(&mut session, &entry)?;
    let took = start.elapsed();
    session.close()?;
    Ok(took)
}

/// Starts storing and kills the process after a part of `whole`.
fn kill_during(
    bench: &mut Bench<'_>,
    mut request: serde_json::Value,
    whole: Duration,
    moment: u32,
) -> Outcome {
    let mut session = bench.session()?;
    request["deadline-ms"] = LONG_DEADLINE_MS.into();
    // Evenly spread, with a seeded shift inside each part.
    let part = whole / KILLS;
    let shift = u32::try_from(bench.random.below(1_000)).unwrap_or(0);
    let pause = part * moment + part * shift / 1_000;
    let id = session.send(request);
    // Waiting for the answer is the pause; whether it comes does not matter.
    let _ = session.answer_within(id, pause)?;
    session.kill();
    Ok(())
}

fn killed_while_storing(bench: &mut Bench<'_>) -> Outcome {
    let whole = measure(bench)?;
    for moment in 0..KILLS {
        let entry = large(bench, &format!("killed {moment}"))?;
        let request = bench.built(&entry)?;
        kill_during(bench, request, whole, moment)?;
        let mut session = bench.session()?;
        bench.whole_or_no_hit(&mut session, &entry)?;
        let answer = bench.tell(&mut session, &entry)?;
        require!(
            super::bench::says_stored(&answer),
            "after a kill the entry cannot be stored: {}",
            crate::session::short(&answer)
        );
        bench.expect_hit(&mut session, &entry)?;
        let ending = session.close()?;
        match ending.status {
            Some(status) if status.success() => {}
            Some(status) => fail!("the session after a kill ended with {}", describe(status)),
            None => fail!("the session after a kill did not end"),
        }
    }
    Ok(())
}

fn killed_while_replacing(bench: &mut Bench<'_>) -> Outcome {
    let whole = measure(bench)?;
    let mut current = large(bench, "first")?;
    let mut session = bench.session()?;
    bench.store(&mut session, &current)?;
    session.close()?;
    for moment in 0..KILLS / 2 {
        let mut next = large(bench, &format!("next {moment}"))?;
        next.key.clone_from(&current.key);
        next.manifest.clone_from(&current.manifest);
        next.reseal();
        let mut request = bench.built(&next)?;
        request["replace"] = true.into();
        kill_during(bench, request, whole, moment * 2)?;
        let mut session = bench.session()?;
        let answer = bench.ask(&mut session, &current)?;
        if answer["kind"] == "hit" {
            let old = current.difference(&answer);
            let new = next.difference(&answer);
            if let (Some(old), Some(new)) = (&old, &new) {
                fail!("a hit that is neither the old entry ({old}) nor the new one ({new})");
            }
            if new.is_none() {
                current = next;
            }
        } else {
            bench.store(&mut session, &current)?;
        }
        session.close()?;
    }
    Ok(())
}
