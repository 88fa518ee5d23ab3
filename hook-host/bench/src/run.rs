//! The rounds: what is built when, and how long it takes.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::disk::Usage;
use crate::environment::{Environment, output};
use crate::error::Error;
use crate::project::{Project, remove};
use crate::tool::{Candidate, Tool};

/// What a build finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Scenario {
    /// An empty cache.
    Cold,
    /// What the cold build has stored, in the same folder.
    Warm,
    /// The same in another folder.
    Moved,
    /// A target folder that is up to date: nothing to do.
    Fresh,
    /// One function more in the project itself, after what was restored.
    FirstEdit,
    /// One function more again: the loop of someone who works on the project.
    Edit,
}

impl Scenario {
    pub(crate) const ALL: [Self; 6] =
        [Self::Cold, Self::Warm, Self::Moved, Self::Fresh, Self::FirstEdit, Self::Edit];

    /// For tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cold => "cold",
            Self::Warm => "warm",
            Self::Moved => "other folder",
            Self::Fresh => "nothing to do",
            Self::FirstEdit => "first edit",
            Self::Edit => "next edit",
        }
    }
}

/// One build.
pub(crate) struct Sample {
    pub(crate) tool: Tool,
    pub(crate) scenario: Scenario,
    pub(crate) round: u32,
    pub(crate) wall: Duration,
    /// Processor time of the build and its children; absent where it is not known.
    pub(crate) processor: Option<Duration>,
}

/// What a tool has on the disk after two checkouts were built.
#[derive(serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Disk {
    #[serde(serialize_with = "crate::figures::name")]
    pub(crate) tool: Tool,
    /// The target folder of one checkout.
    pub(crate) target_bytes: u64,
    /// The target folders of both and all that the tool keeps.
    pub(crate) all_bytes: u64,
}

/// Everything that was measured by building.
#[derive(Default)]
pub(crate) struct Measured {
    pub(crate) samples: Vec<Sample>,
    /// Of the first round.
    pub(crate) disk: Vec<Disk>,
}

/// Runs all rounds. Each begins with another tool, so that none is always the first.
pub(crate) fn all(
    environment: &Environment,
    candidates: &[Candidate],
    project: &Project,
    profile: &str,
    rounds: u32,
) -> Result<Measured, Error> {
    let mut measured = Measured::default();
    for round in 0..rounds {
        let first = round as usize % candidates.len().max(1);
        for candidate in candidates[first..].iter().chain(&candidates[..first]) {
            remove(&candidate.home(project))?;
            fs_err::create_dir_all(candidate.home(project).join("cache"))?;
            candidate.start(environment, project)?;
            let run = Run { environment, candidate, project, profile, round };
            let result = run.scenarios(&mut measured);
            // Also after a failed build: nothing is left running.
            candidate.stop(environment, project)?;
            for folder in &project.folders {
                remove(&folder.join("target"))?;
            }
            project.restore_source()?;
            result?;
        }
    }
    Ok(measured)
}

/// One tool's part of a round.
struct Run<'a> {
    environment: &'a Environment,
    candidate: &'a Candidate,
    project: &'a Project,
    profile: &'a str,
    round: u32,
}

impl Run<'_> {
    fn scenarios(&self, measured: &mut Measured) -> Result<(), Error> {
        let tool = self.candidate.tool;
        for scenario in Scenario::ALL {
            let Some(folder) = self.folder(scenario) else { continue };
            match scenario {
                Scenario::Cold | Scenario::Warm | Scenario::Moved => {
                    remove(&folder.join("target"))?;
                }
                Scenario::Fresh => {}
                Scenario::FirstEdit | Scenario::Edit => self.project.edit(folder, self.round)?,
            }
            let sample = self.one(scenario, folder)?;
            // The oracle does not compete when it records.
            let recording = tool == Tool::Oracle && scenario == Scenario::Cold;
            eprintln!(
                "round {}: {:<13} {:<13} {:8.3} s{}",
                self.round + 1,
                tool.name(),
                scenario.name(),
                sample.wall.as_secs_f64(),
                if recording { " (recording)" } else { "" }
            );
            if !recording {
                measured.samples.push(sample);
            }
            if scenario == Scenario::Fresh && self.round == 0 {
                measured.disk.push(self.disk()?);
            }
        }
        if let Ok(calls) = std::fs::read_to_string(self.candidate.unknown_calls(self.project)) {
            let count = calls.lines().count();
            eprintln!("the oracle did not know {count} calls: its times are too long");
        }
        Ok(())
    }

    /// Where to build, or `None` when the scenario says nothing of the tool.
    fn folder(&self, scenario: Scenario) -> Option<&Path> {
        let [here, there] = &self.project.folders;
        let is_edit = matches!(scenario, Scenario::FirstEdit | Scenario::Edit);
        match (self.candidate.tool, scenario) {
            // With no cache these are cold builds again.
            (Tool::Plain, Scenario::Warm | Scenario::Moved) => None,
            // It would not see the edit.
            (Tool::Oracle, _) if is_edit => None,
            _ if is_edit && !self.project.can_be_edited() => None,
            (Tool::Plain, _) | (_, Scenario::Cold | Scenario::Warm) => Some(here),
            _ => Some(there),
        }
    }

    fn disk(&self) -> Result<Disk, Error> {
        let [here, there] = self.project.folders.each_ref().map(|folder| folder.join("target"));
        let (mut one, mut all) = (Usage::default(), Usage::default());
        one.add(&here)?;
        for folder in [&here, &there, &self.candidate.home(self.project)] {
            all.add(folder)?;
        }
        Ok(Disk { tool: self.candidate.tool, target_bytes: one.bytes, all_bytes: all.bytes })
    }

    fn one(&self, scenario: Scenario, folder: &Path) -> Result<Sample, Error> {
        let recording = scenario == Scenario::Cold;
        let mut command =
            self.candidate.build(self.environment, self.project, folder, self.profile, recording);
        let (wall, processor) = timed(&mut command)?;
        let (tool, round) = (self.candidate.tool, self.round);
        Ok(Sample { tool, scenario, round, wall, processor })
    }
}

fn timed(command: &mut Command) -> Result<(Duration, Option<Duration>), Error> {
    let before = processor_of_children();
    let start = Instant::now();
    output(command)?;
    let wall = start.elapsed();
    let processor = processor_of_children().zip(before).map(|(after, before)| after - before);
    Ok((wall, processor))
}

/// Processor time of all children that have ended, in steps of 10 ms.
fn processor_of_children() -> Option<Duration> {
    /// Linux gives these in hundredths of a second, whatever the kernel's own tick is.
    const TICK: Duration = Duration::from_millis(10);
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name in parentheses may hold blanks; the fields after it are counted from 3.
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let ticks = |field: usize| fields.get(field - 3)?.parse::<u32>().ok();
    Some(TICK * (ticks(16)? + ticks(17)?))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_that_of_children() {
        let mut busy = Command::new("sh");
        busy.args(["-c", "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done"]);
        let (wall, processor) = timed(&mut busy).unwrap();
        let processor = processor.unwrap();
        // No upper bound: children of other tests count too.
        assert!(processor > Duration::ZERO && wall > Duration::ZERO);
    }

    #[test]
    fn a_failed_build_is_no_sample() {
        let error = timed(Command::new("sh").args(["-c", "echo why >&2; exit 7"])).unwrap_err();
        assert!(error.to_string().ends_with("why"), "{error}");
    }
}
