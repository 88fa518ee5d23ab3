//! A buildhook store in Redis, memcached or WebDAV, and by the same code in Google's and
//! Azure's storage: whatever [`opendal`] reaches.
//!
//! What holds here:
//! - **nothing is sent at start**: a bad server is found by the first request;
//! - **content in chunks first, the record last**: a chunk lies under the digest of the whole
//!   content and its place in it, and a small record that names the content is written when
//!   all of it is there, so a killed upload leaves no entry. Chunks stay below the largest
//!   value that a service takes, and bound the memory that a file of any size needs;
//! - **everything that comes back is verified** (record, size, BLAKE3) before it is offered,
//!   as `owned` files in the request's scratch folder;
//! - uploads happen in the background, out of memory or out of files without a name, which
//!   the system removes with the process;
//! - a request ends by its deadline, whatever the server does: `opendal`'s retries and time
//!   limits run inside it; a server that fails again and again is left alone for a while;
//! - passwords appear in no message: what `opendal` and a server say is judged, never repeated.
//!
//! Known gaps: nothing is ever deleted, which is what Redis and memcached do by themselves
//! when they are told to. A memcached server that lies about the length of a value can make
//! this process ask the system for up to 4 GiB, which are never touched unless they are sent.
//! Google's and Azure's services are not tested.

mod client;
mod fault;
mod fetch;
mod http;
mod layout;
mod probe;
mod service;
mod settings;
mod store;
mod upload;

pub use settings::{Options, Secret, Settings};
pub use store::Store;

/// The plugin's name.
pub const NAME: &str = "opendal";
/// The plugin's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
