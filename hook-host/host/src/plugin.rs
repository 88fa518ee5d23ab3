//! One plugin for one build: its session, started when first needed, and the circuit breaker
//! that leaves it alone when it has done enough harm.
//!
//! | fault | what follows |
//! |---|---|
//! | cannot be started, wrong hello, out of step, error of scope `session` | left alone |
//! | ended by itself | started anew for the next request; counts for both hooks |
//! | no answer in time, wrong answer, error of scope `request` | counts for its hook |
//! | a damaged entry | counts with a higher limit, for the plugin |
//! | time lost in vain above the limit | left alone |
//!
//! Nothing of this comes out but a [`Reason`]: every fault is a miss or "not stored".

use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use buildhook_protocol::{Answer, ErrorBody, ErrorKind, Hook, Reason, ReasonCode, Scope};

use crate::fault::{Fault, FaultKind};
use crate::launch::{Connect, Launch};
use crate::ledger::Ledger;
use crate::limits::Limits;
use crate::reason;
use crate::report::PluginReport;
use crate::scratch::Scratch;
use crate::session::{Failure, Session, error_text};
use crate::sync::{lock, spawn};
use crate::text::tame;

/// A configured plugin.
pub(crate) struct Plugin {
    launch: Launch,
    limits: Limits,
    current: Mutex<Current>,
    ledger: Arc<Mutex<Ledger>>,
}

#[derive(Default)]
struct Current {
    session: Option<Arc<Session>>,
    closed: bool,
    /// Sessions that are being ended in the background.
    ending: Vec<JoinHandle<()>>,
}

impl Plugin {
    pub(crate) fn new(launch: Launch, hooks: Vec<Hook>, limits: Limits) -> Self {
        let report = PluginReport { command: launch.describe(), hooks, ..Default::default() };
        let ledger = Arc::new(Mutex::new(Ledger::new(report)));
        Self { launch, limits, current: Mutex::default(), ledger }
    }

    /// The running session that serves `hook`, started if need be.
    pub(crate) fn session(&self, hook: Hook) -> Result<Arc<Session>, Reason> {
        self.check_on(hook)?;
        let mut current = lock(&self.current);
        if current.closed {
            return Err(Reason::new(reason::CLOSED, "the build is over"));
        }
        if let Some(session) = &current.session
            && !session.is_over()
        {
            return offers(session, hook);
        }
        if let Some(over) = current.session.take() {
            if let Some(fault) = over.take_untold() {
                lock(&self.ledger).note(Some(hook), fault, &self.limits);
            }
            self.end_in_background(&mut current, over);
        }
        // Another thread may have found it wanting while this one waited for the lock.
        self.check_on(hook)?;
        let session = Arc::new(self.start()?);
        current.session = Some(Arc::clone(&session));
        offers(&session, hook)
    }

    fn start(&self) -> Result<Session, Reason> {
        let started = Instant::now();
        let result = Session::start(&self.launch, &self.limits);
        let mut ledger = lock(&self.ledger);
        match result {
            Ok(session) => {
                ledger.started(&session.hello);
                Ok(session)
            }
            Err(fault) => {
                ledger.lose(started, Instant::now());
                let reason = fault.reason();
                ledger.note(None, fault, &self.limits);
                Err(reason)
            }
        }
    }

    /// Asks within `session`, at most until `limit` is over or what may be lost is lost.
    pub(crate) fn ask(
        &self,
        session: &Session,
        hook: Hook,
        limit: Duration,
        scratch: &Arc<Scratch>,
        line: impl FnOnce(u64, Duration) -> Result<Vec<u8>, Fault>,
    ) -> Result<Answer, Reason> {
        let started = Instant::now();
        let left = self.limits.lost.saturating_sub(lock(&self.ledger).lost());
        let fault = match session.ask(scratch, started + limit.min(left), line) {
            Ok(Answer::Error { error, .. }) => return Err(self.note_error(hook, &error)),
            Ok(answer) => return Ok(answer),
            Err(Failure::Request(fault)) => fault,
            Err(Failure::Ended { fault, first: true }) => session.explain(fault),
            Err(Failure::Ended { fault, .. }) => {
                return Err(self.check_on(hook).err().unwrap_or_else(|| fault.reason()));
            }
        };
        if matches!(fault.kind, FaultKind::Timeout | FaultKind::Busy) {
            lock(&self.ledger).lose(started, Instant::now());
        }
        let reason = fault.reason();
        self.note(Some(hook), fault);
        Err(reason)
    }

