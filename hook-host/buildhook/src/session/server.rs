//! Answering wrappers until the build has ended.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use buildhook_cargo::{Account, Before, Call, Fate, Ticket};
use rustix::process::Pid;

use super::build::{self, Build};
use super::owner::Owner;
use super::runtime::Records;
use super::wire::{self, Question, Reply, RunReply};
use crate::environment::Environment;
use crate::folders::Folders;
use crate::report::run::{FOLDER_VARIABLE, Membership};
use crate::report::{Outcome, SessionReport, UnitReason, UnitReport};

/// A session that nobody has asked for so long ends; the next wrapper starts another one.
/// Long build scripts and test runs lie between units; a minute covers most of them.
pub(crate) const IDLE_LIMIT: Duration = Duration::from_secs(60);
/// How often the owner is looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How long wrappers that outlive a killed build may take to end their compile.
const LEFTOVER_LIMIT: Duration = Duration::from_secs(600);

struct Server {
    /// `Err` when the configuration is wrong: every compile is left untouched then.
    build: Result<Build, String>,
    units: Mutex<Vec<UnitReport>>,
    busy: AtomicUsize,
    last_asked: Mutex<Instant>,
}

/// Serves the build of process `owner` on the socket that is standard input, whose name is
/// `path`.
pub(crate) fn serve(owner: i32, path: &Path, env: &Environment) -> io::Result<()> {
    let listener = UnixListener::from(io::stdin().as_fd().try_clone_to_owned()?);
    // A session of its own: the terminal's signals are for the build, which ends us.
    let _ = rustix::process::setsid();
    let owner = Pid::from_raw(owner).ok_or_else(|| io::Error::other("no such process"))?;
    let owner = Owner::of(owner)?;
    let started = Instant::now();
    let folder = owner.folder().unwrap_or_else(|| env.current_dir.clone());
    let membership = env
        .get(FOLDER_VARIABLE)
        .and_then(|folder| Membership::join(Path::new(folder), std::process::id()).ok());
    let mut report = SessionReport {
        started_unix_ms: unix_ms(),
        command: owner.command(),
        folder: folder.clone(),
        ..SessionReport::default()
    };
    let records = Records::new(path);
    let server = Arc::new(Server {
        build: build::build(env, &folder, records.folder()),
        units: Mutex::default(),
        busy: AtomicUsize::new(0),
        last_asked: Mutex::new(Instant::now()),
    });
    let accepting = Arc::clone(&server);
    std::thread::spawn(move || accept(&listener, &accepting));

    server.wait_for_the_end(&owner);
    // From here on a wrapper starts another session.
    let _ = fs_err::remove_file(path);
    server.wait_for_leftovers();

    report.duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    report.units = std::mem::take(&mut *lock(&server.units));
    match &server.build {
        Err(problem) => {
            report.notes.push(format!("not cached, configuration: {problem}"));
            // Without a configuration only the environment says where.
            if let Ok(folders) = Folders::locate(env) {
                let _ = report.keep(&folders, std::process::id());
            }
        }
        Ok(build) => {
            report.hook = build.host.close();
            report.notes.extend(build.config.notes());
            // Each only costs the next build some time.
            let _ = build.front.digests().save(&build::digests_file(&build.config));
            let _ = report.append(&build.config, std::process::id());
        }
    }
    membership.map_or(Ok(()), |membership| membership.leave(&report))
}

fn accept(listener: &UnixListener, server: &Arc<Server>) {
    for stream in listener.incoming().flatten() {
        server.busy.fetch_add(1, Ordering::SeqCst);
        let server = Arc::clone(server);
        std::thread::spawn(move || {
            // A wrapper that went away needs no answer.
            let _ = server.converse(&stream);
            *lock(&server.last_asked) = Instant::now();
            server.busy.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

impl Server {
    fn converse(&self, stream: &UnixStream) -> io::Result<()> {
        let mut ticket = None;
        let began = Instant::now();
        while let Some(question) = wire::read(stream)? {
            let reply = self.answer(question, &mut ticket, began);
            wire::write(stream, &reply)?;
        }
        Ok(())
    }

    fn answer(&self, question: Question, ticket: &mut Option<Ticket>, began: Instant) -> Reply {
        let Ok(build) = &self.build else { return Reply::Untouched };
        match question {
            Question::Before { words, cwd, env } => {
                let call = Call { words, cwd, env: env.into_iter().collect() };
                match build.front.before(call) {
                    Before::Untouched => Reply::Untouched,
                    Before::Hit(hit) => {
                        self.note(&hit.account, began);
                        Reply::Hit { stdout: hit.stdout, stderr: hit.stderr }
                    }
                    Before::Run(run) => {
                        *ticket = Some(run.ticket);
                        Reply::Run(RunReply {
                            extra_arguments: run.extra_arguments,
                            launcher_words: run.launcher_words,
                            variables: run.variables,
                            translation: run.translation,
                        })
                    }
                }
            }
            Question::After(finished) => {
                let Some(ticket) = ticket.take() else { return Reply::Done };
                let finished = buildhook_cargo::Finished {
                    success: finished.success,
                    stdout: finished.stdout,
                    stderr: finished.stderr,
                    duration: Duration::from_millis(finished.duration_ms),
                };
                self.note(&build.front.after(ticket, &finished), began);
                Reply::Done
            }
        }
    }

    fn note(&self, account: &Account, began: Instant) {
        let time_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        lock(&self.units).push(unit_report(account, time_ms));
    }

    fn wait_for_the_end(&self, owner: &Owner) {
        let program = owner.program();
        loop {
            if owner.has_ended_within(LOOK_INTERVAL) || owner.program() != program {
                return;
            }
            let idle = self.busy.load(Ordering::SeqCst) == 0;
            if idle && lock(&self.last_asked).elapsed() > IDLE_LIMIT {
                return;
            }
        }
    }

    /// A build that was killed leaves wrappers with compiles to end.
    fn wait_for_leftovers(&self) {
        let began = Instant::now();
        while self.busy.load(Ordering::SeqCst) > 0 && began.elapsed() < LEFTOVER_LIMIT {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn unit_report(account: &Account, time_ms: u64) -> UnitReport {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let unit = &account.unit;
    let outcome = match account.fate {
        Fate::Hit => Outcome::Hit,
        Fate::Miss => Outcome::Miss,
        Fate::Uncached => Outcome::Uncached,
        Fate::Failed => Outcome::Failed,
    };
    let saved = account.cost_ms.filter(|_| outcome == Outcome::Hit).unwrap_or_default();
    UnitReport {
        crate_name: text(&unit.name),
        package: text(&unit.package),
        version: text(&unit.version),
        unit_type: text(&unit.unit_type),
        outcome,
        reason: account.reason.as_ref().map(|reason| UnitReason {
            code: reason.code.to_owned(),
            message: reason.detail.clone(),
        }),
        key: account.key.map(|key| key.to_string()),
        files: account.files,
        bytes: account.bytes,
        time_ms,
        saved_ms: saved.saturating_sub(time_ms),
    }
}

fn unix_ms() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
