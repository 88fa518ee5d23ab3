//! The child as a process: started with nothing but the standard streams, ended by force if
//! need be, always reaped.

use std::ffi::OsString;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

#[cfg(target_os = "linux")]
use rustix::event::PollFlags;
use rustix::process::{Pid, Signal, kill_process};

use super::Depth;
use crate::StartError;

/// How long a child has after `drain-ms` to exit by itself (BH-END-001).
const EXIT_GRACE: Duration = Duration::from_secs(1);
/// How long it has after SIGTERM; below the margin that a filter adds for it.
const TERM_GRACE: Duration = Duration::from_millis(400);
/// A child that asks for more time after the end gets no more than this.
const LONGEST_DRAIN: Duration = Duration::from_secs(600);
/// Where a process cannot be waited for with a time limit: the first pause between two looks
/// at a child that should be exiting; each is twice the one before, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_micros(100);
const LONGEST_PAUSE: Duration = Duration::from_millis(5);

/// Starts `command`, its program found on PATH; standard error is shared with this process.
pub(super) fn spawn(command: &[OsString], depth: Depth) -> Result<Child, StartError> {
    let (program, arguments) = command
        .split_first()
        .ok_or_else(|| StartError::Config("no plugin is named after `--`".to_owned()))?;
    Command::new(program)
        .args(arguments)
        .env(Depth::VARIABLE, depth.below())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(|error| {
            StartError::Child(format!(
                "cannot start the next plugin `{}`: {error}; is it installed and on PATH?",
                program.display()
            ))
        })
}

/// How long a child that asked for `drain` has before it is ended by force.
pub(super) fn exit_limit(drain: Duration) -> Duration {
    drain.min(LONGEST_DRAIN) + EXIT_GRACE
}

/// Waits up to `limit` for a child whose standard input is closed, then ends it; always
/// reaps it.
pub(super) fn reap(child: &mut Child, limit: Duration) {
    if wait(child, limit) {
        return;
    }
    // Not reaped yet, so the id is still its own.
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, Signal::TERM);
    }
    if !wait(child, TERM_GRACE) {
        // Both fail only for a child that is already reaped.
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// Whether the child exits within `limit`.
fn wait(child: &mut Child, limit: Duration) -> bool {
    let started = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        if !matches!(child.try_wait(), Ok(None)) {
            return true;
        }
        let Some(left) = limit.checked_sub(started.elapsed()) else { return false };
        if !sleep_until_exit(child, left) {
            std::thread::sleep(pause.min(left));
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// Sleeps until the child exits or `limit` is over. False: this system cannot.
#[cfg(target_os = "linux")]
fn sleep_until_exit(child: &Child, limit: Duration) -> bool {
    use rustix::process::{PidfdFlags, pidfd_open};
    // Not reaped yet, so the id is still its own.
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let handle = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    handle.is_some_and(|handle| super::lines::is_ready(&handle, PollFlags::IN, limit).is_ok())
}

#[cfg(not(target_os = "linux"))]
fn sleep_until_exit(_: &Child, _: Duration) -> bool {
    false
}
