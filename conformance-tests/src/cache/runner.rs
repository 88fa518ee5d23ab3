//! Interprets one case. Builds with the cache are compared with uncached
//! builds of the same state at the same paths; the worst thing found is the
//! verdict.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use super::cargo::{self, BUILD_LIMIT, Observed, Place, Units};
use super::case::{Case, Effect, Script, Step, Verdict, When};
use super::process::{self, Output};
use super::result::{Exchange, Finding, Reuse};
use super::sandbox::Sandbox;
use super::{Options, Root, edit};

/// Setting a server up or down, and the tools of cases.
const TOOL_LIMIT: Duration = Duration::from_secs(60);

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

pub(super) struct Runner<'a> {
    case: &'a Case,
    options: &'a Options,
    sandbox: &'a Sandbox,
    folder: PathBuf,
    target: Option<PathBuf>,
    env: BTreeMap<String, String>,
    cargo: &'static [&'static str],
    first: Option<Observed>,
    last: Option<(Observed, Units)>,
    /// Whether the control build found the subject in the cache.
    control_hit: Option<bool>,
    /// Units that a further build wanted to build again.
    dirty: BTreeSet<String>,
    commands_run: usize,
    small_cache: bool,
    story: Story,
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

type Told = Result<(), Stop>;

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
                let output = self.cargo(true, arguments, false)?;
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
            if let Some(difference) = now.difference(&before) {
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
        if matches!(self.case.script, Script::Change(_))
            && self.case.effect == Effect::Changes
            && self.first.as_ref() == Some(&expected)
        {
            return Err(Stop::Suite("the change has no effect here".to_owned()));
        }
        self.compare(&expected)
    }

    fn compare(&mut self, expected: &Observed) -> Told {
        let Some((observed, units)) = &self.last else {
            return Ok(());
        };
        let Some(difference) = observed.difference(expected) else {
            return Ok(());
        };
        if expected.success && !observed.success {
            let message = match difference.is_empty() {
                true => "the build failed".to_owned(),
                false => format!("the build failed: {}", observed.diagnostics.join("")),
            };
            self.find(Verdict::FailedBuild, message);
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

    fn together(&mut self, folders: &[&str]) -> Told {
        let mut commands = Vec::new();
        for (i, folder) in folders.iter().enumerate() {
            let folder = edit::join(&self.sandbox.root.join("ws"), folder);
            let command = self.cargo_command(&folder, true, self.cargo, true)?;
            commands.push((command, format!("together-{i}")));
        }
        let log = self.sandbox.root.join("log");
        let outputs: Vec<io::Result<Output>> = thread::scope(|scope| {
            let running: Vec<_> = commands
                .iter_mut()
                .map(|(command, name)| {
                    let log = &log;
                    scope.spawn(move || process::run(command, log, name, BUILD_LIMIT))
                })
                .collect();
            running
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|_| Err(io::Error::other("panicked"))))
                .collect()
        });
        for (output, (command, _)) in outputs.into_iter().zip(&commands) {
            let output = output?;
            self.story.transcript.push(Exchange::new(command, &output));
            if !output.success() {
                let message = "one of several builds at once failed".to_owned();
                self.find(Verdict::FailedBuild, message);
            }
        }
        Ok(())
    }

    fn observe(&self, output: &Output, units: &Units) -> Result<Observed, Stop> {
        let target = self.target();
        let place = Place { folder: &self.folder, target: &target, env: &self.env };
        let mut look = self.case.look;
        // A command in place of cargo may well sum up what it did.
        look.stderr &= self.options.build_command.is_none();
        let observed = cargo::observe(self.sandbox, &look, &place, output, units)?;
        Ok(observed.map(&|text| self.normal(text)))
    }

    /// Translates the tokens of a documented path remapping back.
    fn normal(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (token, root) in &self.options.remaps {
            let path = match root {
                Root::Workspace => self.folder.clone(),
                Root::Target => self.target(),
                Root::CargoHome => self.sandbox.root.join("cargo-home"),
                Root::Sysroot => self.sandbox.toolchain.sysroot.clone(),
            };
            text = text.replace(token, &path.to_string_lossy());
        }
        text
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

    fn cargo(&mut self, cached: bool, arguments: &[&str], messages: bool) -> Result<Output, Stop> {
        let folder = self.folder.clone();
        let command = self.cargo_command(&folder, cached, arguments, messages)?;
        self.run(command, BUILD_LIMIT, "")
    }

    /// A cargo command; `messages` asks for JSON unless the case says otherwise.
    fn cargo_command(
        &self,
        folder: &Path,
        cached: bool,
        arguments: &[&str],
        messages: bool,
    ) -> Result<Command, Stop> {
        let mut words: Vec<String> = vec!["cargo".to_owned()];
        let mut arguments: Vec<String> = arguments.iter().map(|a| self.sandbox.fill(a)).collect();
        if let Some(template) = self.options.build_command.as_deref().filter(|_| cached) {
            if let Some(first) = arguments.first_mut() {
                words = super::build_words(template, first).ok_or_else(|| {
                    Stop::Suite(format!("`{template}` cannot run `cargo {first}`"))
                })?;
            }
            arguments.remove(0);
        }
        words.extend(arguments);
        if messages && !words.iter().any(|w| w.starts_with("--message-format")) {
            words.push("--message-format=json".to_owned());
        }
        if cached && self.small_cache {
            words.splice(0..0, self.in_small_cache());
        }
        let mut command = self.sandbox.command(&words[0], folder);
        command.args(&words[1..]).envs(&self.env);
        if let Some(target) = &self.target {
            command.env("CARGO_TARGET_DIR", target);
        }
        if cached {
            if let Some(wrapper) = &self.options.wrapper {
                command.env("RUSTC_WRAPPER", wrapper);
            }
            self.option_env(&mut command);
        }
        Ok(command)
    }

    /// The words before a command that give it a tiny cache folder of its own,
    /// and its server with it.
    fn in_small_cache(&self) -> Vec<String> {
        let server = |command: &Option<String>| match command {
            Some(template) => format!("{};", self.sandbox.fill_option(template)),
            None => String::new(),
        };
        let script = format!(
            "mount -t tmpfs -o size=16k none {}; {} \"$@\"; code=$?; {} exit $code",
            self.sandbox.root.join("cache").display(),
            server(&self.options.start),
            server(&self.options.stop),
        );
        let words = ["unshare", "--mount", "--map-root-user", "sh", "-c", &script, "sh"];
        words.map(str::to_owned).to_vec()
    }

    fn option_env(&self, command: &mut Command) {
        for (name, value) in &self.options.env {
            command.env(name, self.sandbox.fill_option(&value.to_string_lossy()));
        }
    }

    /// Starts or stops the cache's server, if it has one. A server that does
    /// not start is the cache's matter: builds must succeed all the same.
    fn server(&mut self, up: bool) {
        let template = match up {
            true => &self.options.start,
            false => &self.options.stop,
        };
        let Some(template) = template else {
            return;
        };
        let mut command = self.sandbox.command("sh", &self.sandbox.root);
        command.args(["-c", &self.sandbox.fill_option(template)]);
        self.option_env(&mut command);
        if let Err(Stop::Suite(message)) = self.run(command, TOOL_LIMIT, "").map(drop) {
            self.find(Verdict::SuiteError, message);
        }
    }

    fn run(&mut self, mut command: Command, limit: Duration, what: &str) -> Result<Output, Stop> {
        self.commands_run += 1;
        let name = format!("command-{}", self.commands_run);
        let log = self.sandbox.root.join("log");
        let output = process::run(&mut command, &log, &name, limit).map_err(|error| {
            let program = command.get_program().to_string_lossy().into_owned();
            Stop::Suite(format!("{program} {what}: {error}"))
        })?;
        self.story.transcript.push(Exchange::new(&command, &output));
        Ok(output)
    }

    fn must_succeed(&self, output: &Output, what: &str) -> Told {
        if output.success() {
            return Ok(());
        }
        let stderr = output.stderr.trim();
        Err(Stop::Suite(format!("{what} of the case failed: {stderr}")))
    }

    fn find(&mut self, verdict: Verdict, message: String) {
        self.story.findings.push(Finding { verdict, message });
    }
}

/// Words of a shell-like command line, for transcripts.
pub(super) fn shown(command: &Command) -> String {
    let quote = |word: &OsStr| {
        let word = word.to_string_lossy().into_owned();
        shlex::try_quote(&word).map_or(word.clone(), |quoted| quoted.into_owned())
    };
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(quote)
        .collect::<Vec<_>>()
        .join(" ")
}
