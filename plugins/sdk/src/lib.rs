//! Write a buildhook plugin: one trait and a `main` of a few lines.
//!
//! ```no_run
//! use buildhook_sdk::{About, Call, Error, Plugin, Want, protocol::Hook};
//!
//! struct Never;
//!
//! impl Plugin for Never {
//!     fn about(&self) -> About {
//!         About::new("never", "1.0.0").hook(Hook::WantToBuild)
//!     }
//!     fn want_to_build(&self, _call: &Call) -> Result<Want, Error> {
//!         Ok(Want::not_found())
//!     }
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     buildhook_sdk::main("never", "1.0.0", || Ok(Never))
//! }
//! ```
//!
//! What holds here:
//! - the plugin's code never touches the protocol's streams: [`main`] takes standard input
//!   and output away from it, so a stray `println!` ends on standard error;
//! - a request reaches the plugin only when it is well-formed, of a kind that the plugin
//!   offers and of a purpose that the protocol names; everything else is answered here;
//! - every request is answered exactly once: a panic becomes an `error`;
//! - with a `max-in-flight` of 1 no thread is ever started; with more, one at a time as
//!   requests overlap.
//!
//! Known gaps: outside Unix (Windows, WASI) standard output is not taken away; on Windows
//! [`filter`]s do not exist.

pub mod cli;
pub mod config;
pub mod entry;
pub mod files;
#[cfg(any(unix, target_os = "wasi"))]
pub mod filter;
#[cfg(feature = "remote")]
pub mod remote;

mod dispatch;
mod patience;
mod plugin;
mod serve;
mod start;
mod stdio;
pub mod testing;

pub use buildhook_protocol as protocol;
pub use patience::Patience;
pub use plugin::{About, Built, Call, Deadline, Done, Error, Hit, Plugin, Want};
pub use serve::{Served, serve};
pub use start::{EXIT_FAULT, EXIT_USAGE, StartError, main};
