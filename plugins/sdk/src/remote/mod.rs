//! Stores at the other end of a network, whatever they are: a server is a [`Remote`], and
//! [`Store`] makes a plugin of it. It takes the content of an entry while it is lent, names it,
//! writes it in the background, verifies what comes back, and tells people each thing once.
//!
//! An entry is a record and its content: all files one after the other, the smallest first,
//! compressed. What is short stands behind the record, in the same object, so an entry is one
//! request; longer content is a [pack](crate::entry::Pack) of its own, under its digest, and
//! stored once. The record is written when all of it is there, so a killed upload leaves no
//! entry. No conditional write is relied on: two writers of a record leave one of them whole,
//! and two writers of a pack write the same bytes. What waiting for a server costs a build is
//! bounded by a [`Patience`](crate::Patience).
//!
//! Behind the feature `remote`: plugins without a network do without it.

mod breaker;
mod conduct;
mod content;
mod fault;
mod fetch;
mod names;
mod pace;
mod queue;
mod stage;
mod store;
mod told;
mod upload;

use std::fmt::Debug;
use std::fs::File;
use std::io::Read;

use buildhook_protocol::Unit;

use crate::Deadline;

pub use breaker::Breaker;
pub use conduct::{Conduct, Wishes};
pub use fault::{Fault, Trouble};
pub use names::Names;
pub use store::Store;

use pace::upload_deadline;
use queue::Queue;
use told::Told;

/// Longest record that is read from a remote store, in bytes: the longest message of the
/// protocol, which holds any list of files, and room for what stands behind it.
pub const MAX_RECORD_BYTES: u64 = 20 * 1024 * 1024;

/// What a server must do to be a [`Store`]. Every request ends by its deadline, whatever the
/// server does, and is tried again before it where that may help.
pub trait Remote: Debug + Send + Sync + 'static {
    /// Reads a record, with what stands behind it.
    ///
    /// # Errors
    /// [`Fault`]; longer than [`max_record_bytes`](Self::max_record_bytes) is corrupt.
    fn get(&self, object: &str, deadline: Deadline) -> Result<Vec<u8>, Fault>;

    /// Writes a record, over what is there.
    ///
    /// # Errors
    /// [`Fault`].
    fn put(&self, object: &str, content: &[u8], deadline: Deadline) -> Result<(), Fault>;

    /// Reads a pack of `size` bytes through `take`, which begins anew for each attempt.
    ///
    /// # Errors
    /// [`Fault`], or what `take` says when it was not the server's fault.
    fn get_pack(
        &self,
        object: &str,
        size: u64,
        deadline: Deadline,
        take: &mut dyn FnMut(&mut dyn Read) -> Result<(), Trouble>,
    ) -> Result<(), Fault>;

    /// Whether there is a pack of this size: one of another was cut short by whoever wrote it.
    ///
    /// # Errors
    /// [`Fault`].
    fn has_pack(&self, object: &str, size: u64, deadline: Deadline) -> Result<bool, Fault>;

    /// Writes a pack: all of `content`, which nobody else reads meanwhile.
    ///
    /// # Errors
    /// [`Fault`].
    fn put_pack(
        &self,
        object: &str,
        content: &File,
        size: u64,
        deadline: Deadline,
    ) -> Result<(), Fault>;

    /// What made this session useless, when something has.
    fn fatal(&self) -> Option<&Fault>;

    /// Longest record that the server takes.
    fn max_record_bytes(&self) -> u64 {
        MAX_RECORD_BYTES
    }

    /// Longest pack that the server takes.
    fn max_pack_bytes(&self) -> u64 {
        u64::MAX
    }

    /// Somebody builds `unit`, which is description and never identity.
    fn begin(&self, unit: &Unit) {
        let _ = unit;
    }

    /// What came was not what had been stored.
    fn doubt(&self) {}

    /// The session ends, and all uploads have; what is returned is told to people.
    fn finish(&self, deadline: Deadline) -> Option<String> {
        let _ = deadline;
        None
    }
}
