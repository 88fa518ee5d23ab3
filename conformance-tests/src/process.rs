//! Child processes that cannot hurt the suite.
//!
//! Every child leads a process group of its own and carries a marker in its
//! environment, by which also what it started and abandoned is found. Reading
//! and writing happen on threads, so that no child can block the suite; every
//! wait has a bound; dropping a [`Process`] kills all that is left of it.
//!
//! Known gap: a process that leaves the group *and* clears its environment is
//! found only where `/proc` shows it is a child of the plugin.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

/// The variable that marks every process of one session.
const MARKER: &str = "BUILDHOOK_CONFORMANCE_SESSION";
/// Standard error kept per process; the rest is read and dropped.
const STDERR_KEPT_BYTES: usize = 64 * 1024;
/// Longest line kept from standard output; four times what the protocol allows.
const LINE_KEPT_BYTES: usize = 64 * 1024 * 1024;
/// How often an awaited exit is looked for.
const POLL: Duration = Duration::from_millis(2);

static MARKERS: AtomicU64 = AtomicU64::new(0);
static LIVE: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// What to start.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    /// Program and arguments; never empty.
    pub(crate) argv: Vec<String>,
    /// Variables set on top of the inherited ones.
    pub(crate) env: Vec<(String, OsString)>,
    /// Working folder.
    pub(crate) cwd: PathBuf,
}

/// What a process wrote on standard output.
#[derive(Debug)]
pub(crate) enum Output {
    /// A line without its line feed, and whether it had one.
    Line(Vec<u8>, bool),
    /// Standard output was closed.
    End,
    /// Nothing came in time.
    Silence,
}

/// A running child.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    marker: String,
    input: Option<Sender<Vec<u8>>>,
    output: Receiver<Output>,
    stderr: Arc<Mutex<Kept>>,
    stderr_done: Receiver<()>,
    ended: bool,
    status: Option<ExitStatus>,
}

/// The kept start of standard error and the count of all of it.
#[derive(Debug, Default, Clone)]
pub(crate) struct Kept {
    pub(crate) start: Vec<u8>,
    pub(crate) total_bytes: u64,
}

