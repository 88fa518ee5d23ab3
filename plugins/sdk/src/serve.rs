//! The session: reads requests, answers them, several at a time when the plugin allows it.
//!
//! Leader and followers: whoever holds the reader reads one request, lets go, and answers it
//! on the spot, so a request is never handed from thread to thread. A thread is added only
//! when a request has been read and nobody waits for the next one; a session of one request
//! with `max-in-flight` 1 starts none.
//!
//! To let go wakes whoever waits, which takes longer than some plugins need for an answer.
//! Such a request ([`About::at_once`]) is answered with the reader in hand, as long as the one
//! before it was as fast as that.

use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

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
        is_slow: AtomicBool::new(false),
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
    /// What was to be answered at once last was not: the disk is slow, or far.
    is_slow: AtomicBool,
}

struct Source<R> {
    reader: Reader<R>,
    ended: Option<Served>,
}

/// Longer than handing the reader over takes on a machine under load, shorter than waiting
/// for a disk.
const AT_ONCE: Duration = Duration::from_micros(500);

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

    /// Reads and answers one request, and those before it that are answered at once; false
    /// when the session is over.
    fn turn(&self, on_request: impl FnOnce()) -> bool {
        let mut source = locked(&self.source);
        while let Some(message) = Self::next(&mut source, |told| _ = self.write(told)) {
            let received = Instant::now();
            let at_once = &self.about.at_once;
            let is_quick = at_once.iter().any(|hook| message.kind() == Some(hook.as_str()));
            let keeps = is_quick && !self.is_slow.load(Ordering::Relaxed);
            if !keeps {
                drop(source);
                on_request();
                return self.answer(message, received, is_quick);
            }
            if !self.answer(message, received, is_quick) {
                source.ended = Some(Served::Deserted);
            }
        }
        false
    }

    /// Answers one request; false when the other side no longer reads.
    fn answer(&self, message: Message, received: Instant, is_quick: bool) -> bool {
        let answer = answer(self.plugin, &self.about, message, received);
        if is_quick {
            self.is_slow.store(received.elapsed() > AT_ONCE, Ordering::Relaxed);
        }
        self.write(&answer)
    }

    /// The next request; `tell` is given the last word when there is no proper one.
    fn next(source: &mut Source<R>, tell: impl FnOnce(&Message)) -> Option<Message> {
        if source.ended.is_some() {
            return None;
        }
        match source.reader.next_message() {
            Ok(Some(message)) => return Some(message),
            Ok(None) => source.ended = Some(Served::Cleanly),
            Err(error) => {
                source.ended = Some(Served::OutOfStep);
                if let Some(told) = out_of_step(&error) {
                    tell(&told);
                }
            }
        }
        None
    }

    fn write(&self, message: &Message) -> bool {
        let mut writer = locked(&self.writer);
        let outcome = put(|message| writer.write(message), message);
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

/// Writes an answer, or, when it is longer than a message may be, that.
pub(crate) fn put(
    mut write: impl FnMut(&Message) -> io::Result<()>,
    message: &Message,
) -> io::Result<()> {
    match write(message) {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            let body = ErrorBody::request(ErrorKind::Other, error.to_string());
            write(&refusal(message.id().unwrap_or(0), body))
        }
        other => other,
    }
}

/// What to say of a line that is no message, before the session ends (BH-WIRE-010); `None`
/// when nobody is there to be told.
pub(crate) fn out_of_step(error: &FrameError) -> Option<Message> {
    let is_message = !matches!(error, FrameError::Io(_));
    let body = || ErrorBody::session(ErrorKind::BadRequest, error.to_string());
    is_message.then(|| refusal(0, body()))
}

/// A panic of the plugin is caught before it can poison a lock; a poisoned one is still whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
