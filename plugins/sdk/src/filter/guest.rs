//! [`Next`] where there are no processes: in a sandbox of `buildhook-wasm`.
//!
//! The sandbox has started the next plugin, outside of itself, and relays: what concerns the
//! next plugin goes over the same standard streams as what concerns the host, marked with
//! the member `hop`. The first line on standard input is the next plugin's hello. Nothing
//! interleaves, because a sandboxed plugin answers one request at a time.

use std::ffi::OsString;
use std::io::{stdin, stdout};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use buildhook_protocol::{Hello, Message, Reader, Writer};

use super::{ChildError, Depth, HOP, HOP_NEXT, check_hello};
use crate::{Deadline, StartError};

/// The next plugin, on the other side of the sandbox's wall.
pub struct Next {
    pub(super) hello: Hello,
    last_id: Mutex<u64>,
}

impl Next {
    /// Takes the hello of the plugin that the sandbox has started. `command` is what stands
    /// after `--` on the command line, which the sandbox replaces: not looked at.
    ///
    /// # Errors
    /// [`StartError::Child`]: there is none, or it cannot work.
    pub fn start(command: &[OsString], depth: Depth) -> Result<Self, StartError> {
        Self::start_within(command, depth, Duration::MAX)
    }

    /// [`start`](Self::start); the sandbox keeps the time.
    ///
    /// # Errors
    /// Those of [`start`](Self::start).
    pub fn start_within(_: &[OsString], _: Depth, _: Duration) -> Result<Self, StartError> {
        let told = |why: String| StartError::Child(format!("the next plugin {why}"));
        let message = receive().map_err(|error| told(error.to_string()))?;
        let hello = check_hello(&message).map_err(|refusal| match refusal.is_config {
            true => StartError::Config(format!("the next plugin {}", refusal.why)),
            false => told(refusal.why),
        })?;
        Ok(Self { hello, last_id: Mutex::new(0) })
    }

    /// Sends `message` under an id of this hop and waits for the answer; the sandbox keeps
    /// `deadline`.
    ///
    /// # Errors
    /// There was no answer.
    pub fn exchange_by(
        &self,
        mut message: Message,
        deadline: Deadline,
    ) -> Result<Message, ChildError> {
        let mut last_id = self.last_id.lock().unwrap_or_else(PoisonError::into_inner);
        *last_id += 1;
        let members = message.members_mut();
        members.insert("id".to_owned(), (*last_id).into());
        members.insert("deadline-ms".to_owned(), deadline.remaining_ms().into());
        members.insert(HOP.to_owned(), HOP_NEXT.into());
        Writer::new(stdout()).write(&message).map_err(|error| match error.kind() {
            std::io::ErrorKind::InvalidInput => ChildError::Unsendable(error.to_string()),
            _ => ChildError::Gone(error.to_string()),
        })?;
        let answer = receive()?;
        if answer.id() == Some(*last_id) {
            Ok(answer)
        } else {
            Err(ChildError::Gone("an answer to another request".to_owned()))
        }
    }

    /// Nothing to do: the sandbox ends the next plugin.
    pub fn close(&self) {}
}

/// The next line, which is the next plugin's.
fn receive() -> Result<Message, ChildError> {
    let gone = |why: &str| ChildError::Gone(why.to_owned());
    // Standard input itself is buffered, and no line follows this one before it is answered:
    // a reader for each line loses nothing.
    let mut message = Reader::new(stdin())
        .next_message()
        .map_err(|error| gone(&error.to_string()))?
        .ok_or_else(|| gone("there is none: the sandbox was given no command after `--`"))?;
    match message.members_mut().remove(HOP) {
        Some(hop) if hop == HOP_NEXT => Ok(message),
        _ => Err(gone("there is none: the sandbox was given no command after `--`")),
    }
}
