//! How modules of sandboxed plugins are compiled, kept and loaded.
//!
//! Compiled code is native code: who chooses it chooses what runs, outside of any sandbox. So
//! - it is only ever derived here, from a `.wasm` file, by `buildhook-wasm-compile`;
//! - it is kept in one folder of the person's own, which nobody else may read or write
//!   ([`Modules`]), under a name that stands for the module's content, the version of wasmtime
//!   and the machine's kind;
//! - it is loaded from there alone, after owner, mode and a digest over name and content have
//!   been compared; the digest by the supervisor, which tells the runner what file that was, and
//!   only if the file is another one, or in another state, than when that was done last.
//!
//! Known gap: a program of the same person can write to that folder, as it can to any other
//! program that they run.

#[cfg(feature = "runtime")]
mod config;
#[cfg(feature = "runtime")]
mod load;
mod modules;
mod spec;

#[cfg(feature = "compiler")]
mod compile;

#[cfg(feature = "runtime")]
pub use config::{STACK_BYTES, engine};
#[cfg(feature = "runtime")]
pub use load::load;
pub use modules::{
    Identity, MAX_COMPILED_BYTES, MAX_MODULE_BYTES, ModuleKey, Modules, ModulesError, Sound,
};
pub use spec::{BEGIN, END_OF_INPUT, ENDED, Folder, IMPORTS, Import, Imports, Kept, SERVE, Spec};

#[cfg(feature = "compiler")]
pub use compile::{compile, compiler};
#[cfg(feature = "runtime")]
pub use wasmtime;
