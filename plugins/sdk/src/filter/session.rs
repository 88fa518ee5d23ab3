//! One session with a child, shared by all threads of a filter.
//!
//! Nobody is employed to read: of the threads that wait for an answer one reads and hands
//! what it gets to the others. So a filter that answers one request at a time runs on one
//! thread, and an answer wakes no more threads than it must.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use buildhook_protocol::Message;

use super::ChildError;
use super::ledger::Ledger;
use super::lines::{Lines, Received, Sink};
use crate::Deadline;

pub(super) struct Session {
    sink: Mutex<Option<Sink>>,
    lines: Mutex<Lines>,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    ledger: Ledger,
    /// By id: `None` until the answer is there.
    answers: HashMap<u64, Option<Message>>,
    someone_reads: bool,
}

/// See [`Session::whole`].
pub(super) struct Whole<'s> {
    pub(super) sink: MutexGuard<'s, Option<Sink>>,
    pub(super) lines: MutexGuard<'s, Lines>,
    state: MutexGuard<'s, State>,
}

impl Whole<'_> {
    pub(super) fn ledger(&mut self) -> &mut Ledger {
        &mut self.state.ledger
    }
}

impl Session {
    pub(super) fn new(sink: Sink, lines: Lines, max_in_flight: u32) -> Self {
        Self {
            sink: Mutex::new(Some(sink)),
            lines: Mutex::new(lines),
            state: Mutex::new(State {
                ledger: Ledger::new(max_in_flight),
                answers: HashMap::new(),
                someone_reads: false,
            }),
            changed: Condvar::new(),
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

    /// All of it, for one who shares it with nobody.
    pub(super) fn whole(&self) -> Whole<'_> {
        Whole { sink: locked(&self.sink), lines: locked(&self.lines), state: locked(&self.state) }
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
        lines.discard(deadline);
        deadline.remaining()
    }

    /// Waits until one more request may be sent, and takes an id for it.
    fn reserve(&self, deadline: Deadline) -> Result<u64, ChildError> {
        self.wait(deadline, |state| {
            let id = state.ledger.reserve()?;
            state.answers.insert(id, None);
            Some(id)
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
                state.ledger.give_back();
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
            if let Some(why) = state.ledger.gone() {
                return Err(ChildError::Gone(why.to_owned()));
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
                Ok(Received::End) => state.ledger.close("it has exited".to_owned()),
                Err(error) => state.ledger.close(error.to_string()),
            }
            self.changed.notify_all();
        }
    }

    fn fail(&self, why: String) -> ChildError {
        let mut state = locked(&self.state);
        state.ledger.close(why.clone());
        let why = state.ledger.gone().map_or(why, str::to_owned);
        drop(state);
        self.changed.notify_all();
        ChildError::Gone(why)
    }
}

impl State {
    fn take(&mut self, message: Message) {
        // Nobody waits any more: a late answer is dropped.
        if let Some(slot) = self.ledger.take(&message).and_then(|id| self.answers.get_mut(&id)) {
            *slot = Some(message);
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
