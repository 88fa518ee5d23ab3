//! `buildhook explain [crate]`: why units of the last build were not restored.

use std::fmt::Write as _;

use serde::Serialize;

use super::{Answer, Refusal};
use crate::config;
use crate::environment::Environment;
use crate::report::render::Time;
use crate::report::{Outcome, UnitReport, store};

/// What is printed.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Explanation {
    command: String,
    units: Vec<UnitReport>,
}

pub(super) fn explain(
    env: &Environment,
    crate_name: Option<&str>,
    _reads: bool,
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
    let units = report.units.into_iter().filter(is_meant).collect();
    Ok(Answer::of(json, &Explanation { command: report.command, units }, text))
}

fn text(explanation: &Explanation) -> String {
    if explanation.units.is_empty() {
        return "every unit of the last build was restored\n".to_owned();
    }
    let mut text = String::new();
    for unit in &explanation.units {
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
    }
    text
}
