//! `buildhook explain [crate]`: why units of the last build were not restored.

use std::fmt::Write as _;

use buildhook_cargo::explain::{self, Difference, Explanation};
use serde::Serialize;

use super::{Answer, Refusal};
use crate::config;
use crate::environment::Environment;
use crate::report::render::Time;
use crate::report::{Outcome, UnitReport, store};

/// What is printed.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Answers {
    command: String,
    units: Vec<Unit>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Unit {
    unit: UnitReport,
    /// Absent when nothing is kept of what the unit is made of.
    explanation: Option<Explanation>,
}

pub(super) fn explain(
    env: &Environment,
    crate_name: Option<&str>,
    reads: bool,
    json: bool,
) -> Result<Answer, Refusal> {
    let config = config::load(env, &env.current_dir)?;
    // Cargo writes `my-crate` for what the compiler calls `my_crate`.
    let crate_name = crate_name.map(|name| name.replace('-', "_"));
    let is_meant = |unit: &UnitReport| match &crate_name {
        Some(name) => unit.crate_name == *name || unit.package.replace('-', "_") == *name,
        None => unit.outcome != Outcome::Hit,
    };
    let mut reports = store::newest_first(&config.folders.reports());
    let report = match &crate_name {
        Some(_) => reports.find(|report| report.units.iter().any(is_meant)),
        None => reports.next(),
    };
    let Some(report) = report else {
        let what = crate_name.map_or("build".into(), |name| format!("build of `{name}`"));
        return Err(Refusal::wrong(format!("no {what} is known; build first")));
    };
    let manifests = config.folders.manifests();
    let answer = |unit: UnitReport| {
        let folder = manifests.join(&unit.crate_name);
        let hex = unit.key.as_deref().and_then(|key| key.strip_prefix("blake3:"));
        let explanation = hex.and_then(|hex| explain::explain(&folder, hex));
        Unit { unit, explanation }
    };
    let units = report.units.into_iter().filter(is_meant).map(answer).collect();
    let answers = Answers { command: report.command, units };
    Ok(Answer::of(json, &answers, |answers| text(answers, reads)))
}

fn text(answers: &Answers, reads: bool) -> String {
    if answers.units.is_empty() {
        return "every unit of the last build was restored\n".to_owned();
    }
    let mut text = String::new();
    for Unit { unit, explanation } in &answers.units {
        let what = match unit.outcome {
            Outcome::Hit => "restored",
            Outcome::Miss => "built",
            Outcome::Failed => "failed to compile",
            Outcome::Uncached => "not cacheable",
        };
        let name = [unit.crate_name.as_str(), &unit.version, &unit.unit_type].join(" ");
        let _ = write!(text, "{name}: {what} in {}", Time(unit.time_ms));
        if let Some(reason) = &unit.reason {
            let _ = write!(text, ": {}", reason.code);
            if !reason.message.is_empty() {
                let _ = write!(text, " ({})", reason.message);
            }
        }
        text.push('\n');
        if let Some(explanation) = explanation {
            differences(&mut text, unit.outcome, explanation);
            if reads {
                for read in &explanation.reads {
                    let readers = read.readers.join(", ");
                    let _ = writeln!(text, "    {} {}, read by {readers}", read.kind, read.name);
                }
            }
        }
    }
    text
}

fn differences(text: &mut String, outcome: Outcome, explanation: &Explanation) {
    if outcome == Outcome::Hit {
        return;
    }
    if explanation.nearest.is_none() {
        text.push_str("  nothing like it was built before\n");
        return;
    }
    for difference in &explanation.differences {
        let Difference { kind, name, was, now } = difference;
        let change = match (was.as_deref(), now.as_deref()) {
            (None, _) => "is new".to_owned(),
            (_, None) => "no longer takes part".to_owned(),
            (Some(was), Some(now)) if is_short(was) && is_short(now) => {
                format!("was {was}, is {now}")
            }
            _ => "has changed".to_owned(),
        };
        let _ = writeln!(text, "  {kind} {name} {change}");
    }
}

/// Digests tell a person nothing.
fn is_short(value: &str) -> bool {
    !value.is_empty() && !value.contains("blake3:")
}
