//! The results: a table, JSON and a plot.

use std::fmt::Write as _;
use std::path::Path;

use fs_err as fs;
use serde::Serialize;

use crate::Arguments;
use crate::environment::Machine;
use crate::error::Error;
use crate::figures::{Figure, Times, figures, name};
use crate::hook::Calls;
use crate::plot;
use crate::run::{Disk, Measured, Sample, Scenario};
use crate::tool::{Candidate, Tool};

/// Everything that was measured, and under which conditions.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Report {
    project: String,
    /// What Cargo was told to do.
    command: &'static str,
    profile: String,
    rounds: u32,
    warm_rounds: u32,
    machine: Machine,
    tools: Vec<Version>,
    figures: Vec<Figure>,
    disk: Vec<Disk>,
    hook: Option<Vec<Calls>>,
    samples: Vec<Build>,
}

#[derive(Serialize)]
struct Version {
    #[serde(serialize_with = "name")]
    tool: Tool,
    version: String,
}

/// A [`Sample`] in JSON.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Build {
    round: u32,
    sweep: u32,
    #[serde(serialize_with = "name")]
    tool: Tool,
    scenario: Scenario,
    wall_s: f64,
    processor_s: Option<f64>,
}

impl Report {
    pub(crate) fn new(
        arguments: &Arguments,
        machine: Machine,
        candidates: &[Candidate],
        measured: Measured,
        hook: Option<Vec<Calls>>,
    ) -> Self {
        let version = |one: &Candidate| Version { tool: one.tool, version: one.version.clone() };
        let build = |sample: &Sample| Build {
            round: sample.round + 1,
            sweep: sample.sweep + 1,
            tool: sample.tool,
            scenario: sample.scenario,
            wall_s: sample.wall.as_secs_f64(),
            processor_s: sample.processor.map(|time| time.as_secs_f64()),
        };
        Self {
            project: arguments.project.name(),
            command: arguments.command.name(),
            profile: arguments.profile.clone(),
            rounds: arguments.runs,
            warm_rounds: arguments.warm_runs,
            machine,
            tools: candidates.iter().map(version).collect(),
            figures: figures(&measured.samples),
            disk: measured.disk,
            hook,
            samples: measured.samples.iter().map(build).collect(),
        }
    }

    /// Writes `results.json`, `table.md` and, when builds were measured, `plot.svg`.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), Error> {
        let json = serde_json::to_string_pretty(self).map_err(std::io::Error::from)?;
        fs::write(folder.join("results.json"), json + "\n")?;
        fs::write(folder.join("table.md"), self.table())?;
        if !self.figures.is_empty() {
            let title =
                format!("{}, cargo {}, profile {}", self.project, self.command, self.profile);
            fs::write(folder.join("plot.svg"), plot::svg(&title, &self.figures))?;
        }
        Ok(())
    }

    /// The figures in Markdown.
    pub(crate) fn table(&self) -> String {
        let mut table = String::new();
        // Writing to a String cannot fail.
        if !self.figures.is_empty() {
            let _ = self.builds(&mut table);
        }
        if let Some(calls) = &self.hook {
            let _ = write_calls(&mut table, calls);
        }
        table
    }

    fn builds(&self, table: &mut String) -> std::fmt::Result {
        writeln!(
            table,
            "{}, cargo {}, profile {}: medians of {} alternating cold builds and {} with a full cache for\n\
             each; in parentheses the median of the ratios within a round, to plain (p) or to\n\
             the oracle (o).\n",
            self.project, self.command, self.profile, self.rounds, self.warm_rounds
        )?;
        self.times(table, "wall time in s", &|figure| Some(&figure.wall))?;
        self.times(table, "processor time in s, servers left out", &|figure| {
            figure.processor.as_ref()
        })?;
        self.spaces(table)?;
        writeln!(table, "{}", self.machine_line())
    }

    fn times(
        &self,
        table: &mut String,
        what: &str,
        times: &dyn Fn(&Figure) -> Option<&Times>,
    ) -> std::fmt::Result {
        let heads = Scenario::ALL.map(Scenario::name).join(" | ");
        writeln!(table, "| {what} | {heads} |")?;
        writeln!(table, "|---|{}", "---|".repeat(Scenario::ALL.len()))?;
        for Version { tool, version } in &self.tools {
            write!(table, "| {} {version} |", tool.name())?;
            for scenario in Scenario::ALL {
                let figure = |f: &&Figure| f.tool == *tool && f.scenario == scenario;
                match self.figures.iter().find(figure).and_then(times) {
                    Some(times) => write!(table, " {} |", cell(*tool, scenario, times))?,
                    None => write!(table, " |")?,
                }
            }
            writeln!(table)?;
        }
        writeln!(table)
    }

    fn spaces(&self, table: &mut String) -> std::fmt::Result {
        writeln!(table, "| MiB on disk | one target folder | two, and the cache |")?;
        writeln!(table, "|---|---|---|")?;
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        for disk in &self.disk {
            let (name, one) = (disk.tool.name(), mib(disk.target_bytes));
            match disk.tool {
                // With no cache only one checkout was built.
                Tool::Plain => writeln!(table, "| {name} | {one:.0} | twice that |")?,
                _ => writeln!(table, "| {name} | {one:.0} | {:.0} |", mib(disk.all_bytes))?,
            }
        }
        writeln!(table)
    }

    fn machine_line(&self) -> String {
        let Machine { os, arch, processors, rustc, load, .. } = &self.machine;
        let load = load.as_ref().map(|load| format!(", load {load} at the end"));
        format!("{os} {arch}, {processors} processors, {rustc}{}.\n", load.unwrap_or_default())
    }
}

/// The median, with the ratio that says most of the scenario.
fn cell(tool: Tool, scenario: Scenario, times: &Times) -> String {
    let median = format!("{:.2}", times.median_s);
    let (reference, ratio, sign) = match scenario {
        Scenario::Warm | Scenario::Moved => (Tool::Oracle, times.to_oracle, 'o'),
        _ => (Tool::Plain, times.to_plain, 'p'),
    };
    match ratio {
        Some(ratio) if tool != reference => format!("{median} ({ratio:.2} {sign})"),
        _ => median,
    }
}

fn write_calls(table: &mut String, calls: &[Calls]) -> std::fmt::Result {
    writeln!(table, "| one call of the plugin | calls | median µs | 95 % within µs |")?;
    writeln!(table, "|---|---|---|---|")?;
    for call in calls {
        let Calls { what, calls, median_us, p95_us } = call;
        writeln!(table, "| {what} | {calls} | {median_us:.0} | {p95_us:.0} |")?;
    }
    Ok(())
}
