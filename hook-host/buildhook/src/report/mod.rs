//! What happened in one session: each unit's outcome, the plugin's faults, what to tell.
//!
//! A session writes its [`SessionReport`] once, when it ends; `run`, `stats`, `explain` and
//! `doctor` read it. A report is a description for people. Nothing decides on it, so a
//! report that cannot be written or read is left out and never fails a build.
//!
//! Unknown members are ignored when reading: an older buildhook can read the reports of a
//! newer one. Values of environment variables are never part of a report.

mod log;
pub(crate) mod render;
pub(crate) mod run;
pub(crate) mod store;
pub(crate) mod totals;

use std::path::PathBuf;

use buildhook_host::HookReport;
use serde::{Deserialize, Serialize};

/// One session: all the units of one `cargo build` (or another tool that calls the compiler).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(crate) struct SessionReport {
    /// When it began, in milliseconds since 1970.
    pub(crate) started_unix_ms: u64,
    /// How long it lasted.
    pub(crate) duration_ms: u64,
    /// The build's command line, as far as known, for people.
    pub(crate) command: String,
    /// The folder the build was started in.
    pub(crate) folder: PathBuf,
    /// Every compiler call, in the order in which they ended.
    pub(crate) units: Vec<UnitReport>,
    /// How the plugins behaved.
    pub(crate) hook: HookReport,
    /// Sentences to tell the person once, such as a configuration that was not used.
    pub(crate) notes: Vec<String>,
}

/// One compiler call.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(crate) struct UnitReport {
    /// The crate, as the compiler names it.
    pub(crate) crate_name: String,
    /// The package it belongs to.
    pub(crate) package: String,
    /// The package's version.
    pub(crate) version: String,
    /// `lib`, `bin`, `proc-macro`, `build-script`, …
    pub(crate) unit_type: String,
    /// How it ended.
    pub(crate) outcome: Outcome,
    /// Why it was not a hit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<UnitReason>,
    /// The key asked for last, when there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
    /// How many files were restored or offered to the plugin.
    pub(crate) files: u64,
    /// Their size together.
    pub(crate) bytes: u64,
    /// What the call took, from its start to its end.
    pub(crate) time_ms: u64,
    /// What a hit saved: the time that building took once, less `time-ms`.
    pub(crate) saved_ms: u64,
}

/// How a compiler call ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
    /// Restored; the compiler did not run.
    Hit,
    /// Compiled, and offered to the plugin.
    Miss,
    /// The compiler ran and failed.
    Failed,
    /// Compiled without asking or telling anyone, for a named reason.
    #[default]
    #[serde(other)]
    Uncached,
}

/// Why a unit was not a hit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(crate) struct UnitReason {
    /// A stable word to count by, such as `not-found` or `unknown-flag`.
    pub(crate) code: String,
    /// A sentence for people; may be empty.
    pub(crate) message: String,
}
