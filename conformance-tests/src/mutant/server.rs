//! The store as a plugin: reads requests, answers them one after the other.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::thread::{self, sleep};
use std::time::Duration;

use serde_json::{Value, json};

use super::catalog::Mutation;
use super::child::ChildOptions;
use super::emit::Out;
use super::store::Store;
use super::{MutantArgs, error, fault};
use crate::wire::strict;

/// Exit code after a fault.
const EXIT_FAULT: u8 = 1;
/// Exit code after wrong arguments.
const EXIT_USAGE: u8 = 2;

/// A plugin that stores in a folder.
pub(super) struct Server {
    pub(super) store: Store,
    pub(super) mutation: Option<Mutation>,
    pub(super) lease: String,
    environment: String,
    out: Arc<Out>,
    child: Option<ChildOptions>,
    /// What [`Mutation::ForgetsAtExit`] keeps.
    pub(super) memory: BTreeMap<String, Value>,
    /// What [`Mutation::ShortLease`] will delete.
    pub(super) lent: Vec<PathBuf>,
    waiting: Vec<thread::JoinHandle<()>>,
    requests: u64,
}

/// Serves as the mutant that `arguments` name.
pub(super) fn serve(arguments: &MutantArgs) -> io::Result<ExitCode> {
    let folder = arguments.dir.clone().unwrap_or_default();
    let mutation = arguments.mutant;
    let lease = if mutation == Some(Mutation::ShortLease) { "borrowed" } else { &arguments.lease };
    if arguments.flood {
        io::stderr().write_all(&vec![b'e'; 1 << 20])?;
    }
    let wrong =
        arguments.unknown.as_deref().or((arguments.dir.is_none()).then_some("--dir is missing"));
    if let Some(wrong) = wrong
        && mutation != Some(Mutation::IgnoresWrongArguments)
    {
        refuse(mutation, &format!("{wrong}; give --dir FOLDER"))?;
        return Ok(ExitCode::from(if mutation == Some(Mutation::Exits0OnError) {
            0
        } else {
            EXIT_USAGE
        }));
    }
    let lock = folder.join("session.lock");
    if mutation == Some(Mutation::LocksTheStore) && fs::File::create_new(&lock).is_err() {
        refuse(mutation, "another session uses the store; wait until it ends")?;
        return Ok(ExitCode::from(EXIT_FAULT));
    }
    let mut server = Server::new(folder, mutation, lease, &arguments.environment, None);
    let code = server.session()?;
    if mutation == Some(Mutation::LocksTheStore) {
        fs::remove_file(&lock)?;
    }
    Ok(code)
}

fn refuse(mutation: Option<Mutation>, message: &str) -> io::Result<()> {
    let mut hello = hello_base();
    hello["error"] = json!({"kind": "config", "scope": "session", "message": message});
    Out::new(mutation).message(&hello)
}

fn hello_base() -> Value {
    json!({"v": [1], "plugin": {"name": "mutant", "version": env!("CARGO_PKG_VERSION")}})
}

impl Server {
    pub(super) fn new(
        folder: PathBuf,
        mutation: Option<Mutation>,
        lease: &str,
        environment: &str,
        child: Option<ChildOptions>,
    ) -> Self {
        Self {
            store: Store::new(folder, mutation, environment.to_owned()),
            mutation,
            lease: lease.to_owned(),
            environment: environment.to_owned(),
            out: Arc::new(Out::new(mutation)),
            child,
            memory: BTreeMap::new(),
            lent: Vec::new(),
            waiting: Vec::new(),
            requests: 0,
        }
    }

