//! Two small filters: one forwards, one also changes every byte of every file.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::catalog::Mutation;
use super::emit::Out;
use super::transform;
use super::{MutantArgs, error, fault};
use crate::wire::strict;

/// Time for the child's hello.
const HELLO: Duration = Duration::from_secs(5);
/// Time for the child to end by itself.
const END: Duration = Duration::from_millis(1_500);
/// Kept back from a deadline for the way up.
const MARGIN: Duration = Duration::from_millis(200);

enum Event {
    Above(Vec<u8>),
    AboveEnded,
    Below(Vec<u8>),
    BelowEnded,
}

/// A request that the child has not answered.
struct Pending {
    request: Value,
    until: Instant,
}

struct Filter {
    mutation: Option<Mutation>,
    transform: bool,
    out: Out,
    hooks: Vec<String>,
    input: Option<ChildStdin>,
    child: Child,
    pending: BTreeMap<u64, Pending>,
    /// Answers that [`Mutation::InOrder`] holds back.
    held: BTreeMap<u64, Value>,
    order: Vec<u64>,
}

/// Serves as a filter over the child that `arguments` name.
pub(super) fn serve(arguments: &MutantArgs, transform: bool) -> io::Result<ExitCode> {
    let mutation = arguments.mutant;
    let out = Out::new(mutation);
    let mut hello = json!({"v": [1], "plugin": {"name": "mutant-filter", "version": env!("CARGO_PKG_VERSION")}});
    if let Some(unknown) = &arguments.unknown {
        let message = format!("{unknown}; see --help");
        hello["error"] = json!({"kind": "config", "scope": "session", "message": message});
        out.message(&hello)?;
        return Ok(ExitCode::from(2));
    }
    hello["hooks"] = json!(["want-to-build", "built-a-thing"]);
    if mutation == Some(Mutation::HelloBeforeChild) {
        out.message(&hello)?;
    }
    let (events, received) = mpsc::channel();
    let mut started = start(&arguments.child, &events);
    let below =
        started.as_mut().map_err(|error| error.to_string()).and_then(|_| child_hello(&received));
    let (mut child, below) = match (started, below) {
        (Ok(child), Ok(below)) => (child, below),
        (started, below) => {
            if mutation != Some(Mutation::HidesMissingChild) {
                let why = below.err().unwrap_or_default();
                let message =
                    format!("the child cannot be used: {why}; check the words after `--`");
                hello["error"] = json!({"kind": "child", "scope": "session", "message": message});
                if let Some(members) = hello.as_object_mut() {
                    members.remove("hooks");
                }
            }
            out.message(&hello)?;
            if let Ok(mut child) = started {
                child.kill()?;
                child.wait()?;
            }
            return Ok(ExitCode::from(1));
        }
    };
    let both = |hook: &&Value| hook.as_str().is_some_and(|hook| hello_has(&below, hook));
    let hooks = hello["hooks"].as_array().into_iter().flatten().filter(both).cloned();
    let hooks: Vec<Value> = hooks.collect();
    if mutation != Some(Mutation::AnnouncesForChild) {
        hello["hooks"] = hooks.clone().into();
    }
    let most = below["max-in-flight"].as_u64().unwrap_or(1).min(64);
    hello["max-in-flight"] =
        if mutation == Some(Mutation::MoreInFlight) { most + 5 } else { most }.into();
    if mutation != Some(Mutation::HelloBeforeChild) {
        out.message(&hello)?;
    }
    read_above(&events);
    let hooks = hooks.iter().filter_map(|hook| hook.as_str().map(str::to_owned)).collect();
    let input = child.stdin.take();
    let (pending, held) = (BTreeMap::new(), BTreeMap::new());
    let mut filter =
        Filter { mutation, transform, out, hooks, input, child, pending, held, order: Vec::new() };
    filter.run(&received)
}

fn hello_has(hello: &Value, hook: &str) -> bool {
    hello["hooks"].as_array().is_some_and(|hooks| hooks.iter().any(|other| other == hook))
}

fn start(words: &[String], events: &Sender<Event>) -> io::Result<Child> {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn()?;
    if let Some(stdout) = child.stdout.take() {
        let events = events.clone();
        thread::spawn(move || read_lines(stdout, &events, Event::Below, Event::BelowEnded));
    }
    Ok(child)
}

