//! The plugin suite.
//!
//! A check is a row of data and a function: see [`suite::Check`]. To add one, write
//! it in the file of its family, add it to that family's `CHECKS`, name it in
//! `protocol-spec/requirements.toml`, and add a broken plugin that it catches
//! to `mutant/catalog.rs`; tests say which of these is missing.

pub(crate) mod bench;
mod concurrency;
mod crashes;
pub(crate) mod entry;
mod faults;
mod filter_faults;
mod filters;
mod hello;
mod hits;
mod idempotence;
mod integrity;
mod leases;
mod limits;
mod names;
mod observed;
pub(crate) mod performance;
mod requests;
pub(crate) mod run;
mod shutdown;
mod storing;
mod wire;

use std::path::PathBuf;
use std::sync::Arc;

use bench::Bench;

use crate::command::Template;
use crate::session::Patience;
use crate::suite;
pub(crate) use crate::suite::Run;
use crate::verdict::Outcome;

/// What a check runs.
pub(crate) type Function = fn(&mut Bench<'_>) -> Outcome;
/// One check of one requirement.
pub(crate) type Check = suite::Check<Need, Function>;

/// A capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Answers want-to-build.
    Want,
    /// Answers built-a-thing, and stored what the suite first offered.
    Built,
    /// A hit can be had: by storing, or through the suite's own child.
    Entries,
    /// Its command line has `{store}`.
    Store,
    /// It has a child: its command line has `{child}`.
    Filter,
    /// It is a filter whose child got other bytes than the filter.
    ChangesBytes,
    /// Its `max-in-flight` is above 1.
    Parallel,
}

impl Need {
    /// Why a check does not apply without it.
    fn absence(self) -> &'static str {
        match self {
            Self::Want => "the hello does not name want-to-build",
            Self::Built => "the plugin does not store, by its hello or by its answer",
            Self::Entries => "no entry can be stored and asked for",
            Self::Store => "the command line has no {store}",
            Self::Filter => "the command line has no {child}, so this is no filter",
            Self::ChangesBytes => "this is no filter that changes bytes",
            Self::Parallel => "`max-in-flight` is 1",
        }
    }
}

/// What the plugin can do, found out before the checks begin.
#[derive(Clone, Debug, Default)]
pub(crate) struct Capabilities {
    pub(crate) want: bool,
    pub(crate) built: bool,
    pub(crate) entries: bool,
    pub(crate) changes_bytes: bool,
    pub(crate) max_in_flight: u64,
    /// The hello asks for manifests.
    pub(crate) manifest: bool,
}

/// What is the same for all checks of a run.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) command: Template,
    pub(crate) seed: u64,
    /// Makes the keys of each run new, so that a store that outlives the run
    /// does not know them.
    pub(crate) nonce: String,
    pub(crate) patience: Arc<Patience>,
    pub(crate) capabilities: Capabilities,
    /// Holds the folder of every check.
    pub(crate) root: PathBuf,
}

impl Setup {
    /// The first need that is not met.
    fn unmet(&self, needs: &[Need]) -> Option<&'static str> {
        let can = &self.capabilities;
        let met = |need: &Need| match need {
            Need::Want => can.want,
            Need::Built => can.built,
            Need::Entries => can.entries,
            Need::Store => self.command.has_store(),
            Need::Filter => self.command.has_child(),
            Need::ChangesBytes => can.changes_bytes,
            Need::Parallel => can.max_in_flight > 1,
        };
        needs.iter().find(|need| !met(need)).map(|need| need.absence())
    }
}

/// Every check, family by family.
pub(crate) fn checks() -> impl Iterator<Item = &'static Check> + Clone {
    [
        wire::CHECKS,
        hello::CHECKS,
        requests::CHECKS,
        hits::CHECKS,
        storing::CHECKS,
        names::CHECKS,
        integrity::CHECKS,
        idempotence::CHECKS,
        concurrency::CHECKS,
        crashes::CHECKS,
        faults::CHECKS,
        limits::CHECKS,
        leases::CHECKS,
        filters::CHECKS,
        filter_faults::CHECKS,
        shutdown::CHECKS,
        observed::CHECKS,
    ]
    .into_iter()
    .flatten()
}
