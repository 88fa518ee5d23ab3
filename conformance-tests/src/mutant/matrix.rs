//! The self-test: every broken plugin and every broken host against its suite.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use buildhook_conformance::cache::nearest;

use super::catalog::{Mutation, Role};
use super::kills::Kills;
use crate::command::{Template, this_program};
use crate::host;
use crate::host::catalog::HostMutation;
use crate::plugin;
use crate::plugin::bench::text;
use crate::report::{CheckResult, Progress};
use crate::suite::Selection;
use crate::verdict::{Outcome, Stop, Verdict};

/// One line of the matrix.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// The broken thing, or a right one.
    pub(crate) name: String,
    /// The requirement it is made to break; a right one has none.
    pub(crate) target: Option<&'static str>,
    /// Requirements that it died on.
    pub(crate) killed_by: BTreeSet<String>,
    /// The checks that killed it.
    pub(crate) checks: BTreeSet<String>,
    /// What this machine is not fit for.
    pub(crate) untried: BTreeSet<Untried>,
}

/// A check that could not be done, for want of disk or the like.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Untried {
    pub(crate) check: String,
    pub(crate) requirement: String,
    pub(crate) why: String,
}

impl Row {
    /// Whether the suite did what it is for, as far as it could.
    pub(crate) fn holds(&self) -> bool {
        match self.target {
            Some(target) => self.killed_by.contains(target) || self.lacks(target),
            None => self.killed_by.is_empty(),
        }
    }

    /// Whether a check of `requirement` was not tried.
    pub(crate) fn lacks(&self, requirement: &str) -> bool {
        self.untried.iter().any(|untried| untried.requirement == requirement)
    }
}

/// How to run the self-test.
#[derive(Clone, Debug)]
pub(crate) struct SelfTest<'a> {
    /// An existing folder for everything it writes.
    pub(crate) root: &'a Path,
    pub(crate) seed: u64,
    /// Rows at once; each runs a few checks at once, most of which wait.
    pub(crate) jobs: usize,
    pub(crate) factor: f64,
    /// Runs only what a broken thing is made for, and a few ordinary sessions.
    pub(crate) aimed: bool,
    /// Names of broken things; empty means all, and the right ones too.
    pub(crate) only: &'a [String],
}

/// Checks of one row at once.
const CHECKS_AT_ONCE: usize = 2;
/// Runs of a row before it is said to contradict the matrix.
const TRIES: usize = 4;
/// Ordinary sessions, in which most of what is watched happens.
const ORDINARY: &[&str] = &["hit-is-whole", "miss-when-absent", "end-in-time", "request-bad"];

/// What stands for the right things in the first column.
const RIGHT: [(&str, &[&str], bool); 6] = [
    ("store-shared", &["--lease", "shared"], false),
    ("store-borrowed", &["--lease", "borrowed"], false),
    ("store-owned", &["--lease", "owned"], false),
    ("store-noisy", &["--flood"], false),
    ("filter", &[], true),
    ("filter-transforming", &["--transform"], true),
];

/// The command line of the mutant with these options.
fn command(options: &[&str], filter: bool) -> Template {
    let mut words = vec![text(&this_program()), "mutant".to_owned()];
    if !filter {
        words.extend(["--dir".to_owned(), "{store}".to_owned()]);
    }
    words.extend(options.iter().map(|word| (*word).to_owned()));
    if filter {
        words.extend(["--".to_owned(), "{child}".to_owned()]);
    }
    Template::new(&words, Path::new("/"))
}

