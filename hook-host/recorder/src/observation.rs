//! What a process tree did, in types.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// What an event is about. Its subject is an absolute path unless said
/// otherwise; `..` and symbolic links in it are as the program gave them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Op {
    /// A file opened for reading, a program started, a file linked or renamed.
    /// The subject may turn out to be a folder.
    Read,
    /// Existence or metadata asked.
    Stat,
    /// A symbolic link's target asked.
    Readlink,
    /// A path resolved through all its links.
    Resolve,
    /// A folder listed.
    List,
    /// A file opened for writing, created or truncated.
    Write,
    /// A folder made.
    MakeDir,
    /// A name given to something by rename, link or symlink.
    Place,
    /// A name removed by unlink, rmdir or rename.
    Remove,
    /// The working folder changed.
    Chdir,
    /// The working folder asked for.
    Getcwd,
    /// A variable read; the subject is its name, [`Outcome::Absent`] is unset.
    Getenv,
    /// A variable set, or unset with [`Outcome::Absent`]; the subject is its name.
    Setenv,
    /// A library loaded; the subject is a path, or a name to search for.
    Dlopen,
    /// A program about to replace this one; the subject is as the caller gave it.
    Exec,
    /// A program started; the subject is as the caller gave it.
    Spawn,
    /// A command line given to the shell; the subject is the shell.
    Shell,
}

impl Op {
    /// Whether the event learns something that may lie outside the tree.
    pub fn is_lookup(self) -> bool {
        matches!(
            self,
            Op::Read
                | Op::Stat
                | Op::Readlink
                | Op::Resolve
                | Op::List
                | Op::Getcwd
                | Op::Getenv
                | Op::Dlopen
        )
    }

    fn makes_path(self) -> bool {
        matches!(self, Op::Write | Op::MakeDir | Op::Place)
    }
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It worked.
    Found,
    /// There is no such thing.
    Absent,
    /// It failed otherwise, with this error number: the thing may be there.
    Failed(u32),
}

/// Index into [`Observation::processes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProcessId(pub(crate) u32);

/// Names a loaded object; see [`Observation::module`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModuleId(pub(crate) u32);

/// One thing that happened, the first time that this module of this process did it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Who did it. A forked child that executes nothing counts as its parent.
    pub process: ProcessId,
    /// The loaded object that made the call, from its return address; `None` for
    /// generated code, or a forked child's library that its parent did not have.
    pub module: Option<ModuleId>,
    /// What was done.
    pub op: Op,
    /// How it ended.
    pub outcome: Outcome,
    /// A path, or what [`Op`] says.
    pub subject: OsString,
    /// When it was noted, after it happened; nanoseconds of the monotonic clock.
    pub time_ns: u64,
}

impl ProcessId {
    /// The id of `processes[index]`.
    pub fn from_index(index: usize) -> Self {
        Self(u32::try_from(index).unwrap_or(u32::MAX))
    }
}

impl Event {
    /// The subject as a path.
    pub fn path(&self) -> &Path {
        Path::new(&self.subject)
    }
}

/// One program image: a process that executes another program becomes another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// The system's number.
    pub pid: u32,
    /// The image that started this one, or that this one replaced.
    pub parent: Option<ProcessId>,
    /// The executable, links resolved.
    pub executable: PathBuf,
    /// The name that it was called by.
    pub argv0: OsString,
    /// The folder that it started in.
    pub working_folder: PathBuf,
    /// Objects loaded at start or later, the executable first.
    pub modules: Vec<ModuleId>,
    /// When it started; nanoseconds of the monotonic clock.
    pub started_ns: u64,
}

/// Why a program left no log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Silence {
    /// It is linked statically: there is no loader to preload anything.
    Static,
    /// It runs with other privileges than its caller: the loader ignores preloads.
    Privileged,
    /// Neither: it refused the preload, could not write its log, or did not start.
    Unknown,
}

