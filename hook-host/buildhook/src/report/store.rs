//! Reports on disk: `reports/<unix-ms>-<pid>.json`, the newest [`KEPT`], beside the totals.
//!
//! A report is written under another name and renamed, so a reader sees a whole one or none.

use std::io;
use std::path::{Path, PathBuf};

use buildhook_cargo::atomic;
use fs_err as fs;

use super::{SessionReport, log, totals};
use crate::config::Config;
use crate::folders::Folders;

/// How many reports are kept: some days of work, below a few megabytes.
const KEPT: usize = 50;

impl SessionReport {
    /// Keeps this report where the configuration says: the log, the newest reports, the
    /// totals.
    ///
    /// # Errors
    /// Those of the file system; the caller tells nobody and goes on.
    pub(crate) fn append(&self, config: &Config, pid: u32) -> io::Result<()> {
        let logged = log::append(&config.log, self, pid);
        self.keep(&config.folders, pid)?;
        logged
    }

    /// Adds this report to the newest reports and to the totals.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn keep(&self, folders: &Folders, pid: u32) -> io::Result<()> {
        let reports = folders.reports();
        self.write_into(&reports, pid)?;
        for old in paths(&reports)?.iter().rev().skip(KEPT) {
            // Another session may be dropping the same one.
            fs::remove_file(old).or_else(ignore_not_found)?;
        }
        totals::add(&folders.host(), self)
    }

    /// Writes this report as one file of `dir`.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn write_into(&self, dir: &Path, pid: u32) -> io::Result<()> {
        fs::create_dir_all(dir)?;
        // Thirteen digits last until the year 2286, and keep names in order of time.
        let name = format!("{:013}-{pid}.json", self.started_unix_ms);
        atomic::write(&dir.join(name), &serde_json::to_vec(self)?)
    }
}

/// The reports of a folder that can be read, oldest first. A damaged one is left out.
pub(crate) fn read_all(dir: &Path) -> Vec<SessionReport> {
    paths(dir).unwrap_or_default().iter().filter_map(|path| read(path)).collect()
}

/// The newest reports that can be read, newest first.
pub(crate) fn newest_first(dir: &Path) -> impl Iterator<Item = SessionReport> + use<> {
    paths(dir).unwrap_or_default().into_iter().rev().filter_map(|path| read(&path))
}

fn read(path: &Path) -> Option<SessionReport> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// The report files of `dir`, oldest first.
fn paths(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            paths.push(path);
        }
    }
    paths.sort_unstable();
    Ok(paths)
}

fn ignore_not_found(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_newest() {
        let temp = tempfile::tempdir().unwrap();
        let [cache, user_config, state] = ["cache", "config", "state"].map(|n| temp.path().join(n));
        let folders = Folders { cache, user_config, state };
        let dir = folders.reports();
        for started_unix_ms in 1..=KEPT as u64 + 3 {
            SessionReport { started_unix_ms, ..Default::default() }.keep(&folders, 7).unwrap();
        }
        let kept: Vec<_> = read_all(&dir).iter().map(|report| report.started_unix_ms).collect();
        assert_eq!(kept, (4..=KEPT as u64 + 3).collect::<Vec<_>>());
        assert_eq!(totals::read(&folders.host()).sessions, KEPT as u64 + 3);
        assert_eq!(newest_first(&dir).next().unwrap().started_unix_ms, KEPT as u64 + 3);
    }

    #[test]
    fn a_damaged_report_is_left_out() {
        let host = tempfile::tempdir().unwrap();
        let report = SessionReport { started_unix_ms: 5, ..Default::default() };
        report.write_into(host.path(), 1).unwrap();
        fs::write(host.path().join("0000000000009-1.json"), "{").unwrap();
        assert_eq!(read_all(host.path()), [report]);
    }

    #[test]
    fn reads_reports_of_newer_versions() {
        let text = r#"{"units":[{"outcome":"teleported","new":1}],"later":{}}"#;
        let report: SessionReport = serde_json::from_str(text).unwrap();
        assert_eq!(report.units[0].outcome, crate::report::Outcome::Uncached);
    }
}