/// One row to be made.
#[derive(Clone, Copy, Debug)]
enum Task {
    Right(&'static str, &'static [&'static str], bool),
    Broken(Mutation),
    Host,
    BrokenHost(HostMutation),
}

impl Task {
    fn name(self) -> String {
        match self {
            Self::Right(name, ..) => name.to_owned(),
            Self::Broken(mutation) => mutation.name(),
            Self::Host => "host".to_owned(),
            Self::BrokenHost(mutation) => format!("host-{}", mutation.name()),
        }
    }
}

fn tasks() -> impl Iterator<Item = Task> {
    let right = RIGHT.into_iter().map(|(name, options, filter)| Task::Right(name, options, filter));
    let broken = Mutation::all().iter().map(|mutation| Task::Broken(*mutation));
    let hosts = HostMutation::all().iter().map(|mutation| Task::BrokenHost(*mutation));
    right.chain(broken).chain([Task::Host]).chain(hosts)
}

impl SelfTest<'_> {
    fn chosen(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }

    /// That every name in `only` is one, or which is nearest.
    pub(crate) fn known(&self) -> Result<(), String> {
        let names: Vec<String> = tasks().map(Task::name).collect();
        let Some(name) = self.only.iter().find(|name| !names.contains(name)) else {
            return Ok(());
        };
        let nearest = nearest(name, names.iter().map(String::as_str)).unwrap_or_default();
        Err(format!("nothing broken is named `{name}`; nearest is `{nearest}`"))
    }

    /// Runs the right things and the broken ones, some at once; every row is
    /// also reported as soon as it is there.
    pub(crate) fn run(&self, report: &(dyn Fn(&Row) + Sync)) -> Outcome<Vec<Row>> {
        let tasks: Vec<Task> = tasks().filter(|task| self.chosen(&task.name())).collect();
        let next = AtomicUsize::new(0);
        let rows = Mutex::new(BTreeMap::new());
        let work = || {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(task) = tasks.get(index) else { return };
                let row = self.row(*task);
                if let Ok(row) = &row {
                    report(row);
                }
                rows.lock().unwrap_or_else(PoisonError::into_inner).insert(index, row);
            }
        };
        thread::scope(|scope| {
            for _ in 0..self.jobs.max(1) {
                scope.spawn(work);
            }
        });
        rows.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect()
    }

    /// How `rows` contradict `kills`. A broken thing that does is run again, alone.
    pub(crate) fn compare(&self, rows: &[Row], kills: &Kills) -> Outcome<Vec<String>> {
        let mut texts = Vec::new();
        for task in tasks() {
            let Some(row) = rows.iter().find(|row| row.name == task.name()) else { continue };
            let mut runs = vec![row.clone()];
            while row.target.is_some()
                && runs.len() < TRIES
                && !kills.contradictions(&runs).is_empty()
            {
                runs.push(self.row(task)?);
            }
            texts.extend(kills.contradictions(&runs));
        }
        let names = tasks().map(Task::name).collect();
        let strangers = kills.strangers(&names).into_iter();
        texts
            .extend(strangers.map(|name| format!("the matrix has a row of {name}, which is none")));
        Ok(texts)
    }

    fn row(&self, task: Task) -> Outcome<Row> {
        match task {
            Task::Right(name, options, filter) => {
                self.plugin(name, None, command(options, filter), Vec::new())
            }
            Task::Broken(mutation) => self.mutant(mutation),
            Task::Host => self.host("host", None, Vec::new()),
            Task::BrokenHost(mutation) => self.host_mutant(&task.name(), mutation),
        }
    }

    fn mutant(&self, mutation: Mutation) -> Outcome<Row> {
        let name = mutation.name();
        let target = Some(mutation.requirement());
        let command = command(&["--mutant", &name], mutation.role() != Role::Store);
        let checks = plugin::checks().filter(|check| Some(check.requirement) == target);
        let active = checks.filter(|check| check.is_active());
        let aimed: Vec<String> = active.map(|check| check.id.to_owned()).collect();
        if self.aimed {
            return self.aimed_at(&name, target, &command, aimed);
        }
        let mut row = self.plugin(&name, target, command.clone(), Vec::new())?;
        // Slow checks are run only where a mutant survives the others.
        if !row.holds() {
            let more = self.aimed_at(&name, target, &command, aimed)?;
            row.killed_by.extend(more.killed_by);
            row.checks.extend(more.checks);
            row.untried.extend(more.untried);
        }
        Ok(row)
    }

    /// The checks that a broken plugin is made for, then, where it survives them or there are
    /// none, those in which most of what is watched happens.
    fn aimed_at(
        &self,
        name: &str,
        target: Option<&'static str>,
        command: &Template,
        aimed: Vec<String>,
    ) -> Outcome<Row> {
        if !aimed.is_empty() {
            let row = self.plugin(name, target, command.clone(), aimed)?;
            if row.holds() {
                return Ok(row);
            }
        }
        let ordinary = ORDINARY.iter().map(|id| (*id).to_owned()).collect();
        self.plugin(name, target, command.clone(), ordinary)
    }

