//! Before and after a compile: the two questions that the wrapper asks.
//!
//! [`Frontend::before`] answers from the cache or says how to run the compiler;
//! [`Frontend::after`] stores what it made. Both are total: whatever goes wrong ends as
//! "run the compiler" or "not stored", with a reason that is counted.
//!
//! Many threads use one front end at once; it lives as long as one Cargo build.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use buildhook_host::{DigestCache, Host};
use buildhook_protocol::{Key, Unit};

use crate::args::{self, Compile, Parsed};
use crate::diagnostics::Translation;
use crate::environment::Environment;
use crate::index::Index;
use crate::inputs::InputRecord;
use crate::lookup::{self, Lookup};
use crate::manifest::Action;
use crate::observe::BlindSpots;
use crate::prepare::Prepared;
use crate::refusal::Refusal;
use crate::store;
use crate::toolchain::Toolchains;

/// Everything that the units of one build share.
pub struct Frontend {
    pub(crate) host: Arc<Host>,
    pub(crate) digests: DigestCache,
    pub(crate) index: Index,
    pub(crate) blind_spots: BlindSpots,
    toolchains: Toolchains,
    workspace: Option<String>,
    recorder: Option<PathBuf>,
    records: PathBuf,
    counter: AtomicU64,
}

/// One call of the wrapper.
#[derive(Debug, Clone)]
pub struct Call {
    /// The words after the wrapper's own name.
    pub words: Vec<String>,
    /// The folder that it was called in.
    pub cwd: PathBuf,
    /// Its variables.
    pub env: Environment,
}

/// What to do about a call.
#[derive(Debug)]
pub enum Before {
    /// Nothing of ours: run the words as they are.
    Untouched,
    /// Run the compiler as `run` says and come back.
    Run(Box<Run>),
    /// The outputs are in place; say this and succeed.
    Hit(Box<Hit>),
}

/// How to run the compiler.
#[derive(Debug)]
pub struct Run {
    /// Words between the launcher and its arguments.
    pub extra_arguments: Vec<String>,
    /// How many of the words are the launcher.
    pub launcher_words: usize,
    /// Variables to set.
    pub variables: Vec<(std::ffi::OsString, std::ffi::OsString)>,
    /// For each line of its standard error.
    pub translation: Translation,
    /// To come back with.
    pub ticket: Ticket,
}

/// What is remembered between before and after.
#[derive(Debug)]
pub struct Ticket {
    pub(crate) unit: Prepared,
    /// `Err` when the unit will not be stored.
    pub(crate) plan: Result<Plan, Refusal>,
    /// Why it was not a hit, when that is known.
    pub(crate) miss: Option<Refusal>,
}

/// What storing needs.
#[derive(Debug)]
pub(crate) struct Plan {
    pub action: Action,
    pub action_key: Key,
    /// The record of inputs that the hook has under it.
    pub known: InputRecord,
    /// Keys under which the hook has something broken.
    pub corrupt: Vec<Key>,
    /// Where the recorder writes; also the clock to which inputs are compared.
    pub record: RecordFolder,
}

/// A folder that is removed in the end.
#[derive(Debug)]
pub(crate) struct RecordFolder(pub PathBuf);

impl Drop for RecordFolder {
    fn drop(&mut self) {
        // What cannot be removed is swept with the build's own folder.
        let _ = fs_err::remove_dir_all(&self.0);
    }
}

/// A unit that was restored.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// What rustc wrote, for this build.
    pub stdout: Vec<u8>,
    /// What rustc said, for this build.
    pub stderr: Vec<u8>,
    /// For the report.
    pub account: Account,
}

/// What became of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Restored.
    Hit,
    /// Compiled, and stored.
    Miss,
    /// Compiled, and not stored.
    Uncached,
    /// The compiler said no.
    Failed,
}

/// For the report.
#[derive(Debug, Clone, PartialEq)]
pub struct Account {
    /// The unit.
    pub unit: Unit,
    /// What became of it.
    pub fate: Fate,
    /// Why it was no hit or is not stored.
    pub reason: Option<Refusal>,
    /// Its key, as far as known.
    pub key: Option<Key>,
    /// Files restored or stored.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What compiling took or, for a hit, once took.
    pub cost_ms: Option<u64>,
}

/// How the compiler ended.
#[derive(Debug)]
pub struct Finished {
    /// Exit code 0.
    pub success: bool,
    /// What it wrote.
    pub stdout: Vec<u8>,
    /// What it said, before translation.
    pub stderr: Vec<u8>,
    /// How long it took.
    pub duration: Duration,
}

