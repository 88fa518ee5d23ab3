//! The Cargo front end of the buildhook host: what `RUSTC_WRAPPER` does.
//!
//! | module | knows |
//! |---|---|
//! | [`frontend`] | before and after a compile |
//! | [`args`] | the rustc command line |
//! | [`roots`] | folders whose place must not matter, and their tokens |
//! | [`toolchain`] | which compiler it is |
//! | [`manifest`] | actions, manifests, keys |
//! | [`inputs`] | what a unit read, as items and values |
//! | [`observe`] | from a recording to items |
//! | [`dep_info`], [`diagnostics`] | the two texts that hold folders |
//! | [`index`] | what this machine remembers |
//! | [`explain`] | why a unit was not restored |
//!
//! Invariants: nothing here fails a build; what is not understood is not cached, and the
//! reason is counted; no variable of the process is read, the caller passes them.

pub mod args;
pub mod atomic;
mod codes;
pub mod dep_info;
pub mod diagnostics;
pub mod env_uses;
pub mod environment;
pub mod explain;
pub mod frontend;
pub mod index;
pub mod inputs;
mod lookup;
pub mod manifest;
pub mod observe;
pub mod prepare;
pub mod refusal;
pub mod roots;
mod store;
pub mod toolchain;
pub mod unit;
pub mod workspace;

pub use environment::Environment;
pub use frontend::{Account, Before, Call, Fate, Finished, Frontend, Hit, Run, Ticket};
