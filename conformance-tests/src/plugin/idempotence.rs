//! Storing the same again.

use std::fs;

use super::bench::{Bench, expect_stored};
use super::{Check, Need, Run};
use crate::session::short;
use crate::verdict::{Outcome, require};

pub(super) const CHECKS: &[Check] = &[Check {
    id: "store-ten-times",
    requirement: "BH-BUILT-012",
    title: "an entry stored ten times, in turn with and without `replace`, is one whole entry",
    needs: &[Need::Built, Need::Want],
    run: Run::Active(ten_times),
}];

fn ten_times(bench: &mut Bench<'_>) -> Outcome {
    let entry = bench.entry("again")?;
    let mut session = bench.session()?;
    for round in 1..=10 {
        if round == 6 {
            session.close()?;
            session = bench.session()?;
        }
        let mut request = bench.built(&entry)?;
        // A plugin may decline to replace; it may not lose what it has.
        let replace = round % 3 == 0;
        if replace {
            request["replace"] = true.into();
        }
        let answer = bench.tell_as(&mut session, &entry, request)?;
        if !(replace && answer["stored"] == "no") {
            require!(answer["kind"] == "done", "round {round} was answered: {}", short(&answer));
            expect_stored(&answer)?;
        }
        bench.expect_hit(&mut session, &entry)?;
    }
    for path in entry.paths() {
        fs::remove_file(path)?;
    }
    bench.expect_hit(&mut session, &entry)?;
    session.close().map(|_| ())
}
