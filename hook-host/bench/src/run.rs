//! The rounds: what is built when, and how long it takes.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::disk::Usage;
use crate::environment::{Environment, output};
use crate::error::Error;
use crate::project::{Project, remove};
use crate::tool::{Candidate, Task, Tool};

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
    /// Which of the builds with the cache of this round; 0 for a cold one.
    pub(crate) sweep: u32,
    pub(crate) wall: Duration,
    /// Processor time of the build and its children; absent where it is not known.
    pub(crate) processor: Option<Duration>,
}

impl Sample {
    /// Whether `other` was measured close enough to be compared with: plain builds take
    /// place once in a round.
    pub(crate) fn pairs_with(&self, other: &Self) -> bool {
        self.round == other.round && (self.tool == Tool::Plain || self.sweep == other.sweep)
    }
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

/// How often everything is built.
#[derive(Clone, Copy)]
pub(crate) struct Rounds {
    /// Times that each tool begins with an empty cache.
    pub(crate) cold: u32,
    /// Times that each tool builds with the cache that it has filled, for each of those.
    pub(crate) warm: u32,
}

/// Runs all rounds. Each begins with another tool, so that none is always the first.
pub(crate) fn all(
    environment: &Environment,
    candidates: &[Candidate],
    project: &Project,
    task: Task<'_>,
    rounds: Rounds,
) -> Result<Measured, Error> {
    let mut measured = Measured::default();
    for round in 0..rounds.cold {
        for candidate in rotated(candidates, round) {
            remove(&candidate.home(project))?;
            fs_err::create_dir_all(candidate.home(project).join("cache"))?;
            let run = Run { environment, candidate, project, task, round, sweep: 0 };
            run.part(&[Scenario::Cold], &mut measured)?;
        }
        for sweep in 0..rounds.warm {
            let with_cache = candidates.iter().filter(|candidate| candidate.tool != Tool::Plain);
            let with_cache: Vec<&Candidate> = with_cache.collect();
            for candidate in rotated(&with_cache, round + sweep) {
                let run = Run { environment, candidate, project, task, round, sweep };
                run.part(&[Scenario::Warm, Scenario::Moved], &mut measured)?;
            }
        }
    }
    Ok(measured)
}

fn rotated<T>(all: &[T], by: u32) -> impl Iterator<Item = &T> {
    let first = by as usize % all.len().max(1);
    all[first..].iter().chain(&all[..first])
}

/// One tool's part of a round.
struct Run<'a> {
    environment: &'a Environment,
    candidate: &'a Candidate,
    project: &'a Project,
    task: Task<'a>,
    round: u32,
    sweep: u32,
}

impl Run<'_> {
    /// Builds in each scenario, and what can follow on the last.
    fn part(&self, scenarios: &[Scenario], measured: &mut Measured) -> Result<(), Error> {
        self.candidate.start(self.environment, self.project)?;
        let result = self.builds(scenarios, measured);
        // Also after a failed build: nothing is left running.
        self.candidate.stop(self.environment, self.project)?;
        for folder in &self.project.folders {
            remove(&folder.join("target"))?;
        }
        self.project.restore_source()?;
        result
    }

    fn builds(&self, scenarios: &[Scenario], measured: &mut Measured) -> Result<(), Error> {
        let [here, there] = &self.project.folders;
        let tool = self.candidate.tool;
        let mut folder = here;
        for scenario in scenarios {
            folder = if *scenario == Scenario::Moved { there } else { here };
            self.one(*scenario, folder, measured)?;
        }
        if scenarios == [Scenario::Cold] && tool != Tool::Plain {
            return Ok(());
        }
        self.one(Scenario::Fresh, folder, measured)?;
        if self.round == 0 && self.sweep == 0 {
            measured.disk.push(self.disk()?);
        }
        // The oracle would not see an edit.
        if self.project.can_be_edited() && tool != Tool::Oracle {
            for scenario in [Scenario::FirstEdit, Scenario::Edit] {
                self.project.edit(folder, &format!("{}_{}", self.round, self.sweep))?;
                self.one(scenario, folder, measured)?;
            }
        }
        if let Ok(calls) = std::fs::read_to_string(self.candidate.unknown_calls(self.project)) {
            let count = calls.lines().count();
            eprintln!("the oracle did not know {count} calls: its times are too long");
        }
        Ok(())
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

    fn one(&self, scenario: Scenario, folder: &Path, measured: &mut Measured) -> Result<(), Error> {
        let Self { environment, candidate, project, task, round, sweep } = *self;
        let tool = candidate.tool;
        if matches!(scenario, Scenario::Cold | Scenario::Warm | Scenario::Moved) {
            remove(&folder.join("target"))?;
        }
        // The oracle does not compete when it records.
        let recording = tool == Tool::Oracle && scenario == Scenario::Cold;
        let mut command = candidate.build(environment, project, folder, task, recording);
        let (wall, processor) = timed(&mut command)?;
        eprintln!(
            "round {}.{}: {:<13} {:<13} {:8.3} s{}",
            round + 1,
            sweep + 1,
            tool.name(),
            scenario.name(),
            wall.as_secs_f64(),
            if recording { " (recording)" } else { "" }
        );
        if !recording {
            measured.samples.push(Sample { tool, scenario, round, sweep, wall, processor });
        }
        Ok(())
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
