//! One session with a plugin under test, from the host's side.
//!
//! Every line that comes in is read strictly and held to the rules that need
//! no context; what breaks one is noted with the requirement's id and the
//! session goes on, so that one fault is not taken for another.

mod end;
mod lent;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::evidence::{Direction, Log, scaled};
use crate::process::{Launch, Output, Process};
use crate::verdict::{Outcome, Stop};
use crate::wire::strict::{self, Violation, excerpt};
use crate::wire::{self, lint};
use lent::Lent;

/// Time for a hello or an answer, unless the request allows more.
const WAIT: Duration = Duration::from_secs(5);
/// The same once a plugin has kept the suite waiting [`TIMEOUTS_FORGIVEN`] times.
const IMPATIENT_WAIT: Duration = Duration::from_millis(700);
/// Then also what may take longer gets this much at most.
const IMPATIENT_LONG_WAIT: Duration = Duration::from_secs(5);
const TIMEOUTS_FORGIVEN: u32 = 3;
/// What BH-END-001 grants on top of `drain-ms`, twice: the machine may be busy.
const END_GRACE: Duration = Duration::from_secs(2);
/// The same for a plugin that has hung as often.
const IMPATIENT_END_GRACE: Duration = Duration::from_millis(500);

/// How long the suite waits, shared by all sessions of a run.
#[derive(Debug)]
pub(crate) struct Patience {
    /// The user's factor for a slow machine.
    pub(crate) factor: f64,
    timeouts: AtomicU32,
    hangs: AtomicU32,
}

impl Patience {
    pub(crate) fn new(factor: f64) -> Self {
        Self { factor, timeouts: AtomicU32::new(0), hangs: AtomicU32::new(0) }
    }

    /// The time given to an answer that may take `own` at least.
    fn limit(&self, own: Duration) -> Duration {
        let tired = self.timeouts.load(Ordering::Relaxed) >= TIMEOUTS_FORGIVEN;
        let limit = match tired {
            false => WAIT.max(own),
            true if own <= scaled(WAIT, self.factor) => IMPATIENT_WAIT,
            true => IMPATIENT_LONG_WAIT,
        };
        scaled(limit, self.factor)
    }

    /// The time given to a plugin to end that asks for `drain`.
    fn end_limit(&self, drain: Duration) -> Duration {
        let tired = self.hangs.load(Ordering::Relaxed) >= TIMEOUTS_FORGIVEN;
        let grace = if tired { IMPATIENT_END_GRACE } else { END_GRACE };
        scaled(drain + grace, self.factor)
    }

    fn hung(&self) {
        self.hangs.fetch_add(1, Ordering::Relaxed);
    }

    fn timed_out(&self) {
        self.timeouts.fetch_add(1, Ordering::Relaxed);
    }
}

/// One plugin process.
#[derive(Debug)]
pub(crate) struct Session {
    process: Process,
    log: Log,
    number: u32,
    patience: Arc<Patience>,
    /// The hello, once read; null before.
    pub(crate) hello: Value,
    next_id: u64,
    in_flight: BTreeMap<u64, Value>,
    answered: BTreeSet<u64>,
    early: BTreeMap<u64, Value>,
    lent: Vec<Lent>,
    /// Others replace entries meanwhile, so that a shared file of an answer may
    /// be gone before the suite looks at it.
    pub(crate) shared_may_vanish: bool,
    /// A folder that only the plugin's process sees: its files are looked at
    /// through that process.
    pub(crate) hidden: Option<PathBuf>,
    /// The suite wrote something that is a fault: an exit code 1 is right.
    pub(crate) fault_sent: bool,
    finished: bool,
}

impl Session {
    /// Starts the process and waits for nothing.
    pub(crate) fn start(launch: &Launch, log: &Log, patience: &Arc<Patience>) -> Outcome<Self> {
        let number = log.new_session();
        log.note(number, &format!("start {}", shlex_join(&launch.argv)));
        let process = Process::start(launch)
            .map_err(|error| Stop::Suite(format!("cannot start {}: {error}", launch.argv[0])))?;
        Ok(Self {
            process,
            log: log.clone(),
            number,
            patience: Arc::clone(patience),
            hello: Value::Null,
            next_id: 1,
            in_flight: BTreeMap::new(),
            answered: BTreeSet::new(),
            early: BTreeMap::new(),
            lent: Vec::new(),
            shared_may_vanish: false,
            hidden: None,
            fault_sent: false,
            finished: false,
        })
    }

