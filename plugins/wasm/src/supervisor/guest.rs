//! One guest: a runner process and the session with it.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use buildhook_protocol::{Answer, Checked, ErrorKind, Hello, Message, VERSION};
use buildhook_sdk::Deadline;
use buildhook_sdk::filter::{ChildError, HOP, HOP_NEXT, Next, Peer};
use buildhook_wasm_engine::{BEGIN, END_OF_INPUT, ENDED, SERVE, Spec};
use serde::Serialize;

/// How long a runner may take to read what it is told first: a pipe holds it.
const TELL_LIMIT: Duration = Duration::from_secs(1);

/// Why a guest gave no answer. The message is for people.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// It said that its configuration is wrong.
    #[error("the guest cannot work: {0}")]
    Config(String),
    /// It took longer than it may, and was killed.
    #[error("the guest did not answer in time and was killed")]
    TimedOut,
    /// It is gone, or what it wrote is no message.
    #[error("the guest is of no more use: {0}")]
    Gone(String),
    /// The runner has said why it ended.
    #[error("{0}")]
    Ended(String),
    /// It broke a rule, and was killed.
    #[error("the guest was stopped: {0}")]
    Broke(String),
    /// The next plugin failed.
    #[error("{0}")]
    Next(String),
    /// The next plugin did not answer in time.
    #[error("the next plugin did not answer in time")]
    NextLate,
    /// It has failed too often.
    #[error("the guest has failed too often and is left alone")]
    GivenUp,
    /// The system said no.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl From<ChildError> for Fault {
    fn from(error: ChildError) -> Self {
        match error {
            ChildError::TimedOut => Self::TimedOut,
            ChildError::Gone(why) | ChildError::Unsendable(why) => Self::Gone(why),
        }
    }
}

/// A runner. Killed when dropped.
pub(super) struct Guest {
    peer: Peer,
    /// The hello of the instance at work, once it has been read.
    hello: Option<Hello>,
    last_id: u64,
    /// The instance that was at work has been told to end.
    is_ending: bool,
}

/// A [`Spec`] as a message.
#[derive(Serialize)]
#[serde(transparent)]
struct Told<'a>(&'a Spec);

impl Checked for Told<'_> {
    fn check(&self) -> Result<(), &'static str> {
        Ok(())
    }
}

/// A runner that waits to be told what to do. Killed when dropped.
pub(crate) struct Idle(Peer);

impl Idle {
    /// Starts `program`, the runner.
    pub(crate) fn start(program: &Path) -> std::io::Result<Self> {
        let mut command = Command::new(program);
        command.arg(SERVE).env_clear();
        Peer::start(command).map(Self)
    }

    /// Tells it what it has to know; from then on it has a guest.
    pub(super) fn tell(self, spec: &Spec, next: Option<&Next>) -> Result<Guest, Fault> {
        let mut guest = Guest { peer: self.0, hello: None, last_id: 0, is_ending: false };
        let told = Message::of(&Told(spec)).map_err(|error| Fault::Gone(error.to_string()))?;
        guest.peer.send(&told, Deadline::within(TELL_LIMIT))?;
        guest.introduce(next)?;
        Ok(guest)
    }
}

impl Guest {
    /// The hello of the instance at work.
    pub(super) fn hello(&mut self, deadline: Deadline) -> Result<&Hello, Fault> {
        if self.hello.is_none() {
            let message = self.peer.receive(deadline)?;
            self.hello = Some(check_hello(&message)?);
        }
        Ok(self.hello.as_ref().expect("just put there"))
    }

    /// An id that this guest has not had.
    pub(super) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// Sends `message` and waits for what the guest writes next.
    pub(super) fn exchange(
        &mut self,
        message: &Message,
        deadline: Deadline,
    ) -> Result<Message, Fault> {
        self.peer.send(message, deadline)?;
        Ok(self.peer.receive(deadline)?)
    }

    /// Tells the instance at work that it will be asked no more: it may finish.
    pub(super) fn end_instance(&mut self, deadline: Deadline) -> Result<(), Fault> {
        self.peer.send(&line(END_OF_INPUT)?, deadline)?;
        self.is_ending = true;
        Ok(())
    }

    /// Waits for the end of an instance that was told to end, and has the runner go on with a
    /// new one; says whether there was one.
    pub(super) fn renew(&mut self, next: Option<&Next>, deadline: Deadline) -> Result<bool, Fault> {
        if !self.is_ending {
            return Ok(false);
        }
        let told = self.peer.receive(deadline)?;
        if told.members() != line(ENDED)?.members() {
            return Err(check_hello(&told).err().unwrap_or(Fault::Broke("said more".to_owned())));
        }
        self.is_ending = false;
        self.hello = None;
        self.peer.send(&line(BEGIN)?, deadline)?;
        self.introduce(next)?;
        Ok(true)
    }

    /// Lets the guest finish, within `limit`.
    pub(super) fn close(self, limit: Duration) {
        self.peer.close(limit);
    }

    /// Tells the guest of a filter what its next plugin has said of itself.
    fn introduce(&mut self, next: Option<&Next>) -> Result<(), Fault> {
        let Some(next) = next else { return Ok(()) };
        let mut hello =
            Message::of(next.hello()).map_err(|error| Fault::Gone(error.to_string()))?;
        hello.members_mut().insert(HOP.to_owned(), HOP_NEXT.into());
        Ok(self.peer.send(&hello, Deadline::within(TELL_LIMIT))?)
    }
}

/// A line that supervisor and runner know.
fn line(text: &str) -> Result<Message, Fault> {
    let parsed = buildhook_protocol::frame::parse(text.as_bytes());
    parsed.map_err(|error| Fault::Gone(error.to_string()))
}

fn check_hello(message: &Message) -> Result<Hello, Fault> {
    if message.kind().is_some()
        && let Ok(Answer::Error { error, .. }) = message.parse()
    {
        return Err(Fault::Ended(error.message));
    }
    let hello: Hello = message
        .parse()
        .map_err(|error| Fault::Broke(format!("sent a hello that is none: {error}")))?;
    match hello.error {
        Some(error) if error.kind == ErrorKind::Config => Err(Fault::Config(error.message)),
        Some(error) => Err(Fault::Broke(format!("cannot work: {}", error.message))),
        None if !hello.v.contains(&VERSION) => {
            Err(Fault::Broke(format!("speaks the versions {:?}, not {VERSION}", hello.v)))
        }
        None => Ok(hello),
    }
}
