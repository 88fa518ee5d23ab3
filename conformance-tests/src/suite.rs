//! What the plugin suite and the host suite share: a check as data, and the loop
//! that runs checks and makes verdicts of what was seen.
//!
//! Rules that every message can be held to are noticed in all checks. A check
//! that is [`Run::Observed`] does nothing itself: it is decided by what the
//! others noticed of its requirement.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use crate::evidence::{Direction, Evidence, Log};
use crate::registry::{self, Level};
use crate::report::{CheckResult, Progress};
use crate::verdict::{Outcome, Stop, Verdict};
use crate::wire::strict::Violation;

/// One check of one requirement; `N` is what it may need, `F` what is run.
#[derive(Debug)]
pub(crate) struct Check<N: 'static, F> {
    /// Unique, kebab case.
    pub(crate) id: &'static str,
    /// The requirement it decides.
    pub(crate) requirement: &'static str,
    /// What is done, in one line.
    pub(crate) title: &'static str,
    /// What the thing under test has to offer for the check to make sense.
    pub(crate) needs: &'static [N],
    /// What is run.
    pub(crate) run: Run<F>,
}

/// How a check is decided.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Run<F> {
    /// By a function.
    Active(F),
    /// By a function that takes seconds or gigabytes; left out of the kill
    /// matrix unless a broken thing is made for it.
    Slow(F),
    /// By what all other checks noticed on the way.
    Observed,
}

impl<N, F> Check<N, F> {
    /// A check that is decided by watching.
    pub(crate) const fn observed(
        id: &'static str,
        requirement: &'static str,
        title: &'static str,
    ) -> Self {
        Self { id, requirement, title, needs: &[], run: Run::Observed }
    }

    /// Whether it does something itself.
    pub(crate) fn is_active(&self) -> bool {
        !matches!(self.run, Run::Observed)
    }
}

/// A table of checks that are decided by watching.
macro_rules! observed {
    ($($id:literal $requirement:literal $title:literal;)+) => {
        &[$($crate::suite::Check::observed($id, $requirement, $title)),+]
    };
}
pub(crate) use observed;

/// A thing under test, ready to be checked.
pub(crate) trait Suite: Sync {
    /// What a check may need.
    type Need: Sync;
    /// What is run.
    type Function: Copy + Sync;

    /// Why checks with these needs do not apply.
    fn missing(&self, needs: &[Self::Need]) -> Option<&'static str>;

    /// Runs one check in a fresh place; `log` takes what it sees.
    fn perform(&self, id: &str, function: Self::Function, log: &Log) -> Outcome;
}

/// Which checks the user wants, and how.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    /// Ids of checks or requirements; empty means all.
    pub(crate) only: Vec<String>,
    /// Leaves slow checks out unless `only` names them.
    pub(crate) quick: bool,
    /// Checks at once.
    pub(crate) jobs: usize,
    /// How to run one check again: everything before its id, and after it.
    pub(crate) reproduce: [String; 2],
}

/// A check, or other work of a suite, that was run.
pub(crate) struct Finished {
    /// The check that repeats it.
    id: &'static str,
    /// Nothing for other work.
    result: Option<CheckResult>,
    violations: Vec<Violation>,
    evidence: Evidence,
}

impl Finished {
    /// Work that is no check, and is watched like one; `id` is a check in which the
    /// same happens.
    pub(crate) fn preparation(id: &'static str, log: &Log) -> Self {
        Self { id, result: None, violations: log.violations(), evidence: log.evidence() }
    }
}

impl Selection {
    fn names<N, F>(&self, check: &Check<N, F>) -> bool {
        self.only.is_empty() || self.only.iter().any(|id| id == check.id || id == check.requirement)
    }

