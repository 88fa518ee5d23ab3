//! Interprets one case. Builds with the cache are compared with uncached
//! builds of the same state at the same paths; the worst thing found is the
//! verdict.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::PathBuf;

use super::cargo::{self, Observed, Place, Units};
use super::case::{Case, Effect, Script, Step, Verdict, When};
use super::invoke::TOOL_LIMIT;
use super::process::Output;
use super::result::{Exchange, Finding, Reuse};
use super::sandbox::Sandbox;
use super::{Options, Root, edit};

/// How one case went.
#[derive(Debug, Default)]
pub(super) struct Story {
    pub(super) findings: Vec<Finding>,
    pub(super) transcript: Vec<Exchange>,
    pub(super) reuse: Reuse,
    /// Crates that were not compiled in the last build with the cache.
    pub(super) hits: BTreeSet<String>,
    pub(super) tree_with_cache: Vec<String>,
    pub(super) tree_without_cache: Vec<String>,
}

/// The state of a case between two steps.
pub(super) struct Runner<'a> {
    pub(super) case: &'a Case,
    pub(super) options: &'a Options,
    pub(super) sandbox: &'a Sandbox,
    pub(super) folder: PathBuf,
    pub(super) target: Option<PathBuf>,
    pub(super) env: BTreeMap<String, String>,
    pub(super) cargo: &'static [&'static str],
    first: Option<Observed>,
    last: Option<(Observed, Units)>,
    /// What cargo said on stderr in it.
    last_stderr: String,
    /// Whether the change of a [`Script::Change`] has been made.
    changed: bool,
    /// Whether the control build found the subject in the cache.
    control_hit: Option<bool>,
    /// Units that a further build wanted to build again.
    dirty: BTreeSet<String>,
    pub(super) commands_run: usize,
    pub(super) small_cache: bool,
    pub(super) story: Story,
}

/// Why a story ends early.
pub(super) enum Stop {
    /// A finding says it all; what follows would only repeat it.
    Found,
    /// The suite itself failed.
    Suite(String),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Stop::Suite(error.to_string())
    }
}

/// How a step went.
pub(super) type Told = Result<(), Stop>;

/// Runs the whole case.
pub(super) fn tell(case: &Case, options: &Options, sandbox: &Sandbox) -> Story {
    let mut runner = Runner {
        case,
        options,
        sandbox,
        folder: sandbox.root.join("ws"),
        target: None,
        env: case
            .env
            .iter()
            .map(|(name, value)| ((*name).to_owned(), sandbox.fill(value)))
            .collect(),
        cargo: case.cargo,
        first: None,
        last: None,
        last_stderr: String::new(),
        changed: false,
        control_hit: None,
        dirty: BTreeSet::new(),
        commands_run: 0,
        small_cache: false,
        story: Story::default(),
    };
    let told = runner.tell();
    if let Err(Stop::Suite(message)) = told {
        runner.find(Verdict::SuiteError, message);
    }
    runner.server(false);
    sandbox.end_leftovers();
    runner.story
}