/// What is missing from an observation.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The folder holds no log: nothing was recorded.
    Nothing,
    /// A program was started and wrote no log.
    Silent {
        /// As its caller named it.
        program: PathBuf,
        /// What is known of why.
        silence: Silence,
    },
    /// The program did something that cannot be described; says what.
    Undescribed(String),
    /// The program read the environment of a process as a file.
    WholeEnvironment,
    /// More happened than a log or an observation holds.
    Overflow,
    /// The log could not grow.
    Dropped,
    /// The log ends, or was left, in the middle of an event.
    Unfinished,
    /// Not a log, or not of this version.
    Malformed(PathBuf),
    /// The log or its folder could not be read; says why.
    Unreadable(String),
}

/// Something that the recorder knows it did not see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unobservable {
    /// Whose doing it was, if that is known.
    pub process: Option<ProcessId>,
    /// The module that did it, if one did.
    pub module: Option<ModuleId>,
    /// What it was.
    pub reason: Reason,
}

/// Everything that was recorded of one process tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observation {
    /// By time of start: the first is the one that everything began with.
    pub processes: Vec<Process>,
    /// By time.
    pub events: Vec<Event>,
    /// What is known to be missing; empty when the observation is whole.
    pub unobservable: Vec<Unobservable>,
    pub(crate) modules: Vec<PathBuf>,
    pub(crate) made: HashMap<OsString, u64>,
}

impl Observation {
    /// Whether nothing is known to be missing.
    pub fn is_complete(&self) -> bool {
        self.unobservable.is_empty()
    }

    /// The image with this number.
    ///
    /// # Panics
    ///
    /// When `id` is of another observation and has no counterpart here.
    pub fn process(&self, id: ProcessId) -> &Process {
        &self.processes[id.0 as usize]
    }

    /// The file of a loaded object: a path, save for the kernel's own.
    ///
    /// # Panics
    ///
    /// When `id` is of another observation and has no counterpart here.
    pub fn module(&self, id: ModuleId) -> &Path {
        &self.modules[id.0 as usize]
    }

    /// All objects that any process had loaded.
    pub fn modules(&self) -> impl Iterator<Item = &Path> {
        self.modules.iter().map(PathBuf::as_path)
    }

    /// The lookups that reach outside the tree: of paths that it had not made
    /// itself by then, and of variables that neither the process nor one that it
    /// descends from had set. A file opened for writing counts as made, whether
    /// or not it was there before.
    pub fn inputs(&self) -> impl Iterator<Item = &Event> {
        let set = self.first_assignments();
        self.events.iter().filter(move |event| match event.op {
            Op::Getenv => !self.lineage(event.process).any(|process| {
                let assigned = set.get(&(process, event.subject.as_os_str()));
                assigned.is_some_and(|&time_ns| time_ns <= event.time_ns)
            }),
            Op::Getcwd => true,
            op => op.is_lookup() && !self.is_made_by(event.path(), event.time_ns),
        })
    }

    /// Paths that the tree wrote, made or gave a name to, whether or not they are
    /// still there: outputs and temporary files. In no order.
    pub fn made(&self) -> impl Iterator<Item = &Path> {
        self.made.keys().map(Path::new)
    }

    /// Whether the tree made `path` or a folder that it lies in.
    pub fn is_made(&self, path: &Path) -> bool {
        self.is_made_by(path, u64::MAX)
    }

    fn is_made_by(&self, path: &Path, time_ns: u64) -> bool {
        path.ancestors()
            .any(|path| self.made.get(path.as_os_str()).is_some_and(|&made_ns| made_ns <= time_ns))
    }

    fn first_assignments(&self) -> HashMap<(ProcessId, &OsStr), u64> {
        let mut set = HashMap::new();
        for event in self.events.iter().filter(|event| event.op == Op::Setenv) {
            set.entry((event.process, event.subject.as_os_str())).or_insert(event.time_ns);
        }
        set
    }

    /// The process and those it descends from. Bounded, should a forged log have
    /// a process descend from itself.
    fn lineage(&self, process: ProcessId) -> impl Iterator<Item = ProcessId> {
        std::iter::successors(Some(process), |&id| self.process(id).parent)
            .take(self.processes.len())
    }

    pub(crate) fn note_made(&mut self) {
        for event in &self.events {
            if event.op.makes_path() && event.outcome == Outcome::Found {
                self.made.entry(event.subject.clone()).or_insert(event.time_ns);
            }
        }
    }
}
