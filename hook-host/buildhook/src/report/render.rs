//! Reports and totals in words.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};

use buildhook_host::HookReport;

use super::totals::Totals;
use super::{Outcome, SessionReport};

/// Lines of a plugin's standard error that are shown: more is in the log.
const MAX_SAID_LINES: usize = 5;
/// Characters of such a line.
const MAX_SAID_CHARS: usize = 400;

/// The end of a `run`: what its sessions did, and once what they have to tell.
pub(crate) fn summary(reports: &[SessionReport]) -> String {
    let totals = Totals::of(reports);
    let mut text = String::new();
    if totals.units() == 0 {
        text += "buildhook: the compiler was not called: all was fresh, or nothing was built\n";
    } else {
        text += &headline(&totals);
        push_sizes(&mut text, &totals);
    }
    push_reasons(&mut text, "not cacheable", &totals.uncached_reasons, &messages(reports));
    push_reasons(&mut text, "missed", &totals.miss_reasons, &BTreeMap::new());
    for line in tell_once(reports) {
        let _ = writeln!(text, "  {line}");
    }
    text
}

/// The totals since the last `clear`.
pub(crate) fn totals(totals: &Totals) -> String {
    let mut text = headline(totals);
    push_sizes(&mut text, totals);
    push_reasons(&mut text, "not cacheable", &totals.uncached_reasons, &BTreeMap::new());
    push_reasons(&mut text, "missed", &totals.miss_reasons, &BTreeMap::new());
    push_reasons(&mut text, "plugin faults", &totals.faults, &BTreeMap::new());
    text
}

fn headline(totals: &Totals) -> String {
    let mut parts = vec![
        plural(totals.hits, "hit", "hits"),
        plural(totals.misses, "miss", "misses"),
        format!("{} not cacheable", totals.uncached),
    ];
    if totals.failed > 0 {
        parts.push(format!("{} failed to compile", totals.failed));
    }
    format!(
        "buildhook: {} in {}: {}\n",
        plural(totals.units(), "unit", "units"),
        plural(totals.sessions, "session", "sessions"),
        parts.join(", ")
    )
}

fn push_sizes(text: &mut String, totals: &Totals) {
    let _ = writeln!(
        text,
        "  {} restored, {} offered to the cache; {} of compile time saved",
        Bytes(totals.restored_bytes),
        Bytes(totals.offered_bytes),
        Time(totals.saved_ms)
    );
}

fn push_reasons(
    text: &mut String,
    title: &str,
    counts: &BTreeMap<String, u64>,
    messages: &BTreeMap<&str, &str>,
) {
    let mut counts: Vec<_> = counts.iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    for (code, count) in counts {
        let _ = write!(text, "  {title}: {count} × {code}");
        match messages.get(code.as_str()) {
            Some(message) => _ = writeln!(text, " ({message})"),
            None => text.push('\n'),
        }
    }
}

/// The first message for each reason that a unit was not cacheable.
fn messages(reports: &[SessionReport]) -> BTreeMap<&str, &str> {
    let mut messages = BTreeMap::new();
    let units = reports.iter().flat_map(|report| &report.units);
    for unit in units.filter(|unit| unit.outcome == Outcome::Uncached) {
        if let Some(reason) = unit.reason.as_ref().filter(|reason| !reason.message.is_empty()) {
            messages.entry(reason.code.as_str()).or_insert(reason.message.as_str());
        }
    }
    messages
}

/// Notes, faults, and what plugins had to say in several sessions, each once.
pub(crate) fn tell_once(reports: &[SessionReport]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let notes = reports.iter().flat_map(|r| r.notes.iter().map(|note| format!("note: {note}")));
    let faults = reports.iter().flat_map(|r| fault_lines(&r.hook));
    let said = reports.iter().flat_map(|r| said_lines(&r.hook));
    notes.chain(faults).chain(said).filter(|line| seen.insert(line.clone())).collect()
}

/// What went wrong with plugins, one sentence each.
pub(super) fn fault_lines(hook: &HookReport) -> Vec<String> {
    let mut lines = Vec::new();
    for plugin in &hook.plugins {
        let name = plugin.name.as_ref().unwrap_or(&plugin.command);
        // What switched it off is often its last fault.
        let is_told = |message: &str| plugin.switched_off.iter().any(|why| why == message);
        for fault in plugin.faults.iter().filter(|fault| !is_told(&fault.fault.message)) {
            let times =
                if fault.count > 1 { format!(" ({} times)", fault.count) } else { "".into() };
            lines.push(format!("plugin `{name}`: {}{times}", one_line(&fault.fault.message)));
        }
        let off = plugin.switched_off.iter();
        lines.extend(off.map(|why| format!("plugin `{name}` was left alone: {}", one_line(why))));
    }
    lines
}

