//! Runs the host suite.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Instant;

use super::builds::{Builds, HostSetup};
use super::script::Script;
use super::{HostCheck, HostRun, checks};
use crate::evidence::Evidence;
use crate::plugin::run::judge;
use crate::report::{CheckResult, Progress};
use crate::verdict::{Outcome, Stop, Verdict};
use crate::wire::strict::Violation;

/// What the user asked for.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) words: Vec<String>,
    pub(crate) cwd: PathBuf,
    /// Ids of checks or requirements; empty means all.
    pub(crate) only: Vec<String>,
    pub(crate) factor: f64,
    /// An existing folder for everything the run writes.
    pub(crate) root: PathBuf,
    /// A command line that does one check again, but for its id.
    pub(crate) reproduce: String,
    pub(crate) reproduce_command: String,
}

/// A check that was run.
struct Finished {
    id: &'static str,
    violations: Vec<Violation>,
    evidence: Evidence,
}

/// Runs the checks that `options` select, one after the other: builds use all
/// processors by themselves.
pub(crate) fn run(options: &Options, progress: &Progress) -> Outcome<Vec<CheckResult>> {
    let chosen = |check: &HostCheck| {
        options.only.is_empty()
            || options.only.iter().any(|id| id == check.id || id == check.requirement)
    };
    let watching = checks().any(|check| matches!(check.run, HostRun::Observed) && chosen(check));
    let active: Vec<&'static HostCheck> = checks()
        .filter(|check| !matches!(check.run, HostRun::Observed) && (watching || chosen(check)))
        .collect();
    progress.begin(active.len() + 1);
    progress.start("two builds with a store");
    let (setup, first) = fill(options)?;
    let mut finished = vec![first];
    let mut results = Vec::new();
    for check in active {
        progress.start(check.id);
        let (result, done) = run_one(&setup, check, options);
        progress.done(&result);
        finished.push(done);
        if chosen(check) {
            results.push(result);
        }
    }
    results.extend(watched(options, &finished, &chosen));
    let order = |id: &str| checks().position(|check| check.id == id);
    results.sort_by_key(|result| order(&result.check));
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
    let mut builds = Builds::new(&setup, "fill")?;
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
    let (violations, evidence) = (builds.log.violations(), builds.log.evidence());
    drop(builds);
    setup.used_keys = used_keys;
    setup.starts = starts;
    setup.units = units;
    Ok((setup, Finished { id: "host-descriptors", violations, evidence }))
}

fn run_one(
    setup: &HostSetup,
    check: &'static HostCheck,
    options: &Options,
) -> (CheckResult, Finished) {
    let start = Instant::now();
    let mut done = Finished { id: check.id, violations: Vec::new(), evidence: Evidence::default() };
    let outcome = match check.run {
        HostRun::Observed => Ok(()),
        HostRun::WithHits(_) if setup.used_keys.is_empty() => {
            Err(Stop::NotApplicable("in a second build no hit was used".to_owned()))
        }
        HostRun::WithHits(function) | HostRun::Active(function) => {
            Builds::new(setup, check.id).and_then(|mut builds| {
                let outcome = function(&mut builds);
                done.violations = builds.log.violations();
                done.evidence = builds.log.evidence();
                // What cannot be removed now goes with the run's folder.
                let _ = std::fs::remove_dir_all(&builds.folder);
                outcome
            })
        }
    };
    let own = done.violations.iter().find(|violation| violation.requirement == check.requirement);
    let outcome = match (outcome, own) {
        (Ok(()), Some(violation)) => Err(Stop::Fail(violation.text.clone())),
        (outcome, _) => outcome,
    };
    let (verdict, message) = judge(check.requirement, outcome);
    let mut result = result(check, verdict, message, done.evidence.clone(), check.id, options);
    result.duration_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    (result, done)
}

fn result(
    check: &HostCheck,
    verdict: Verdict,
    message: String,
    evidence: Evidence,
    rerun: &str,
    options: &Options,
) -> CheckResult {
    CheckResult {
        check: check.id.to_owned(),
        requirement: check.requirement.to_owned(),
        title: check.title.to_owned(),
        verdict,
        message,
        duration_ms: 0,
        reproduce: format!("{} --only {rerun} {}", options.reproduce, options.reproduce_command),
        evidence,
    }
}

/// Verdicts on what was watched.
fn watched(
    options: &Options,
    finished: &[Finished],
    chosen: &dyn Fn(&HostCheck) -> bool,
) -> Vec<CheckResult> {
    let verdict = |check: &'static HostCheck| {
        let breach = finished.iter().find_map(|done| {
            let of = |violation: &&Violation| violation.requirement == check.requirement;
            Some((done, done.violations.iter().find(of)?))
        });
        match breach {
            Some((done, violation)) => {
                let text = format!("seen in {}: {}", done.id, violation.text);
                let (verdict, message) = judge(check.requirement, Err(Stop::Fail(text)));
                Some(result(check, verdict, message, done.evidence.clone(), done.id, options))
            }
            None => chosen(check).then(|| {
                result(check, Verdict::Pass, String::new(), Evidence::default(), check.id, options)
            }),
        }
    };
    checks().filter(|check| matches!(check.run, HostRun::Observed)).filter_map(verdict).collect()
}