    /// Waits for the hello. One with `error` is an error here too.
    pub(crate) fn read_hello(&mut self) -> Outcome {
        let hello = self.any_hello()?;
        if !hello["error"].is_null() {
            return Err(Stop::Fail(format!("the hello is an error: {}", hello["error"])));
        }
        Ok(())
    }

    /// Waits for the hello, of whatever kind.
    pub(crate) fn any_hello(&mut self) -> Outcome<Value> {
        let limit = self.patience.limit(WAIT);
        let Some(message) = self.message(limit)? else {
            self.patience.timed_out();
            return Err(Stop::Fail(format!("no hello within {} ms", limit.as_millis())));
        };
        if !message["id"].is_null() && message["v"].is_null() {
            self.violate("BH-HELLO-001", "the first message is not a hello");
        }
        for violation in lint::hello(&message) {
            self.log.violation(violation);
        }
        self.hello = message.clone();
        Ok(message)
    }

    /// The requests the hello names.
    pub(crate) fn has_hook(&self, kind: &str) -> bool {
        self.hello["hooks"].as_array().is_some_and(|hooks| hooks.iter().any(|hook| hook == kind))
    }

    /// Whether the hello names this feature.
    pub(crate) fn has_feature(&self, name: &str) -> bool {
        self.hello["features"]
            .as_array()
            .is_some_and(|all| all.iter().any(|feature| feature == name))
    }

    /// `max-in-flight` of the hello.
    pub(crate) fn max_in_flight(&self) -> u64 {
        self.hello["max-in-flight"].as_u64().unwrap_or(1)
    }

