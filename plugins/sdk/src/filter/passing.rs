//! One session of a [`Filter`](super::Filter), on one thread.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::time::{Duration, Instant};

use buildhook_protocol::limits::MAX_IN_FLIGHT;
use buildhook_protocol::{FrameError, Message, Writer};
use rustix::event::{PollFd, PollFlags};

use super::lines::{Lines, Sink, poll_within};
use super::session::Whole;
use super::{ChildError, Filter, Next};
use crate::dispatch::{from_done, from_want, guarded, parse, refusal, unpanicked, with_id};
use crate::serve::{out_of_step, put};
use crate::{About, Call, Deadline, Done, Error, Served, Want};

/// Runs one session of `filter` between the host, at the other end of the pipes `reader` and
/// `writer`, and `next`; ends `next`. What [`main`](super::main) does over the standard streams.
///
/// # Errors
/// Those of writing the hello, when nobody listens from the start.
pub fn serve<F: Filter>(
    mut filter: F,
    next: &Next,
    reader: File,
    writer: File,
) -> io::Result<Served> {
    let about = filter.about(next);
    Writer::new(&writer).write(&Message::of(&about.to_hello())?)?;
    let mut passing = Passing {
        filter: &mut filter,
        about,
        host: Lines::new(reader),
        up: Sink::blocking(writer),
        child: next.whole(),
        unsent: VecDeque::new(),
        sent: HashMap::new(),
        ended: None,
    };
    let served = passing.run();
    drop(passing);
    next.close();
    filter.end();
    Ok(served)
}

struct Passing<'a, F> {
    filter: &'a mut F,
    about: About,
    host: Lines,
    /// To the host.
    up: Sink,
    child: Whole<'a>,
    /// For which the child has no place yet.
    unsent: VecDeque<Passed>,
    /// By the child's id.
    sent: HashMap<u64, Passed>,
    ended: Option<Served>,
}

/// A request on its way.
struct Passed {
    /// The host's id.
    id: u64,
    call: Call,
    /// When it is answered without the child's help.
    deadline: Deadline,
}

