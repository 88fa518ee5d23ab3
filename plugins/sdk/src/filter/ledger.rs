//! The books of one session with a child: ids, places, and whether there is still somebody
//! to ask.

use buildhook_protocol::{Answer, Message, Scope};

pub(super) struct Ledger {
    last_id: u64,
    /// Sent and not answered, those that nobody waits for any more included.
    unanswered: usize,
    max_in_flight: usize,
    /// Why the child is of no more use.
    gone: Option<String>,
}

impl Ledger {
    pub(super) fn new(max_in_flight: u32) -> Self {
        Self { last_id: 0, unanswered: 0, max_in_flight: max_in_flight as usize, gone: None }
    }

    pub(super) fn gone(&self) -> Option<&str> {
        self.gone.as_deref()
    }

    /// Nothing more can be asked; the first reason stays.
    pub(super) fn close(&mut self, why: String) {
        self.gone.get_or_insert(why);
    }

    /// An id and a place for one more request, if the child takes one.
    pub(super) fn reserve(&mut self) -> Option<u64> {
        if self.gone.is_some() || self.unanswered >= self.max_in_flight {
            return None;
        }
        self.unanswered += 1;
        self.last_id += 1;
        Some(self.last_id)
    }

    /// What was reserved last has not been sent.
    pub(super) fn give_back(&mut self) {
        self.unanswered = self.unanswered.saturating_sub(1);
    }

    /// Takes what the child has sent; gives the id of the request that it answers.
    pub(super) fn take(&mut self, message: &Message) -> Option<u64> {
        let id = message.id().unwrap_or(0);
        if let Some(why) = session_error(message) {
            self.gone = Some(why);
        }
        if id == 0 {
            self.close("it sent an answer without an id".to_owned());
            return None;
        }
        if id > self.last_id {
            self.gone = Some(format!("it answered request {id}, which was never sent"));
            return None;
        }
        self.give_back();
        Some(id)
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
