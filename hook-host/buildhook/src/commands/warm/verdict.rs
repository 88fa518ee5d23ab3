//! What became of each unit, and the summary.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::Serialize;

use super::cargo::Built;
use super::wants::Wanted;
use crate::report::{Outcome, UnitReport};

/// Names of units that a line of the summary lists.
const MAX_NAMES: usize = 8;

/// How a unit came to be in the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Warmed {
    Built,
    Already,
}

/// Why a unit is not in the cache as it was wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Reason {
    code: String,
    message: String,
}

impl Reason {
    pub(super) fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into() }
    }
}

/// What is printed.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Summary {
    /// Built here and offered to the cache.
    warmed: BTreeSet<String>,
    /// In the cache already.
    already: BTreeSet<String>,
    not_warmed: Vec<NotWarmed>,
    /// Misses of packages that are on the machine of the project only, by origin.
    left_out: BTreeMap<String, u64>,
    tell: Vec<String>,
}

#[derive(Debug, Serialize)]
struct NotWarmed {
    unit: String,
    reason: Reason,
}

/// What became of `unit`, which was missed somewhere. With a compiler that was named
/// (`other_compiler`) it is not to be the very same unit.
pub(super) fn judge(unit: &Wanted, built: &Built, other_compiler: bool) -> Result<Warmed, Reason> {
    let stem = unit.stem();
    let reports: Vec<_> = built
        .units
        .iter()
        .filter(|report| {
            report.crate_name == unit.action.crate_name
                && report.package == unit.package
                && report.version == unit.version
        })
        .collect();
    let Some(report) = reports.last() else {
        let why = built.error.clone();
        let why = why.unwrap_or_else(|| "something that it depends on was not built".to_owned());
        return Err(Reason::new("not-built", why));
    };
    if let Some(failed) = reports.iter().find(|report| report.outcome == Outcome::Failed) {
        return of_report(failed);
    }
    if other_compiler {
        let refused = reports.iter().find(|report| report.outcome == Outcome::Uncached);
        return of_report(refused.unwrap_or(report));
    }
    if let Some(actions) = built.actions.get(&stem) {
        return if actions.contains(&unit.action) {
            Ok(Warmed::Built)
        } else {
            let names = actions.first().map(|action| differences(unit, action));
            let message = format!("it has other {}", names.unwrap_or_default().join(", "));
            Err(Reason::new("differs", message))
        };
    }
    if built.stems.contains(&stem) {
        return of_report(report);
    }
    let message = "Cargo builds it with other settings here: its features, its profile or what \
                   it depends on are not known from the file";
    Err(Reason::new("differs", message))
}

/// Members of two actions that are not equal.
fn differences(unit: &Wanted, action: &buildhook_cargo::manifest::Action) -> Vec<String> {
    let members = |action| match serde_json::to_value(action) {
        Ok(serde_json::Value::Object(members)) => members,
        _ => serde_json::Map::new(),
    };
    let theirs = members(&unit.action);
    let ours = members(action);
    theirs
        .into_iter()
        .filter(|(name, value)| ours.get(name) != Some(value))
        .map(|(n, _)| n)
        .collect()
}

/// What its session says of a unit.
pub(super) fn of_report(unit: &UnitReport) -> Result<Warmed, Reason> {
    let reason = unit.reason.clone().unwrap_or_default();
    match unit.outcome {
        Outcome::Hit => Ok(Warmed::Already),
        Outcome::Miss => Ok(Warmed::Built),
        Outcome::Failed => Err(Reason::new("failed", "it does not compile here")),
        Outcome::Uncached => Err(Reason::new(&reason.code, reason.message)),
    }
}

/// For people.
pub(super) fn label(unit: &UnitReport) -> String {
    let UnitReport { package, version, unit_type, .. } = unit;
    match unit_type.as_str() {
        "lib" | "proc-macro" => format!("{package} {version}"),
        other => format!("{package} {version} ({other})"),
    }
}

impl Summary {
    pub(super) fn add(&mut self, unit: String, verdict: Result<Warmed, Reason>) {
        match verdict {
            Ok(Warmed::Built) => _ = self.warmed.insert(unit),
            Ok(Warmed::Already) => _ = self.already.insert(unit),
            Err(reason) => self.not_warmed.push(NotWarmed { unit, reason }),
        }
    }

    /// That so many sessions have not ended: they may still store something, or not.
    pub(super) fn leave_at_work(&mut self, sessions: usize) {
        if sessions > 0 {
            let message = "its plugins did not end in time: what they still store is not known; \
                           raise `drain-ms` of [limits]";
            let reason = Reason::new("still-at-work", message);
            self.add(format!("sessions ({sessions})"), Err(reason));
        }
    }

    pub(super) fn leave_out(&mut self, origin: &str, count: u64) {
        *self.left_out.entry(origin.to_owned()).or_default() += count;
    }

    pub(super) fn tell(&mut self, lines: Vec<String>) {
        for line in lines {
            if !self.tell.contains(&line) {
                self.tell.push(line);
            }
        }
    }

    /// Whether all that can be built elsewhere is in the cache.
    pub(super) fn is_whole(&self) -> bool {
        self.not_warmed.is_empty()
    }

    pub(super) fn text(&self) -> String {
        let already = self.already.difference(&self.warmed).count();
        let mut text = format!(
            "buildhook: {} built for the cache, {already} were there, {} not warmed\n",
            self.warmed.len(),
            self.not_warmed.len()
        );
        let mut by_reason: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
        for NotWarmed { unit, reason } in &self.not_warmed {
            by_reason.entry((&reason.code, &reason.message)).or_default().push(unit);
        }
        for ((code, message), units) in by_reason {
            let more = units.len().saturating_sub(MAX_NAMES);
            let names = units[..units.len().min(MAX_NAMES)].join(", ");
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let _ =
                writeln!(text, "  not warmed: {} × {code} ({message}): {names}{more}", units.len());
        }
        for (origin, count) in &self.left_out {
            let _ = writeln!(text, "  left out: {count} × of the project itself (origin {origin})");
        }
        for line in &self.tell {
            let _ = writeln!(text, "  {line}");
        }
        text
    }
}
