//! Builds by the host under test.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::script::Script;
use crate::command::this_program;
use crate::evidence::{Direction, Log, scaled, walk};
use crate::plugin::bench::text;
use crate::process::{Launch, Output, Process};
use crate::session::{describe, shlex_join};
use crate::verdict::{Outcome, Stop, fail};
use crate::wire::strict::Violation;

/// Time for one build, whatever the plugin does.
const BUILD: Duration = Duration::from_secs(120);
/// Time for processes of a build to follow it.
const RELATIVES: Duration = Duration::from_secs(3);
/// Stands for a fresh folder.
const TARGET: &str = "{target}";

/// What is the same for all checks.
#[derive(Debug)]
pub(crate) struct HostSetup {
    pub(crate) words: Vec<String>,
    /// Where the command is run.
    pub(crate) cwd: PathBuf,
    pub(crate) factor: f64,
    pub(crate) root: PathBuf,
    /// A store that a first build has filled.
    pub(crate) filled: PathBuf,
    /// Keys that a second build found there, and used.
    pub(crate) used_keys: BTreeSet<String>,
    /// How often a plugin was started in that second build.
    pub(crate) starts: usize,
    /// Keys that the first build asked for.
    pub(crate) units: usize,
}

/// The builds of one check.
#[derive(Debug)]
pub(crate) struct Builds<'a> {
    pub(crate) setup: &'a HostSetup,
    pub(crate) log: Log,
    pub(crate) folder: PathBuf,
    count: u32,
}

/// One build.
#[derive(Debug)]
pub(crate) struct Build {
    pub(crate) status: ExitStatus,
    /// What it put together.
    pub(crate) target: PathBuf,
    /// What the plugin noted.
    pub(crate) notes: Vec<Value>,
    /// Bytes on standard error, its start, and how often the noise was in it.
    pub(crate) stderr: Vec<u8>,
    pub(crate) stderr_bytes: u64,
    /// Processes were left when it had ended.
    pub(crate) left: bool,
}

impl<'a> Builds<'a> {
    pub(crate) fn new(setup: &'a HostSetup, label: &str, log: &Log) -> Outcome<Self> {
        let folder = setup.root.join(label);
        fs::create_dir_all(&folder)?;
        Ok(Self { setup, log: log.clone(), folder, count: 0 })
    }

    /// A build over a plugin that behaves so; it has to succeed.
    pub(crate) fn build(&mut self, script: Script) -> Outcome<Build> {
        let store = match script {
            Script::Store => self.folder.join("store"),
            _ => self.setup.filled.clone(),
        };
        let trace = self.folder.join(format!("trace-{}", self.count + 1));
        let name = clap::ValueEnum::to_possible_value(&script);
        let name = name.map(|value| value.get_name().to_owned()).unwrap_or_default();
        let words = [
            &text(&this_program()),
            "script",
            &name,
            "--dir",
            &text(&store),
            "--trace",
            &text(&trace),
        ];
        let hook = shlex_join(&words.map(str::to_owned));
        self.build_with(&hook)
    }

    /// A build over this plugin command line; it has to succeed.
    pub(crate) fn build_with(&mut self, hook: &str) -> Outcome<Build> {
        let build = self.try_build(hook)?;
        if !build.status.success() {
            let text = format!("the build failed with {}", describe(build.status));
            self.log.violation(Violation::new("BH-ERR-005", text.clone()));
            fail!("{text}");
        }
        Ok(build)
    }

