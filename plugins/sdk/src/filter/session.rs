//! One session with a child, shared by all threads of a filter.
//!
//! Nobody is employed to read: of the threads that wait for an answer one reads and hands
//! what it gets to the others. So a filter that answers one request at a time runs on one
//! thread, and an answer wakes no more threads than it must.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use buildhook_protocol::{Answer, Message, Scope};

use super::ChildError;
use super::lines::{Lines, Received, Sink};
use crate::Deadline;

pub(super) struct Session {
    sink: Mutex<Option<Sink>>,
    lines: Mutex<Lines>,
    state: Mutex<State>,
    changed: Condvar,
    max_in_flight: usize,
}

struct State {
    last_id: u64,
    /// By id: `None` until the answer is there.
    answers: HashMap<u64, Option<Message>>,
    /// Sent and not answered, those that nobody waits for any more included.
    unanswered: usize,
    someone_reads: bool,
    gone: Option<String>,
}

impl Session {
    pub(super) fn new(sink: Sink, lines: Lines, max_in_flight: u32) -> Self {
        Self {
            sink: Mutex::new(Some(sink)),
            lines: Mutex::new(lines),
            state: Mutex::new(State {
                last_id: 0,
                answers: HashMap::new(),
                unanswered: 0,
                someone_reads: false,
                gone: None,
            }),
            changed: Condvar::new(),
            max_in_flight: max_in_flight as usize,
        }
    }

    /// Sends `message` under an id of this session and waits for the answer.
    pub(super) fn exchange(
        &self,
        mut message: Message,
        deadline: Deadline,
    ) -> Result<Message, ChildError> {
        let id = self.reserve(deadline)?;
        message.members_mut().insert("id".to_owned(), id.into());
        message.members_mut().insert("deadline-ms".to_owned(), deadline.remaining_ms().into());
        self.send(id, &message, deadline)?;
        let outcome = self.wait(deadline, |state| state.answers.get_mut(&id)?.take());
        locked(&self.state).answers.remove(&id);
        outcome
    }

    /// Closes the child's standard input.
    pub(super) fn close(&self) {
        drop(locked(&self.sink).take());
        self.fail("it has been closed".to_owned());
    }

    /// Drops late answers until the child has closed its end, at most for `limit`; returns
    /// what is left of it. A thread that still waits for an answer reads in its place.
    pub(super) fn discard_until_end(&self, limit: Duration) -> Duration {
        let Ok(mut lines) = self.lines.try_lock() else { return limit };
        let deadline = Deadline::within(limit);
        while let Ok(Received::Message(_)) = lines.next(deadline.remaining()) {}
        deadline.remaining()
    }

    /// Waits until one more request may be sent, and takes an id for it.
    fn reserve(&self, deadline: Deadline) -> Result<u64, ChildError> {
        self.wait(deadline, |state| {
            if state.gone.is_some() || state.unanswered >= self.max_in_flight {
                return None;
            }
            state.unanswered += 1;
            state.last_id += 1;
            state.answers.insert(state.last_id, None);
            Some(state.last_id)
        })
    }

    fn send(&self, id: u64, message: &Message, deadline: Deadline) -> Result<(), ChildError> {
        let sent = match locked(&self.sink).as_mut() {
            Some(sink) => sink.write(message, deadline),
            None => return Err(self.fail("it has been closed".to_owned())),
        };
        sent.map_err(|error| {
            if error.kind() == std::io::ErrorKind::InvalidInput {
                // Nothing was written.
                let mut state = locked(&self.state);
                state.answers.remove(&id);
                state.unanswered -= 1;
                ChildError::Unsendable(error.to_string())
            } else {
                self.fail(format!("it no longer reads: {error}"))
            }
        })
    }

    /// Waits until `ready` has something, reading for everyone when nobody else does.
    fn wait<T>(
        &self,
        deadline: Deadline,
        mut ready: impl FnMut(&mut State) -> Option<T>,
    ) -> Result<T, ChildError> {
        let mut state = locked(&self.state);
        loop {
            // An answer that came before the child went still counts.
            if let Some(value) = ready(&mut state) {
                return Ok(value);
            }
            if let Some(why) = &state.gone {
                return Err(ChildError::Gone(why.clone()));
            }
            let remaining = deadline.remaining();
            if remaining.is_zero() {
                return Err(ChildError::TimedOut);
            }
            if state.someone_reads {
                state = self
                    .changed
                    .wait_timeout(state, remaining)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0;
                continue;
            }
            state.someone_reads = true;
            drop(state);
            let outcome = locked(&self.lines).next(remaining);
            state = locked(&self.state);
            state.someone_reads = false;
            match outcome {
                Ok(Received::Message(message)) => state.take(message),
                Ok(Received::TimedOut) => {}
                Ok(Received::End) => state.gone = Some("it has exited".to_owned()),
                Err(error) => state.gone = Some(error.to_string()),
            }
            self.changed.notify_all();
        }
    }

    fn fail(&self, why: String) -> ChildError {
        let mut state = locked(&self.state);
        let why = state.gone.get_or_insert(why).clone();
        drop(state);
        self.changed.notify_all();
        ChildError::Gone(why)
    }
}

impl State {
    fn take(&mut self, message: Message) {
        let id = message.id().unwrap_or(0);
        if let Some(why) = session_error(&message) {
            self.gone = Some(why);
        }
        if id == 0 {
            self.gone.get_or_insert_with(|| "it sent an answer without an id".to_owned());
            return;
        }
        if id > self.last_id {
            self.gone = Some(format!("it answered request {id}, which was never sent"));
            return;
        }
        self.unanswered = self.unanswered.saturating_sub(1);
        // Nobody waits any more: a late answer is dropped.
        if let Some(slot) = self.answers.get_mut(&id) {
            *slot = Some(message);
        }
    }
}

/// The text of an error after which nothing more may be sent (BH-ERR-002).
fn session_error(message: &Message) -> Option<String> {
    if message.kind() != Some("error") {
        return None;
    }
    match message.parse().ok()? {
        Answer::Error { error, .. } if error.scope == Scope::Session => Some(error.message),
        _ => None,
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
