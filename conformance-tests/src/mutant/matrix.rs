//! The self-test: every broken plugin against the suite.

use std::collections::BTreeSet;
use std::path::Path;

use super::catalog::{Mutation, Role};
use crate::command::{Template, this_program};
use crate::plugin::bench::text;
use crate::plugin::run::{Options, run};
use crate::report::{CheckResult, Progress};
use crate::verdict::{Outcome, Stop, Verdict};

/// One line of the matrix.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// The broken plugin, or a right one.
    pub(crate) name: String,
    /// The requirement it is made to break; a right one has none.
    pub(crate) target: Option<&'static str>,
    /// Requirements that it died on.
    pub(crate) killed_by: BTreeSet<String>,
    /// The checks that killed it.
    pub(crate) checks: BTreeSet<String>,
}

impl Row {
    /// Whether the suite did what it is for.
    pub(crate) fn holds(&self) -> bool {
        match self.target {
            Some(target) => self.killed_by.contains(target),
            None => self.killed_by.is_empty(),
        }
    }
}

/// How to run the self-test.
#[derive(Clone, Debug)]
pub(crate) struct SelfTest<'a> {
    /// An existing folder for everything it writes.
    pub(crate) root: &'a Path,
    pub(crate) seed: u64,
    /// Checks at once within one run of the suite.
    pub(crate) jobs: usize,
    pub(crate) factor: f64,
    /// Runs only checks of the requirement a broken plugin is made for.
    pub(crate) aimed: bool,
}

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

impl SelfTest<'_> {
    /// Right plugins: every one has to pass everything.
    pub(crate) fn baselines(&self, report: &mut dyn FnMut(&Row)) -> Outcome<Vec<Row>> {
        let right: [(&str, &[&str], bool); 6] = [
            ("store, shared", &["--lease", "shared"], false),
            ("store, borrowed", &["--lease", "borrowed"], false),
            ("store, owned", &["--lease", "owned"], false),
            ("store, noisy on stderr", &["--flood"], false),
            ("filter", &[], true),
            ("filter that changes bytes", &["--transform"], true),
        ];
        let row = |(name, options, filter): (&str, &[&str], bool)| {
            let row = self.row(name, None, command(options, filter), Vec::new())?;
            report(&row);
            Ok(row)
        };
        right.into_iter().map(row).collect()
    }

    /// Broken plugins: each has to die on what it is made for.
    pub(crate) fn mutants(&self, report: &mut dyn FnMut(&Row)) -> Outcome<Vec<Row>> {
        let row = |mutation: &Mutation| {
            let row = self.mutant(*mutation)?;
            report(&row);
            Ok(row)
        };
        Mutation::all().iter().map(row).collect()
    }

    /// One broken plugin.
    pub(crate) fn mutant(&self, mutation: Mutation) -> Outcome<Row> {
        let name = mutation.name();
        let target = mutation.requirement();
        let command = command(&["--mutant", &name], mutation.role() != Role::Store);
        let mut row = Row {
            name: name.clone(),
            target: Some(target),
            killed_by: BTreeSet::new(),
            checks: BTreeSet::new(),
        };
        if !self.aimed {
            row = self.row(&name, Some(target), command.clone(), Vec::new())?;
        }
        // Slow checks are run only where they are what the mutant is made for.
        if !row.holds() {
            let aimed = self.row(&name, Some(target), command, vec![target.to_owned()])?;
            row.killed_by.extend(aimed.killed_by);
            row.checks.extend(aimed.checks);
        }
        Ok(row)
    }

    fn row(
        &self,
        name: &str,
        target: Option<&'static str>,
        command: Template,
        only: Vec<String>,
    ) -> Outcome<Row> {
        let root = tempfile::tempdir_in(self.root)?;
        let options = Options {
            command,
            seed: self.seed,
            only,
            factor: self.factor,
            jobs: self.jobs,
            quick: true,
            root: root.path().to_owned(),
            reproduce: String::new(),
            reproduce_command: String::new(),
        };
        let outcome = run(&options, &Progress::hidden())?;
        let dead = |result: &&CheckResult| matches!(result.verdict, Verdict::Fail | Verdict::Warn);
        if let Some(broken) =
            outcome.results.iter().find(|result| result.verdict == Verdict::SuiteError)
        {
            return Err(Stop::Suite(format!("{name}: {}: {}", broken.check, broken.message)));
        }
        let dead: Vec<&CheckResult> = outcome.results.iter().filter(dead).collect();
        Ok(Row {
            name: name.to_owned(),
            target,
            killed_by: dead.iter().map(|result| result.requirement.clone()).collect(),
            checks: dead.iter().map(|result| result.check.clone()).collect(),
        })
    }
}

/// One line for people.
pub(crate) fn render(row: &Row) -> String {
    let mark = if row.holds() { "ok  " } else { "LIVES" };
    let target = row.target.unwrap_or("(right)");
    let killed_by: Vec<&str> = row.killed_by.iter().map(String::as_str).collect();
    format!("{mark:5} {:28} {target:14} {}", row.name, killed_by.join(" "))
}