    pub(super) fn is(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    /// Hello, requests, end.
    pub(super) fn session(&mut self) -> io::Result<ExitCode> {
        let mut input = BufReader::new(io::stdin());
        let mut line = Vec::new();
        if self.is(Mutation::WaitsForInput) {
            input.read_until(b'\n', &mut line)?;
        }
        self.hello()?;
        loop {
            if line.is_empty() {
                let most = crate::wire::MAX_LINE_BYTES as u64;
                (&mut input).take(most).read_until(b'\n', &mut line)?;
            }
            if line.is_empty() {
                break;
            }
            if self.is(Mutation::DropsPending) {
                // Time for the end of standard input to arrive as well.
                sleep(Duration::from_millis(30));
                if at_end(&mut input)? {
                    break;
                }
            }
            if let Some(code) = self.line(&line)? {
                return Ok(code);
            }
            line.clear();
        }
        self.end()
    }

    fn hello(&self) -> io::Result<()> {
        if self.is(Mutation::Banner) {
            println!("mutant: welcome");
        }
        if self.is(Mutation::AnswersBeforeHello) {
            self.out.message(&json!({"id": 0, "kind": "miss"}))?;
        }
        let mut hello = hello_base();
        hello["hooks"] = json!(["want-to-build", "built-a-thing"]);
        hello["max-in-flight"] = 4.into();
        match self.mutation {
            Some(Mutation::Nameless) => hello["plugin"]["name"] = "".into(),
            Some(Mutation::HooksAndError) => {
                hello["error"] =
                    json!({"kind": "other", "scope": "session", "message": "see the hooks"});
            }
            _ => {}
        }
        if let Some(child) = &self.child {
            child.hello(&mut hello);
        }
        self.out.message(&hello)
    }

    fn end(&mut self) -> io::Result<ExitCode> {
        for waiting in self.waiting.drain(..) {
            // A thread that panicked has nothing more to answer.
            let _ = waiting.join();
        }
        self.out.finish()?;
        match self.mutation {
            Some(Mutation::HangsAtEnd) => loop {
                sleep(Duration::from_secs(60));
            },
            Some(Mutation::Exits126) => return Ok(ExitCode::from(126)),
            Some(Mutation::LeavesADaemon) => {
                let mut daemon = Command::new(crate::command::this_program());
                daemon.args(["mutant", "--dir", ".", "--mutant", "hangs-at-end"]);
                daemon.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
            }
            _ => {}
        }
        if let Some(child) = &self.child {
            child.end()?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Answers one line; an exit code ends the session.
    fn line(&mut self, line: &[u8]) -> io::Result<Option<ExitCode>> {
        let endless = line.len() == crate::wire::MAX_LINE_BYTES;
        if endless && self.is(Mutation::DeclinesEndlessLines) {
            let id = guessed_id(line);
            self.out.message(&json!({"id": id, "kind": "done", "stored": "no"}))?;
        }
        let Some(request) = self.parse(line) else {
            if self.is(Mutation::IgnoresUnreadableLines) {
                return Ok(None);
            }
            let message = "a line that is no message; write one JSON object per line";
            self.out.message(&error(0, "bad-request", "session", message))?;
            return Ok(Some(ExitCode::from(EXIT_FAULT)));
        };
        if let Some(child) = &self.child {
            child.note_request(&request)?;
            if let Some(code) = child.misbehave(&self.out)? {
                return Ok(Some(code));
            }
        }
        self.requests += 1;
        self.harass(&request)?;
        let mut answer = match self.check(&request) {
            Some(Err(())) => return Ok(Some(ExitCode::from(EXIT_FAULT))),
            Some(Ok(refusal)) => self.spoil_error(refusal),
            None => self.answer(&request)?,
        };
        if let Some(child) = self.child.clone() {
            let Some(delay) = child.adjust(&mut answer, self.requests)? else { return Ok(None) };
            if !delay.is_zero() {
                let out = Arc::clone(&self.out);
                self.waiting.push(thread::spawn(move || {
                    sleep(delay);
                    // A reader that is gone needs no answer.
                    let _ = out.message(&answer);
                }));
                return Ok(None);
            }
        }
        self.out.message(&answer)?;
        Ok(None)
    }

    fn parse(&self, line: &[u8]) -> Option<Value> {
        let (ended, line) = match line.split_last() {
            Some((b'\n', rest)) => (true, rest),
            _ => (false, line),
        };
        let lenient = || serde_json::from_slice::<Value>(line).ok().filter(Value::is_object);
        match self.mutation {
            Some(Mutation::AnswersUnreadableLines) => lenient().or_else(|| complete(line)),
            Some(Mutation::LastDuplicateWins) => lenient(),
            Some(Mutation::IgnoresEscapes) => {
                let mut request = lenient()?;
                let text = String::from_utf8_lossy(line).into_owned();
                let start = text.find("\"key\":\"").map(|place| place + 7);
                let key =
                    start.map_or("", |start| text[start..].split('"').next().unwrap_or_default());
                request["key"] = key.into();
                Some(request)
            }
            _ if !ended => None,
            _ => match strict::parse(line) {
                Ok((request, violations)) if violations.is_empty() => Some(request),
                _ => None,
            },
        }
    }

    /// What some mutants do whatever the request is.
    fn harass(&mut self, request: &Value) -> io::Result<()> {
        match self.mutation {
            Some(Mutation::IgnoresDeadline) => {
                let deadline_ms = request["deadline-ms"].as_u64().unwrap_or(0);
                if deadline_ms <= 2_000 {
                    // Later than a check that is twice as patient would wait.
                    sleep(Duration::from_millis(deadline_ms * 2 + 300));
                }
            }
            Some(Mutation::WritesToWorkingFolder) => fs::write("mutant.log", "a request came\n")?,
            Some(Mutation::ShortLease) => {
                for path in self.lent.drain(..) {
                    fs::remove_file(path)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// A refusal, or the end of the session, or nothing when the request is fine.
    fn check(&self, request: &Value) -> Option<Result<Value, ()>> {
        let id = request["id"].as_u64().unwrap_or(0);
        if self.is(Mutation::RejectsUnknownFields)
            && request.as_object().is_some_and(|all| all.keys().any(|name| name.starts_with("x-")))
        {
            return Some(Ok(error(id, "bad-request", "request", "unknown member; remove it")));
        }
        if self.is(Mutation::NullIsAValue) && request.get("replace").is_some_and(Value::is_null) {
            return Some(Ok(error(
                id,
                "bad-request",
                "request",
                "`replace` is no boolean; write one",
            )));
        }
        if let Some(fault) = fault(request)
            && !self.is(Mutation::LenientTypes)
        {
            if self.is(Mutation::DiesOnBadRequest) {
                return Some(Err(()));
            }
            return Some(Ok(error(id, "bad-request", "request", &fault)));
        }
        let kind = request["kind"].as_str().unwrap_or_default();
        let known = matches!(kind, "want-to-build" | "built-a-thing");
        let purpose = request["purpose"].as_str().unwrap_or("outputs");
        let taken =
            matches!(purpose, "outputs" | "inputs") || self.is(Mutation::UnknownPurposeIsTaken);
        if self.is(Mutation::UnknownKindIsAMiss) && !known {
            return Some(Ok(json!({"id": id, "kind": "miss", "reason": {"code": "not-found"}})));
        }
        let pretends = self.is(Mutation::AnnouncesTooMuch) && kind == "built-a-thing";
        if !known || !taken || pretends {
            let message = "a kind or purpose of another version; update the plugin";
            return Some(Ok(error(id, "unknown-kind", "request", message)));
        }
        None
    }

    fn spoil_error(&self, mut refusal: Value) -> Value {
        match self.mutation {
            Some(Mutation::SilentErrors) => refusal["error"]["message"] = "".into(),
            Some(Mutation::LeaksIntoErrors) => {
                refusal["error"]["message"] = self.environment.as_str().into()
            }
            Some(Mutation::ScopelessErrors) => {
                if let Some(body) = refusal["error"].as_object_mut() {
                    body.remove("scope");
                }
            }
            _ => {}
        }
        refusal
    }
}

/// Whether standard input has ended.
fn at_end(input: &mut BufReader<io::Stdin>) -> io::Result<bool> {
    use rustix::event::{PollFd, PollFlags, poll};
    if !input.buffer().is_empty() {
        return Ok(false);
    }
    let stdin = io::stdin();
    let mut watched = [PollFd::new(&stdin, PollFlags::IN)];
    let none = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut watched, Some(&none))?;
    Ok(watched[0].revents().contains(PollFlags::HUP))
}

/// The first number behind `"id":`.
fn guessed_id(line: &[u8]) -> Option<u64> {
    let start = memchr::memmem::find(line, b"\"id\":")? + 5;
    let digits = line[start..].iter().take_while(|byte| byte.is_ascii_digit());
    digits.map(|digit| u64::from(digit - b'0')).reduce(|number, digit| number * 10 + digit)
}

/// Guesses how a line that was cut off would have gone on.
fn complete(line: &[u8]) -> Option<Value> {
    let text = String::from_utf8_lossy(line);
    let start = text.find('{')?;
    ["}", "\"}", "]}", "}]}"]
        .iter()
        .find_map(|end| serde_json::from_str(&format!("{}{end}", &text[start..])).ok())
}