    fn try_build(&mut self, hook: &str) -> Outcome<Build> {
        self.count += 1;
        let target = self.folder.join(format!("target-{}", self.count));
        let trace = self.folder.join(format!("trace-{}", self.count));
        fs::create_dir(&target)?;
        let argv = self.setup.words.iter().map(|word| word.replace(TARGET, &text(&target)));
        let launch = Launch {
            argv: argv.collect(),
            env: vec![
                ("BUILDHOOK_HOOK".to_owned(), hook.into()),
                ("BUILDHOOK_CONFORMANCE_TARGET".to_owned(), target.clone().into_os_string()),
                ("CONFORMANCE_ACCESS_TOKEN".to_owned(), CANARY.into()),
            ],
            cwd: self.setup.cwd.clone(),
        };
        let session = self.log.new_session();
        self.log.note(session, &format!("BUILDHOOK_HOOK={hook} {}", shlex_join(&launch.argv)));
        let start = Instant::now();
        let limit = scaled(BUILD, self.setup.factor);
        let mut process =
            Process::start(&launch).map_err(|error| Stop::Suite(error.to_string()))?;
        process.close_input();
        while let Output::Line(line, _) = process.read(limit.saturating_sub(start.elapsed())) {
            self.log.event(session, Direction::Received, &line);
        }
        let Some(status) = process.wait(limit.saturating_sub(start.elapsed())) else {
            let text = format!("the build did not end within {} s", limit.as_secs());
            self.log.violation(Violation::new("BH-ERR-005", text.clone()));
            fail!("{text}");
        };
        let ended = Instant::now();
        let mut left = true;
        while left && ended.elapsed() < RELATIVES {
            left = !process.relatives().is_empty();
            std::thread::sleep(Duration::from_millis(if left { 20 } else { 0 }));
        }
        process.kill();
        process.finish_stderr(Duration::from_millis(500));
        let stderr = process.stderr();
        self.log.event(session, Direction::Stderr, &stderr.start);
        self.log.note(session, &format!("end: {}", describe(status)));
        let notes = self.read_notes(&trace, session)?;
        Ok(Build {
            status,
            target,
            notes,
            stderr: stderr.start,
            stderr_bytes: stderr.total_bytes,
            left,
        })
    }

    /// Reads a trace; what it says was broken is noted.
    fn read_notes(&self, trace: &std::path::Path, session: u32) -> Outcome<Vec<Value>> {
        let text = fs::read_to_string(trace).unwrap_or_default();
        let mut notes = Vec::new();
        for line in text.lines() {
            let note: Value = serde_json::from_str(line)
                .map_err(|error| Stop::Suite(format!("{}: {error}", trace.display())))?;
            match note["event"].as_str() {
                Some("request") => {
                    let line = note["line"].as_str().unwrap_or_default();
                    self.log.event(session, Direction::Received, line.as_bytes());
                }
                Some("violation") => self.breach(&note),
                _ => self.log.note(session, line),
            }
            notes.push(note);
        }
        Ok(notes)
    }

    fn breach(&self, note: &Value) {
        let known = crate::registry::find(note["requirement"].as_str().unwrap_or_default());
        if let Some(row) = known {
            let text = note["text"].as_str().unwrap_or_default();
            self.log.violation(Violation::new(row.id.as_str(), text));
        }
    }
}

/// A value that must not be in a manifest.
pub(crate) const CANARY: &str = "canary-7c1e5d0a9b";

impl Build {
    /// Notes of this kind.
    pub(crate) fn events(&self, event: &str) -> impl Iterator<Item = &Value> {
        self.notes.iter().filter(move |note| note["event"] == event)
    }

    /// Requests of this kind.
    pub(crate) fn requests(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.events("request")
            .map(|note| &note["message"])
            .filter(move |message| message["kind"] == kind)
    }

    /// Keys of hits that the host used: it did not build the same again.
    pub(crate) fn used_keys(&self) -> BTreeSet<String> {
        let key = |value: &Value| value["key"].as_str().unwrap_or_default().to_owned();
        let built: BTreeSet<String> = self.requests("built-a-thing").map(key).collect();
        self.events("hit").map(key).filter(|key| !built.contains(key)).collect()
    }

    /// A file below the target whose content is one that must not be there.
    pub(crate) fn poisoned(&self) -> Option<String> {
        let poison: BTreeSet<&str> =
            self.events("poison").filter_map(|note| note["digest"].as_str()).collect();
        let mut found = None;
        walk(&self.target, &mut |path, metadata| {
            if metadata.is_file()
                && crate::wire::digest_file(path).is_ok_and(|digest| poison.contains(&*digest))
            {
                found = Some(path.display().to_string());
            }
        });
        found
    }
}
