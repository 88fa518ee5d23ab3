//! From what a process tree did to what the compile has read.
//!
//! Who did something decides what it means:
//!
//! - the **compiler** (the driver and LLVM, in the sysroot's programs) is known: its own
//!   switches are ignored, its search of the target folder for crates is covered by the
//!   digests of its direct dependencies, everything else counts;
//! - a **macro** (any other object loaded into the compiler) counts in full, and its
//!   variables to the letter, since what it read may stand in its output;
//! - a **tool** (a process that the compiler started: the C driver, the linker) counts in
//!   full, the program itself and the libraries it loads included;
//! - a **launcher** (a script named by `RUSTC`) counts with the files that it reads, but for
//!   a log that it writes and the compiler that it looks for.
//!
//! What cannot be described refuses the unit, by name. Nothing is guessed.
//!
//! Known gaps: system calls made without libc by a library that a tool loads (a macro that
//! holds one is refused); the times of a file that a macro asks for, and what others than its
//! owner may do with it; what a macro learns from the compiler itself (`Span::local_file`),
//! where the search of the outputs for folders is the guard.

mod actors;
mod system;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use buildhook_recorder::{Event, Observation, Op, Outcome, ProcessId};

pub use self::actors::BlindSpots;
use self::actors::is_known_tool;
use self::actors::{Actor, Actors, file_name, is_in_sysroot, is_recorder};
use self::system::{is_about_this_process, is_device, leads_elsewhere, starts_with_any};
use crate::inputs::{InputSet, Item};
use crate::prepare::Prepared;
use crate::refusal::Refusal;
use crate::roots::{ABOVE, CARGO_HOME, TARGET, WORKSPACE};

/// What a compile did, as far as the cache is concerned.
#[derive(Debug, Default)]
pub struct Seen {
    /// What it read, and which programs and macros did.
    pub readers: BTreeMap<Item, BTreeSet<String>>,
    /// Paths of the set that were absent when they were looked for.
    pub absent: HashSet<PathBuf>,
    /// Files that the compiler opened, to compare with its own account.
    pub opened: HashSet<PathBuf>,
    /// Files in the output folder that it wrote and that are still there.
    pub outputs: BTreeSet<PathBuf>,
}

/// Variables by which the compiler is told how to run, not what to make.
const COMPILER_SWITCHES: &[&str] = &[
    "RUSTC_LOG",
    "RUSTC_LOG_COLOR",
    "RUSTC_ICE",
    "RUST_LOG",
    "RUST_BACKTRACE",
    "RUST_LIB_BACKTRACE",
    "RUST_MIN_STACK",
    "MAKEFLAGS",
    "MFLAGS",
    "CARGO_MAKEFLAGS",
    "PATH",
    "HOME",
    "TERM",
    "COLORTERM",
    "NO_COLOR",
    "CLICOLOR",
    "CLICOLOR_FORCE",
    "FORCE_COLOR",
    "TERM_PROGRAM",
    "WT_SESSION",
    "TMPDIR",
    "TMP",
    "TEMP",
    "LD_PRELOAD",
    "LD_LIBRARY_PATH",
    "COLUMNS",
    // Whether colours are shown, once more.
    "CI",
];
/// The same for tools. `PATH` is covered by the look-ups made along it.
const TOOL_SWITCHES: &[&str] =
    &["PATH", "PWD", "HOME", "TMPDIR", "TMP", "TEMP", "LD_PRELOAD", "MAKEFLAGS", "TERM"];
/// Read by the dynamic loader before a tool's own code runs.
const LOADER_VARIABLES: &[&str] = &["LD_LIBRARY_PATH", "LD_PRELOAD", "LD_AUDIT"];
/// Read by the standard library inside a macro, whatever the macro does.
const MACRO_SWITCHES: &[&str] = &["RUST_BACKTRACE", "RUST_LIB_BACKTRACE", "RUST_MIN_STACK"];
impl Seen {
    /// Adds something that `reader` has read.
    pub fn add(&mut self, item: Item, reader: &str) {
        let readers = self.readers.entry(item).or_default();
        if !readers.contains(reader) {
            readers.insert(reader.to_owned());
        }
    }

    /// What was read.
    #[must_use]
    pub fn set(&self) -> InputSet {
        self.readers.keys().cloned().collect()
    }
}