impl Process {
    /// Starts `launch` with pipes on all three standard streams.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub(crate) fn start(launch: &Launch) -> io::Result<Self> {
        let marker = format!("{}-{}", std::process::id(), MARKERS.fetch_add(1, Ordering::Relaxed));
        let mut command = Command::new(&launch.argv[0]);
        command
            .args(&launch.argv[1..])
            .envs(launch.env.iter().map(|(name, value)| (name, value)))
            .env(MARKER, &marker)
            .current_dir(&launch.cwd)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut child = command.spawn()?;
        live().insert(child.id().cast_signed());
        let (input, jobs) = mpsc::channel();
        let (lines, output) = mpsc::channel();
        let (done, stderr_done) = mpsc::channel();
        let stderr = Arc::new(Mutex::new(Kept::default()));
        if let Some(stdin) = child.stdin.take() {
            thread::spawn(move || write_all(stdin, &jobs));
        }
        if let Some(stdout) = child.stdout.take() {
            thread::spawn(move || read_lines(stdout, &lines));
        }
        if let Some(pipe) = child.stderr.take() {
            let kept = Arc::clone(&stderr);
            thread::spawn(move || {
                read_bounded(pipe, &kept);
                drop(done);
            });
        }
        Ok(Self {
            child,
            marker,
            input: Some(input),
            output,
            stderr,
            stderr_done,
            ended: false,
            status: None,
        })
    }

    /// Process id of the child itself.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Queues bytes for standard input; what a dead child does not read is lost.
    pub(crate) fn write(&self, bytes: Vec<u8>) {
        if let Some(input) = &self.input {
            // The writer ends when the pipe breaks; the reader side tells why.
            let _ = input.send(bytes);
        }
    }

    /// Closes standard input once all that was queued is written.
    pub(crate) fn close_input(&mut self) {
        self.input = None;
    }

    /// The next line within `limit`.
    pub(crate) fn read(&mut self, limit: Duration) -> Output {
        if self.ended {
            return Output::End;
        }
        match self.output.recv_timeout(limit) {
            Ok(Output::End) | Err(RecvTimeoutError::Disconnected) => {
                self.ended = true;
                Output::End
            }
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => Output::Silence,
        }
    }

    /// Waits until the child has ended, at most `limit`.
    pub(crate) fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let start = Instant::now();
        loop {
            if self.status.is_none() {
                self.status = self.child.try_wait().ok().flatten();
            }
            if self.status.is_some() || start.elapsed() >= limit {
                return self.status;
            }
            thread::sleep(POLL);
        }
    }

    /// Standard error so far; complete once the process and all that it
    /// started have ended.
    pub(crate) fn stderr(&self) -> Kept {
        self.stderr.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits at most `limit` for the end of standard error.
    pub(crate) fn finish_stderr(&self, limit: Duration) {
        let _ = self.stderr_done.recv_timeout(limit);
    }

    /// Sends a signal to the child alone.
    pub(crate) fn signal(&self, signal: Signal) {
        if self.status.is_none()
            && let Some(pid) = Pid::from_raw(self.child.id().cast_signed())
        {
            let _ = rustix::process::kill_process(pid, signal);
        }
    }

    /// Ids of living processes that carry this session's marker, without the
    /// child itself.
    pub(crate) fn relatives(&self) -> Vec<u32> {
        marked(&self.marker).into_iter().filter(|pid| *pid != self.child.id()).collect()
    }

    /// Ends everything that belongs to the session by force and reaps the child.
    pub(crate) fn kill(&mut self) {
        self.input = None;
        if let Some(group) = Pid::from_raw(self.child.id().cast_signed()) {
            // After the leader is reaped the group may still have members; an
            // empty group is an error that says so.
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
        if self.status.is_none() {
            let _ = self.child.kill();
            self.status = self.child.wait().ok();
        }
        for pid in self.relatives() {
            if let Some(pid) = Pid::from_raw(pid.cast_signed()) {
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
        }
        live().remove(&self.child.id().cast_signed());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Kills every process group that is still alive; for a suite that is told to end.
pub(crate) fn kill_all() {
    for group in live().iter() {
        if let Some(group) = Pid::from_raw(*group) {
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
    }
}

fn live() -> std::sync::MutexGuard<'static, BTreeSet<i32>> {
    LIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Living processes whose environment holds the marker. Zombies have none.
fn marked(marker: &str) -> Vec<u32> {
    // Every variable ends in U+0000 there.
    let wanted = format!("{MARKER}={marker}\0");
    let wanted = memchr::memmem::Finder::new(&wanted);
    let Ok(folder) = std::fs::read_dir("/proc") else { return Vec::new() };
    folder
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| {
            std::fs::read(format!("/proc/{pid}/environ"))
                .is_ok_and(|environment| wanted.find(&environment).is_some())
        })
        .collect()
}

fn write_all(mut stdin: ChildStdin, jobs: &Receiver<Vec<u8>>) {
    for bytes in jobs {
        if stdin.write_all(&bytes).and_then(|()| stdin.flush()).is_err() {
            return;
        }
    }
}

fn read_lines(stdout: impl Read, lines: &Sender<Output>) {
    let mut reader = BufReader::with_capacity(64 * 1024, stdout);
    loop {
        let mut line = Vec::new();
        let read = (&mut reader).take(LINE_KEPT_BYTES as u64).read_until(b'\n', &mut line);
        if !matches!(read, Ok(count) if count > 0) {
            let _ = lines.send(Output::End);
            return;
        }
        let ended = line.last() == Some(&b'\n');
        if ended {
            line.pop();
        }
        if lines.send(Output::Line(line, ended)).is_err() {
            return;
        }
    }
}

fn read_bounded(mut pipe: impl Read, kept: &Mutex<Kept>) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(count) = pipe.read(&mut buffer) {
        if count == 0 {
            return;
        }
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.total_bytes += count as u64;
        let room = STDERR_KEPT_BYTES.saturating_sub(kept.start.len()).min(count);
        kept.start.extend_from_slice(&buffer[..room]);
    }
}
