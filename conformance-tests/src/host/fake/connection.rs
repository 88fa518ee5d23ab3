//! The small host's session with a plugin.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{DEADLINE_MS, Host};
use crate::host::catalog::HostMutation;
use crate::wire::{self, strict};

/// Time for the hello.
const HELLO: Duration = Duration::from_millis(1_500);
/// Longest drain granted.
const DRAIN: Duration = Duration::from_millis(1_500);
/// Faults after which the plugin is left alone.
const FAULTS: u32 = 3;

/// Why a plugin is not used further.
enum Fault {
    /// In this session.
    Session,
    /// In this build.
    Build,
}

pub(super) struct Session {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<Vec<u8>>,
    pub(super) hello: Value,
    pub(super) version: u64,
    pub(super) next_id: u64,
}

impl Host {
    /// A session with the plugin; false when there is none (any more).
    pub(super) fn connect(&mut self) -> io::Result<bool> {
        if self.session.is_some() {
            return Ok(true);
        }
        if self.gone && !self.is(HostMutation::NeverGivesUp) {
            return Ok(false);
        }
        match self.start() {
            Ok(session) => self.session = Some(session),
            Err(Fault::Session) => self.fault(),
            Err(Fault::Build) => self.gone = true,
        }
        Ok(self.session.is_some())
    }

    fn fault(&mut self) {
        self.faults += 1;
        self.gone |= self.faults >= FAULTS;
    }

    fn start(&self) -> Result<Session, Fault> {
        let words = shlex::split(&self.arguments.hook).unwrap_or_default();
        let (program, rest) = words.split_first().ok_or(Fault::Build)?;
        let mut command = Command::new(program);
        let noise =
            if self.is(HostMutation::PassesNoise) { Stdio::inherit() } else { Stdio::piped() };
        command.args(rest).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(noise);
        // Kept open, and without close-on-exec, while the plugin starts.
        let leaked = self.is(HostMutation::PassesDescriptors).then(leaked_descriptor).flatten();
        let mut child = command.spawn().map_err(|_| Fault::Build)?;
        drop(leaked);
        if let Some(mut stderr) = child.stderr.take() {
            thread::spawn(move || io::copy(&mut stderr, &mut io::sink()));
        }
        let input = child.stdin.take();
        let (sender, lines) = mpsc::channel();
        if let Some(stdout) = child.stdout.take() {
            thread::spawn(move || {
                let mut reader = BufReader::new(stdout);
                loop {
                    let mut line = Vec::new();
                    let most = 2 * wire::MAX_LINE_BYTES as u64;
                    let read = (&mut reader).take(most).read_until(b'\n', &mut line);
                    if !matches!(read, Ok(count) if count > 0) || sender.send(line).is_err() {
                        return;
                    }
                }
            });
        }
        let mut session =
            Session { child, input, lines, hello: Value::Null, version: 1, next_id: 1 };
        match self.hello(&mut session) {
            Ok(()) => Ok(session),
            Err(fault) => {
                // It is as good as gone.
                let _ = session.child.kill();
                let _ = session.child.wait();
                Err(fault)
            }
        }
    }

    fn hello(&self, session: &mut Session) -> Result<(), Fault> {
        if self.is(HostMutation::DoesNotAwaitHello) {
            session.hello = json!({"hooks": ["want-to-build", "built-a-thing"]});
            return Ok(());
        }
        let line = session.lines.recv_timeout(HELLO).map_err(|_| Fault::Session)?;
        session.hello = self.parse(&line).ok_or(Fault::Session)?;
        let versions = session.hello["v"].as_array().cloned().unwrap_or_default();
        if !versions.contains(&json!(1)) && !self.is(HostMutation::IgnoresVersions) {
            return Err(Fault::Build);
        }
        if self.is(HostMutation::SendsFirstVersion) {
            session.version = versions.first().and_then(Value::as_u64).unwrap_or(1);
        }
        let features = session.hello["features"].as_array().cloned().unwrap_or_default();
        let odd = features.iter().any(|feature| feature != "manifest");
        let refused = odd && self.is(HostMutation::RejectsFeatures);
        if !session.hello["error"].is_null() || refused { Err(Fault::Build) } else { Ok(()) }
    }

    fn parse(&self, line: &[u8]) -> Option<Value> {
        let line = line.strip_suffix(b"\n")?;
        if self.is(HostMutation::ReadsLeniently) {
            return serde_json::from_slice(line).ok();
        }
        strict::parse(line)
            .ok()
            .filter(|(_, violations)| violations.is_empty())
            .map(|(value, _)| value)
    }

    /// Sends a request and waits for its answer; nothing when there is none.
    pub(super) fn ask(&mut self, request: &mut Value) -> io::Result<Option<Value>> {
        let Some(mut session) = self.session.take() else { return Ok(None) };
        let line = self.render(request);
        let sent = match &mut session.input {
            Some(input) => input.write_all(&line).and_then(|()| input.flush()),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        };
        if self.is(HostMutation::ChangesInFlight)
            && let Some(path) = request["files"][0]["path"].as_str()
        {
            fs::write(path, "changed in flight\n")?;
        }
        let grace = if self.is(HostMutation::WaitsForLate) { 10_000 } else { 0 };
        let until = Instant::now() + Duration::from_millis(DEADLINE_MS + grace);
        let answer = match sent {
            Ok(()) => self.await_answer(&session, request["id"].as_u64(), until),
            Err(_) => None,
        };
        let over = match &answer {
            None => !self.is(HostMutation::ReadsLeniently),
            Some(answer) => {
                answer["error"]["scope"] == "session" && !self.is(HostMutation::IgnoresScope)
            }
        };
        if answer.is_none() {
            self.fault();
        }
        if over {
            self.gone |= answer.is_some();
            self.end(session)?;
        } else {
            self.session = Some(session);
        }
        Ok(answer)
    }

    fn render(&self, request: &Value) -> Vec<u8> {
        let text = request.to_string();
        let text = match self.arguments.mutant {
            Some(HostMutation::ArrayRequests) => format!("[{text}]"),
            Some(HostMutation::RepeatsMembers) => text.replacen('{', "{\"v\":1,", 1),
            Some(HostMutation::SendsSurrogates) => {
                text.replacen('{', "{\"x-text\":\"\\ud800\",", 1)
            }
            Some(HostMutation::SendsTwoAtOnce) => format!("{text}\n{text}"),
            _ => text,
        };
        format!("{text}\n").into_bytes()
    }

    fn await_answer(&self, session: &Session, id: Option<u64>, until: Instant) -> Option<Value> {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match session.lines.recv_timeout(left) {
                Ok(line) => {
                    let answer = self.parse(&line)?;
                    if answer["id"].as_u64() == id {
                        return Some(answer);
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    /// Closes standard input, waits, and ends the plugin.
    pub(super) fn end(&self, mut session: Session) -> io::Result<()> {
        if self.is(HostMutation::KillsAtOnce) {
            session.child.kill()?;
        }
        session.input = None;
        let start = Instant::now();
        while session.child.try_wait()?.is_none() {
            if start.elapsed() > DRAIN {
                if self.is(HostMutation::LeavesPlugin) {
                    return Ok(());
                }
                session.child.kill()?;
            }
            thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}

/// A descriptor that a child inherits.
fn leaked_descriptor() -> Option<fs::File> {
    let file = fs::File::open("/dev/zero").ok()?;
    rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty()).ok()?;
    Some(file)
}