/// The last of what plugins wrote to standard error: that is where they tell what a person
/// should change, or what was not uploaded in time.
pub(super) fn said_lines(hook: &HookReport) -> Vec<String> {
    let mut lines = Vec::new();
    for plugin in &hook.plugins {
        let name = plugin.name.as_ref().unwrap_or(&plugin.command);
        let said: Vec<_> = plugin.stderr_tail.lines().filter(|line| !line.is_empty()).collect();
        for line in &said[said.len().saturating_sub(MAX_SAID_LINES)..] {
            let plain = line.chars().filter(|c| !c.is_control()).take(MAX_SAID_CHARS);
            lines.push(format!("plugin `{name}` said: {}", plain.collect::<String>()));
        }
    }
    lines
}

fn plural(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// What a plugin said last may have lines.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A size in bytes, shown in decimal units as configuration takes it.
pub(crate) struct Bytes(pub(crate) u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
        if self.0 < 1000 {
            return write!(f, "{} B", self.0);
        }
        // Exact enough: three digits are shown.
        #[expect(clippy::cast_precision_loss, reason = "only three digits are shown")]
        let mut value = self.0 as f64;
        let mut unit = 0;
        while value >= 999.95 && unit + 1 < UNITS.len() {
            value /= 1000.0;
            unit += 1;
        }
        write!(f, "{value:.1} {}", UNITS[unit])
    }
}

/// A duration in milliseconds, shown with a unit that fits.
pub(crate) struct Time(pub(crate) u64);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0;
        let seconds = ms / 1000;
        match ms {
            0..1_000 => write!(f, "{ms} ms"),
            1_000..60_000 => write!(f, "{seconds}.{} s", ms % 1000 / 100),
            60_000..3_600_000 => write!(f, "{} min {:02} s", seconds / 60, seconds % 60),
            _ => write!(f, "{} h {:02} min", seconds / 3600, seconds / 60 % 60),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::report::{UnitReason, UnitReport};

    /// A plugin that did not answer in time so many times.
    pub(crate) fn timed_out(count: u64) -> HookReport {
        let fault = serde_json::json!({
            "fault": {"kind": "timeout", "message": "no answer within 2000 ms"},
            "hook": "want-to-build",
            "count": count,
        });
        let plugin = serde_json::json!({
            "command": "plug --x",
            "faults": [fault],
            "switched-off": ["it has cost 3500 ms"],
        });
        serde_json::from_value(serde_json::json!({ "plugins": [plugin] })).unwrap()
    }

    fn example() -> Vec<SessionReport> {
        let unit = |outcome, code: &str, message: &str| UnitReport {
            outcome,
            reason: Some(UnitReason { code: code.into(), message: message.into() }),
            bytes: 1_234_567,
            saved_ms: 61_234,
            ..UnitReport::default()
        };
        let report = SessionReport {
            units: vec![
                unit(Outcome::Hit, "", ""),
                unit(Outcome::Miss, "not-found", "no such entry"),
                unit(Outcome::Uncached, "stdin", "the source is read from standard input"),
                unit(Outcome::Failed, "", ""),
            ],
            notes: vec!["one thing to know".into()],
            hook: timed_out(3),
            ..SessionReport::default()
        };
        vec![report.clone(), report]
    }

    #[test]
    fn summary_tells_each_thing_once() {
        insta::assert_snapshot!(summary(&example()), @r"
        buildhook: 8 units in 2 sessions: 2 hits, 2 misses, 2 not cacheable, 2 failed to compile
          2.5 MB restored, 2.5 MB offered to the cache; 2 min 02 s of compile time saved
          not cacheable: 2 × stdin (the source is read from standard input)
          missed: 2 × not-found
          note: one thing to know
          plugin `plug --x`: no answer within 2000 ms (3 times)
          plugin `plug --x` was left alone: it has cost 3500 ms
        ");
    }

    #[test]
    fn nothing_built() {
        insta::assert_snapshot!(summary(&[]), @"buildhook: the compiler was not called: all was fresh, or nothing was built");
    }

    #[test]
    fn units_fit() {
        let bytes = [0, 999, 1000, 999_949, 999_951, 20_000_000_000, u64::MAX];
        let bytes: Vec<_> = bytes.iter().map(|b| Bytes(*b).to_string()).collect();
        assert_eq!(
            bytes,
            ["0 B", "999 B", "1.0 kB", "999.9 kB", "1.0 MB", "20.0 GB", "18446744.1 TB"]
        );
        let times = [0, 999, 1000, 59_999, 61_000, 3_661_000];
        let times: Vec<_> = times.iter().map(|t| Time(*t).to_string()).collect();
        assert_eq!(times, ["0 ms", "999 ms", "1.0 s", "59.9 s", "1 min 01 s", "1 h 01 min"]);
    }
}
