//! A buildhook store in a bucket of S3, or of a server that speaks its protocol.
//!
//! What holds here:
//! - **nothing is sent at start**: a bad bucket is found by the first request;
//! - **blobs first, the record last**: content lies under its digest, and a small record
//!   that names it is written when all of it is there, so a killed upload leaves no entry.
//!   No conditional write is relied on: two writers of a record leave one of them whole, and
//!   two writers of a blob write the same bytes;
//! - **everything that comes back is verified** (record, size, BLAKE3) before it is offered,
//!   as `owned` files in the request's scratch folder;
//! - uploads happen in the background, out of memory or out of files without a name, which
//!   the system removes with the process;
//! - a request ends by its deadline, whatever the server does; a server that fails again and
//!   again is left alone for a while;
//! - credentials appear in no message: what a server says is reported by its error code only.
//!
//! Known gaps: files above 5 GiB are not stored (no multipart upload); there is no eviction,
//! which is what lifecycle rules of the bucket are for.

mod ahead;
mod client;
mod fetch;
mod layout;
mod profile;
mod settings;
mod store;
mod upload;

pub use settings::{Addressing, Options, Settings, Surroundings};
pub use store::Store;

/// The plugin's name.
pub const NAME: &str = "s3";
/// The plugin's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
