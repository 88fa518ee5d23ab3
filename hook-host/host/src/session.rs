//! One session with one plugin over any reader and writer: hello, requests, answers.
//!
//! Many threads ask at once. Each takes one of the plugin's places (`max-in-flight`), hands
//! its line to a thread that writes, and waits for the thread that reads, never longer than
//! until its deadline. What holds here:
//! - no call blocks on the plugin's streams: a plugin that does not read, does not write or
//!   writes half a line costs the deadline, one that ends costs nothing;
//! - a request that ran out of time keeps its place and its scratch folder until its answer
//!   comes, which is discarded, or until the session ends (BH-HELLO-005, BH-REQ-006);
//! - an answer to what was never asked, or asked and answered, ends the session.
//!
//! Not here: what answers mean, and what follows from a fault (`plugin.rs`).

use std::collections::HashMap;
use std::io::{Read, Write};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use buildhook_protocol::{Answer, ErrorBody, FrameError, Hello, Message, Reader, Scope, VERSION};

use crate::fault::{Fault, FaultKind};
use crate::launch::{Connect, Connection};
use crate::limits::Limits;
use crate::process::{Exit, Process};
use crate::scratch::Scratch;
use crate::sync::{lock, spawn};
use crate::text::tame;

/// How long the exit code of a plugin that closed its output may take to show.
const EXIT_CODE_WAIT: Duration = Duration::from_millis(100);
/// How many bytes of standard error a message quotes.
const QUOTED_BYTES: usize = 400;

/// A session whose hello has been accepted.
pub(crate) struct Session {
    pub(crate) hello: Hello,
    shared: Arc<Shared>,
    process: Option<Process>,
}

struct Shared {
    state: Mutex<State>,
    /// Told when a place becomes free, the session ends, or the reader ends.
    changed: Condvar,
}

struct State {
    /// Lines for the thread that writes; dropping it closes the plugin's input.
    lines: Option<Sender<Vec<u8>>>,
    last_id: u64,
    asked: HashMap<u64, Asked>,
    ended: Option<Ended>,
    reader_ended: bool,
}

/// A request that the plugin has not answered.
enum Asked {
    Waiting(SyncSender<Result<Answer, Fault>>, Arc<Scratch>),
    /// Nobody waits any more; the folder stays until the plugin is done with it.
    Abandoned {
        _scratch: Arc<Scratch>,
    },
}

struct Ended {
    fault: Fault,
    /// Whether someone has been told: a fault counts once, however many calls it hits.
    told: bool,
}

/// Why a call has no answer.
pub(crate) enum Failure {
    /// This request failed; the session goes on.
    Request(Fault),
    /// The session is over; the first to learn of it is told so.
    Ended { fault: Fault, first: bool },
}

