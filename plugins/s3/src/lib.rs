//! A buildhook store in a bucket of S3, or of a server that speaks its protocol.
//!
//! What a store on any server promises is in [`buildhook_sdk::remote`]. Besides:
//! - **nothing is sent at start**: a bad bucket is found by the first request;
//! - a request ends by its deadline, whatever the server does; a server that fails again and
//!   again is left alone for a while;
//! - credentials appear in no message: what a server says is reported by its error code only.
//!
//! Known gaps: entries above 5 GiB are not stored (no multipart upload); there is no eviction,
//! which is what lifecycle rules of the bucket are for.

mod ahead;
mod bucket;
mod client;
mod profile;
mod settings;

pub use bucket::Bucket;
pub use settings::{Addressing, Options, Settings, Surroundings};

use buildhook_sdk::remote::Store;

/// The plugin's name.
pub const NAME: &str = "s3";
/// The plugin's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The plugin. Sends nothing yet.
#[must_use]
pub fn store(settings: &Settings) -> Store<Bucket> {
    let names = settings.conduct.names().clone();
    let bucket = Bucket::new(client::Client::new(settings), names, settings.summary);
    Store::new(bucket, settings.conduct.clone())
}
