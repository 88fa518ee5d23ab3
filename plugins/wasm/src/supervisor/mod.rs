//! The supervisor: to the host a plugin like any other, to the guest the whole world.
//!
//! It runs one guest at a time and one call at a time. A guest that breaks a rule or takes too
//! long is killed; the call is a miss with the reason, and the next call gets a new guest.
//!
//! The runner lets a guest do nothing between its answer and the next request: what is looked at
//! and cleared up here meanwhile stays as it is. An instance for one call is let finish, and the
//! next call waits for that.

mod guest;
mod offer;
mod stage;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use buildhook_protocol::{Answer, Hello, Hook, Message, Reason, ReasonCode};
use buildhook_sdk::filter::{ChildError, Depth, HOP, HOP_NEXT, Next};
use buildhook_sdk::{About, Built, Call, Deadline, Done, Error, Plugin, StartError, Want};
use buildhook_wasm_engine::{Folder, Spec};
use serde_json::Value;

use crate::modules::Ready;
use crate::policy::{Access, Lifetime, Policy, REQUEST, SCRATCH, Source};
pub(crate) use guest::Idle;
use guest::{Fault, Guest};
use offer::{Offers, Spent};
use stage::Stage;

/// The code of the reason when a guest has failed.
const REASON: &str = "sandbox";
/// How long a guest may take for its hello.
const HELLO_LIMIT: Duration = Duration::from_secs(5);
/// Guests that may fail one after the other before no more are started.
const MAX_FAULTS: u32 = 16;
/// How often a guest may ask its next plugin within one call: a filter asks once. Each time it has
/// its time and its quota anew.
const MAX_HOPS: u32 = 2;
/// What the guest of a filter finds after `--`, in place of the command.
const NEXT: &str = "next";
/// What is added to a guest's `drain-ms`, as every filter does.
const DRAIN_MARGIN_MS: u64 = 500;
/// The longest that a guest may take to finish.
const LONGEST_DRAIN: Duration = Duration::from_secs(60);

/// What a sandbox is made of.
pub(crate) struct Setup {
    /// The program that runs guests.
    pub(crate) program: PathBuf,
    /// The first runner.
    pub(crate) runner: Idle,
    /// The private folder.
    pub(crate) cache: PathBuf,
    /// The module whose compiled form is in it.
    pub(crate) module: Ready,
    pub(crate) policy: Policy,
    /// The guest's arguments, its name first.
    pub(crate) arguments: Vec<String>,
    /// The variables that it is given.
    pub(crate) env: Vec<(String, String)>,
    /// The command of the next plugin, for a filter.
    pub(crate) next: Option<Vec<OsString>>,
    pub(crate) depth: Depth,
}

/// A plugin in a sandbox.
pub(crate) struct Sandbox {
    program: PathBuf,
    spec: Spec,
    hello: Hello,
    next: Option<Next>,
    state: Mutex<State>,
}

struct State {
    guest: Option<Guest>,
    stage: Stage,
    offers: Offers,
    /// Guests that have failed since one succeeded.
    faults: u32,
}

