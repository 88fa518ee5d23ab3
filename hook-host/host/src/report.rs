//! What a build's use of its plugins came to, as plain data: for summaries, statistics, logs.

use std::collections::BTreeMap;
use std::time::Duration;

use buildhook_protocol::{Hook, Reason, ReasonCode, Stored};
use serde::{Deserialize, Serialize};

use crate::fault::{Fault, FaultKind};

/// Kinds of fault told apart in a report of one plugin and hook; more are only counted.
pub(crate) const MAX_FAULT_LINES: usize = 32;

/// Reason codes counted apart; the protocol and the host know 25 together.
const MAX_CODES: usize = 64;

/// Everything that the host knows about its plugins and their use.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct HookReport {
    /// The plugins, the one for `want-to-build` first; one when both hooks share it.
    pub plugins: Vec<PluginReport>,
    /// Use of `want-to-build`.
    pub want_to_build: WantCounters,
    /// Use of `built-a-thing`.
    pub built_a_thing: BuiltCounters,
}

/// One plugin.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct PluginReport {
    /// The command as configured, or `(embedded)`.
    pub command: String,
    /// The hooks that it is configured for.
    pub hooks: Vec<Hook>,
    /// What its hello says: name and version. Absent before the first hello.
    pub name: Option<String>,
    /// See `name`.
    pub version: Option<String>,
    /// How often it was started.
    pub sessions: u32,
    /// What went wrong, each thing once, with how often.
    pub faults: Vec<FaultReport>,
    /// Why it is left alone for the rest of the build, wholly or for some hooks.
    pub switched_off: Vec<String>,
    /// Wall time spent waiting for answers that did not come, in milliseconds.
    pub lost_ms: u64,
    /// How its last process ended.
    pub exit: Option<String>,
    /// The end of what it wrote on standard error in its last session.
    pub stderr_tail: String,
    /// Bytes of standard error before that end, which are lost.
    pub stderr_dropped_bytes: u64,
}

/// Something that went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FaultReport {
    /// The first fault of this kind and hook.
    pub fault: Fault,
    /// The hook that was served; absent for the plugin's start and end.
    pub hook: Option<Hook>,
    /// How often.
    pub count: u64,
}

/// Calls and their time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Timing {
    /// Calls made.
    pub calls: u64,
    /// Wall time of all of them together, in microseconds.
    pub total_us: u64,
    /// Wall time of the longest, in microseconds.
    pub max_us: u64,
}

/// Use of `want-to-build`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct WantCounters {
    /// Calls and their time, restoring not included.
    pub timing: Timing,
    /// Hits whose claims held.
    pub hits: u64,
    /// Bytes of the files of these hits.
    pub hit_bytes: u64,
    /// Misses by reason code, faults among them.
    pub misses: BTreeMap<String, u64>,
    /// Hits found damaged while they were restored or read; they are among `hits`.
    pub damaged: u64,
}

/// Use of `built-a-thing`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct BuiltCounters {
    /// Calls and their time.
    pub timing: Timing,
    /// Answers `yes`.
    pub stored: u64,
    /// Answers `already`.
    pub already: u64,
    /// Answers `later`.
    pub later: u64,
    /// Bytes of the files of entries stored (`yes`).
    pub stored_bytes: u64,
    /// Everything else, by reason code.
    pub not_stored: BTreeMap<String, u64>,
}

/// Counts a reason by its code; codes beyond the bound count as `other`.
pub(crate) fn count(counts: &mut BTreeMap<String, u64>, reason: &Reason) {
    let known = counts.contains_key(&reason.code) || counts.len() < MAX_CODES;
    let code = if known { &reason.code } else { ReasonCode::OTHER };
    *counts.entry(code.to_owned()).or_default() += 1;
}

impl Timing {
    pub(crate) fn add(&mut self, took: Duration) {
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.calls += 1;
        self.total_us = self.total_us.saturating_add(took_us);
        self.max_us = self.max_us.max(took_us);
    }
}

impl BuiltCounters {
    pub(crate) fn add_answer(&mut self, stored: Stored, bytes: u64) {
        match stored {
            Stored::Yes => {
                self.stored += 1;
                self.stored_bytes += bytes;
            }
            Stored::Already => self.already += 1,
            Stored::Later => self.later += 1,
            Stored::No => {}
        }
    }
}

impl PluginReport {
    /// Notes a fault; true when it is the first of its kind and hook.
    pub(crate) fn note(&mut self, hook: Option<Hook>, fault: Fault) -> bool {
        let same = |known: &&mut FaultReport| known.fault.kind == fault.kind && known.hook == hook;
        if let Some(known) = self.faults.iter_mut().find(same) {
            known.count += 1;
            return false;
        }
        if self.faults.len() < MAX_FAULT_LINES {
            self.faults.push(FaultReport { fault, hook, count: 1 });
        }
        true
    }

    /// How often something of `kind` has gone wrong for `hook`, or for any.
    #[must_use]
    pub fn fault_count(&self, kind: FaultKind) -> u64 {
        self.faults.iter().filter(|f| f.fault.kind == kind).map(|f| f.count).sum()
    }
}
