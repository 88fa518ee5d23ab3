//! The session of one build: one process that holds the plugin, what is known of files, and
//! the account of the build, for as long as one `cargo build` lives.
//!
//! The first wrapper of a build starts it; the others find it by a socket whose name is
//! made of the build's process number and start time. It ends with that process, or when
//! nobody has asked for a while, so no daemon lingers:
//!
//! It ends when:
//!
//! | it ends when | because |
//! |---|---|
//! | the build's process has ended, however | `kill -9` included; on Linux it is told by the kernel |
//! | that process has become another program | `cargo run` becomes the program that it built |
//! | nobody has asked for [`server::IDLE_LIMIT`] | a shell that calls the wrapper lives for ever |
//!
//! [`wire`] is what wrapper and session say to each other, [`client`] finds or starts the
//! session, [`runtime`] has the places of sockets, [`server`] answers, [`owner`] watches the build's process, and [`build`] makes the
//! front end and the hook of the configuration.

#[cfg(unix)]
mod build;
#[cfg(unix)]
pub(crate) mod client;
#[cfg(not(unix))]
#[path = "client_none.rs"]
pub(crate) mod client;
#[cfg(unix)]
mod owner;
#[cfg(unix)]
pub(crate) mod runtime;
#[cfg(unix)]
mod server;
pub(crate) mod wire;

use std::ffi::OsString;
use std::process::ExitCode;

use crate::environment::Environment;

/// Holds the session of the build whose process number is the only argument. The socket
/// to listen on is standard input.
#[cfg(unix)]
pub(crate) fn main(args: Vec<OsString>, env: &Environment) -> ExitCode {
    let owner = args.first().and_then(|word| word.to_str()?.parse().ok());
    let path = args.get(1).map(std::path::PathBuf::from);
    let (Some(owner), Some(path)) = (owner, path) else { return ExitCode::from(2) };
    match server::serve(owner, &path, env) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// There are no sessions here: the wrapper runs the compiler.
#[cfg(not(unix))]
pub(crate) fn main(_: Vec<OsString>, _: &Environment) -> ExitCode {
    ExitCode::from(2)
}