    fn plugin(
        &self,
        name: &str,
        target: Option<&'static str>,
        command: Template,
        only: Vec<String>,
    ) -> Outcome<Row> {
        let root = tempfile::tempdir_in(self.root)?;
        let options = plugin::run::Options {
            command,
            seed: self.seed,
            factor: self.factor,
            selection: selection(only),
            root: root.path().to_owned(),
        };
        let run = plugin::run::run(&options, &Progress::hidden())?;
        row(name, target, &run.results)
    }

    fn host_mutant(&self, name: &str, mutation: HostMutation) -> Outcome<Row> {
        let target = mutation.requirement();
        let checks = host::checks().filter(|check| check.requirement == target);
        let active = checks.filter(|check| check.is_active());
        let mut aimed: Vec<String> = active.map(|check| check.id.to_owned()).collect();
        if aimed.is_empty() {
            aimed.push("host-descriptors".to_owned());
        }
        self.host(name, Some(mutation), if self.aimed { aimed } else { Vec::new() })
    }

    fn host(&self, name: &str, mutation: Option<HostMutation>, only: Vec<String>) -> Outcome<Row> {
        let root = tempfile::tempdir_in(self.root)?;
        let mut words = vec![text(&this_program())];
        words.extend(["fake-host", "--target", "{target}"].map(str::to_owned));
        if let Some(mutation) = mutation {
            words.extend(["--mutant".to_owned(), mutation.name()]);
        }
        let options = host::run::Options {
            words,
            cwd: root.path().to_owned(),
            factor: self.factor,
            selection: selection(only),
            root: root.path().to_owned(),
        };
        let results = host::run::run(&options, &Progress::hidden())?;
        row(name, mutation.map(HostMutation::requirement), &results)
    }
}

/// A few checks at once, none of them slow unless it is named.
fn selection(only: Vec<String>) -> Selection {
    Selection { only, quick: true, jobs: CHECKS_AT_ONCE, reproduce: Default::default() }
}

/// Checks that killed nothing, although they were tried: they say nothing.
pub(crate) fn idle(rows: &[Row]) -> Vec<&'static str> {
    let all = plugin::checks().map(|check| check.id).chain(host::checks().map(|check| check.id));
    let untried: BTreeSet<&str> = untried(rows).iter().map(|it| it.check.as_str()).collect();
    let killed = |id: &str| rows.iter().any(|row| row.checks.contains(id));
    all.filter(|id| !untried.contains(id) && !killed(id)).collect()
}

/// What could not be tried in any of `rows`, each once.
pub(crate) fn untried(rows: &[Row]) -> BTreeSet<&Untried> {
    rows.iter().flat_map(|row| &row.untried).collect()
}

fn row(name: &str, target: Option<&'static str>, results: &[CheckResult]) -> Outcome<Row> {
    if let Some(broken) = results.iter().find(|result| result.verdict == Verdict::SuiteError) {
        return Err(Stop::Suite(format!("{name}: {}: {}", broken.check, broken.message)));
    }
    let dead = |result: &&CheckResult| matches!(result.verdict, Verdict::Fail | Verdict::Warn);
    let dead: Vec<&CheckResult> = results.iter().filter(dead).collect();
    // What is only watched cannot be told when the thing never speaks, which is its own fault.
    let is_active = |id: &str| plugin::checks().any(|check| check.id == id && check.is_active());
    let is_untried =
        |result: &&CheckResult| result.verdict == Verdict::Untestable && is_active(&result.check);
    let untried = results.iter().filter(is_untried).map(|result| Untried {
        check: result.check.clone(),
        requirement: result.requirement.clone(),
        why: result.message.clone(),
    });
    Ok(Row {
        name: name.to_owned(),
        target,
        killed_by: dead.iter().map(|result| result.requirement.clone()).collect(),
        checks: dead.iter().map(|result| result.check.clone()).collect(),
        untried: untried.collect(),
    })
}

/// One line for people: what it is, what it is made for, and all it died on.
pub(crate) fn render(row: &Row) -> String {
    let mark = match row.target {
        _ if !row.holds() => "LIVES",
        Some(target) if !row.killed_by.contains(target) => "untried",
        _ => "ok",
    };
    let target = row.target.unwrap_or("(right)");
    let killed_by: Vec<&str> = row.killed_by.iter().map(String::as_str).collect();
    format!("{mark:7} {:28} {target:14} {}", row.name, killed_by.join(" ")).trim_end().to_owned()
}
