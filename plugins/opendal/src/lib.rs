//! A buildhook store in Redis, memcached or WebDAV, and by the same code in Google's and
//! Azure's storage: whatever [`opendal`] reaches.
//!
//! What a store on any server promises is in [`buildhook_sdk::remote`]. Besides:
//! - **nothing is sent at start**: a bad server is found by the first request;
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
mod http;
mod probe;
mod server;
mod service;
mod settings;

use buildhook_sdk::StartError;
use buildhook_sdk::remote::Store;

pub use server::Server;
pub use settings::{Options, Secret, Settings};

/// The plugin's name.
pub const NAME: &str = "opendal";
/// The plugin's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The plugin. Sends nothing yet.
///
/// # Errors
/// [`StartError::Config`]: the service cannot be used with these settings.
pub fn store(settings: &Settings) -> Result<Store<Server>, StartError> {
    let server = Server::new(client::Client::new(settings)?, settings.service.clone());
    Ok(Store::new(server, settings.conduct.clone()))
}
