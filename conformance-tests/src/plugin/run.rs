//! Runs the plugin suite and turns what was seen into verdicts.

use std::collections::VecDeque;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use super::bench::Bench;
use super::performance::{Performance, measure};
use super::{Capabilities, Check, Need, Run, Setup, checks};
use crate::command::Template;
use crate::evidence::{Direction, Evidence};
use crate::registry::{self, Level};
use crate::report::{CheckResult, Progress};
use crate::session::Patience;
use crate::verdict::{Outcome, Stop, Verdict};
use crate::wire::strict::Violation;

/// What the user asked for.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) command: Template,
    pub(crate) seed: u64,
    /// Ids of checks or requirements; empty means all.
    pub(crate) only: Vec<String>,
    pub(crate) factor: f64,
    pub(crate) jobs: usize,
    /// Leaves slow checks out unless `only` names them.
    pub(crate) quick: bool,
    /// An existing folder for everything the run writes.
    pub(crate) root: PathBuf,
    /// How to run one check again: everything before its id.
    pub(crate) reproduce: String,
    /// The same, from the command under test on.
    pub(crate) reproduce_command: String,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct PluginRun {
    pub(crate) results: Vec<CheckResult>,
    pub(crate) performance: Option<Performance>,
}

/// Runs the checks that `options` select.
pub(crate) fn run(options: &Options, progress: &Progress) -> Outcome<PluginRun> {
    let mut setup = Setup {
        command: options.command.clone(),
        seed: options.seed,
        nonce: nonce(),
        patience: Arc::new(Patience::new(options.factor)),
        capabilities: Capabilities {
            want: true,
            built: true,
            max_in_flight: 1,
            ..Capabilities::default()
        },
        root: options.root.clone(),
    };
    setup.capabilities = probe(&setup)?;
    let chosen = |check: &Check| {
        options.only.is_empty()
            || options.only.iter().any(|id| id == check.id || id == check.requirement)
    };
    let watching = checks().any(|check| matches!(check.run, Run::Observed) && chosen(check));
    let active = |check: &&Check| match check.run {
        Run::Observed => false,
        Run::Slow(_) => chosen(check) && !(options.quick && options.only.is_empty()),
        Run::Active(_) => chosen(check) || watching,
    };
    let mut queue: Vec<&'static Check> = checks().filter(active).collect();
    // The long ones first, so that they do not end the run alone.
    queue.sort_by_key(|check| !matches!(check.run, Run::Slow(_)));
    progress.begin(queue.len());
    let finished = run_all(&setup, queue, options, progress);
    let mut results = watched(options, &finished, &chosen);
    let shown = finished.into_iter().filter(|done| chosen(done.check));
    results.extend(shown.map(|done| done.result));
    let order = |id: &str| checks().position(|check| check.id == id);
    results.sort_by_key(|result| order(&result.check));
    let performance = match options.only.is_empty() && !options.quick {
        // A plugin that cannot be measured has failed checks that say why.
        true => {
            Bench::new(&setup, "performance").ok().and_then(|mut bench| measure(&mut bench).ok())
        }
        false => None,
    };
    progress.end();
    Ok(PluginRun { results, performance })
}

/// A check that was run.
struct Finished {
    check: &'static Check,
    result: CheckResult,
    violations: Vec<Violation>,
    messages: u64,
}