fn read_above(events: &Sender<Event>) {
    let events = events.clone();
    thread::spawn(move || read_lines(io::stdin(), &events, Event::Above, Event::AboveEnded));
}

fn read_lines(source: impl Read, events: &Sender<Event>, wrap: fn(Vec<u8>) -> Event, end: Event) {
    let mut source = BufReader::new(source);
    loop {
        let mut line = Vec::new();
        let most = crate::wire::MAX_LINE_BYTES as u64;
        let read = (&mut source).take(most).read_until(b'\n', &mut line);
        if !matches!(read, Ok(count) if count > 0) {
            // Without a receiver the session is over anyway.
            let _ = events.send(end);
            return;
        }
        if events.send(wrap(line)).is_err() {
            return;
        }
    }
}

fn parse(line: &[u8]) -> Option<Value> {
    let line = line.strip_suffix(b"\n")?;
    strict::parse(line).ok().filter(|(_, violations)| violations.is_empty()).map(|(value, _)| value)
}

fn child_hello(received: &Receiver<Event>) -> Result<Value, String> {
    let hello = match received.recv_timeout(HELLO) {
        Ok(Event::Below(line)) => parse(&line).ok_or("its hello cannot be read")?,
        _ => return Err("it said no hello".to_owned()),
    };
    if !hello["error"].is_null() {
        return Err(hello["error"]["message"].as_str().unwrap_or("it said why not").to_owned());
    }
    let versions = hello["v"].as_array().cloned().unwrap_or_default();
    if versions.contains(&json!(1)) {
        Ok(hello)
    } else {
        Err("it speaks another version".to_owned())
    }
}

