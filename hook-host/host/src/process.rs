//! A plugin as a process: started, listened to, ended and always reaped.
//!
//! The only file that knows Unix processes. What holds here:
//! - the plugin leads a process group of its own, so a Ctrl-C at the terminal reaches the
//!   host first, and a plugin is ended together with whatever it has started;
//! - it gets no descriptor but 0, 1 and 2, whatever this process has inherited without
//!   close-on-exec itself (a job server's pipe, for one);
//! - standard error is read all the time by a thread, and only its end is kept;
//! - a thread waits for the end of the process, so that it is noticed at once, and reaps it.
//!   Before it does, what is left of the group is killed: until then the group's number
//!   cannot belong to anyone else.
//!
//! Not covered: a process that leaves its group (`setsid`) escapes. If it keeps the
//! plugin's standard output open, one thread of the host stays with it.

use std::collections::VecDeque;
use std::ffi::{CString, OsStr, OsString};
use std::io::{self, PipeReader, PipeWriter, Read};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawnp};
use nix::sys::signal::{SigSet, Signal as NixSignal};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use crate::fault::{Fault, FaultKind};
use crate::launch::{Connection, PluginCommand};
use crate::sync::{lock, spawn};

/// Descriptors closed one by one where the open ones cannot be listed.
const UNLISTED_DESCRIPTORS: std::ops::Range<i32> = 3..1024;
/// How long SIGKILL may take to show; a process stuck in the kernel takes longer.
const KILL_WAIT: Duration = Duration::from_secs(1);

/// How long the end of standard error may take to arrive after the end of the process.
const LAST_WORDS_WAIT: Duration = Duration::from_millis(100);

/// A running, or already reaped, plugin process.
#[derive(Clone)]
pub(crate) struct Process {
    shared: Arc<Shared>,
}

struct Shared {
    pid: Pid,
    /// How it ended, in words; set once it is reaped.
    exit: Mutex<Option<Exit>>,
    exited: Condvar,
    stderr: Mutex<Tail>,
    /// Told when standard error has ended.
    heard: Condvar,
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exit {
    /// Exit code 0.
    pub(crate) success: bool,
    /// In words: `exit code 1`, `signal 9`.
    pub(crate) text: String,
}

/// The last bytes of standard error.
#[derive(Default)]
struct Tail {
    bytes: VecDeque<u8>,
    dropped: u64,
    ended: bool,
}

impl Process {
    /// Starts `command`.
    pub(crate) fn start(command: &PluginCommand, stderr_bytes: usize) -> Result<Connection, Fault> {
        let fault = |error: &io::Error| Fault::new(FaultKind::Start, start_message(command, error));
        let (output, child_output) = io::pipe().map_err(|e| fault(&e))?;
        let (child_input, input) = io::pipe().map_err(|e| fault(&e))?;
        let (errors, child_errors) = io::pipe().map_err(|e| fault(&e))?;
        let pid = spawn_child(command, &child_input, &child_output, &child_errors)
            .map_err(|error| fault(&error))?;
        drop((child_input, child_output, child_errors));
        let shared = Arc::new(Shared {
            pid,
            exit: Mutex::new(None),
            exited: Condvar::new(),
            stderr: Mutex::new(Tail::default()),
            heard: Condvar::new(),
        });
        let process = Self { shared };
        let waiter = process.clone();
        if let Err(error) = spawn("reaper", move || waiter.reap()) {
            process.signal(Signal::KILL);
            process.reap();
            return Err(fault(&error));
        }
        let listener = process.clone();
        if let Err(error) = spawn("stderr", move || listener.listen(errors, stderr_bytes)) {
            process.signal(Signal::KILL);
            return Err(fault(&error));
        }
        Ok(Connection { output: Box::new(output), input: Box::new(input), process: Some(process) })
    }