impl Runner<'_> {
    fn tell(&mut self) -> Told {
        for step in self.case.setup {
            self.step(step)?;
        }
        self.server(true);
        match self.case.script {
            Script::Steps(steps) => steps.iter().try_for_each(|step| self.step(step)),
            Script::Change(steps) => {
                self.step(&Step::Build)?;
                self.first = self.last.as_ref().map(|(observed, _)| observed.clone());
                self.step(&Step::Twin)?;
                steps.iter().try_for_each(|step| self.step(step))?;
                self.changed = true;
                self.step(&Step::Empty)?;
                self.step(&Step::Build)?;
                self.note_reuse();
                self.step(&Step::Fresh)?;
                self.step(&Step::Check)
            }
        }
    }

    fn step(&mut self, step: &Step) -> Told {
        match step {
            Step::Build => self.build(),
            Step::Twin => self.twin(),
            Step::Plain => {
                let output = self.cargo(false, self.cargo, true)?;
                self.must_succeed(&output, "an uncached build")
            }
            Step::Fresh => self.fresh(),
            Step::Check => self.check(),
            Step::Broken => self.cargo(true, self.cargo, true).map(drop),
            Step::Empty => edit::remove(&self.target()).map_err(Stop::from),
            Step::Together(folders) => self.together(folders),
            Step::Env(name, value) => {
                self.env.insert((*name).to_owned(), self.sandbox.fill(value));
                Ok(())
            }
            Step::Unset(name) => {
                self.env.remove(*name);
                Ok(())
            }
            Step::Cargo(arguments) => {
                self.cargo = arguments;
                Ok(())
            }
            Step::Run(arguments) => {
                // Cleaning compiles nothing, and a command in place of cargo
                // may have another meaning for the word.
                let cached = arguments.first() != Some(&"clean");
                let output = self.cargo(cached, arguments, false)?;
                if !output.success() {
                    self.find(Verdict::FailedBuild, format!("cargo {arguments:?} failed"));
                }
                Ok(())
            }
            Step::In(path) => {
                self.folder = edit::join(&self.sandbox.root.join("ws"), path);
                Ok(())
            }
            Step::Target(path) => {
                self.target = Some(edit::join(&self.folder, path));
                Ok(())
            }
            Step::Sh(script) => {
                let mut command = self.sandbox.command("sh", &self.folder);
                command.args(["-ec", &self.sandbox.fill(script)]);
                let output = self.run(command, TOOL_LIMIT, script)?;
                self.must_succeed(&output, "a tool")
            }
            Step::Hook(when, name, script) => {
                let prefix = match when {
                    When::Before => "before",
                    When::After => "after",
                };
                let hooks = self.sandbox.root.join("log/hooks");
                Ok(self.sandbox.write(&hooks.join(format!("{prefix}-{name}")), script)?)
            }
            Step::Damage(damage) => {
                self.server(false);
                self.sandbox.end_leftovers();
                edit::damage(&self.sandbox.root, *damage)?;
                self.server(true);
                Ok(())
            }
            Step::Server(up) => {
                self.server(*up);
                Ok(())
            }
            Step::SmallCache => {
                self.server(false);
                self.small_cache = true;
                Ok(())
            }
            _ => edit::apply(step, &self.folder, self.sandbox).map_err(Stop::from),
        }
    }

    fn build(&mut self) -> Told {
        let offset = self.log_length();
        let output = self.cargo(true, self.cargo, true)?;
        let mut units = cargo::units(&output.stdout);
        units.compiled = cargo::compiled(self.sandbox, offset)?;
        let observed = self.observe(&output, &units)?;
        self.last_stderr = output.stderr.clone();
        self.story.tree_with_cache = edit::tree(&self.target());
        self.story.hits = units.built.difference(&units.compiled).cloned().collect();
        self.last = Some((observed, units));
        if !output.success() {
            self.check()?;
        }
        Ok(())
    }

    fn twin(&mut self) -> Told {
        let before = self.last.take();
        edit::remove(&self.target())?;
        self.build()?;
        if let (Some((before, _)), Some((now, units))) = (before, &self.last) {
            self.control_hit = Some(!units.compiled.contains(self.case.subject));
            if let Some(difference) = self.difference(now, &before) {
                let message = format!("a second build with nothing changed: {difference}");
                self.find(Verdict::WrongHit, message);
            }
        }
        Ok(())
    }

    /// What the build after the change says of reuse.
    fn note_reuse(&mut self) {
        let Some((_, units)) = &self.last else {
            return;
        };
        let compiled = units.compiled.contains(self.case.subject);
        self.story.reuse = match (self.control_hit, compiled) {
            (Some(true), true) => Reuse::Recompiled,
            (_, false) => Reuse::Hit,
            _ => Reuse::NeverStored,
        };
        if self.case.effect == Effect::Same && self.story.reuse == Reuse::Recompiled {
            let message = format!("`{}` was compiled again", self.case.subject);
            self.find(Verdict::MissedHit, message);
        }
    }

    fn fresh(&mut self) -> Told {
        if self.last.as_ref().is_some_and(|(last, _)| !last.success) {
            return Ok(());
        }
        let offset = self.log_length();
        let output = self.cargo(true, self.cargo, true)?;
        if !output.success() {
            self.find(Verdict::FailedBuild, "a further build failed".to_owned());
            return Err(Stop::Found);
        }
        self.dirty = cargo::units(&output.stdout).built;
        self.dirty.extend(cargo::compiled(self.sandbox, offset)?);
        if !self.dirty.is_empty() && self.last.is_some() {
            let message = format!("a further build built {:?} again", self.dirty);
            self.find(Verdict::PerpetuallyDirty, message);
        }
        Ok(())
    }

    /// Builds without the cache at the same paths, with the target folder of
    /// the cache put aside meanwhile.
    fn check(&mut self) -> Told {
        let target = self.target();
        let aside = self.sandbox.root.join("log/target-aside");
        let real = target.canonicalize();
        if let Ok(real) = &real {
            fs::rename(real, &aside)?;
            if target != *real {
                // What a link leads to has to be there.
                fs::create_dir(real)?;
            }
        }
        let output = self.cargo(false, self.cargo, true)?;
        let units = cargo::units(&output.stdout);
        let expected = self.observe(&output, &units)?;
        self.story.tree_without_cache = edit::tree(&target);
        if !self.dirty.is_empty() {
            let again = self.cargo(false, self.cargo, true)?;
            if !cargo::units(&again.stdout).built.is_empty() {
                self.story.findings.retain(|f| f.verdict != Verdict::PerpetuallyDirty);
            }
        }
        match &real {
            Ok(real) => edit::remove(real)?,
            Err(_) => edit::remove(&target)?,
        }
        if let Ok(real) = &real {
            fs::rename(&aside, real)?;
        }
        let must_differ = self.changed && self.case.effect == Effect::Changes;
        if must_differ && self.first.as_ref() == Some(&expected) {
            return Err(Stop::Suite("the change has no effect here".to_owned()));
        }
        self.compare(&expected)
    }

    fn compare(&mut self, expected: &Observed) -> Told {
        let Some((observed, units)) = &self.last else {
            return Ok(());
        };
        let Some(difference) = self.difference(observed, expected) else {
            return Ok(());
        };
        if expected.success && !observed.success {
            let said = observed.diagnostics.join("") + &self.last_stderr;
            self.find(Verdict::FailedBuild, format!("the build failed: {said}"));
            return Err(Stop::Found);
        }
        let how = if units.compiled.is_superset(&units.built) {
            "no compilation was skipped, yet "
        } else {
            ""
        };
        let message = format!("{how}{difference}");
        self.find(Verdict::WrongHit, message);
        Err(Stop::Found)
    }

    fn observe(&self, output: &Output, units: &Units) -> Result<Observed, Stop> {
        let target = self.target();
        let place = Place { folder: &self.folder, target: &target, env: &self.env };
        let mut look = self.case.look;
        // A command in place of cargo may well sum up what it did.
        look.stderr &= self.options.build_command.is_none();
        Ok(cargo::observe(self.sandbox, &look, &place, output, units)?)
    }

    /// A text with every root that the cache says it renames under its new name.
    fn normal(&self, text: &str) -> String {
        let at = |name: &str| self.sandbox.root.join(name);
        let sources = "lib/rustlib/src/rust";
        let mut names: Vec<(PathBuf, &str)> = Vec::new();
        for (token, root) in &self.options.remaps {
            let paths = match root {
                // A package outside the workspace is compiled in its own folder.
                Root::Workspace => vec![self.folder.clone(), edit::join(&self.folder, "../far")],
                Root::Target => vec![self.target()],
                Root::CargoHome => vec![at("cargo-home"), at("other-home")],
                Root::Sysroot => vec![at("sysroot").join(sources)],
            };
            names.extend(paths.into_iter().map(|path| (path, token.as_str())));
        }
        // A folder inside another one goes by its own name.
        names.sort_by_key(|(path, _)| std::cmp::Reverse(path.as_os_str().len()));
        names.iter().fold(text.to_owned(), |text, (path, token)| {
            text.replace(&*path.to_string_lossy(), token)
        })
    }

    /// What differs first between two builds, paths renamed.
    fn difference(&self, observed: &Observed, expected: &Observed) -> Option<String> {
        let normal = |build: &Observed| build.clone().map(&|text| self.normal(text));
        normal(observed).difference(&normal(expected))
    }

    fn target(&self) -> PathBuf {
        match &self.target {
            Some(path) => path.clone(),
            None => self.folder.join("target"),
        }
    }

    fn log_length(&self) -> u64 {
        fs::metadata(self.sandbox.log_path()).map_or(0, |m| m.len())
    }

    fn must_succeed(&self, output: &Output, what: &str) -> Told {
        if output.success() {
            return Ok(());
        }
        let stderr = output.stderr.trim();
        Err(Stop::Suite(format!("{what} of the case failed: {stderr}")))
    }

    pub(super) fn find(&mut self, verdict: Verdict, message: String) {
        self.story.findings.push(Finding { verdict, message });
    }
}
