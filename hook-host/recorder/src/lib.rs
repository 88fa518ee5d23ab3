//! Observes what a process tree reads.
//!
//! A small library, preloaded into a program and everything it starts, notes each
//! file opened or looked for in vain, each folder listed, each variable read, and
//! which loaded object did it. This crate carries that library as bytes, puts it
//! in place ([`install`]), says which variables switch it on ([`environment`])
//! and reads what it wrote ([`read`]).
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use std::{path::Path, process::Command};
//! let library = buildhook_recorder::install(Path::new("/home/me/.cache/recorder"))?;
//! let logs = Path::new("/tmp/one-folder-for-each-observation");
//! let variables = buildhook_recorder::environment(&library, logs, None)?;
//! Command::new("rustc").arg("main.rs").envs(variables).status()?;
//! let observation = buildhook_recorder::read(logs);
//! for event in observation.inputs() {
//!     println!("{:?} {:?}", event.op, event.subject);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Invariants
//!
//! - The recorder never makes a program fail: where it cannot write its log it
//!   records nothing, and the reader says that something is missing.
//! - Reading a log is bounded and total, whatever its bytes are.
//! - An observation is whole only when [`Observation::is_complete`] says so.
//!
//! # Cost
//!
//! Some 0.1 ms of processor time for each program started, where the folder of logs
//! is in memory (`/dev/shm`, `$XDG_RUNTIME_DIR`); a new file on a disk's file system
//! costs several times that. What is recorded costs no system call of its own.
//!
//! # Known gaps
//!
//! Not seen: system calls made without libc ([`imports_of`] tells which objects can); files that libc itself opens
//! (locale, name service) and the dynamic loader's search; variables read from
//! `environ` (it tells that too); symbols taken from libc by
//! handle; extended attributes; clocks, random numbers and what identifies the host. Programs for
//! another word size than the recorder's, setuid and static ones record nothing,
//! which is noticed. A program linked with a dynamic address sanitizer refuses to
//! start under any preloaded library. On macOS, which is untested, programs of
//! the system drop the preload, which is noticed too.

mod format;
mod imports;
mod install;
mod observation;
mod read;
mod silence;
mod text;

pub use imports::{Imports, imports_of};
pub use install::{
    EnvironmentError, FOLDER_VARIABLE, PRELOAD_VARIABLE, environment, install, preload_value,
};
pub use observation::{
    Event, ModuleId, Observation, Op, Outcome, Process, ProcessId, Reason, Silence, Unobservable,
};
pub use read::read;

/// The preload library, or `None` where this build of the crate has none.
#[cfg(preload)]
pub const PRELOAD: Option<&[u8]> = Some(include_bytes!(env!("RECORDER_LIBRARY")));
/// The preload library, or `None` where this build of the crate has none.
#[cfg(not(preload))]
pub const PRELOAD: Option<&[u8]> = None;
