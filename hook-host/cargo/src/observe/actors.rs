//! Who did something: the compiler, a macro in it, a tool that it started, or what started it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use buildhook_recorder::{Event, Observation, ProcessId};

use crate::prepare::Prepared;
use crate::refusal::Refusal;
use crate::roots::{SYSROOT, TARGET};

/// Programs that take the whole environment to hand it on, and read single variables
/// through `getenv`: the drivers and linkers of GCC, binutils, LLVM, and mold and wild.
const KNOWN_TOOLS: &[&str] = &[
    "cc", "c++", "gcc", "g++", "clang", "clang++", "collect2", "ld", "bfd", "gold", "lld", "ar",
    "as", "mold", "wild", "wrapper", "ld64",
];
/// System libraries through which the compiler itself calls, and the recorder.
const SYSTEM_LIBRARIES: &[&str] = &[
    "libc.",
    "libc-",
    "ld-linux",
    "ld-",
    "libgcc_s",
    "libpthread",
    "libdl.",
    "librt.",
    "libm.",
    "libz.",
    "libstdc++",
    "linux-vdso",
    RECORDER,
];
const RECORDER: &str = "libbuildhook_recorder";

/// The kinds of doer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Actor {
    /// rustc's own code, or LLVM's.
    Compiler,
    /// Any other object loaded into the compiler.
    Macro,
    /// A process that the compiler or a macro started.
    Tool,
    /// A process that led to the compiler, and its other children.
    Launcher,
    /// rustup's proxy: what it reads decides only which compiler runs, and that one's content
    /// is in the key.
    Proxy,
}

/// Tells actors apart.
pub(super) struct Actors<'a> {
    pub(super) observation: &'a Observation,
    unit: &'a Prepared,
    compiler: ProcessId,
}

impl<'a> Actors<'a> {
    /// Finds the compiler among the processes: the first whose program is in the sysroot.
    pub(super) fn new(observation: &'a Observation, unit: &'a Prepared) -> Result<Self, Refusal> {
        let is_compiler =
            |index: &usize| is_in_sysroot(unit, &observation.processes[*index].executable);
        let compiler = (0..observation.processes.len()).find(is_compiler);
        let compiler =
            compiler.ok_or_else(|| Refusal::new("unobservable", "the compiler wrote no record"))?;
        Ok(Self { observation, unit, compiler: ProcessId::from_index(compiler) })
    }

    /// Who did `event`.
    pub(super) fn of(&self, event: &Event) -> Actor {
        match self.of_process(event.process) {
            Actor::Compiler => match event.module {
                Some(module) if !self.is_macro(self.observation.module(module)) => Actor::Compiler,
                _ => Actor::Macro,
            },
            other => other,
        }
    }

    /// What a process is as a whole.
    pub(super) fn of_process(&self, process: ProcessId) -> Actor {
        if process == self.compiler {
            return Actor::Compiler;
        }
        let parent = |id: &ProcessId| self.observation.process(*id).parent;
        let mut lineage =
            std::iter::successors(parent(&process), parent).take(self.observation.processes.len());
        if lineage.any(|id| id == self.compiler) {
            Actor::Tool
        } else if file_name(&self.observation.process(process).executable) == "rustup" {
            Actor::Proxy
        } else {
            Actor::Launcher
        }
    }

    /// Whether `path` has the compiler's name: where a script finds that does not matter, since
    /// its content is in the key.
    pub(super) fn is_named_like_compiler(&self, path: &Path) -> bool {
        let process = self.observation.process(self.compiler);
        path.file_name().is_some_and(|name| process.executable.file_name() == Some(name))
    }

    /// Whether an object loaded into the compiler is a macro, or something that one brought.
    pub(super) fn is_macro(&self, object: &Path) -> bool {
        let name = object.file_name().unwrap_or_default().to_string_lossy();
        let known = || SYSTEM_LIBRARIES.iter().any(|known| name.starts_with(known));
        object.is_absolute()
            && !is_in_sysroot(self.unit, object)
            && (self.unit.roots.tokenise(object).starts_with(TARGET) || !known())
    }

    /// For people: a macro's file, or the program.
    pub(super) fn name(&self, actor: Actor, event: &Event) -> String {
        let program = self.observation.process(event.process).executable.as_path();
        let module = event.module.map(|module| self.observation.module(module));
        let who = module.filter(|_| actor == Actor::Macro).unwrap_or(program);
        file_name(who)
    }
}

/// The last part of a path, for people.
pub(super) fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Whether a loaded object is the recorder.
pub(super) fn is_recorder(object: &Path) -> bool {
    file_name(object).starts_with(RECORDER)
}

/// Whether `path` is part of the compiler's installation.
pub(super) fn is_in_sysroot(unit: &Prepared, path: &Path) -> bool {
    unit.roots.tokenise(path).starts_with(SYSROOT)
}

/// Whether a program is one of those that read variables one by one.
pub(super) fn is_known_tool(program: &Path) -> bool {
    // `x86_64-linux-gnu-gcc-12`, `ld.lld-18`, `lto-wrapper`, `rust-lld`.
    file_name(program).split(['-', '.']).any(|word| KNOWN_TOOLS.contains(&word))
}

/// Which ELF objects can read something unseen, and how; asked once per file and session.
#[derive(Debug, Default)]
pub struct BlindSpots(Mutex<HashMap<PathBuf, Option<&'static str>>>);

impl BlindSpots {
    /// The code of a refusal.
    pub(super) fn of(&self, object: &Path) -> Option<&'static str> {
        let mut known = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *known.entry(object.to_owned()).or_insert_with(|| {
            match buildhook_recorder::imports_of(object) {
                Ok(imports) if imports.kernel => Some("calls-kernel"),
                Ok(imports) => imports.environment.then_some("takes-environment"),
                // An object that cannot be read may do anything.
                Err(_) => Some("takes-environment"),
            }
        })
    }
}