/// Describes what `observation` saw of the compile `unit`.
///
/// # Errors
/// Something was not or cannot be observed, or was done that a cache cannot repeat.
pub fn analyse(
    observation: &Observation,
    unit: &Prepared,
    blind: &BlindSpots,
) -> Result<Seen, Refusal> {
    if let Some(missing) = observation.unobservable.first() {
        return Err(Refusal::new("unobservable", format!("{:?}", missing.reason)));
    }
    let analysis = Analysis::new(observation, unit)?;
    let mut seen = Seen::default();
    analysis.outputs(&mut seen)?;
    analysis.programs(&mut seen, blind)?;
    for event in observation.inputs() {
        analysis.input(event, &mut seen)?;
    }
    for event in &observation.events {
        analysis.start(event, &mut seen);
    }
    analysis.above_workspace(&mut seen);
    Ok(seen)
}

struct Analysis<'a> {
    observation: &'a Observation,
    unit: &'a Prepared,
    actors: Actors<'a>,
    crate_folders: Vec<PathBuf>,
}

impl<'a> Analysis<'a> {
    fn new(observation: &'a Observation, unit: &'a Prepared) -> Result<Self, Refusal> {
        let dependency = unit.compile.search.iter().filter(|(kind, _)| kind == "dependency");
        let mut crate_folders: Vec<_> =
            dependency.map(|(_, path)| unit.roots.tokenise(&unit.cwd.join(path))).collect();
        crate_folders.push(unit.roots.tokenise(&unit.compile.out_dir));
        let actors = Actors::new(observation, unit)?;
        Ok(Self { observation, unit, actors, crate_folders })
    }

    fn token(&self, path: &Path) -> PathBuf {
        self.unit.roots.tokenise(path)
    }

    /// The compiler and macros search the folders above the workspace one by one; what a
    /// script or a linker reads there, it was told by name.
    fn token_for(&self, actor: Actor, path: &Path) -> PathBuf {
        let token = self.token(path);
        let searches = matches!(actor, Actor::Compiler | Actor::Macro);
        if !searches && token.starts_with(ABOVE) { path.to_owned() } else { token }
    }

    /// Sorts what the compiler and its tools made into outputs, temporary files and what must
    /// not be. A launcher's own log is none of them.
    fn outputs(&self, seen: &mut Seen) -> Result<(), Refusal> {
        for event in &self.observation.events {
            let makes =
                matches!(event.op, Op::Write | Op::Place) && event.outcome == Outcome::Found;
            if !makes || matches!(self.actors.of(event), Actor::Launcher | Actor::Proxy) {
                continue;
            }
            let path = event.path();
            if self.is_incremental(path) || is_device(path) || seen.outputs.contains(path) {
                continue;
            }
            // Most of it is temporary and gone.
            let Ok(metadata) = fs_err::symlink_metadata(path) else { continue };
            if path.parent() != Some(&self.unit.compile.out_dir) {
                return Err(Refusal::new("writes-elsewhere", self.show(path)));
            }
            if !metadata.is_file() {
                return Err(Refusal::new("odd-output", self.show(path)));
            }
            seen.outputs.insert(path.to_owned());
        }
        Ok(())
    }

    /// The programs that ran, the objects in them, and whether they can be trusted to read
    /// nothing unseen.
    fn programs(&self, seen: &mut Seen, blind: &BlindSpots) -> Result<(), Refusal> {
        for (index, process) in self.observation.processes.iter().enumerate() {
            let actor = self.actors.of_process(ProcessId::from_index(index));
            let program = &process.executable;
            let name = file_name(program);
            if actor == Actor::Proxy {
                continue;
            }
            for module in &process.modules {
                let object = self.observation.module(*module);
                let is_own = is_recorder(object) || !object.is_absolute();
                if is_own || is_in_sysroot(self.unit, object) {
                    continue;
                }
                if actor == Actor::Compiler && !self.actors.is_macro(object) {
                    continue;
                }
                if actor == Actor::Compiler
                    && let Some(code) = blind.of(object)
                {
                    return Err(Refusal::new(code, self.show(object)));
                }
                seen.add(Item::Path(self.token_for(actor, object)), &name);
            }
            if actor != Actor::Tool {
                continue;
            }
            // They decide which libraries the loader takes, which nobody can observe.
            for variable in LOADER_VARIABLES {
                seen.add(Item::Variable((*variable).to_owned()), &name);
            }
            let reads_singly = is_in_sysroot(self.unit, program) || is_known_tool(program);
            if !reads_singly && let Some(code) = blind.of(program) {
                return Err(Refusal::new(code, self.show(program)));
            }
        }
        Ok(())
    }