impl Filter {
    fn is(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    fn run(&mut self, events: &Receiver<Event>) -> io::Result<ExitCode> {
        let mut above = true;
        while above || !self.pending.is_empty() {
            let next = self.pending.values().map(|pending| pending.until).min();
            let wait = next.map_or(Duration::from_secs(3_600), |until| {
                until.saturating_duration_since(Instant::now())
            });
            match events.recv_timeout(wait) {
                Ok(Event::Above(line)) => {
                    if let Some(code) = self.above(&line)? {
                        self.end()?;
                        return Ok(code);
                    }
                }
                Ok(Event::AboveEnded) => {
                    above = false;
                    if !self.is(Mutation::KillsChild) {
                        self.input = None;
                    }
                }
                Ok(Event::Below(line)) => self.below(&line)?,
                Ok(Event::BelowEnded) => {
                    if self.is(Mutation::DiesWithChild) {
                        return Ok(ExitCode::from(1));
                    }
                    self.input = None;
                    self.give_up("unavailable", |_| true)?;
                }
                Err(RecvTimeoutError::Timeout) => {
                    let now = Instant::now();
                    let absent = self.is(Mutation::MistakesLateForAbsent);
                    let code = if absent { "not-found" } else { "timeout" };
                    self.give_up(code, |pending| pending.until <= now)?;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.end()?;
        Ok(ExitCode::SUCCESS)
    }

    /// Closes the child's input and waits for the child.
    fn end(&mut self) -> io::Result<()> {
        if self.is(Mutation::DoesNotWait) {
            self.input = None;
            return Ok(());
        }
        if self.is(Mutation::KillsChild) {
            self.child.kill()?;
        }
        self.input = None;
        let start = Instant::now();
        while self.child.try_wait()?.is_none() {
            if start.elapsed() > END {
                self.child.kill()?;
            }
            thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// One line from above; an exit code ends the session.
    fn above(&mut self, line: &[u8]) -> io::Result<Option<ExitCode>> {
        let read = Instant::now();
        let Some(request) = parse(line) else {
            let message = "a line that is no message; write one JSON object per line";
            self.out.message(&error(0, "bad-request", "session", message))?;
            return Ok(Some(ExitCode::from(1)));
        };
        let id = request["id"].as_u64().unwrap_or(0);
        if let Some(fault) = fault(&request) {
            self.out.message(&error(id, "bad-request", "request", &fault))?;
            return Ok(None);
        }
        let kind = request["kind"].as_str().unwrap_or_default();
        if !self.hooks.iter().any(|hook| hook == kind) && !self.is(Mutation::ForwardsUnknownKinds) {
            let message = "a kind of another version; update the filter";
            self.out.message(&error(id, "unknown-kind", "request", message))?;
            return Ok(None);
        }
        let given = Duration::from_millis(request["deadline-ms"].as_u64().unwrap_or(0));
        // Long after every check has lost its patience.
        let patience = if self.is(Mutation::WaitsForChild) { 100 } else { 1 };
        self.order.push(id);
        self.pending.insert(
            id,
            Pending {
                request: request.clone(),
                until: (read + given * patience).checked_sub(MARGIN).unwrap_or(read),
            },
        );
        let mut forwarded = request;
        if self.transform
            && let Err(why) = transform::down(&mut forwarded, self.mutation)
        {
            let answer = refusal(&forwarded, "other", &why);
            self.settle(id, answer)?;
            return Ok(None);
        }
        if self.is(Mutation::ForwardsDeadline) {
            thread::sleep(Duration::from_millis(700));
        } else {
            let left = given.saturating_sub(read.elapsed());
            forwarded["deadline-ms"] = u64::try_from(left.as_millis()).unwrap_or(0).into();
        }
        if self.is(Mutation::DropsUnknownDown) {
            drop_unknown(&mut forwarded);
        }
        let sent = match &mut self.input {
            Some(input) => {
                input.write_all(&crate::wire::line(&forwarded)).and_then(|()| input.flush())
            }
            None => Err(io::ErrorKind::BrokenPipe.into()),
        };
        if sent.is_err() {
            self.give_up("unavailable", |_| true)?;
        }
        Ok(None)
    }

    /// One line from the child.
    fn below(&mut self, line: &[u8]) -> io::Result<()> {
        let answer = parse(line).filter(|answer| answer["kind"].is_string());
        let id = answer.as_ref().and_then(|answer| answer["id"].as_u64());
        let (Some(mut answer), Some(id)) = (answer, id) else {
            // A child that breaks the rules is not listened to any more.
            self.input = None;
            self.child.kill()?;
            return self.give_up("unavailable", |_| true);
        };
        let Some(pending) = self.pending.get(&id) else { return Ok(()) };
        if self.transform
            && let Err(why) = transform::up(&mut answer, &pending.request, self.mutation)
        {
            answer = refusal(&pending.request, "corrupt", &why);
        }
        if self.is(Mutation::DropsUnknownUp) {
            drop_unknown(&mut answer);
        }
        self.settle(id, answer)
    }

    fn settle(&mut self, id: u64, answer: Value) -> io::Result<()> {
        self.pending.remove(&id);
        if !self.is(Mutation::InOrder) {
            return self.out.message(&answer);
        }
        self.held.insert(id, answer);
        while let Some(answer) = self.order.first().and_then(|id| self.held.remove(id)) {
            self.order.remove(0);
            self.out.message(&answer)?;
        }
        Ok(())
    }

    /// Answers in the child's place.
    fn give_up(&mut self, code: &str, which: impl Fn(&Pending) -> bool) -> io::Result<()> {
        let given_up = self.pending.iter().filter(|(_, pending)| which(pending));
        let answers: Vec<(u64, Value)> = given_up
            .map(|(id, pending)| {
                (*id, refusal(&pending.request, code, "the child does not answer"))
            })
            .collect();
        answers.into_iter().try_for_each(|(id, answer)| self.settle(id, answer))
    }
}

/// A miss, or a `done` with `no`.
fn refusal(request: &Value, code: &str, message: &str) -> Value {
    let reason = json!({"code": code, "message": message});
    match request["kind"].as_str() {
        Some("built-a-thing") => {
            json!({"id": request["id"], "kind": "done", "stored": "no", "reason": reason})
        }
        _ => json!({"id": request["id"], "kind": "miss", "reason": reason}),
    }
}

fn drop_unknown(message: &mut Value) {
    if let Some(members) = message.as_object_mut() {
        members.retain(|name, _| !name.starts_with("x-"));
    }
}
