//! [`main`]: from a process to a session.

use std::io::{self, Write as _};
use std::process::ExitCode;

use buildhook_protocol::{ErrorBody, ErrorKind, Hello, Message, PluginInfo, VERSION, Writer};

use crate::{Plugin, Served, serve, stdio};
use stdio::{Input, Output};

/// Exit code after a fault (BH-END-008).
pub const EXIT_FAULT: u8 = 1;
/// Exit code for wrong arguments or configuration (BH-END-008).
pub const EXIT_USAGE: u8 = 2;

/// Why a plugin does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It was asked for help or its version: no fault.
    #[error("{0}")]
    Help(String),
    /// Wrong arguments or configuration: names the argument, or the file and line.
    #[error("{0}")]
    Config(String),
    /// A filter's child is missing, dead or of another protocol version (BH-FILT-010).
    #[error("{0}")]
    Child(String),
}

/// Runs a plugin as a process: `build` makes it from the process's arguments, with standard
/// output already taken away; then one session runs over the standard streams.
///
/// A [`StartError`] goes to people on standard error and to the host in a hello with `error`
/// (BH-HELLO-008, BH-FILT-010).
pub fn main<P: Plugin>(
    name: &str,
    version: &str,
    build: impl FnOnce() -> Result<P, StartError>,
) -> ExitCode {
    run(name, version, build, |plugin, reader, writer| serve(&plugin, reader, writer))
}

/// [`main`] for whatever `build` makes and `serve` runs.
pub(crate) fn run<T>(
    name: &str,
    version: &str,
    build: impl FnOnce() -> Result<T, StartError>,
    serve: impl FnOnce(T, Input, Output) -> io::Result<Served>,
) -> ExitCode {
    let (reader, mut writer) = match stdio::take() {
        Ok(streams) => streams,
        Err(error) => {
            eprintln!("buildhook-{name}: taking the standard streams: {error}");
            return ExitCode::from(EXIT_FAULT);
        }
    };
    match build() {
        Ok(plugin) => match serve(plugin, reader, writer) {
            Ok(Served::Cleanly) => ExitCode::SUCCESS,
            // The host has been told, or is not there any more.
            Ok(Served::OutOfStep | Served::Deserted) => ExitCode::from(EXIT_FAULT),
            Err(error) => {
                eprintln!("buildhook-{name}: saying hello: {error}");
                ExitCode::from(EXIT_FAULT)
            }
        },
        Err(StartError::Help(text)) => {
            // A closed standard output leaves nobody to help.
            let _ = writer.write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("buildhook-{name}: {error}");
            let kind = match error {
                StartError::Child(_) => ErrorKind::Child,
                _ => ErrorKind::Config,
            };
            let hello = refusing_hello(name, version, kind, error.to_string());
            // The exit code says it too.
            let _ = Message::of(&hello).map(|hello| Writer::new(writer).write(&hello));
            ExitCode::from(EXIT_USAGE)
        }
    }
}

fn refusing_hello(name: &str, version: &str, kind: ErrorKind, message: String) -> Hello {
    Hello {
        v: vec![VERSION],
        plugin: PluginInfo { name: name.to_owned(), version: version.to_owned() },
        hooks: None,
        features: Vec::new(),
        max_in_flight: 1,
        drain_ms: 0,
        error: Some(ErrorBody::session(kind, message)),
    }
}
