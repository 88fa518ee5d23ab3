//! For filters: plugins that pass requests on to another plugin, their child.
//!
//! A filter's own arguments end in `-- child args…`. It starts the child, waits for its
//! hello, announces what both of them can do, and then changes, drops, records or forwards.
//! [`Next`] does all that is the same in every filter:
//!
//! ```no_run
//! use buildhook_sdk::filter::{Depth, Next};
//! use buildhook_sdk::{About, Call, Error, Plugin, Want, cli, protocol::Hook};
//!
//! #[derive(clap::Parser)]
//! struct Args {
//!     /// The next plugin and its arguments.
//!     #[arg(last = true, required = true)]
//!     next: Vec<std::ffi::OsString>,
//! }
//!
//! struct ReadOnly(Next);
//!
//! impl Plugin for ReadOnly {
//!     fn about(&self) -> About {
//!         self.0.about("readonly", "1.0.0", &[Hook::WantToBuild])
//!     }
//!     fn want_to_build(&self, call: &Call) -> Result<Want, Error> {
//!         self.0.want(call)
//!     }
//!     fn drain(&self) {
//!         self.0.close();
//!     }
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     let depth = Depth::new(std::env::var_os(Depth::VARIABLE));
//!     buildhook_sdk::main("readonly", "1.0.0", || {
//!         Ok(ReadOnly(Next::start(&cli::parse::<Args>()?.next, depth?)?))
//!     })
//! }
//! ```
//!
//! What holds here:
//! - a message is forwarded with every member that it has, known or not (BH-FILT-003);
//! - the child gets the deadline that is left, and never more requests than it takes;
//! - a child that dies, hangs or talks nonsense gives an answer, never a panic or a wait
//!   beyond the deadline (BH-FILT-007); late answers are dropped;
//! - no thread is started: whoever waits for an answer reads for all who wait;
//! - the child's process is always reaped.

mod depth;
mod lines;
mod next;
mod process;
mod session;

pub use depth::Depth;
pub use next::{Next, folder_for_next};
pub use session::ChildError;