    fn show(&self, path: &Path) -> String {
        self.token(path).display().to_string()
    }

    fn input(&self, event: &Event, seen: &mut Seen) -> Result<(), Refusal> {
        let actor = self.actors.of(event);
        if actor == Actor::Proxy {
            return Ok(());
        }
        match event.op {
            Op::Getenv => self.variable(actor, event, seen),
            Op::Getcwd => {
                if actor == Actor::Macro {
                    self.place(&self.unit.cwd, &self.actors.name(actor, event), seen);
                }
                Ok(())
            }
            _ if leads_elsewhere(event.path()) => {
                Err(Refusal::new("reads-system", event.subject.to_string_lossy()))
            }
            Op::List => self.listing(actor, event, seen),
            Op::Dlopen if !event.subject.as_encoded_bytes().contains(&b'/') => {
                Err(Refusal::new("loads-by-name", event.subject.to_string_lossy()))
            }
            _ => self.path(actor, event, seen),
        }
    }

    fn variable(&self, actor: Actor, event: &Event, seen: &mut Seen) -> Result<(), Refusal> {
        let Some(name) = event.subject.to_str() else {
            return Err(Refusal::new("not-unicode", event.subject.to_string_lossy()));
        };
        let (ignored, item): (_, fn(String) -> Item) = match actor {
            Actor::Compiler => (COMPILER_SWITCHES, Item::Variable),
            Actor::Tool | Actor::Launcher | Actor::Proxy => (TOOL_SWITCHES, Item::Variable),
            Actor::Macro => (MACRO_SWITCHES, Item::LiteralVariable),
        };
        if ignored.contains(&name) || name.starts_with("BUILDHOOK_") {
            return Ok(());
        }
        if actor == Actor::Macro && is_credential(name) {
            return Err(Refusal::new("reads-credential", name));
        }
        seen.add(item(name.to_owned()), &self.actors.name(actor, event));
        Ok(())
    }

    fn listing(&self, actor: Actor, event: &Event, seen: &mut Seen) -> Result<(), Refusal> {
        let path = event.path();
        let token = self.token_for(actor, path);
        if actor == Actor::Compiler {
            // The compiler lists every `-L` folder when it starts, to find crates by name.
            // Those of Cargo name each crate by its hash; in others a listing counts.
            let plain = ["dependency", "native", "framework"];
            let searched = self.unit.compile.search.iter().any(|(kind, folder)| {
                plain.contains(&kind.as_str()) && self.token(&self.unit.cwd.join(folder)) == token
            });
            if searched || self.is_incremental(path) || self.is_uninteresting(path) {
                return Ok(());
            }
        } else if self.is_uninteresting(path) {
            return Ok(());
        }
        self.unicode(path)?;
        seen.add(Item::Listing(token), &self.actors.name(actor, event));
        Ok(())
    }

    fn path(&self, actor: Actor, event: &Event, seen: &mut Seen) -> Result<(), Refusal> {
        let path = event.path();
        let token = self.token_for(actor, path);
        let found = event.outcome == Outcome::Found;
        if actor == Actor::Compiler && event.op == Op::Read && found {
            seen.opened.insert(path.to_owned());
        }
        if actor == Actor::Macro {
            if starts_with_any(path, &["/proc", "/sys"]) && !is_about_this_process(path) {
                return Err(Refusal::new("reads-system", path.to_string_lossy()));
            }
            if matches!(event.op, Op::Resolve | Op::Readlink) {
                self.unicode(path)?;
                seen.add(Item::Resolved(token.clone()), &self.actors.name(actor, event));
                self.place(path, &self.actors.name(actor, event), seen);
            }
            if event.op == Op::Stat && found && !self.is_uninteresting(path) {
                self.unicode(path)?;
                seen.add(Item::Metadata(token.clone()), &self.actors.name(actor, event));
            }
        } else if self.is_incremental(path) {
            if event.op == Op::Read && found {
                return Err(Refusal::new("incremental-history", &self.unit.compile.crate_name));
            }
            return Ok(());
        } else if token.starts_with(TARGET) && self.observation.is_made(path) {
            // An output of an earlier build, about to be replaced.
            return Ok(());
        }
        let launchers_own = actor == Actor::Launcher
            && (self.observation.is_made(path) || self.actors.is_named_like_compiler(path));
        if launchers_own || self.is_uninteresting(path) {
            return Ok(());
        }
        if actor == Actor::Compiler && self.crate_folders.iter().any(|f| token.starts_with(f)) {
            // A crate is looked for among all files of its name; what is loaded, and what the
            // linker reads, tells which one was taken.
            let linked = self.links_by_itself() && token.extension().is_some_and(|e| e == "rlib");
            if !(found && (event.op == Op::Dlopen || linked)) {
                return Ok(());
            }
        }
        self.unicode(path)?;
        if matches!(actor, Actor::Tool | Actor::Launcher) && self.is_on_search_path(path) {
            // A search along `PATH`. What was looked for is the name, wherever it is found.
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            seen.add(Item::Program(name.to_owned()), &self.actors.name(actor, event));
            if !found {
                return Ok(());
            }
        }
        if event.outcome == Outcome::Absent {
            seen.absent.insert(token.clone());
        }
        seen.add(Item::Path(token), &self.actors.name(actor, event));
        Ok(())
    }