impl Sandbox {
    /// Starts the next plugin, if there is one, and the first guest.
    ///
    /// # Errors
    /// Those of starting either.
    pub(crate) fn start(setup: Setup) -> Result<Self, StartError> {
        let child = |what: String| StartError::Child(what);
        let stage = Stage::new(&setup.cache, setup.policy.contents)
            .map_err(|error| child(format!("{}: {error}", setup.cache.display())))?;
        let spec = spec(&setup, &stage);
        let offers = Offers::new(&spec.folders, setup.policy.output)
            .map_err(|error| child(format!("opening the granted folders: {error}")))?;
        let next = setup.next.as_deref().map(|next| Next::start(next, setup.depth)).transpose()?;
        let mut guest =
            setup.runner.tell(&spec, next.as_ref()).map_err(|fault| child(fault.to_string()))?;
        let hello = guest.hello(Deadline::within(HELLO_LIMIT)).cloned();
        let hello = hello.map_err(|fault| match fault {
            Fault::Config(why) => StartError::Config(why),
            other => child(other.to_string()),
        })?;
        let state = State { guest: Some(guest), stage, offers, faults: 0 };
        Ok(Self { program: setup.program, spec, hello, next, state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The guest's answer, in the host's words. A guest that fails is gone.
    fn ask(&self, call: &Call) -> Result<Message, Reason> {
        let mut state = self.state();
        let outcome = self.ask_in(&mut state, call);
        state.clear();
        match outcome {
            Ok(answer) => {
                state.faults = 0;
                if self.spec.fresh
                    && let Some(guest) = &mut state.guest
                    && guest.end_instance(self.limit(call.deadline)).is_err()
                {
                    state.guest = None;
                }
                Ok(answer)
            }
            Err(fault) => {
                let code = match fault {
                    // No fault of the guest (BH-FILT-011).
                    Fault::NextLate => ReasonCode::TIMEOUT,
                    _ => {
                        state.faults += 1;
                        REASON
                    }
                };
                Err(Reason::new(code, fault.to_string()))
            }
        }
    }

    fn ask_in(&self, state: &mut State, call: &Call) -> Result<Message, Fault> {
        if state.faults >= MAX_FAULTS {
            return Err(Fault::GivenUp);
        }
        let deadline = call.deadline.sooner();
        // Dropped on the way out is killed.
        let mut guest = match self.rested(state, deadline) {
            Some(guest) => guest,
            None => Idle::start(&self.program)?.tell(&self.spec, self.next.as_ref())?,
        };
        let hello = guest.hello(deadline.min(Deadline::within(HELLO_LIMIT)))?;
        if hello.hooks != self.hello.hooks {
            return Err(Fault::Broke("offers other hooks than at first".to_owned()));
        }
        let id = guest.next_id();
        let spent = Spent::default();
        let mut turn = Turn { sandbox: self, state, call, deadline, hops: 0, spent };
        let request = turn.request(id);
        let mut message = guest.exchange(&request, self.limit(deadline))?;
        while message.members().get(HOP).is_some_and(|hop| hop == HOP_NEXT) {
            let answer = turn.relay(message)?;
            message = guest.exchange(&answer, self.limit(deadline))?;
        }
        let answer = turn.answer(id, message)?;
        state.guest = Some(guest);
        Ok(answer)
    }

    /// The guest of the last call, when what it did after its answer is over. That it fails there
    /// costs the next call no more than a new guest.
    fn rested(&self, state: &mut State, deadline: Deadline) -> Option<Guest> {
        let mut guest = state.guest.take()?;
        match guest.renew(self.next.as_ref(), self.limit(deadline)) {
            Ok(false) => {}
            Ok(true) => state.clear(),
            Err(fault) => {
                eprintln!("buildhook-wasm: after its answer: {fault}");
                state.faults += 1;
                drop(guest);
                state.clear();
                return None;
            }
        }
        Some(guest)
    }

    /// The end of a guest's turn: its own time, with a margin in which the runner's clock
    /// strikes and says so, and never beyond the call's deadline.
    fn limit(&self, deadline: Deadline) -> Deadline {
        let own_ms = self.spec.time_ms;
        deadline.min(Deadline::within(Duration::from_millis(own_ms + own_ms / 4 + 50)))
    }
}

impl State {
    /// Removes what a call has left. Whoever keeps that from being done has no guest more to do it.
    fn clear(&mut self) {
        if let Err(error) = self.stage.clear() {
            eprintln!("buildhook-wasm: clearing up after a call: {error}");
            self.guest = None;
        }
    }
}

impl Plugin for Sandbox {
    fn about(&self) -> About {
        let hello = &self.hello;
        let drain_ms = hello.drain_ms.saturating_add(DRAIN_MARGIN_MS);
        let mut about = About::new(&format!("wasm {}", hello.plugin.name), &hello.plugin.version)
            .drain_ms(drain_ms);
        about.hooks = [Hook::WantToBuild, Hook::BuiltAThing]
            .into_iter()
            .filter(|hook| hello.has_hook(*hook))
            .collect();
        about.features.clone_from(&hello.features);
        about
    }

    fn want_to_build(&self, call: &Call) -> Result<Want, Error> {
        Ok(match self.ask(call) {
            Ok(answer) => Want::Forwarded(answer),
            Err(reason) => Want::Miss(reason),
        })
    }

    fn built_a_thing(&self, call: &Call, _: &Built) -> Result<Done, Error> {
        Ok(match self.ask(call) {
            Ok(answer) => Done::Forwarded(answer),
            Err(reason) => Done::refused(reason),
        })
    }

    fn drain(&self) {
        if let Some(guest) = self.state().guest.take() {
            let own = Duration::from_millis(self.hello.drain_ms);
            guest.close(own.min(LONGEST_DRAIN) + Duration::from_millis(DRAIN_MARGIN_MS));
        }
        if let Some(next) = &self.next {
            next.close();
        }
    }
}

/// One call, between host, guest and next plugin.
struct Turn<'a> {
    sandbox: &'a Sandbox,
    state: &'a mut State,
    call: &'a Call,
    deadline: Deadline,
    hops: u32,
    /// What the guest has offered, to whomever.
    spent: Spent,
}

impl Turn<'_> {
    /// The request with the guest's paths. Members that nobody knows stay as they are.
    fn request(&mut self, id: u64) -> Message {
        let mut message = self.call.message.clone();
        let members = message.members_mut();
        members.insert("id".to_owned(), id.into());
        members.insert("deadline-ms".to_owned(), self.deadline.remaining_ms().into());
        members.insert("scratch".to_owned(), SCRATCH.into());
        if let Some(manifest) = members.get_mut("manifest") {
            self.stage_record(manifest);
        }
        self.stage_files(&mut message);
        message
    }

    fn stage_files(&mut self, message: &mut Message) {
        if let Some(Value::Array(records)) = message.members_mut().get_mut("files") {
            for record in records {
                self.stage_record(record);
            }
        }
    }

    /// Whatever the lease was: what the guest has is a copy to read.
    fn stage_record(&mut self, record: &mut Value) {
        let Value::Object(members) = record else { return };
        let text = |name: &str| members.get(name).and_then(Value::as_str).map(str::to_owned);
        let (Some(path), Some(lease)) = (text("path"), text("lease")) else { return };
        let size = members.get("size").and_then(Value::as_u64).unwrap_or(0);
        let guest = self.state.stage.add(&path, size, &lease);
        members.insert("path".to_owned(), guest.into());
        members.insert("lease".to_owned(), "borrowed".into());
    }

    /// Passes a filter's request on to the next plugin, and its answer back. A guest may ask
    /// about the call at hand and nothing else.
    fn relay(&mut self, mut message: Message) -> Result<Message, Fault> {
        let broke = |why: &str| Fault::Broke(why.to_owned());
        let next = self.sandbox.next.as_ref();
        let next = next.ok_or_else(|| broke("asked a next plugin that it does not have"))?;
        self.hops += 1;
        if self.hops > MAX_HOPS {
            return Err(broke("asked its next plugin over and over"));
        }
        let id = message.id().ok_or_else(|| broke("sent a request without an id"))?;
        let members = message.members_mut();
        members.remove(HOP);
        let own = self.call.message.members();
        if ["kind", "key", "purpose", "v"].iter().any(|name| members.get(*name) != own.get(*name)) {
            return Err(broke("asked its next plugin about another call than its own"));
        }
        let scratch = self.scratch_for_next()?;
        members.insert("scratch".to_owned(), scratch.into());
        // What the host sends along is the next plugin's to have as it was.
        match own.get("manifest") {
            Some(manifest) => members.insert("manifest".to_owned(), manifest.clone()),
            None => members.remove("manifest"),
        };
        self.offer(&mut message)?;
        lend(&mut message);
        let mut answer = next.exchange_by(message, self.deadline).map_err(|error| match error {
            ChildError::TimedOut => Fault::NextLate,
            error => Fault::Next(error.to_string()),
        })?;
        let members = answer.members_mut();
        members.insert("id".to_owned(), id.into());
        members.insert(HOP.to_owned(), HOP_NEXT.into());
        members.remove("relocated");
        self.stage_files(&mut answer);
        Ok(answer)
    }

    /// The answer with the host's paths, when it is one to the request.
    fn answer(&mut self, id: u64, mut message: Message) -> Result<Message, Fault> {
        let answer: Answer = message
            .parse()
            .map_err(|error| Fault::Broke(format!("answered what is no answer: {error}")))?;
        let (of, fits) = match &answer {
            Answer::Hit { id, .. } | Answer::Miss { id, .. } => {
                (*id, self.call.kind == Hook::WantToBuild)
            }
            Answer::Done { id, .. } => (*id, self.call.kind == Hook::BuiltAThing),
            Answer::Error { id, error } if *id == 0 => {
                return Err(Fault::Ended(error.message.clone()));
            }
            Answer::Error { id, .. } => (*id, true),
        };
        if of != id || !fits {
            return Err(Fault::Broke("answered another question than it was asked".to_owned()));
        }
        // A guest can write to what it keeps: nobody is to link to it.
        message.members_mut().remove("relocated");
        message.members_mut().remove(HOP);
        self.offer(&mut message)?;
        Ok(message)
    }

    fn offer(&mut self, message: &mut Message) -> Result<(), Fault> {
        let Self { state, call, deadline, spent, .. } = self;
        let State { offers, stage, .. } = &**state;
        offers.translate(message, stage, &call.scratch, spent, *deadline).map_err(Fault::Broke)
    }

    /// A folder in the host's scratch folder.
    fn scratch_for_next(&self) -> Result<String, Fault> {
        let folder = self.call.scratch.join("next");
        match fs_err::create_dir(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(Fault::Io(error));
            }
            _ => {}
        }
        folder
            .to_str()
            .map(str::to_owned)
            .ok_or_else(|| Fault::Next("the scratch folder's path is not Unicode".to_owned()))
    }
}

