//! The process that a session belongs to: the Cargo that called the wrapper.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Pid;

/// A process, told from a later one of the same number by its start time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owner {
    pid: Pid,
    started: String,
}

impl Owner {
    /// The process that started this one.
    pub(crate) fn parent() -> io::Result<Self> {
        let pid = rustix::process::getppid();
        Self::of(pid.ok_or_else(|| io::Error::other("this process has no parent"))?)
    }

    /// The process of this number.
    pub(crate) fn of(pid: Pid) -> io::Result<Self> {
        Ok(Self { pid, started: started(pid)? })
    }

    /// Its number.
    pub(crate) fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Its working folder, as far as that can be told.
    pub(crate) fn folder(&self) -> Option<PathBuf> {
        fs_err::read_link(self.proc("cwd")).ok()
    }

    /// Its program; changes when it becomes another one.
    pub(crate) fn program(&self) -> Option<PathBuf> {
        fs_err::read_link(self.proc("exe")).ok()
    }

    /// Its command line, for people.
    pub(crate) fn command(&self) -> String {
        let bytes = fs_err::read(self.proc("cmdline")).unwrap_or_default();
        let words = bytes.split(|byte| *byte == 0).filter(|word| !word.is_empty());
        let mut words: Vec<_> = words.map(String::from_utf8_lossy).collect();
        if let Some(program) = words.first_mut() {
            let name = Path::new(program.as_ref()).file_name().unwrap_or_default();
            *program = name.to_string_lossy().into_owned().into();
        }
        words.join(" ")
    }

    fn proc(&self, name: &str) -> PathBuf {
        Path::new("/proc").join(self.pid().to_string()).join(name)
    }

    /// Waits until it has ended, at most `limit`; true when it has.
    pub(crate) fn has_ended_within(&self, limit: Duration) -> bool {
        #[cfg(target_os = "linux")]
        if let Some(ended) = self.wait_linux(limit) {
            return ended;
        }
        std::thread::sleep(limit);
        self.has_ended()
    }

    fn has_ended(&self) -> bool {
        rustix::process::test_kill_process(self.pid) == Err(rustix::io::Errno::SRCH)
            || started(self.pid).is_ok_and(|started| started != self.started)
    }

    #[cfg(target_os = "linux")]
    fn wait_linux(&self, limit: Duration) -> Option<bool> {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        use rustix::process::{PidfdFlags, pidfd_open};
        let handle = match pidfd_open(self.pid, PidfdFlags::empty()) {
            Ok(handle) => handle,
            Err(rustix::io::Errno::SRCH) => return Some(true),
            Err(_) => return None,
        };
        // The number may have been given to another process before it was opened.
        if self.has_ended() {
            return Some(true);
        }
        let limit = Timespec::try_from(limit).ok()?;
        let mut polled = [PollFd::new(&handle, PollFlags::IN)];
        let ready = poll(&mut polled, Some(&limit)).unwrap_or(0);
        Some(ready > 0)
    }
}

/// For a socket's name.
impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.pid(), self.started)
    }
}

/// Field 22 of `/proc/<pid>/stat`: clock ticks between boot and the process's start.
#[cfg(target_os = "linux")]
fn started(pid: Pid) -> io::Result<String> {
    let stat = fs_err::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()))?;
    // The second field is in brackets and may hold anything, brackets too.
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    after_name
        .split_whitespace()
        .nth(19)
        .map(str::to_owned)
        .ok_or_else(|| io::Error::other("an unexpected form of /proc/<pid>/stat"))
}

/// Elsewhere the number alone must do; sockets of dead sessions refuse connections.
#[cfg(not(target_os = "linux"))]
fn started(_: Pid) -> io::Result<String> {
    Ok("0".to_owned())
}