    /// Waits at most `limit` for the end of the process.
    pub(crate) fn wait(&self, limit: Duration) -> Option<Exit> {
        let exit = lock(&self.shared.exit);
        let waited = self.shared.exited.wait_timeout_while(exit, limit, |exit| exit.is_none());
        waited.unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    /// Ends the process and whatever is in its group: waits `drain`, then SIGTERM, then
    /// `grace` later SIGKILL. Tells how it ended and whether force was needed.
    pub(crate) fn end(&self, drain: Duration, grace: Duration) -> (Option<Exit>, bool) {
        if let Some(exit) = self.wait(drain) {
            return (Some(exit), false);
        }
        self.signal(Signal::TERM);
        if let Some(exit) = self.wait(grace) {
            return (Some(exit), true);
        }
        self.signal(Signal::KILL);
        (self.wait(KILL_WAIT), true)
    }

    /// The end of standard error, and how many bytes before it are lost.
    pub(crate) fn stderr_tail(&self) -> (String, u64) {
        let tail = lock(&self.shared.stderr);
        let (a, b) = tail.bytes.as_slices();
        (String::from_utf8_lossy(&[a, b].concat()).into_owned(), tail.dropped)
    }

    /// [`Self::stderr_tail`] of a process that has ended, once all of it has arrived.
    pub(crate) fn last_words(&self) -> (String, u64) {
        // What the process wrote is in the pipe already; only the listener's turn is missing,
        // unless a process outside the group keeps the pipe open.
        let tail = lock(&self.shared.stderr);
        drop(self.shared.heard.wait_timeout_while(tail, LAST_WORDS_WAIT, |tail| !tail.ended));
        self.stderr_tail()
    }

    /// Signals the group, unless its number is no longer its own.
    fn signal(&self, signal: Signal) {
        let exit = lock(&self.shared.exit);
        if exit.is_none() {
            // It can have ended in this moment; it is not reaped while the lock is held.
            let _ = kill_process_group(self.shared.pid, signal);
        }
    }

    fn listen(&self, mut errors: PipeReader, keep: usize) {
        let mut buffer = [0; 8192];
        loop {
            let read = match errors.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => break,
            };
            let mut tail = lock(&self.shared.stderr);
            tail.bytes.extend(&buffer[..read]);
            let excess = tail.bytes.len().saturating_sub(keep);
            tail.bytes.drain(..excess);
            tail.dropped += excess as u64;
        }
        lock(&self.shared.stderr).ended = true;
        self.shared.heard.notify_all();
    }

    fn reap(&self) {
        let pid = self.shared.pid;
        while let Err(error) =
            waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)
        {
            if error != rustix::io::Errno::INTR {
                break;
            }
        }
        let mut exit = lock(&self.shared.exit);
        let _ = kill_process_group(pid, Signal::KILL);
        let status = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED).ok().flatten();
        let (code, signal) =
            status.map_or((None, None), |s| (s.exit_status(), s.terminating_signal()));
        let text = match (code, signal) {
            (Some(code), _) => format!("exit code {code}"),
            (None, Some(signal)) => format!("signal {signal}"),
            // The host's parent ignores SIGCHLD: the kernel has reaped it.
            (None, None) => "an unknown exit code".to_owned(),
        };
        *exit = Some(Exit { success: code == Some(0), text });
        self.shared.exited.notify_all();
    }
}

fn spawn_child(
    command: &PluginCommand,
    input: &PipeReader,
    output: &PipeWriter,
    errors: &PipeWriter,
) -> io::Result<Pid> {
    let program = c_string(&command.program)?;
    let mut args = vec![program.clone()];
    for arg in &command.args {
        args.push(c_string(arg)?);
    }
    let env = command
        .env
        .iter()
        .map(|(name, value)| variable(name, value))
        .collect::<Result<Vec<_>, _>>()?;

    let mut actions = PosixSpawnFileActions::init()?;
    actions.add_dup2(input.as_raw_fd(), 0)?;
    actions.add_dup2(output.as_raw_fd(), 1)?;
    actions.add_dup2(errors.as_raw_fd(), 2)?;
    for descriptor in open_descriptors() {
        actions.add_close(descriptor)?;
    }
    let mut attributes = PosixSpawnAttr::init()?;
    attributes.set_flags(
        PosixSpawnFlags::POSIX_SPAWN_SETPGROUP
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK,
    )?;
    attributes.set_pgroup(nix::unistd::Pid::from_raw(0))?;
    // Rust programs ignore SIGPIPE; most others expect it not to be.
    let mut defaults = SigSet::empty();
    defaults.add(NixSignal::SIGPIPE);
    attributes.set_sigdefault(&defaults)?;
    attributes.set_sigmask(&SigSet::empty())?;

    let pid = posix_spawnp(&program, &actions, &attributes, &args, &env)?;
    Pid::from_raw(pid.as_raw()).ok_or_else(|| io::Error::other("no process id"))
}

/// Every descriptor above standard error that is open now. Those opened from here on by
/// Rust are closed on exec.
fn open_descriptors() -> Vec<i32> {
    let Ok(listing) = std::fs::read_dir("/dev/fd") else {
        return UNLISTED_DESCRIPTORS.collect();
    };
    listing
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|descriptor| *descriptor > 2)
        .collect()
}

fn c_string(text: &OsStr) -> io::Result<CString> {
    Ok(CString::new(text.as_bytes())?)
}

fn variable(name: &OsString, value: &OsString) -> io::Result<CString> {
    Ok(CString::new([name.as_bytes(), b"=", value.as_bytes()].concat())?)
}

fn start_message(command: &PluginCommand, error: &io::Error) -> String {
    let program = command.program.to_string_lossy();
    match error.kind() {
        io::ErrorKind::NotFound if program.contains('/') => {
            format!("`{program}` does not exist: install it or correct the configured command")
        }
        io::ErrorKind::NotFound => {
            format!("`{program}` is not on PATH: install it or configure its full path")
        }
        io::ErrorKind::PermissionDenied => {
            format!("`{program}` may not be executed: check its permissions")
        }
        _ => format!("`{program}` cannot be started: {error}"),
    }
}