impl Session {
    /// Reaches the plugin and waits for its hello.
    pub(crate) fn start(connect: &dyn Connect, limits: &Limits) -> Result<Self, Fault> {
        let Connection { output, input, process } = connect.connect(limits.stderr_bytes)?;
        let (lines, to_write) = mpsc::channel::<Vec<u8>>();
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                lines: Some(lines),
                last_id: 0,
                asked: HashMap::new(),
                ended: None,
                reader_ended: false,
            }),
            changed: Condvar::new(),
        });
        let (hello_here, hello_comes) = mpsc::sync_channel(1);
        let (writer, reader) = (Arc::clone(&shared), Arc::clone(&shared));
        let started =
            spawn("input", move || write_lines(input, &to_write, &writer)).and_then(|_| {
                spawn("output", move || {
                    read_messages(Reader::new(output), &hello_here, &reader);
                    drop(hello_here);
                    reader.reader_ended();
                })
            });
        let hello = match started {
            Ok(_) => greet(&hello_comes, &shared, limits),
            Err(error) => Err(Fault::new(FaultKind::Start, format!("no thread for it: {error}"))),
        };
        match hello {
            Ok(hello) => Ok(Self { hello, shared, process }),
            Err(fault) => {
                lock(&shared.state).lines = None;
                let fault = explain(fault, process.as_ref());
                if let Some(process) = process {
                    process.end(Duration::ZERO, limits.terminate);
                }
                Err(fault)
            }
        }
    }

    /// Sends what `line` makes of the request's id and remaining time, and waits for the
    /// answer until `deadline`.
    pub(crate) fn ask(
        &self,
        scratch: &Arc<Scratch>,
        deadline: Instant,
        line: impl FnOnce(u64, Duration) -> Result<Vec<u8>, Fault>,
    ) -> Result<Answer, Failure> {
        let (id, answered) = self.send(scratch, deadline, line)?;
        match answered.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(answer) => answer.map_err(Failure::Request),
            Err(RecvTimeoutError::Disconnected) => Err(self.shared.ended()),
            Err(RecvTimeoutError::Timeout) => {
                let mut state = lock(&self.shared.state);
                let over = state.ended.is_some();
                match state.asked.get_mut(&id) {
                    Some(asked) if !over => {
                        *asked = Asked::Abandoned { _scratch: Arc::clone(scratch) };
                        let message = "did not answer in time";
                        Err(Failure::Request(Fault::new(FaultKind::Timeout, message)))
                    }
                    // The answer is being handed over in this moment, or never will be.
                    _ => {
                        drop(state);
                        match answered.recv() {
                            Ok(answer) => answer.map_err(Failure::Request),
                            Err(_) => Err(self.shared.ended()),
                        }
                    }
                }
            }
        }
    }

    fn send(
        &self,
        scratch: &Arc<Scratch>,
        deadline: Instant,
        line: impl FnOnce(u64, Duration) -> Result<Vec<u8>, Fault>,
    ) -> Result<(u64, Receiver<Result<Answer, Fault>>), Failure> {
        let places = self.hello.max_in_flight as usize;
        let patience = deadline.saturating_duration_since(Instant::now());
        let state = lock(&self.shared.state);
        let (mut state, _) = self
            .shared
            .changed
            .wait_timeout_while(state, patience, |state| {
                state.ended.is_none() && state.asked.len() >= places
            })
            .unwrap_or_else(PoisonError::into_inner);
        if state.ended.is_some() {
            drop(state);
            return Err(self.shared.ended());
        }
        if state.asked.len() >= places {
            let message = "was busy with other requests for too long";
            return Err(Failure::Request(Fault::new(FaultKind::Busy, message)));
        }
        let Some(lines) = state.lines.clone() else {
            drop(state);
            return Err(self.shared.ended());
        };
        state.last_id += 1;
        let id = state.last_id;
        let (answer_here, answered) = mpsc::sync_channel(1);
        state.asked.insert(id, Asked::Waiting(answer_here, Arc::clone(scratch)));
        drop(state);
        let remaining = deadline.saturating_duration_since(Instant::now());
        let line = line(id, remaining).map_err(|fault| {
            lock(&self.shared.state).asked.remove(&id);
            self.shared.changed.notify_all();
            Failure::Request(fault)
        })?;
        if lines.send(line).is_err() {
            self.shared.end(Fault::new(FaultKind::Exited, "closed its standard input"));
            return Err(self.shared.ended());
        }
        Ok((id, answered))
    }

    /// Whether no request can be sent any more.
    pub(crate) fn is_over(&self) -> bool {
        lock(&self.shared.state).ended.is_some()
    }

    /// The fault that ended the session while nobody was asking; given out once.
    pub(crate) fn take_untold(&self) -> Option<Fault> {
        let mut state = lock(&self.shared.state);
        let ended = state.ended.as_mut().filter(|ended| !ended.told)?;
        ended.told = true;
        let fault = ended.fault.clone();
        drop(state);
        Some(self.explain(fault))
    }

    /// Ends the session for a reason of the host's; calls in flight get `fault`.
    pub(crate) fn abort(&self, fault: Fault) {
        self.shared.end(fault);
        // The host knows its reason already.
        let _ = self.shared.ended();
    }

    /// `fault` with what the end of the process adds to it: its exit code, its last words.
    pub(crate) fn explain(&self, fault: Fault) -> Fault {
        explain(fault, self.process.as_ref())
    }

    /// Closes the plugin's input, waits at most `drain`, ends it by force, reaps it.
    ///
    /// Gives how it ended and whether force was needed; nothing for a plugin in memory.
    pub(crate) fn shut_down(&self, drain: Duration, grace: Duration) -> (Option<Exit>, bool) {
        self.abort(Fault::new(FaultKind::Shutdown, "the session was closed"));
        let result = match &self.process {
            Some(process) => process.end(drain, grace),
            None => {
                let state = lock(&self.shared.state);
                let waited =
                    self.shared.changed.wait_timeout_while(state, drain, |s| !s.reader_ended);
                (None, waited.unwrap_or_else(PoisonError::into_inner).1.timed_out())
            }
        };
        // Whatever late requests have written is of no use now.
        lock(&self.shared.state).asked.clear();
        result
    }

    /// The end of standard error, and how many bytes before it are lost.
    pub(crate) fn stderr_tail(&self) -> (String, u64) {
        self.process.as_ref().map(Process::stderr_tail).unwrap_or_default()
    }

    /// [`Self::stderr_tail`] after [`Self::shut_down`], once all of it has arrived.
    pub(crate) fn last_words(&self) -> (String, u64) {
        self.process.as_ref().map(Process::last_words).unwrap_or_default()
    }
}

