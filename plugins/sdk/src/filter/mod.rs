//! For filters: plugins that pass requests on to another plugin, their child.
//!
//! A filter's own arguments end in `-- child args…`. It starts the child, waits for its
//! hello, announces what both of them can do, and then changes, drops, records or forwards.
//!
//! - A [`Filter`] looks at what passes; its example is a complete one.
//! - A filter that works on files meanwhile is a [`Plugin`](crate::Plugin) that asks its
//!   [`Next`].
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
mod pass;
mod relay;

#[cfg(target_os = "wasi")]
mod guest;
#[cfg(unix)]
mod ledger;
#[cfg(unix)]
mod lines;
#[cfg(unix)]
mod next;
#[cfg(unix)]
mod passing;
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
pub use pass::{Filter, main};
#[cfg(unix)]
pub use passing::serve;
#[cfg(unix)]
pub use peer::Peer;
pub use relay::{ChildError, folder_for_next, start};

#[cfg(unix)]
use relay::Refusal;
use relay::check_hello;

/// Between a sandbox and the plugin in it: the member that says whom a line concerns when it
/// is not the host. It never leaves the sandbox.
pub const HOP: &str = "hop";
/// The value of [`HOP`] for the next plugin of a stack.
pub const HOP_NEXT: &str = "next";