fn run_all(
    setup: &Setup,
    queue: Vec<&'static Check>,
    options: &Options,
    progress: &Progress,
) -> Vec<Finished> {
    let queue = Mutex::new(VecDeque::from(queue));
    let finished = Mutex::new(Vec::new());
    let work = || {
        loop {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(check) = next else { return };
            progress.start(check.id);
            let done = run_one(setup, check, options);
            progress.done(&done.result);
            finished.lock().unwrap_or_else(PoisonError::into_inner).push(done);
        }
    };
    thread::scope(|scope| {
        for _ in 0..options.jobs.max(1) {
            scope.spawn(work);
        }
    });
    finished.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn run_one(setup: &Setup, check: &'static Check, options: &Options) -> Finished {
    let start = Instant::now();
    let mut violations = Vec::new();
    let mut messages = 0;
    let mut evidence = Evidence::default();
    let outcome = match (setup.missing(check.needs), check.run) {
        (Some(absence), _) => Err(Stop::NotApplicable(absence.to_owned())),
        (None, Run::Observed) => Ok(()),
        (None, Run::Active(function) | Run::Slow(function)) => match Bench::new(setup, check.id) {
            Err(error) => Err(Stop::Suite(error.to_string())),
            Ok(mut bench) => {
                bench.log.tree(&bench.store_folder(), false);
                let outcome = function(&mut bench);
                bench.log.tree(&bench.store_folder(), true);
                bench.check_strays();
                violations = bench.log.violations();
                messages = bench.log.messages();
                evidence = bench.log.evidence();
                violations.extend(leak(&evidence, &bench.canary()));
                // What cannot be removed now goes with the run's folder.
                let _ = fs::remove_dir_all(&bench.folder);
                outcome
            }
        },
    };
    let own = violations.iter().find(|violation| violation.requirement == check.requirement);
    let outcome = match (outcome, own) {
        (Ok(()), Some(violation)) => Err(Stop::Fail(violation.text.clone())),
        (outcome, _) => outcome,
    };
    let (verdict, message) = judge(check.requirement, outcome);
    let mut result = result(check, verdict, message, evidence, check.id, options);
    result.duration_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    Finished { check, result, violations, messages }
}

/// Messages that hold the value that looks like a credential.
fn leak(evidence: &Evidence, canary: &str) -> Option<Violation> {
    let received = |direction| direction == Direction::Received;
    let told = evidence
        .events
        .iter()
        .find(|event| received(event.direction) && event.text.contains(canary));
    told.map(|_| {
        Violation::new("BH-ERR-004", "a message holds the value of an environment variable")
    })
}

/// The verdict on a requirement.
pub(crate) fn judge(requirement: &str, outcome: Outcome) -> (Verdict, String) {
    match outcome {
        Ok(()) => (Verdict::Pass, String::new()),
        Err(Stop::NotApplicable(text)) => (Verdict::NotApplicable, text),
        Err(Stop::Untestable(text)) => (Verdict::Untestable, text),
        Err(Stop::Suite(text)) => (Verdict::SuiteError, text),
        Err(Stop::Fail(text)) => {
            let level = registry::find(requirement).map_or(Level::Must, |row| row.level);
            let verdict = if level == Level::Should { Verdict::Warn } else { Verdict::Fail };
            (verdict, text)
        }
    }
}

fn result(
    check: &Check,
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

/// Verdicts on what was watched. Without a choice by the user all of them are
/// told; with one, those chosen and those that were broken.
fn watched(
    options: &Options,
    finished: &[Finished],
    chosen: &dyn Fn(&Check) -> bool,
) -> Vec<CheckResult> {
    let messages: u64 = finished.iter().map(|done| done.messages).sum();
    let verdict = |check: &'static Check| {
        let breach = finished.iter().find_map(|done| {
            let of = |violation: &&Violation| violation.requirement == check.requirement;
            Some((done, done.violations.iter().find(of)?))
        });
        match breach {
            Some((done, violation)) => {
                let text = format!("seen in {}: {}", done.check.id, violation.text);
                let (verdict, message) = judge(check.requirement, Err(Stop::Fail(text)));
                let evidence = done.result.evidence.clone();
                Some(result(check, verdict, message, evidence, done.check.id, options))
            }
            None if !chosen(check) => None,
            None if messages == 0 => {
                let text = "no message ever came".to_owned();
                let (verdict, message) = judge(check.requirement, Err(Stop::Untestable(text)));
                Some(result(check, verdict, message, Evidence::default(), check.id, options))
            }
            None => {
                let evidence = Evidence::default();
                Some(result(check, Verdict::Pass, String::new(), evidence, check.id, options))
            }
        }
    };
    checks().filter(|check| matches!(check.run, Run::Observed)).filter_map(verdict).collect()
}

/// Finds out what the plugin can do. A plugin that fails at it is taken to do
/// everything it announces, so that the checks say what is wrong.
fn probe(setup: &Setup) -> Outcome<Capabilities> {
    let mut bench = Bench::new(setup, "probe")?;
    let mut can = setup.capabilities.clone();
    can.entries = true;
    let Ok(mut session) = bench.session() else {
        return Ok(can);
    };
    can.want = session.has_hook("want-to-build");
    can.built = session.has_hook("built-a-thing");
    can.manifest = session.has_feature("manifest");
    can.max_in_flight = session.max_in_flight();
    let entry = bench.entry("probe")?;
    if can.built
        && let Ok(answer) = bench.tell(&mut session, &entry)
    {
        // An honest `no`, `later` or error means there is nothing to find.
        let declines = matches!(answer["stored"].as_str(), Some("no" | "later"));
        can.built = !declines && answer["kind"] != "error";
    }
    can.entries = can.want && (can.built || seeded(&mut bench)?);
    can.changes_bytes = setup.missing(&[Need::Filter]).is_none() && changes_bytes(&bench)?;
    drop(session);
    fs::remove_dir_all(&bench.folder)?;
    Ok(can)
}

/// Whether an entry that the suite's own child stored is found through the filter.
fn seeded(bench: &mut Bench<'_>) -> Outcome<bool> {
    if !bench.setup.command.has_child() {
        return Ok(false);
    }
    let entry = bench.entry("seeded")?;
    let launch = bench.launch_argv(bench.child(&[]));
    let mut child = bench.session_from(&launch)?;
    bench.store(&mut child, &entry)?;
    child.close()?;
    let mut session = bench.session()?;
    Ok(bench.ask(&mut session, &entry).is_ok_and(|answer| answer["kind"] == "hit"))
}

/// Whether the child got a file that is not among those of the request.
fn changes_bytes(bench: &Bench<'_>) -> Outcome<bool> {
    let received = bench.child_received()?;
    let records =
        received.iter().flat_map(|note| note["message"]["files"].as_array().into_iter().flatten());
    let mut own = records.filter(|record| {
        // A file that is only added, such as a signature, changes no bytes.
        record["name"].as_str().is_some_and(|name| name.contains("/out/"))
    });
    Ok(own.next().is_some())
}

/// Something no other run has.
fn nonce() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    format!("{}-{}", std::process::id(), now.map_or(0, |now| now.as_nanos()))
}
