//! Runs a command to its end or to a limit.
//!
//! Output goes to files, not pipes: a server that a cache leaves behind keeps
//! the descriptors it inherited, and a pipe would never reach its end.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// What a command did.
#[derive(Clone, Debug)]
pub(super) struct Output {
    /// Exit code; `None` after a signal or when the limit was reached.
    pub(super) code: Option<i32>,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl Output {
    pub(super) fn success(&self) -> bool {
        self.code == Some(0)
    }
}

/// Runs `command` in a process group of its own, which is killed when `limit`
/// has passed. `scratch` is a folder for its output, `name` unique in it.
///
/// # Errors
/// When the command cannot be started or its output not be read.
pub(super) fn run(
    command: &mut Command,
    scratch: &Path,
    name: &str,
    limit: Duration,
) -> io::Result<Output> {
    let out = scratch.join(format!("{name}.out"));
    let err = scratch.join(format!("{name}.err"));
    let mut child = command
        .stdin(Stdio::null())
        .stdout(File::create(&out)?)
        .stderr(File::create(&err)?)
        .process_group(0)
        .spawn()?;
    let group = rustix::process::Pid::from_child(&child);
    let (sender, receiver) = mpsc::channel();
    let waiter = thread::spawn(move || {
        let status = child.wait();
        // The receiver is gone only when this thread is about to be joined.
        let _ = sender.send(());
        status
    });
    let timed_out = receiver.recv_timeout(limit).is_err();
    if timed_out {
        // Failure means that the group has just ended by itself.
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let status = waiter.join().map_err(|_| io::Error::other("the waiting thread panicked"))??;
    let mut stderr = String::from_utf8_lossy(&fs::read(&err)?).into_owned();
    if timed_out {
        stderr.push_str(&format!("\n[killed after {} s]\n", limit.as_secs()));
    }
    Ok(Output {
        code: if timed_out { None } else { status.code() },
        stdout: String::from_utf8_lossy(&fs::read(&out)?).into_owned(),
        stderr,
    })
}