impl<F: Filter> Passing<'_, F> {
    fn run(&mut self) -> Served {
        loop {
            self.take_requests();
            self.send();
            self.give_up();
            let pushed = self.up.push();
            self.rest();
            if pushed.is_err() {
                return Served::Deserted;
            }
            match self.ended {
                Some(served) if self.on_the_way() == 0 && self.up.is_empty() => return served,
                _ => self.sleep(),
            }
        }
    }

    /// A filter that panics there has answered all the same.
    fn rest(&mut self) {
        let _ = unpanicked(|| self.filter.rest());
    }

    fn on_the_way(&self) -> usize {
        self.unsent.len() + self.sent.len()
    }

    /// Whether one more request is read; beyond it a host that keeps to the limit is never.
    fn has_room(&self) -> bool {
        let limit = self.about.max_in_flight.clamp(1, MAX_IN_FLIGHT) as usize;
        self.ended.is_none() && self.on_the_way() < limit
    }

    fn take_requests(&mut self) {
        while self.has_room() {
            match self.host.take_line() {
                Ok(Some(message)) => self.take(message),
                Ok(None) => return,
                Err(error) => self.end_out_of_step(&error),
            }
        }
    }

    fn end_out_of_step(&mut self, error: &FrameError) {
        self.ended = Some(Served::OutOfStep);
        if let Some(told) = out_of_step(error) {
            self.write(&told);
        }
    }

    fn take(&mut self, message: Message) {
        let id = message.id().unwrap_or(0);
        let (call, built) = match parse(&self.about, message, Instant::now()) {
            Ok(parsed) => parsed,
            Err(error) => return self.write(&refusal(id, error)),
        };
        let answer = match unpanicked(|| self.filter.refuse(&call, built.as_ref())) {
            Ok(None) => {
                let deadline = call.deadline.sooner();
                return self.unsent.push_back(Passed { id, call, deadline });
            }
            Ok(Some(reason)) => guarded(id, || match built {
                None => from_want(id, Want::Miss(reason)),
                Some(_) => from_done(id, Done::refused(reason)),
            }),
            Err(panic) => refusal(id, panic),
        };
        self.write(&answer);
    }

    /// Sends what the child has a place for.
    fn send(&mut self) {
        while !self.unsent.is_empty()
            && let Some(child_id) = self.child.ledger().reserve()
        {
            let Some(mut passed) = self.unsent.pop_front() else { return };
            match self.begin(child_id, &mut passed) {
                Ok(()) => _ = self.sent.insert(child_id, passed),
                Err(error) => {
                    self.child.ledger().give_back();
                    self.finish(&passed, Err(error.into()));
                }
            }
        }
        self.push();
    }

    /// Passes the request on under the child's id, with the time that is left.
    fn begin(&mut self, child_id: u64, passed: &mut Passed) -> Result<(), ChildError> {
        let Some(sink) = self.child.sink.as_mut() else {
            return Err(ChildError::Gone("it has been closed".to_owned()));
        };
        let message = &mut passed.call.message;
        let mut put = |name: &str, value| message.members_mut().insert(name.to_owned(), value);
        let own_id = put("id", child_id.into());
        let own_deadline = put("deadline-ms", passed.deadline.remaining_ms().into());
        let begun = sink.begin(message);
        // As it came: that is what filters look at.
        let members = message.members_mut();
        members.extend(own_id.map(|id| ("id".to_owned(), id)));
        members.extend(own_deadline.map(|ms| ("deadline-ms".to_owned(), ms)));
        begun.map_err(|error| ChildError::Unsendable(error.to_string()))
    }

    fn push(&mut self) {
        let Some(sink) = self.child.sink.as_mut() else { return };
        if let Err(error) = sink.push() {
            self.child.ledger().close(format!("it no longer reads: {error}"));
        }
    }

    /// Answers what the child will not, or not in time.
    fn give_up(&mut self) {
        let has_passed = |passed: &Passed| passed.deadline.has_passed();
        let is_stuck = self.child.sink.as_ref().is_some_and(|sink| !sink.is_empty());
        if is_stuck && self.sent.values().any(has_passed) {
            self.child.ledger().close("it does not read".to_owned());
        }
        let gone = self.child.ledger().gone().map(|why| ChildError::Gone(why.to_owned()));
        let is_over = |passed: &Passed| gone.is_some() || has_passed(passed);
        let error = || Error::from(gone.clone().unwrap_or(ChildError::TimedOut));
        let over: Vec<u64> =
            self.sent.iter().filter(|(_, passed)| is_over(passed)).map(|(id, _)| *id).collect();
        for passed in over.iter().filter_map(|id| self.sent.remove(id)).collect::<Vec<_>>() {
            self.finish(&passed, Err(error()));
        }
        let (over, unsent) = std::mem::take(&mut self.unsent).into_iter().partition(is_over);
        self.unsent = unsent;
        let over: VecDeque<Passed> = over;
        over.iter().for_each(|passed| self.finish(passed, Err(error())));
    }

    fn finish(&mut self, passed: &Passed, outcome: Result<Message, Error>) {
        let answer = guarded(passed.id, || {
            Ok(with_id(passed.id, self.filter.answer(&passed.call, outcome)?))
        });
        self.write(&answer);
    }

    fn write(&mut self, answer: &Message) {
        put(|message| self.up.begin(message), answer)
            .expect("an error is shorter than a message may be");
    }

    /// Sleeps until something has come, can be written, or is due; reads what has come.
    fn sleep(&mut self) {
        let is_gone = self.child.ledger().gone().is_some();
        let due = self.unsent.iter().chain(self.sent.values()).map(|passed| passed.deadline).min();
        // Rounded up: not to be awake just before it.
        let mut limit = due.map(|due| due.remaining() + Duration::from_micros(1));
        let mut listens = self.has_room();
        if listens && self.host.has_line() {
            // There has come to be room for what was read before.
            (listens, limit) = (false, Some(Duration::ZERO));
        }
        let mut fds = Vec::with_capacity(4);
        if listens {
            fds.push(PollFd::new(&self.host, PollFlags::IN));
        }
        if !is_gone {
            fds.push(PollFd::new(&*self.child.lines, PollFlags::IN));
        }
        let down = self.child.sink.as_ref().filter(|_| !is_gone);
        for sink in down.into_iter().chain([&self.up]).filter(|sink| !sink.is_empty()) {
            fds.push(PollFd::new(sink, PollFlags::OUT));
        }
        // It fails only for want of memory; then what there is is found by reading.
        let _ = poll_within(&mut fds, limit);
        let mut ready = fds.iter().map(|fd| !fd.revents().is_empty());
        let host = listens && ready.next() == Some(true);
        let child = !is_gone && ready.next() == Some(true);
        drop(fds);
        if child {
            self.read_child();
        }
        if host {
            match self.host.fill() {
                Ok(true) => {}
                Ok(false) => self.ended = Some(Served::Cleanly),
                Err(error) => self.end_out_of_step(&error),
            }
        }
    }

    fn read_child(&mut self) {
        match self.child.lines.fill() {
            Ok(true) => {}
            Ok(false) => return self.child.ledger().close("it has exited".to_owned()),
            Err(error) => return self.child.ledger().close(error.to_string()),
        }
        loop {
            match self.child.lines.take_line() {
                Ok(None) => return,
                Ok(Some(message)) => {
                    let id = self.child.ledger().take(&message);
                    // Late answers are dropped.
                    if let Some(passed) = id.and_then(|id| self.sent.remove(&id)) {
                        self.finish(&passed, Ok(message));
                    }
                }
                Err(error) => return self.child.ledger().close(error.to_string()),
            }
        }
    }
}
