//! Runs the host suite.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use super::builds::{Builds, HostSetup};
use super::script::Script;
use super::{Function, Need, checks};
use crate::evidence::Log;
use crate::report::{CheckResult, Progress};
use crate::suite::{Finished, Selection, Suite};
use crate::verdict::{Outcome, Stop};

/// What the user asked for.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) words: Vec<String>,
    pub(crate) cwd: PathBuf,
    pub(crate) factor: f64,
    pub(crate) selection: Selection,
    /// An existing folder for everything the run writes.
    pub(crate) root: PathBuf,
}

/// Runs the checks that `options` select.
pub(crate) fn run(options: &Options, progress: &Progress) -> Outcome<Vec<CheckResult>> {
    let queue = options.selection.queue(checks());
    progress.begin(queue.len() + 1);
    progress.start("two builds with a store");
    let (setup, first) = fill(options)?;
    let results = options.selection.run(&setup, checks(), queue, Some(first), progress);
    progress.end();
    Ok(results)
}

/// Fills a store by one build and sees in a second one whether its hits are used.
fn fill(options: &Options) -> Outcome<(HostSetup, Finished)> {
    let mut setup = HostSetup {
        words: options.words.clone(),
        cwd: options.cwd.clone(),
        factor: options.factor,
        root: options.root.clone(),
        filled: options.root.join("fill/store"),
        used_keys: BTreeSet::new(),
        starts: 0,
        units: 0,
    };
    let log = Log::default();
    let mut builds = Builds::new(&setup, "fill", &log)?;
    let without = |stop: Stop| match stop {
        Stop::Fail(text) => Stop::Suite(format!(
            "the command has to do one build that succeeds with a plugin that is right: {text}"
        )),
        other => other,
    };
    let first = builds.build(Script::Store).map_err(without)?;
    let asked = first.requests("want-to-build").filter_map(|request| request["key"].as_str());
    let units = asked.collect::<BTreeSet<_>>().len();
    let second = builds.build(Script::Frozen).map_err(without)?;
    let used_keys = second.used_keys();
    let starts = second.events("start").count();
    drop(builds);
    setup.used_keys = used_keys;
    setup.starts = starts;
    setup.units = units;
    Ok((setup, Finished::preparation("host-descriptors", &log)))
}

impl Suite for HostSetup {
    type Need = Need;
    type Function = Function;

    fn missing(&self, needs: &[Need]) -> Option<&'static str> {
        let hits = needs.contains(&Need::Hits) && self.used_keys.is_empty();
        hits.then_some("in a second build no hit was used")
    }

    fn perform(&self, id: &str, function: Function, log: &Log) -> Outcome {
        let mut builds = Builds::new(self, id, log)?;
        let outcome = function(&mut builds);
        // What cannot be removed now goes with the run's folder.
        let _ = fs::remove_dir_all(&builds.folder);
        outcome
    }
}
