//! For stores at the other end of a network, whatever they are: taking the content of an
//! entry while it is lent, naming it, writing it in the background, leaving a server alone that
//! fails, telling people each thing once.
//!
//! Behind the feature `remote`: plugins without a network do without it.

mod breaker;
mod deliver;
mod inline;
mod names;
mod pace;
mod queue;
mod stage;
mod told;

pub use breaker::Breaker;
pub use deliver::deliver;
pub use inline::inlined;
pub use names::Names;
pub use pace::upload_deadline;
pub use queue::Queue;
pub use stage::{Blob, EntryId, Staged};
pub use told::Told;

/// Longest record that is read from a remote store, in bytes: the longest message of the
/// protocol, which holds any list of files, and room for what stands in the record.
pub const MAX_RECORD_BYTES: u64 = 17 * 1024 * 1024;