/// What goes to the next plugin lies outside of its scratch folder: not its to keep.
fn lend(message: &mut Message) {
    let Some(Value::Array(records)) = message.members_mut().get_mut("files") else { return };
    for record in records {
        if record.get("lease").is_some_and(|lease| lease == "owned") {
            record["lease"] = "borrowed".into();
        }
    }
}

fn spec(setup: &Setup, stage: &Stage) -> Spec {
    let policy = &setup.policy;
    let own = |host, guest: &str, writable| Folder { host, guest: guest.to_owned(), writable };
    let granted = policy
        .folders
        .iter()
        .map(|folder| own(folder.path.clone(), &folder.guest, folder.access == Access::Write));
    let mut folders =
        vec![own(stage.request(), REQUEST, false), own(stage.scratch(), SCRATCH, true)];
    folders.extend(granted);
    let mut arguments = setup.arguments.clone();
    if setup.next.is_some() {
        // Not the command itself: it may hold what the guest is not to know.
        arguments.extend(["--", NEXT].map(str::to_owned));
    }
    Spec {
        compiled: setup.module.compiled.clone(),
        arguments,
        env: setup.env.clone(),
        folders,
        fresh: policy.instance == Lifetime::Call,
        is_filter: setup.next.is_some(),
        real_clock: policy.clock == Source::Real,
        real_random: policy.random == Source::Real,
        memory_bytes: policy.memory,
        time_ms: policy.time_ms,
        max_files: policy.output.files,
        max_written_bytes: policy.output.size,
        max_file_bytes: policy.output.file_size,
    }
}
