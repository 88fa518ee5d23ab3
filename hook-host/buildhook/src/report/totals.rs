//! Sums over sessions: of one `run`, and in `stats.json` of all since the last `clear`.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use buildhook_cargo::atomic;
use buildhook_host::FaultKind;
use fs_err as fs;
use serde::{Deserialize, Serialize};

use super::{Outcome, SessionReport};

const FILE: &str = "stats.json";
/// Held while `stats.json` is read and replaced; never replaced itself.
const LOCK: &str = "stats.lock";

/// Counts and sums.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(crate) struct Totals {
    /// When the first session counted here began, in milliseconds since 1970; 0 if none.
    pub(crate) since_unix_ms: u64,
    /// Sessions counted.
    pub(crate) sessions: u64,
    /// Units restored.
    pub(crate) hits: u64,
    /// Units compiled and offered to the plugin.
    pub(crate) misses: u64,
    /// Units compiled without the plugin.
    pub(crate) uncached: u64,
    /// Units that did not compile.
    pub(crate) failed: u64,
    /// Size of what was restored.
    pub(crate) restored_bytes: u64,
    /// Size of what was offered to the plugin.
    pub(crate) offered_bytes: u64,
    /// Compile time saved, summed over units: more than wall time saved when units are
    /// built in parallel.
    pub(crate) saved_ms: u64,
    /// Misses by reason.
    pub(crate) miss_reasons: BTreeMap<String, u64>,
    /// Units that were not cacheable, by reason.
    pub(crate) uncached_reasons: BTreeMap<String, u64>,
    /// Faults of plugins by kind.
    pub(crate) faults: BTreeMap<String, u64>,
}

impl Totals {
    /// The sums over some sessions.
    pub(crate) fn of<'a>(reports: impl IntoIterator<Item = &'a SessionReport>) -> Self {
        let mut totals = Self::default();
        reports.into_iter().for_each(|report| totals.add(report));
        totals
    }

    /// Units counted.
    pub(crate) fn units(&self) -> u64 {
        self.hits + self.misses + self.uncached + self.failed
    }

    fn add(&mut self, report: &SessionReport) {
        if self.sessions == 0 || report.started_unix_ms < self.since_unix_ms {
            self.since_unix_ms = report.started_unix_ms;
        }
        self.sessions += 1;
        for unit in &report.units {
            let code = unit.reason.as_ref().map_or("other", |reason| reason.code.as_str());
            match unit.outcome {
                Outcome::Hit => {
                    self.hits += 1;
                    self.restored_bytes += unit.bytes;
                    self.saved_ms += unit.saved_ms;
                }
                Outcome::Miss => {
                    self.misses += 1;
                    self.offered_bytes += unit.bytes;
                    count(&mut self.miss_reasons, code, 1);
                }
                Outcome::Uncached => {
                    self.uncached += 1;
                    count(&mut self.uncached_reasons, code, 1);
                }
                Outcome::Failed => self.failed += 1,
            }
        }
        for fault in report.hook.plugins.iter().flat_map(|plugin| &plugin.faults) {
            count(&mut self.faults, &word(fault.fault.kind), fault.count);
        }
    }
}

fn count(counts: &mut BTreeMap<String, u64>, code: &str, times: u64) {
    match counts.get_mut(code) {
        Some(count) => *count += times,
        None => drop(counts.insert(code.to_owned(), times)),
    }
}

/// The word for a kind of fault, as reports have it.
fn word(kind: FaultKind) -> String {
    let value = serde_json::to_value(kind).unwrap_or_default();
    value.as_str().unwrap_or("other").to_owned()
}

/// The totals kept in `host_dir`; nothing counted when there are none that can be read.
pub(crate) fn read(host_dir: &Path) -> Totals {
    let content = fs::read(host_dir.join(FILE)).unwrap_or_default();
    serde_json::from_slice(&content).unwrap_or_default()
}

/// Adds one session to the totals kept in `host_dir`. Sessions that end at once wait for
/// each other.
pub(super) fn add(host_dir: &Path, report: &SessionReport) -> io::Result<()> {
    let lock = fs::File::create(host_dir.join(LOCK))?;
    lock.file().lock()?;
    let mut totals = read(host_dir);
    totals.add(report);
    atomic::write(&host_dir.join(FILE), &serde_json::to_vec(&totals)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::render::tests::timed_out;
    use crate::report::{UnitReason, UnitReport};

    #[test]
    fn adds_up_by_outcome_and_reason() {
        let unit = |outcome, code: &str| UnitReport {
            outcome,
            reason: Some(UnitReason { code: code.into(), message: String::new() }),
            bytes: 10,
            saved_ms: 7,
            ..UnitReport::default()
        };
        let mut report = SessionReport {
            started_unix_ms: 99,
            units: vec![
                unit(Outcome::Hit, ""),
                unit(Outcome::Hit, ""),
                unit(Outcome::Miss, "not-found"),
                unit(Outcome::Uncached, "stdin"),
                unit(Outcome::Failed, ""),
            ],
            ..SessionReport::default()
        };
        report.hook = timed_out(2);
        let totals = Totals::of([&report, &report]);
        assert_eq!(
            totals,
            Totals {
                since_unix_ms: 99,
                sessions: 2,
                hits: 4,
                misses: 2,
                uncached: 2,
                failed: 2,
                restored_bytes: 40,
                offered_bytes: 20,
                saved_ms: 28,
                miss_reasons: [("not-found".to_owned(), 2)].into(),
                uncached_reasons: [("stdin".to_owned(), 2)].into(),
                faults: [("timeout".to_owned(), 4)].into(),
            }
        );
        assert_eq!(totals.units(), 10);
    }

    #[test]
    fn sessions_that_end_at_once_are_all_counted() {
        let host = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| add(host.path(), &SessionReport::default()).unwrap());
            }
        });
        assert_eq!(read(host.path()).sessions, 8);
    }
}