    /// An id that this session has not used.
    pub(crate) fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id - 1
    }

    /// Writes a request; its `id` is set unless it has one.
    pub(crate) fn send(&mut self, mut request: Value) -> u64 {
        let id = match request["id"].as_u64() {
            Some(id) => id,
            None => self.fresh_id(),
        };
        request["id"] = id.into();
        let line = wire::line(&request);
        self.send_as(id, request, line);
        id
    }

    /// Writes `line` as the request `request` with `id`.
    pub(crate) fn send_as(&mut self, id: u64, request: Value, line: Vec<u8>) {
        self.in_flight.insert(id, request);
        self.send_raw(line);
    }

    /// Writes bytes that need not be a message.
    pub(crate) fn send_raw(&self, bytes: Vec<u8>) {
        self.log.event(self.number, Direction::Sent, &bytes);
        self.process.write(bytes);
    }

    /// Writes a request and waits for its answer.
    pub(crate) fn ask(&mut self, request: Value) -> Outcome<Value> {
        let id = self.send(request);
        self.answer(id)
    }

    /// Waits for the answer to request `id`, as long as the request allows.
    pub(crate) fn answer(&mut self, id: u64) -> Outcome<Value> {
        let own = self.in_flight.get(&id).and_then(|request| request["deadline-ms"].as_u64());
        let limit = self.patience.limit(Duration::from_millis(own.unwrap_or(0)));
        match self.answer_within(id, limit)? {
            Some(answer) => Ok(answer),
            None => {
                self.patience.timed_out();
                let text = format!("no answer to request {id} within {} ms", limit.as_millis());
                Err(Stop::Fail(text))
            }
        }
    }

    /// Waits for the answer to request `id` at most `limit`.
    pub(crate) fn answer_within(&mut self, id: u64, limit: Duration) -> Outcome<Option<Value>> {
        let start = Instant::now();
        loop {
            if let Some(answer) = self.early.remove(&id) {
                return Ok(Some(answer));
            }
            let left = limit.saturating_sub(start.elapsed());
            match self.message(left)? {
                Some(message) => self.sort(message),
                None => return Ok(None),
            }
        }
    }

    /// Waits for whichever answer comes next and returns its id.
    pub(crate) fn next_answer(&mut self, limit: Duration) -> Outcome<Option<(u64, Value)>> {
        let start = Instant::now();
        loop {
            if let Some(entry) = self.early.pop_first() {
                return Ok(Some(entry));
            }
            match self.message(limit.saturating_sub(start.elapsed()))? {
                Some(message) => self.sort(message),
                None => return Ok(None),
            }
        }
    }

    /// The next message that can be read; nothing when time is up.
    fn message(&mut self, limit: Duration) -> Outcome<Option<Value>> {
        let start = Instant::now();
        loop {
            match self.process.read(limit.saturating_sub(start.elapsed())) {
                Output::Silence => return Ok(None),
                Output::End => return Err(Stop::Fail(self.describe_end())),
                Output::Line(bytes, ended) => {
                    if let Some(message) = self.read_line(&bytes, ended) {
                        return Ok(Some(message));
                    }
                }
            }
        }
    }

    fn read_line(&self, bytes: &[u8], ended: bool) -> Option<Value> {
        self.log.event(self.number, Direction::Received, bytes);
        if !ended {
            self.violate("BH-WIRE-001", "the last line has no line feed");
        }
        match strict::parse(bytes) {
            Ok((message, violations)) => {
                violations.into_iter().for_each(|violation| self.log.violation(violation));
                Some(message)
            }
            Err(violation) => {
                self.log.violation(violation);
                None
            }
        }
    }

    /// Assigns an answer to its request and holds it to the rules.
    fn sort(&mut self, mut message: Value) {
        self.reveal(&mut message);
        let Some(id) = message["id"].as_u64() else {
            self.violate("BH-REQ-001", format!("an answer without an id: {}", short(&message)));
            return;
        };
        let Some(request) = self.in_flight.remove(&id) else {
            if id == 0 && message["kind"] == "error" {
                lint::session_error(&message).into_iter().for_each(|v| self.log.violation(v));
                self.early.insert(0, message);
            } else if self.answered.contains(&id) {
                self.violate("BH-REQ-001", format!("a second answer to request {id}"));
            } else {
                self.violate(
                    "BH-REQ-001",
                    format!("an answer with the id {id}, which was not asked"),
                );
            }
            return;
        };
        for violation in lint::answer(&request, &message) {
            let vanished = violation.requirement == "BH-WANT-003" && self.shared_may_vanish;
            if !vanished {
                self.log.violation(violation);
            }
        }
        self.answered.insert(id);
        self.remember_leases(&message);
        self.early.insert(id, message);
    }

    /// Makes paths below [`Self::hidden`] ones that the suite can open.
    fn reveal(&self, message: &mut Value) {
        let Some(hidden) = &self.hidden else { return };
        let root = format!("/proc/{}/root", self.process.id());
        for list in ["files", "relocated"] {
            for record in wire::records_mut(message, list) {
                let path = record["path"].as_str().unwrap_or_default();
                if Path::new(path).starts_with(hidden) {
                    record["path"] = format!("{root}{path}").into();
                }
            }
        }
    }

    /// An answer of id 0 that has come, if any.
    pub(crate) fn session_error(&mut self) -> Option<Value> {
        self.early.remove(&0)
    }

    fn violate(&self, requirement: &'static str, text: impl Into<String>) {
        self.log.violation(Violation::new(requirement, text));
    }
}

/// The wall clock, which the suite's own children use too.
pub(crate) fn unix_ms() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}

/// Words as a shell would want them.
pub(crate) fn shlex_join(words: &[String]) -> String {
    // Words come from a command line and cannot hold U+0000.
    shlex::try_join(words.iter().map(String::as_str)).unwrap_or_else(|_| words.join(" "))
}

/// A message short enough for one line of a report.
pub(crate) fn short(message: &Value) -> String {
    excerpt(&message.to_string(), 200)
}

/// An exit status in words.
pub(crate) fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "an unknown status".to_owned(),
    }
}