impl Shared {
    /// The session is over because of `fault`, unless it was over before.
    fn end(&self, fault: Fault) {
        let mut state = lock(&self.state);
        if state.ended.is_none() {
            state.ended = Some(Ended { fault, told: false });
        }
        state.lines = None;
        // Wakes those that wait; the folders of what is unanswered stay until shut-down.
        for asked in state.asked.values_mut() {
            if let Asked::Waiting(_, scratch) = asked {
                *asked = Asked::Abandoned { _scratch: Arc::clone(scratch) };
            }
        }
        self.changed.notify_all();
    }

    fn ended(&self) -> Failure {
        match &mut lock(&self.state).ended {
            Some(ended) => {
                let first = !std::mem::replace(&mut ended.told, true);
                Failure::Ended { fault: ended.fault.clone(), first }
            }
            // Only a panic of the reading thread comes here.
            None => Failure::Request(closed_output()),
        }
    }

    fn reader_ended(&self) {
        lock(&self.state).reader_ended = true;
        self.changed.notify_all();
    }

    /// Hands an answer to whoever waits for it.
    fn deliver(&self, message: &Message) -> Result<(), Fault> {
        let protocol = |text: String| Fault::new(FaultKind::Protocol, text);
        if let Some(member) = array_for_object(message) {
            return Err(protocol(format!("wrote an array in place of an object in `{member}`")));
        }
        let id = message.id().ok_or_else(|| protocol("wrote a message without `id`".into()))?;
        let answer = message
            .parse::<Answer>()
            .map_err(|e| Fault::new(FaultKind::Answer, format!("gave a malformed answer: {e}")));
        if let Ok(Answer::Error { id: 0, error }) = &answer {
            return Err(Fault::new(FaultKind::Session, error_text(error)));
        }
        let mut state = lock(&self.state);
        let asked = state.asked.remove(&id);
        if let Ok(Answer::Error { error, .. }) = &answer
            && error.scope == Scope::Session
            && matches!(asked, Some(Asked::Waiting(..)))
        {
            // Before its place is free for another request (BH-ERR-002). Who waits for the
            // answer tells of it.
            let fault = Fault::new(FaultKind::Session, error_text(error));
            state.ended.get_or_insert(Ended { fault, told: true });
            state.lines = None;
        }
        let last_id = state.last_id;
        drop(state);
        match asked {
            Some(Asked::Waiting(waiting, scratch)) => {
                // First, so that who waits is the last to hold the folder and removes it.
                drop(scratch);
                // Nobody there any more is a late answer.
                let _ = waiting.send(answer);
            }
            // Too late: only the folder is to be removed.
            Some(Asked::Abandoned { .. }) => {}
            None if id == 0 || id > last_id => {
                return Err(protocol(format!("answered a request that was never made (id {id})")));
            }
            None => return Err(protocol(format!("answered a request twice (id {id})"))),
        }
        self.changed.notify_all();
        Ok(())
    }
}

/// Reads until the session is over: the hello first, then answers.
fn read_messages(
    mut reader: Reader<Box<dyn Read + Send>>,
    hello: &SyncSender<Message>,
    shared: &Shared,
) {
    let mut greeted = false;
    let fault = loop {
        match reader.next_message() {
            Ok(Some(message)) if !greeted => {
                greeted = true;
                // Nobody there any more: the hello came too late.
                let _ = hello.send(message);
            }
            Ok(Some(message)) => {
                if let Err(fault) = shared.deliver(&message) {
                    break fault;
                }
            }
            Ok(None) => break closed_output(),
            Err(FrameError::Io(error)) => {
                break Fault::new(FaultKind::Exited, format!("cannot be read: {error}"));
            }
            Err(error) => {
                let message = format!("wrote what is no message on its standard output: {error}");
                break Fault::new(FaultKind::Protocol, message);
            }
        }
    };
    shared.end(fault);
}

