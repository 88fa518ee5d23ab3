//! The session: reads requests, answers them, several at a time when the plugin allows it.
//!
//! Leader and followers: whoever holds the reader reads one request, lets go, and answers it
//! on the spot, so a request is never handed from thread to thread. A thread is added only
//! when a request has been read and nobody waits for the next one; a session of one request
//! with `max-in-flight` 1 starts none.

use std::io::{self, Read, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, Scope};
use std::time::Instant;

use buildhook_protocol::{ErrorBody, ErrorKind, FrameError, Message, Reader, Writer};

use crate::dispatch::{answer, refusal};
use crate::{About, Plugin};

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Served {
    /// The other side closed its end; everything it had asked is answered.
    Cleanly,
    /// It sent something that is no message; it was told so (BH-WIRE-010).
    OutOfStep,
    /// It no longer reads.
    Deserted,
}

/// Runs one session of `plugin` over any two streams, then drains the plugin: what a host
/// does that embeds a plugin, and what [`main`](crate::main) does over the standard streams.
///
/// # Errors
/// Those of writing the hello, when nobody listens from the start.
pub fn serve<P, R, W>(plugin: &P, reader: R, writer: W) -> io::Result<Served>
where
    P: Plugin + ?Sized,
    R: Read + Send,
    W: Write + Send,
{
    let about = plugin.about();
    let mut writer = Writer::new(writer);
    writer.write(&Message::of(&about.to_hello())?)?;
    let session = Session {
        plugin,
        limit: about.max_in_flight,
        about,
        source: Mutex::new(Source { reader: Reader::new(reader), ended: None }),
        writer: Mutex::new(writer),
        workers: Mutex::new(Workers { waiting: 0, total: 1 }),
    };
    if session.limit <= 1 {
        while session.turn(|| {}) {}
    } else {
        thread::scope(|scope| session.work(scope));
    }
    plugin.drain();
    let source = session.source.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(source.ended.unwrap_or(Served::Cleanly))
}

struct Session<'p, P: ?Sized, R, W> {
    plugin: &'p P,
    about: About,
    limit: u32,
    source: Mutex<Source<R>>,
    writer: Mutex<Writer<W>>,
    workers: Mutex<Workers>,
}

struct Source<R> {
    reader: Reader<R>,
    ended: Option<Served>,
}

struct Workers {
    /// Threads that hold or wait for the reader.
    waiting: u32,
    total: u32,
}

impl<P, R, W> Session<'_, P, R, W>
where
    P: Plugin + ?Sized,
    R: Read + Send,
    W: Write + Send,
{
    fn work<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>) {
        loop {
            locked(&self.workers).waiting += 1;
            let go_on = self.turn(|| self.ensure_follower(scope));
            if !go_on {
                return;
            }
        }
    }

    /// Called by a thread that has just read a request and is about to answer it.
    fn ensure_follower<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>) {
        let mut workers = locked(&self.workers);
        workers.waiting -= 1;
        if workers.waiting > 0 || workers.total >= self.limit {
            return;
        }
        // Without another thread (a limit of the system) requests are answered in turn.
        if thread::Builder::new().spawn_scoped(scope, move || self.work(scope)).is_ok() {
            workers.total += 1;
        }
    }

    /// Reads and answers one request; false when the session is over.
    fn turn(&self, on_request: impl FnOnce()) -> bool {
        let Some((message, received)) = self.next() else { return false };
        on_request();
        self.write(&answer(self.plugin, &self.about, message, received))
    }

    fn next(&self) -> Option<(Message, Instant)> {
        let mut source = locked(&self.source);
        if source.ended.is_some() {
            return None;
        }
        match source.reader.next_message() {
            Ok(Some(message)) => Some((message, Instant::now())),
            Ok(None) => {
                source.ended = Some(Served::Cleanly);
                None
            }
            Err(error) => {
                source.ended = Some(Served::OutOfStep);
                drop(source);
                if !matches!(error, FrameError::Io(_)) {
                    self.write(&refusal(
                        0,
                        ErrorBody::session(ErrorKind::BadRequest, error.to_string()),
                    ));
                }
                None
            }
        }
    }

    fn write(&self, message: &Message) -> bool {
        let mut writer = locked(&self.writer);
        let outcome = match writer.write(message) {
            // The answer is longer than a message may be: say that instead.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                let body = ErrorBody::request(ErrorKind::Other, error.to_string());
                writer.write(&refusal(message.id().unwrap_or(0), body))
            }
            other => other,
        };
        drop(writer);
        if outcome.is_err() {
            // Whoever holds the reader sees the end of it by itself: the other side is gone.
            if let Ok(mut source) = self.source.try_lock() {
                source.ended.get_or_insert(Served::Deserted);
            }
        }
        outcome.is_ok()
    }
}

/// A panic of the plugin is caught before it can poison a lock; a poisoned one is still whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
