//! The log: a report as JSON lines, one for each thing that happened, as far as the
//! configured level goes.
//!
//! ```text
//! {"at-ms":…,"session":4711,"level":"error","text":"plugin `x`: did not answer in time"}
//! {"at-ms":…,"session":4711,"level":"info","unit":{"crate-name":"leaf","outcome":"hit",…}}
//! ```
//!
//! A session appends its lines in one write when it ends. A file above [`MAX_BYTES`] is
//! renamed to `….old` first, so the two take a bounded space.

use std::io::{self, Write as _};
use std::path::Path;

use fs_err as fs;
use serde::Serialize;

use super::{Outcome, SessionReport, UnitReport, render};
use crate::config::{Log, LogLevel};

/// 16 MB: some ten thousand units.
const MAX_BYTES: u64 = 16_000_000;

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Line<'a> {
    at_ms: u64,
    session: u32,
    level: LogLevel,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<&'a UnitReport>,
}

/// Appends what `report` holds up to the level of `log`.
pub(super) fn append(log: &Log, report: &SessionReport, pid: u32) -> io::Result<()> {
    let lines = lines(log.level.value, report, pid)?;
    if lines.is_empty() {
        return Ok(());
    }
    let path = &log.file.value;
    fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
    if fs::metadata(path).is_ok_and(|metadata| metadata.len() > MAX_BYTES) {
        fs::rename(path, path.with_added_extension("old"))?;
    }
    fs::OpenOptions::new().create(true).append(true).open(path)?.write_all(&lines)
}

fn lines(most: LogLevel, report: &SessionReport, pid: u32) -> io::Result<Vec<u8>> {
    let at_ms = report.started_unix_ms + report.duration_ms;
    let line = |level, text, unit| Line { at_ms, session: pid, level, text, unit };
    let mut lines = Vec::new();
    for text in render::fault_lines(&report.hook) {
        lines.push(line(LogLevel::Error, Some(text), None));
    }
    for text in render::said_lines(&report.hook) {
        lines.push(line(LogLevel::Warn, Some(text), None));
    }
    for note in &report.notes {
        lines.push(line(LogLevel::Warn, Some(note.clone()), None));
    }
    for unit in &report.units {
        let level = if unit.outcome == Outcome::Uncached { LogLevel::Warn } else { LogLevel::Info };
        lines.push(line(level, None, Some(unit)));
    }
    let build = format!("`{}` in {}", report.command, report.folder.display());
    lines.push(line(LogLevel::Info, Some(build), None));
    for plugin in report.hook.plugins.iter().filter(|plugin| !plugin.stderr_tail.is_empty()) {
        let text = format!("`{}` said in full: {}", plugin.command, plugin.stderr_tail);
        lines.push(line(LogLevel::Debug, Some(text), None));
    }
    let mut bytes = Vec::new();
    for line in lines.into_iter().filter(|line| line.level <= most) {
        serde_json::to_writer(&mut bytes, &line)?;
        bytes.push(b'\n');
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::render::tests::timed_out;

    #[test]
    fn each_level_holds_the_ones_before() {
        let unit = |outcome| UnitReport { outcome, ..UnitReport::default() };
        let report = SessionReport {
            units: vec![unit(Outcome::Hit), unit(Outcome::Uncached)],
            notes: vec!["a note".into()],
            hook: timed_out(1),
            ..SessionReport::default()
        };
        let count = |level| {
            let bytes = lines(level, &report, 7).unwrap();
            let lines: Vec<serde_json::Value> = serde_json::Deserializer::from_slice(&bytes)
                .into_iter()
                .collect::<Result<_, _>>()
                .unwrap();
            lines.len()
        };
        // Two lines on the fault, one note and one unit not cached, the other unit and the
        // build; the plugin said nothing.
        let counts = [LogLevel::Off, LogLevel::Error, LogLevel::Warn, LogLevel::Info].map(count);
        assert_eq!(counts, [0, 2, 4, 6]);
        assert_eq!(count(LogLevel::Debug), 6);
    }
}
