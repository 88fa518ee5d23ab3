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

//!
//! In a sandbox of `buildhook-wasm` there are no processes. The same filter runs there
//! unchanged: the sandbox starts the child, and [`Next`] reaches it through the standard
//! streams, where lines with the member [`HOP`] are those to and from the child.

mod depth;
mod relay;

#[cfg(target_os = "wasi")]
mod guest;
#[cfg(unix)]
mod lines;
#[cfg(unix)]
mod next;
#[cfg(unix)]
mod peer;
#[cfg(unix)]
mod process;
#[cfg(unix)]
mod session;

pub use depth::Depth;
#[cfg(target_os = "wasi")]
pub use guest::Next;
#[cfg(unix)]
pub use next::Next;
#[cfg(unix)]
pub use peer::Peer;
pub use relay::{ChildError, folder_for_next};

#[cfg(unix)]
use relay::Refusal;
use relay::check_hello;

/// Between a sandbox and the plugin in it: the member that says whom a line concerns when it
/// is not the host. It never leaves the sandbox.
pub const HOP: &str = "hop";
/// The value of [`HOP`] for the next plugin of a stack.
pub const HOP_NEXT: &str = "next";