impl Frontend {
    /// A front end that keeps its own memory below `folder` and asks `host`.
    ///
    /// `recorder` is the preload library, without which nothing is cached; it writes below
    /// `records`, a folder that is best in memory.
    #[must_use]
    pub fn new(
        host: Arc<Host>,
        digests: DigestCache,
        folder: &Path,
        recorder: Option<PathBuf>,
        records: PathBuf,
    ) -> Self {
        Self {
            host,
            digests,
            index: Index::new(folder.to_owned()),
            blind_spots: BlindSpots::default(),
            toolchains: Toolchains::new(folder.join("compilers")),
            workspace: None,
            recorder,
            records,
            counter: AtomicU64::new(0),
        }
    }

    /// The same, for the workspace of this name ([`crate::workspace::name`]).
    #[must_use]
    pub fn for_workspace(self, workspace: Option<String>) -> Self {
        Self { workspace, ..self }
    }

    /// What is remembered of files.
    #[must_use]
    pub fn digests(&self) -> &DigestCache {
        &self.digests
    }

    /// Answers a call from the cache, or says how to run the compiler.
    #[must_use]
    pub fn before(&self, call: Call) -> Before {
        let read = |path: &Path| fs_err::read_to_string(call.cwd.join(path)).ok();
        let Parsed::Compile(compile) = args::parse(&call.words, read) else {
            return Before::Untouched;
        };
        let launcher_words = compile.launcher.len();
        let Ok(unit) = self.prepare(*compile, call.cwd, call.env) else {
            return Before::Untouched;
        };
        let mut miss = None;
        let plan = match self.look_up(&unit) {
            Ok(Lookup::Hit(hit)) => return Before::Hit(hit),
            Ok(Lookup::Miss { action, action_key, record: known, corrupt, reason }) => {
                miss = reason;
                self.record_folder().map(|record| Plan {
                    action: *action,
                    action_key,
                    known,
                    corrupt,
                    record,
                })
            }
            Err(refusal) => Err(refusal),
        };
        let variables = match &plan {
            Ok(plan) => self.record_variables(&unit, &plan.record.0),
            Err(_) => Vec::new(),
        };
        Before::Run(Box::new(Run {
            extra_arguments: unit.extra_arguments(),
            launcher_words,
            variables,
            translation: unit.translation(),
            ticket: Ticket { unit, plan, miss },
        }))
    }

    /// Stores what a compile made, if it can be.
    #[must_use]
    pub fn after(&self, ticket: Ticket, finished: &Finished) -> Account {
        store::after(self, ticket, finished)
    }

    fn prepare(
        &self,
        compile: Compile,
        cwd: PathBuf,
        env: Environment,
    ) -> std::io::Result<Prepared> {
        let mut prepared = Prepared::new(compile, cwd, env, &self.toolchains, &self.digests)?;
        prepared.unit.workspace.clone_from(&self.workspace);
        Ok(prepared)
    }

    fn look_up(&self, unit: &Prepared) -> Result<Lookup, Refusal> {
        if let Some((code, argument)) = &unit.compile.refusal {
            return Err(Refusal::new(code, argument));
        }
        let (action, action_key) = unit
            .action(&self.digests)
            .map_err(|error| Refusal::new("unreadable-input", error.to_string()))?;
        lookup::look_up(self, unit, action, action_key)
    }

    fn record_folder(&self) -> Result<RecordFolder, Refusal> {
        if self.recorder.is_none() {
            return Err(Refusal::new("no-recorder", "this build of buildhook cannot observe"));
        }
        let count = self.counter.fetch_add(1, Ordering::Relaxed);
        let folder = self.records.join(count.to_string());
        fs_err::create_dir_all(&folder)
            .map_err(|error| Refusal::new("no-scratch", error.to_string()))?;
        Ok(RecordFolder(folder))
    }

    fn record_variables(
        &self,
        unit: &Prepared,
        folder: &Path,
    ) -> Vec<(std::ffi::OsString, std::ffi::OsString)> {
        let Some(library) = &self.recorder else { return Vec::new() };
        let existing = unit.env.get(buildhook_recorder::PRELOAD_VARIABLE);
        buildhook_recorder::environment(library, folder, existing)
            .map(|variables| variables.into_iter().map(|(n, v)| (n.into(), v)).collect())
            .unwrap_or_default()
    }
}
