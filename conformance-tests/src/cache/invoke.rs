//! The commands of a case: cargo with and without the cache, the cache's
//! server, tools.

use std::io;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use super::cargo::BUILD_LIMIT;
use super::case::Verdict;
use super::edit;
use super::process::{self, Output};
use super::result::Exchange;
use super::runner::{Runner, Stop, Told};

/// Setting a server up or down, and the tools of cases.
pub(super) const TOOL_LIMIT: Duration = Duration::from_secs(60);

/// Space of the cache folder of [`super::case::Step::SmallCache`]: too little
/// for any entry, enough for an empty database.
const SMALL_CACHE_KIB: u32 = 16;

impl Runner<'_> {
    pub(super) fn together(&mut self, folders: &[&str]) -> Told {
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

    pub(super) fn cargo(
        &mut self,
        cached: bool,
        arguments: &[&str],
        messages: bool,
    ) -> Result<Output, Stop> {
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
            Some(template) => format!("({}) >/dev/null 2>&1;", self.sandbox.fill_option(template)),
            None => String::new(),
        };
        let script = format!(
            "mount -t tmpfs -o size={SMALL_CACHE_KIB}k none {}; {} \"$@\"; code=$?; {} exit $code",
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
    pub(super) fn server(&mut self, up: bool) {
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

    pub(super) fn run(
        &mut self,
        mut command: Command,
        limit: Duration,
        what: &str,
    ) -> Result<Output, Stop> {
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
}
