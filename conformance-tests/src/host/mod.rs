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

use crate::verdict::Outcome;

/// One check of one requirement.
#[derive(Debug)]
pub(crate) struct HostCheck {
    /// Unique, `host-…`.
    pub(crate) id: &'static str,
    /// The requirement it decides.
    pub(crate) requirement: &'static str,
    /// What is done, in one line.
    pub(crate) title: &'static str,
    /// What is run.
    pub(crate) run: HostRun,
}

/// How a check is decided.
#[derive(Clone, Copy, Debug)]
pub(crate) enum HostRun {
    /// By builds of its own.
    Active(fn(&mut Builds<'_>) -> Outcome),
    /// The same, if the host uses hits at all.
    WithHits(fn(&mut Builds<'_>) -> Outcome),
    /// By what scripted plugins noticed in all builds.
    Observed,
}

/// Every check.
pub(crate) fn checks() -> impl Iterator<Item = &'static HostCheck> {
    [checks::CHECKS, hits::CHECKS, faults::CHECKS].into_iter().flatten()
}
