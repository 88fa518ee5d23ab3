//! The buildhook host library: asks plugins before a build unit and tells them after it.
//!
//! [`Host`] is all there is to it: [`Host::want_to_build`] gives an [`Entry`] to restore or
//! the reason for a miss, [`Host::built_a_thing`] says what became of an offer. Both can be
//! called from any number of threads and come back within a bounded time, whatever the
//! plugin does (BH-ERR-005).
//!
//! | module | holds |
//! |---|---|
//! | `host` | the two questions, and what answers to them must look like |
//! | `plugin`, `ledger` | one plugin for one build: sessions, circuit breaker, counts |
//! | `session` | one session over any reader and writer: ids, places, deadlines |
//! | `launch`, `process` | how a plugin is reached: a process, or memory |
//! | `entry`, `copy`, `reflink`, `temporary` | a hit: checked claims, verified restore |
//! | [`relocated`] | swapping a built file for a link to the store's copy |
//! | `scratch` | folders for requests |
//! | [`digests`] | digests remembered by what `stat` says |
//! | [`report`] | what it all came to, as plain data |
//!
//! What is deliberately absent: any knowledge of what is built and by which tool, any store,
//! network, configuration file or environment variable, and anything asynchronous.

mod copy;
pub mod digests;
mod entry;
mod fault;
mod host;
mod identity;
mod launch;
mod ledger;
mod limits;
mod plugin;
mod process;
pub mod reason;
mod reflink;
pub mod relocated;
pub mod report;
mod scratch;
mod session;
mod sync;
mod temporary;
mod text;

pub use digests::DigestCache;
pub use entry::{Entry, RestoreError, Restored};
pub use fault::{Fault, FaultKind};
pub use host::{Ask, Built, Hooks, Host, Lookup, OfferedFile, Outcome};
pub use identity::Identity;
pub use launch::{Launch, Open, PluginCommand, Streams};
pub use limits::Limits;
pub use relocated::{SwapError, swap};
pub use report::HookReport;