    /// Notes a fault, and leaves the plugin alone if that was enough.
    pub(crate) fn note(&self, hook: Option<Hook>, fault: Fault) {
        let switched_off = lock(&self.ledger).note(hook, fault, &self.limits);
        if !switched_off {
            return;
        }
        let mut current = lock(&self.current);
        if let Some(session) = current.session.take() {
            // Others that still wait for it need not wait longer.
            session.abort(Fault::new(FaultKind::Shutdown, "the plugin was switched off"));
            self.end_in_background(&mut current, session);
        }
    }

    /// An error is a miss or "not stored" (BH-ERR-001).
    fn note_error(&self, hook: Hook, error: &ErrorBody) -> Reason {
        let reason = Reason::new(error_code(error.kind), tame(&error_text(error)));
        let kind = match (error.scope, error.kind) {
            (Scope::Session, _) => FaultKind::Session,
            // How a plugin says that it does not serve a purpose (BH-REQ-007).
            (Scope::Request, ErrorKind::UnknownKind) => return reason,
            (Scope::Request, _) => FaultKind::Error,
        };
        let message = format!("answered with an error: {}", error_text(error));
        self.note(Some(hook), Fault::new(kind, message));
        reason
    }

    fn check_on(&self, hook: Hook) -> Result<(), Reason> {
        match lock(&self.ledger).off(hook) {
            Some(why) => Err(Reason::new(reason::SWITCHED_OFF, why)),
            None => Ok(()),
        }
    }

    /// What has happened so far.
    pub(crate) fn report(&self) -> PluginReport {
        let session = lock(&self.current).session.clone();
        let mut ledger = lock(&self.ledger);
        if let Some(session) = session {
            ledger.heard(session.stderr_tail());
        }
        ledger.report()
    }

    /// Ends the session and waits for all that are ending; no other will be started.
    pub(crate) fn close(&self) {
        let mut current = lock(&self.current);
        current.closed = true;
        let session = current.session.take();
        let ending = std::mem::take(&mut current.ending);
        drop(current);
        if let Some(session) = session {
            let has_hung = lock(&self.ledger).lost() >= self.limits.lost;
            let wanted = Duration::from_millis(session.hello.drain_ms);
            let granted = if has_hung { Duration::ZERO } else { wanted.min(self.limits.drain) };
            let drain = granted + self.limits.exit;
            finish(&session, &self.ledger, drain, &self.limits);
        }
        for handle in ending {
            // A panic there has ended what was to be ended here.
            let _ = handle.join();
        }
    }

    /// Ends a session that is over or unwanted, with no time to drain.
    fn end_in_background(&self, current: &mut Current, session: Arc<Session>) {
        let ledger = Arc::clone(&self.ledger);
        let limits = self.limits.clone();
        let work = {
            let (session, ledger, limits) = (session.clone(), ledger.clone(), limits.clone());
            move || finish(&session, &ledger, Duration::ZERO, &limits)
        };
        match spawn("ending", work) {
            Ok(handle) => current.ending.push(handle),
            Err(_) => finish(&session, &ledger, Duration::ZERO, &limits),
        }
    }
}

fn finish(session: &Session, ledger: &Mutex<Ledger>, drain: Duration, limits: &Limits) {
    if let Some(fault) = session.take_untold() {
        lock(ledger).note(None, fault, limits);
    }
    let was_over = session.is_over();
    let (exit, forced) = session.shut_down(drain, limits.terminate);
    // Before the lock, which others wait for.
    let said = session.last_words();
    let mut ledger = lock(ledger);
    ledger.heard(said);
    let text = exit.as_ref().map(|exit| exit.text.clone());
    let success = exit.is_none_or(|exit| exit.success);
    if !was_over && (forced || !success) {
        let message = if forced {
            format!("did not end within {} ms after its input had closed", drain.as_millis())
        } else {
            format!("ended with {} after its input had closed", text.as_deref().unwrap_or("?"))
        };
        ledger.note(None, Fault::new(FaultKind::Shutdown, message), limits);
    }
    ledger.ended(text);
}

fn offers(session: &Arc<Session>, hook: Hook) -> Result<Arc<Session>, Reason> {
    if session.hello.has_hook(hook) {
        return Ok(Arc::clone(session));
    }
    let message = format!("the plugin does not offer `{}`", hook.as_str());
    Err(Reason::new(reason::NOT_OFFERED, message))
}

/// The word for statistics: the error's own kind.
fn error_code(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::BadRequest => "bad-request",
        ErrorKind::UnknownKind => "unknown-kind",
        ErrorKind::Config => "config",
        ErrorKind::Auth => "auth",
        ErrorKind::Unavailable => ReasonCode::UNAVAILABLE,
        ErrorKind::NoSpace => "no-space",
        ErrorKind::Timeout => ReasonCode::TIMEOUT,
        ErrorKind::Child => "child",
        ErrorKind::Other => ReasonCode::OTHER,
    }
}
