//! The host suite: makes a host do builds against scripted plugins.
//!
//! The command under test does one build. `{target}` in it becomes a fresh
//! folder; `BUILDHOOK_HOOK` in its environment is the command line of the
//! plugin, to be split as a shell splits words. What the build is about does
//! not matter, as long as it is the same every time, succeeds without a
//! plugin, and puts what it makes below `{target}`.

mod builds;
pub(crate) mod catalog;
mod checks;
pub(crate) mod fake;
mod faults;
mod hits;
mod requests;
pub(crate) mod run;
pub(crate) mod script;

use builds::Builds;

use crate::suite::{self, Run};
use crate::verdict::Outcome;

/// What a check runs: builds.
pub(crate) type Function = fn(&mut Builds<'_>) -> Outcome;
/// One check of one requirement; ids begin with `host-`.
pub(crate) type Check = suite::Check<Need, Function>;

/// A capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// In a second build it uses hits.
    Hits,
}

/// A check by builds of its own.
const fn active(
    id: &'static str,
    requirement: &'static str,
    title: &'static str,
    run: Function,
) -> Check {
    Check { id, requirement, title, needs: &[], run: Run::Active(run) }
}

/// A check that needs a host that uses hits.
const fn with_hits(
    id: &'static str,
    requirement: &'static str,
    title: &'static str,
    run: Function,
) -> Check {
    Check { id, requirement, title, needs: &[Need::Hits], run: Run::Active(run) }
}

/// Every check.
pub(crate) fn checks() -> impl Iterator<Item = &'static Check> + Clone {
    [checks::WATCHED, checks::CHECKS, hits::CHECKS, faults::CHECKS].into_iter().flatten()
}