    /// The checks that have to be run, the long ones first, so that they do not
    /// end the run alone. What is watched for is watched for in all.
    pub(crate) fn queue<N, F>(
        &self,
        checks: impl Iterator<Item = &'static Check<N, F>> + Clone,
    ) -> Vec<&'static Check<N, F>> {
        let watching = checks.clone().any(|check| !check.is_active() && self.names(check));
        let active = |check: &&Check<N, F>| match check.run {
            Run::Observed => false,
            Run::Slow(_) => self.names(check) && !(self.quick && self.only.is_empty()),
            Run::Active(_) => self.names(check) || watching,
        };
        let mut queue: Vec<_> = checks.filter(active).collect();
        queue.sort_by_key(|check| !matches!(check.run, Run::Slow(_)));
        queue
    }

    /// Runs `queue` and gives the verdicts on all of `checks` that were chosen,
    /// and on those that were broken, in their order.
    pub(crate) fn run<S: Suite>(
        &self,
        suite: &S,
        checks: impl Iterator<Item = &'static Check<S::Need, S::Function>> + Clone,
        queue: Vec<&'static Check<S::Need, S::Function>>,
        preparation: Option<Finished>,
        progress: &Progress,
    ) -> Vec<CheckResult> {
        let queue = Mutex::new(VecDeque::from(queue));
        let finished = Mutex::new(preparation.into_iter().collect::<Vec<_>>());
        let work = || {
            loop {
                let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                let Some(check) = next else { return };
                progress.start(check.id);
                let done = self.run_one(suite, check);
                done.result.iter().for_each(|result| progress.done(result));
                finished.lock().unwrap_or_else(PoisonError::into_inner).push(done);
            }
        };
        thread::scope(|scope| {
            for _ in 0..self.jobs.max(1) {
                scope.spawn(work);
            }
        });
        let finished = finished.into_inner().unwrap_or_else(PoisonError::into_inner);
        let result = |check: &'static Check<S::Need, S::Function>| match check.run {
            Run::Observed => self.watched(check, &finished),
            _ if !self.names(check) => None,
            _ => {
                let of_check = finished.iter().filter(|done| done.id == check.id);
                of_check.filter_map(|done| done.result.clone()).next()
            }
        };
        checks.filter_map(result).collect()
    }

    fn run_one<S: Suite>(
        &self,
        suite: &S,
        check: &'static Check<S::Need, S::Function>,
    ) -> Finished {
        let start = Instant::now();
        let log = Log::default();
        let outcome = match (suite.missing(check.needs), check.run) {
            (Some(absence), _) => Err(Stop::NotApplicable(absence.to_owned())),
            (None, Run::Observed) => Ok(()),
            (None, Run::Active(function) | Run::Slow(function)) => {
                suite.perform(check.id, function, &log)
            }
        };
        let (violations, evidence) = (log.violations(), log.evidence());
        let own = violations.iter().find(|violation| violation.requirement == check.requirement);
        let outcome = match (outcome, own) {
            (Ok(()), Some(violation)) => Err(Stop::Fail(violation.text.clone())),
            (outcome, _) => outcome,
        };
        let mut result = self.result(check, outcome, evidence.clone(), check.id);
        result.duration_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        Finished { id: check.id, result: Some(result), violations, evidence }
    }

    /// The verdict on what was watched. Without a choice by the user all of them
    /// are told; with one, those chosen and those that were broken.
    fn watched<N, F>(&self, check: &Check<N, F>, finished: &[Finished]) -> Option<CheckResult> {
        let breach = finished.iter().find_map(|done| {
            let of = |violation: &&Violation| violation.requirement == check.requirement;
            Some((done, done.violations.iter().find(of)?))
        });
        if let Some((done, violation)) = breach {
            let text = format!("seen in {}: {}", done.id, violation.text);
            return Some(self.result(check, Err(Stop::Fail(text)), done.evidence.clone(), done.id));
        }
        let received = |done: &Finished| {
            done.evidence.events.iter().any(|event| event.direction == Direction::Received)
        };
        let outcome = match finished.iter().any(received) {
            true => Ok(()),
            false => Err(Stop::Untestable("no message ever came".to_owned())),
        };
        self.names(check).then(|| self.result(check, outcome, Evidence::default(), check.id))
    }

    fn result<N, F>(
        &self,
        check: &Check<N, F>,
        outcome: Outcome,
        evidence: Evidence,
        rerun: &str,
    ) -> CheckResult {
        let (verdict, message) = judge(check.requirement, outcome);
        let [before, after] = &self.reproduce;
        CheckResult {
            check: check.id.to_owned(),
            requirement: check.requirement.to_owned(),
            title: check.title.to_owned(),
            verdict,
            message,
            duration_ms: 0,
            reproduce: format!("{before} --only {rerun} {after}"),
            evidence,
        }
    }
}

/// The verdict on a requirement.
fn judge(requirement: &str, outcome: Outcome) -> (Verdict, String) {
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
