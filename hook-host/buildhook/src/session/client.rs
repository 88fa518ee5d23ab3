//! Finding the session of this build, or starting it.
//!
//! Whoever binds the socket first starts the session and hands it the socket, already
//! listening; everyone else connects and waits in its queue. No lock, no pid file.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::owner;
use super::runtime;
use super::wire::{self, Question, Reply};
use crate::environment::Environment;
use crate::wrapper::ANSWER_LIMIT;

/// How often a session that has died is started again in one build.
const MAX_STARTS: u32 = 3;
/// How long another wrapper may take between binding a socket and listening on it.
const LISTEN_LIMIT: Duration = Duration::from_millis(500);

/// A connection to the session.
pub(crate) struct Session(UnixStream);

impl Session {
    /// Connects to the session of the process that called this one, starting it if need be.
    pub(crate) fn of_this_build(env: &Environment) -> io::Result<Self> {
        let owner = owner::Owner::parent()?;
        let folder = runtime::folder(env)?;
        for start in 0..MAX_STARTS {
            let path = folder.join(format!("{owner}-{start}.sock"));
            if let Some(stream) = connect_or_start(&path, &owner, env)? {
                stream.set_read_timeout(Some(ANSWER_LIMIT))?;
                stream.set_write_timeout(Some(ANSWER_LIMIT))?;
                return Ok(Self(stream));
            }
        }
        Err(io::Error::other("the session of this build has died too often"))
    }

    /// Asks, and waits for the answer.
    pub(crate) fn ask(&mut self, question: &Question) -> io::Result<Reply> {
        wire::write(&self.0, question)?;
        wire::read(&self.0)?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

/// A connection; `None` when the session of this socket has died.
fn connect_or_start(
    path: &Path,
    owner: &owner::Owner,
    env: &Environment,
) -> io::Result<Option<UnixStream>> {
    let began = Instant::now();
    loop {
        match UnixStream::connect(path) {
            Ok(stream) => return Ok(Some(stream)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                match UnixListener::bind(path) {
                    Ok(listener) => start(listener, path, owner, env)?,
                    Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                    Err(error) => return Err(error),
                }
            }
            // Bound and not listening yet, or dead.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                if began.elapsed() > LISTEN_LIMIT {
                    return Ok(None);
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(error) => return Err(error),
        }
    }
}

fn start(
    listener: UnixListener,
    path: &Path,
    owner: &owner::Owner,
    env: &Environment,
) -> io::Result<()> {
    let mut command = Command::new(&env.executable);
    command.arg(crate::SESSION).arg(owner.pid().to_string()).arg(path);
    // Whoever inherited a stream of Cargo's would keep Cargo waiting for its end.
    command.stdin(OwnedFd::from(listener)).stdout(Stdio::null()).stderr(Stdio::null());
    command.process_group(0);
    // Reaped by whoever adopts it: this process ends long before.
    command.spawn().map(drop)
}