/// Writes lines until there are no more, then closes the plugin's input.
fn write_lines(mut input: Box<dyn Write + Send>, lines: &Receiver<Vec<u8>>, shared: &Shared) {
    for line in lines {
        if let Err(error) = input.write_all(&line).and_then(|()| input.flush()) {
            let message = format!("closed its standard input: {error}");
            shared.end(Fault::new(FaultKind::Exited, message));
            return;
        }
    }
}

/// Waits for the hello.
fn greet(hello: &Receiver<Message>, shared: &Shared, limits: &Limits) -> Result<Hello, Fault> {
    match hello.recv_timeout(limits.hello) {
        Ok(message) => accept(&message),
        Err(RecvTimeoutError::Timeout) => {
            let limit_ms = limits.hello.as_millis();
            let message = format!("wrote no hello within {limit_ms} ms: is it a buildhook plugin?");
            Err(Fault::new(FaultKind::Hello, message))
        }
        Err(RecvTimeoutError::Disconnected) => {
            let ended = lock(&shared.state).ended.take();
            let fault = ended.map_or_else(closed_output, |ended| ended.fault);
            let kind = match fault.kind {
                FaultKind::Exited => FaultKind::Start,
                kind => kind,
            };
            Err(Fault { kind, ..fault })
        }
    }
}

/// A hello that this host can work with (BH-HELLO-002, 003, 006).
fn accept(message: &Message) -> Result<Hello, Fault> {
    let fault = |text: String| Fault::new(FaultKind::Hello, text);
    if let Some(member) = array_for_object(message) {
        return Err(fault(format!("its hello has an array in place of an object in `{member}`")));
    }
    let hello: Hello = message.parse().map_err(|e| fault(format!("its hello is wrong: {e}")))?;
    hello.check().map_err(|rule| fault(format!("its hello is wrong: {rule}")))?;
    if let Some(error) = &hello.error {
        return Err(fault(format!("says that it cannot work: {}", error_text(error))));
    }
    if !hello.v.contains(&VERSION) {
        let message = format!(
            "speaks versions {:?} of the protocol, this host speaks {VERSION}: use a matching release",
            hello.v
        );
        return Err(fault(message));
    }
    Ok(hello)
}

fn closed_output() -> Fault {
    Fault::new(FaultKind::Exited, "ended, or closed its standard output")
}

fn explain(mut fault: Fault, process: Option<&Process>) -> Fault {
    let Some(process) = process else { return fault };
    let exit = match fault.kind {
        FaultKind::Start | FaultKind::Exited => process.wait(EXIT_CODE_WAIT),
        _ => None,
    };
    let (said, _) = if exit.is_some() { process.last_words() } else { process.stderr_tail() };
    if let Some(exit) = exit {
        fault.message.push_str(&format!(" ({})", exit.text));
    }
    let said = said.trim();
    if !said.is_empty() {
        let start = said.ceil_char_boundary(said.len().saturating_sub(QUOTED_BYTES));
        fault.message.push_str(&format!("; it last said: {}", tame(&said[start..])));
    }
    fault
}

/// An error of the plugin, in one line for people.
pub(crate) fn error_text(error: &ErrorBody) -> String {
    let mut text = error.message.clone();
    for cause in &error.caused_by {
        text.push_str(": ");
        text.push_str(cause);
    }
    text
}

fn array_for_object(message: &Message) -> Option<&'static str> {
    let members = message.members();
    let is_array = |name: &&str| members.get(*name).is_some_and(serde_json::Value::is_array);
    let holds_array = |name: &&str| {
        let items = members.get(*name).and_then(|value| value.as_array());
        items.is_some_and(|items| items.iter().any(serde_json::Value::is_array))
    };
    ["reason", "error", "plugin"]
        .into_iter()
        .find(is_array)
        .or_else(|| ["files", "relocated"].into_iter().find(holds_array))
}
