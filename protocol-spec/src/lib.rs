//! The buildhook protocol, version 1: wire types and bounded framing, nothing else.
//!
//! The text of the protocol is `SPEC.md` beside this crate; ids such as `BH-WIRE-002`
//! in the comments refer to it.
//!
//! What holds here:
//! - reading is total: any bytes give a message or a [`FrameError`], within the bounds
//!   of [`limits`];
//! - duplicate members, arrays in place of objects, numbers that are not plain integers
//!   and lone surrogates are refused before a type sees them (see [`strict`]);
//! - unknown members are ignored by the types, and kept by [`Message`] for filters;
//! - writing refuses what reading would refuse, escapes nothing that need not be, and
//!   puts each message on one line.
//!
//! What is not here: processes, deadlines, retries, files. The host and the SDK have them.

pub mod digest;
pub mod frame;
pub mod limits;
pub mod message;
pub mod name;
#[cfg(feature = "schema")]
pub mod schema;
pub mod seal;
pub mod strict;

pub use digest::{Digest, Key, ParseDigestError};
pub use frame::{FrameError, Reader, Writer};
pub use message::{
    Answer, Checked, ErrorBody, ErrorKind, FileRecord, Hello, Hook, Lease, Message, PluginInfo,
    Purpose, Reason, ReasonCode, Request, Scope, Stored, Unit,
};
pub use name::{EntryName, NameError};
pub use seal::{Seal, seal};

/// The version of the protocol that this crate speaks.
pub const VERSION: u32 = 1;

/// The plugin feature that asks for the manifest behind each key.
pub const FEATURE_MANIFEST: &str = "manifest";
