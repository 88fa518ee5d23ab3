//! Signals sent to `buildhook run` while its command is at work.
//!
//! `run` outlives its command to print the summary, so it must not die of a signal that is
//! meant for both. Ctrl-C reaches the command from the terminal; what reached `run` alone is
//! passed on.

use std::io;
use std::process::ExitStatus;
use std::thread::JoinHandle;

use std::os::unix::process::ExitStatusExt as _;

use rustix::process::{Pid, Signal, getpgrp, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};

/// Signals are noted, and passed on to the command, from `hold` until `release`.
pub(super) struct Held {
    signals: Signals,
}

/// Signals are passed on to this command.
pub(super) struct PassedOn {
    handle: Handle,
    thread: JoinHandle<()>,
}

impl Held {
    /// From here on signals do not end this process. To be called before the command is
    /// started, or one that comes in between would leave the command behind.
    pub(super) fn hold() -> io::Result<Self> {
        Ok(Self { signals: Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM])? })
    }

    /// Passes signals on to the process `pid`, a child that has not been waited for.
    pub(super) fn pass_on(mut self, pid: u32) -> PassedOn {
        let handle = self.signals.handle();
        let thread = std::thread::spawn(move || {
            let child = i32::try_from(pid).ok().and_then(Pid::from_raw);
            for number in self.signals.forever() {
                let signal = Signal::from_named_raw(number);
                if let (Some(child), Some(signal)) = (child, signal)
                    && !sent_by_terminal(number)
                {
                    // It fails only if the command has just ended.
                    let _ = kill_process(child, signal);
                }
            }
        });
        PassedOn { handle, thread }
    }
}

impl PassedOn {
    /// Ends the passing on; to be called before the process id can be used again.
    pub(super) fn release(self) {
        self.handle.close();
        // It panics never, and if it did the command has ended anyway.
        let _ = self.thread.join();
    }
}

/// Whether a terminal sends this signal to the command as well: it does so to all of its
/// foreground process group.
fn sent_by_terminal(signal: i32) -> bool {
    let from_keyboard = signal == SIGINT || signal == SIGQUIT;
    let terminal = || fs_err::File::open("/dev/tty").ok();
    let foreground = || rustix::termios::tcgetpgrp(terminal()?.file()).ok();
    from_keyboard && foreground() == Some(getpgrp())
}

/// Ends this process by the signal that ended the command, if one did, so that a shell or
/// a script sees the same.
pub(super) fn die_alike(status: ExitStatus) {
    if let Some(signal) = status.signal() {
        // It returns only for signals that do not end a process.
        let _ = signal_hook::low_level::emulate_default_handler(signal);
    }
}