    /// Programs found along `PATH`: another one of that name may come to stand before it.
    fn start(&self, event: &Event, seen: &mut Seen) {
        let Some(word) = event.subject.to_str() else { return };
        let starts = matches!(event.op, Op::Spawn | Op::Exec) && !word.contains('/');
        let actor = self.actors.of_process(event.process);
        if starts && !matches!(actor, Actor::Launcher | Actor::Proxy) {
            seen.add(Item::Program(word.to_owned()), &self.actors.name(Actor::Tool, event));
        }
    }

    /// Folders above the workspace are searched one by one (for `clippy.toml`, say): how many
    /// there are then matters.
    fn above_workspace(&self, seen: &mut Seen) {
        let above = Path::new(ABOVE);
        let searched = seen.readers.keys().any(|item| match item {
            Item::Path(path) | Item::Listing(path) => path.starts_with(above),
            _ => false,
        });
        if searched {
            seen.add(Item::Depth, "buildhook");
        }
    }

    /// The output may hold the folder that `path` is in.
    fn place(&self, path: &Path, reader: &str, seen: &mut Seen) {
        let token = self.token(path);
        for root in [TARGET, CARGO_HOME, WORKSPACE] {
            if token.starts_with(root) {
                seen.add(Item::Place(root.to_owned()), reader);
            }
        }
    }

    /// Whether the compiler takes libraries apart instead of leaving them to the linker.
    fn links_by_itself(&self) -> bool {
        let compile = &self.unit.compile;
        let lto = |word: &String| word.contains("lto") && !word.ends_with("=off");
        compile.links()
            && (compile.crate_types.iter().any(|kind| kind == "staticlib")
                || compile.rest.iter().any(lto))
    }

    fn is_on_search_path(&self, path: &Path) -> bool {
        let folders = self.unit.env.get("PATH").unwrap_or_default();
        path.file_name().is_some()
            && path
                .parent()
                .is_some_and(|parent| std::env::split_paths(folders).any(|f| f == parent))
    }

    fn is_incremental(&self, path: &Path) -> bool {
        let folder = self.unit.compile.incremental.as_ref();
        folder.is_some_and(|folder| {
            self.token(path).starts_with(self.token(&self.unit.cwd.join(folder)))
        })
    }

    /// The compiler's own installation is in the key by content; devices, the kernel's
    /// accounts of processes and the place of temporary files are no inputs; our own folder
    /// is ours.
    fn is_uninteresting(&self, path: &Path) -> bool {
        is_in_sysroot(self.unit, path)
            || is_device(path)
            || starts_with_any(path, &["/proc", "/sys"])
            || path.starts_with(self.unit.scratch_root())
            || ["TMPDIR", "TMP", "TEMP"]
                .iter()
                .any(|n| self.unit.env.get(n) == Some(path.as_os_str()))
    }

    fn unicode(&self, path: &Path) -> Result<(), Refusal> {
        match path.to_str() {
            Some(_) => Ok(()),
            None => Err(Refusal::new("not-unicode", path.to_string_lossy())),
        }
    }
}

/// Whether a variable's name says that its value is a secret: then nothing made of it is kept.
#[must_use]
pub fn is_credential(name: &str) -> bool {
    const WORDS: &[&str] =
        &["TOKEN", "SECRET", "PASSWORD", "PASSWD", "PASSPHRASE", "CREDENTIAL", "CREDENTIALS"];
    const ENDS: &[&str] = &["ACCESS_KEY", "API_KEY", "PRIVATE_KEY", "APIKEY", "AUTH_KEY"];
    let name = name.to_ascii_uppercase();
    name.split('_').any(|word| WORDS.contains(&word)) || ENDS.iter().any(|end| name.contains(end))
}
