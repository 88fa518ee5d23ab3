//! From one message to one answer: parsing, refusing, calling, catching panics.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use buildhook_protocol::{Answer, ErrorBody, ErrorKind, Hook, Message, Purpose, Request, VERSION};

use crate::{About, Built, Call, Deadline, Done, Error, Plugin, Want};

/// Answers one message, whatever it is.
pub(crate) fn answer<P: Plugin + ?Sized>(
    plugin: &P,
    about: &About,
    message: Message,
    received: Instant,
) -> Message {
    let id = message.id().unwrap_or(0);
    let (call, built) = match parse(about, message, received) {
        Ok(parsed) => parsed,
        Err(error) => return refusal(id, error),
    };
    guarded(id, || match &built {
        None => plugin.want_to_build(&call).and_then(|want| from_want(id, want)),
        Some(built) => plugin.built_a_thing(&call, built).and_then(|done| from_done(id, done)),
    })
}

/// What the plugin's code answers to `id`; a panic of it is an error.
pub(crate) fn guarded(id: u64, answer: impl FnOnce() -> Result<Message, Error>) -> Message {
    match unpanicked(answer) {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => refusal(id, error.0),
        Err(panic) => refusal(id, panic),
    }
}

/// What the plugin's code gives; a panic of it as an error.
pub(crate) fn unpanicked<T>(code: impl FnOnce() -> T) -> Result<T, ErrorBody> {
    catch_unwind(AssertUnwindSafe(code)).map_err(|panic| {
        let text = panic_text(&*panic);
        ErrorBody::request(ErrorKind::Other, format!("the plugin panicked: {text}"))
    })
}

/// The `error` message for `id`.
pub(crate) fn refusal(id: u64, error: ErrorBody) -> Message {
    Message::of(&Answer::Error { id, error })
        .expect("an error holds text and words only, which JSON can always say")
}

type Parsed = (Call, Option<Built>);

/// The request that `message` is, or why it is none that `about` offers to answer.
pub(crate) fn parse(
    about: &About,
    message: Message,
    received: Instant,
) -> Result<Parsed, ErrorBody> {
    let bad = |text: String| ErrorBody::request(ErrorKind::BadRequest, text);
    let unknown = |text: String| ErrorBody::request(ErrorKind::UnknownKind, text);

    let kind = message.kind().ok_or_else(|| bad("a request has a `kind`, a string".to_owned()))?;
    if !about.hooks.iter().any(|hook| hook.as_str() == kind) {
        return Err(unknown(format!("this plugin does not answer `{kind}`")));
    }
    let request: Request = message.parse().map_err(|error| bad(error.to_string()))?;
    if request.v != VERSION {
        return Err(bad(format!("this session speaks version {VERSION}, not {}", request.v)));
    }
    if request.purpose == Purpose::Other {
        return Err(unknown("`purpose` is `outputs` or `inputs`".to_owned()));
    }
    let built = match request.kind {
        Hook::WantToBuild => None,
        Hook::BuiltAThing => {
            // The protocol crate has checked that there is one.
            let seal =
                request.seal.ok_or_else(|| bad("`built-a-thing` has a `seal`".to_owned()))?;
            Some(Built {
                seal,
                files: request.files,
                cost_ms: request.cost_ms,
                replace: request.replace,
            })
        }
    };
    let call = Call {
        kind: request.kind,
        key: request.key,
        purpose: request.purpose,
        unit: request.unit,
        scratch: request.scratch,
        received,
        deadline: Deadline::after(received, Duration::from_millis(request.deadline_ms)),
        manifest: request.manifest,
        message,
    };
    Ok((call, built))
}

pub(crate) fn from_want(id: u64, want: Want) -> Result<Message, Error> {
    match want {
        Want::Hit(hit) => {
            encode(&Answer::Hit { id, seal: hit.seal, files: hit.files, cost_ms: hit.cost_ms })
        }
        Want::Miss(reason) => encode(&Answer::Miss { id, reason: Some(reason) }),
        Want::Forwarded(message) => Ok(with_id(id, message)),
    }
}

pub(crate) fn from_done(id: u64, done: Done) -> Result<Message, Error> {
    match done {
        Done::Own { stored, reason, relocated } => {
            encode(&Answer::Done { id, stored, reason, relocated })
        }
        Done::Forwarded(message) => Ok(with_id(id, message)),
    }
}

fn encode(answer: &Answer) -> Result<Message, Error> {
    Message::of(answer).map_err(|error| {
        Error::new(ErrorKind::Other, format!("a path that is not Unicode cannot be sent: {error}"))
    })
}

pub(crate) fn with_id(id: u64, mut message: Message) -> Message {
    message.members_mut().insert("id".to_owned(), id.into());
    message
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
