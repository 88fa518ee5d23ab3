//! One tier at run time: its plugin, and whether it is worth asking.

use std::ffi::OsString;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use buildhook_sdk::filter::{Depth, Next};
use buildhook_sdk::protocol::{Answer, FileRecord, Hook, Message};
use buildhook_sdk::{Deadline, Patience, StartError};

use crate::config::Tier;

/// A tier that fails so often in a row is left alone for the rest of the session. So one that
/// hangs costs a build this many time limits, and no more.
const FAULTS_UNTIL_OFF: u32 = 3;
/// How long a tier may take to start. All start at once, so this is what the slowest costs.
const START_LIMIT: Duration = Duration::from_secs(2);

/// A tier that takes less than this (10 MB/s), and less than a file in a millisecond, is too
/// slow to be waited for.
const SLOWEST_BYTES_PER_MS: u64 = 10_000;

pub(crate) struct Member {
    pub(crate) tier: Tier,
    /// `None`: it did not start.
    next: Option<Next>,
    faults: AtomicU32,
    off: AtomicBool,
    patience: Patience,
    /// That it is gone has been told.
    is_told: AtomicBool,
    /// Something is written to it in the background.
    is_written: AtomicBool,
}

/// Starts all tiers at once. One that does not start is told on standard error and left out.
///
/// # Errors
/// None of them starts.
pub(crate) fn start(tiers: Vec<Tier>, depth: Depth) -> Result<Vec<Arc<Member>>, StartError> {
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let start = |tier: &Tier| {
            let command: Vec<OsString> = tier.plugin.iter().map(OsString::from).collect();
            scope.spawn(move || Next::start_within(&command, depth, START_LIMIT))
        };
        let threads: Vec<_> = tiers.iter().map(start).collect();
        let panicked = |_| Err(StartError::Child("starting it panicked".to_owned()));
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(panicked)).collect()
    });
    if outcomes.iter().all(Result::is_err) {
        let whys: Vec<_> = outcomes.iter().filter_map(|o| o.as_ref().err()).collect();
        let whys: Vec<_> = whys.iter().map(ToString::to_string).collect();
        return Err(StartError::Child(format!("no tier works: {}", whys.join("; "))));
    }
    let members = tiers.into_iter().zip(outcomes);
    Ok(members.map(|(tier, outcome)| Arc::new(Member::new(tier, outcome))).collect())
}

impl Member {
    fn new(tier: Tier, outcome: Result<Next, StartError>) -> Self {
        let (next, why) = match outcome {
            Ok(next) => (Some(next), None),
            Err(error) => (None, Some(error.to_string())),
        };
        let member = Self {
            patience: Patience::new(Duration::from_millis(tier.patience_ms)),
            tier,
            next,
            faults: AtomicU32::new(0),
            off: AtomicBool::new(false),
            is_told: AtomicBool::new(false),
            is_written: AtomicBool::new(false),
        };
        if let Some(why) = why {
            member.turn_off(&why);
        }
        member
    }

    /// The plugin, when it has started.
    pub(crate) fn next(&self) -> Option<&Next> {
        self.next.as_ref()
    }

    /// Whether it is there, answers `hook` and has not been left alone.
    pub(crate) fn is_usable(&self, hook: Hook) -> bool {
        !self.off.load(Ordering::Relaxed)
            && self.next().is_some_and(|next| next.hello().has_hook(hook))
    }

    /// Whether it is worth being waited for: one that a build has waited for in vain for longer
    /// than its `patience-ms` is not; that is told once.
    pub(crate) fn is_worth_waiting(&self) -> bool {
        let is_left = self.patience.is_left();
        if !is_left && !self.is_told.swap(true, Ordering::Relaxed) {
            eprintln!(
                "buildhook-tier: `{}` is not waited for any more: its answers have cost {} ms and \
                 saved less",
                self.tier.name, self.tier.patience_ms
            );
        }
        is_left
    }

    /// A hit has come that spares the build `cost_ms`.
    pub(crate) fn earn(&self, cost_ms: Option<u64>) {
        self.patience.earn(Duration::from_millis(cost_ms.unwrap_or(0)));
    }

    /// The build has waited since then, and no hit has come.
    pub(crate) fn lose(&self, since: Instant) {
        self.patience.lose(since);
    }

    /// Asks, within the tier's own time limit and `deadline`. An error, be it an answer or
    /// the lack of one, counts against the tier, unless it is ourselves who keep it from answering.
    pub(crate) fn ask(&self, message: Message, deadline: Deadline) -> Result<Message, String> {
        let takes_one = self.next().is_some_and(|next| next.hello().max_in_flight == 1);
        if takes_one && self.is_written.load(Ordering::Relaxed) {
            return Err("it takes one request at a time and is being written to".to_owned());
        }
        self.exchange(message, deadline.min(Deadline::within(self.limit())))
    }

    /// Gives the tier `files`, which may take longer the more they are.
    pub(crate) fn give(
        &self,
        message: Message,
        files: &[FileRecord],
        deadline: Deadline,
    ) -> Result<Message, String> {
        let bytes = files.iter().map(|file| file.size).fold(0, u64::saturating_add);
        let more_ms = (files.len() as u64).saturating_add(bytes / SLOWEST_BYTES_PER_MS);
        let limit = self.limit().saturating_add(Duration::from_millis(more_ms));
        let started = Instant::now();
        let outcome = self.exchange(message, deadline.min(Deadline::within(limit)));
        self.lose(started);
        outcome
    }

    fn limit(&self) -> Duration {
        Duration::from_millis(self.tier.timeout_ms)
    }

    /// Writes in the background, without the tier's own limit, since nobody waits for it.
    pub(crate) fn write(&self, message: Message, deadline: Deadline) -> Result<Message, String> {
        self.is_written.store(true, Ordering::Relaxed);
        let outcome = self.exchange(message, deadline);
        self.is_written.store(false, Ordering::Relaxed);
        outcome
    }

    fn exchange(&self, message: Message, deadline: Deadline) -> Result<Message, String> {
        let Some(next) = self.next() else { return Err("it has not started".to_owned()) };
        let outcome = match next.exchange_by(message, deadline) {
            Ok(answer) => match answer.parse() {
                Ok(Answer::Error { error, .. }) => Err(error.message),
                Ok(_) => Ok(answer),
                Err(error) => Err(format!("it answers nonsense: {error}")),
            },
            Err(error) => Err(error.to_string()),
        };
        if let Err(why) = &outcome {
            self.blame(why);
        }
        outcome
    }

    /// What it answered was good: faults count only in a row.
    pub(crate) fn praise(&self) {
        self.faults.store(0, Ordering::Relaxed);
    }

    /// Counts a fault.
    pub(crate) fn blame(&self, why: &str) {
        if self.faults.fetch_add(1, Ordering::Relaxed) + 1 >= FAULTS_UNTIL_OFF {
            self.turn_off(why);
        }
    }

    fn turn_off(&self, why: &str) {
        if !self.off.swap(true, Ordering::Relaxed) {
            eprintln!("buildhook-tier: `{}` is left alone from now on: {why}", self.tier.name);
        }
    }
}
