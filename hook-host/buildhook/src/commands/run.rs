//! `buildhook run -- CMD…`: any command with the wrapper set, and a summary at the end.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, SystemTime};

use fs_err as fs;
use serde::Serialize;

use super::{Answer, Refusal, exit, tell, to_json};
use crate::config;
use crate::environment::Environment;
use crate::report::run::{FOLDER_VARIABLE, collect};
use crate::report::totals::Totals;
use crate::report::{SessionReport, render};

/// Variables that name Cargo's compiler wrapper, the stronger one first.
pub(super) const WRAPPER_VARIABLES: [&str; 2] = ["RUSTC_WRAPPER", "CARGO_BUILD_RUSTC_WRAPPER"];
/// How long to wait for the sessions once the command has ended, beside the drain time of
/// their plugins. A session ends with its build.
pub(super) const SESSIONS_LIMIT: Duration = Duration::from_secs(15);
/// Held by a `run` for as long as it lives, so that others know whose folder is left over.
const OWNER_LOCK: &str = "owner";

/// The summary as JSON.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Summary<'a> {
    totals: &'a Totals,
    sessions_still_at_work: usize,
    tell: Vec<String>,
    reports: &'a [SessionReport],
}

/// Runs the command and gives its exit code; the summary goes to standard error.
pub(super) fn run(env: &Environment, words: &[OsString], json: bool) -> Result<Answer, Refusal> {
    let config = config::load(env, &env.current_dir)?;
    refuse_other_wrapper(env)?;
    let folder = RunFolder::make(&config.folders.host().join("runs"))
        .or_else(|_| RunFolder::make(&temporary_folder(env)));
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).env(WRAPPER_VARIABLES[0], &env.executable);
    match &folder {
        Ok(folder) => _ = command.env(FOLDER_VARIABLE, &folder.path),
        Err(error) => {
            command.env_remove(FOLDER_VARIABLE);
            tell(&format!("buildhook: no summary: {error}\n"));
        }
    }
    let status = wait_for(&mut command).map_err(|error| cannot_start(&words[0], &error))?;
    let limit = SESSIONS_LIMIT + Duration::from_millis(config.limits.drain_ms.value);
    if let Ok(folder) = folder {
        match collect(&folder.path, limit) {
            Ok((reports, at_work)) => tell(&summary(&reports, at_work, json)),
            Err(error) => tell(&format!("buildhook: no summary: {error}\n")),
        }
    }
    #[cfg(unix)]
    super::signals::die_alike(status);
    Ok(Answer::text(String::new()).with_code(exit_code(status)))
}

fn summary(reports: &[SessionReport], at_work: usize, json: bool) -> String {
    if json {
        let totals = &Totals::of(reports);
        let tell = render::tell_once(reports);
        return to_json(&Summary { totals, sessions_still_at_work: at_work, tell, reports });
    }
    let mut text = render::summary(reports);
    if at_work > 0 {
        text += &format!("  {at_work} sessions were still at work; see `buildhook stats` later\n");
    }
    text
}

/// Two caches that both think they wrap the compiler serve each other's files; which one
/// the person wants is not ours to guess.
pub(super) fn refuse_other_wrapper(env: &Environment) -> Result<(), Refusal> {
    for name in WRAPPER_VARIABLES {
        let Some(value) = env.get(name) else { continue };
        let path = Path::new(value);
        if path != env.executable && path.file_stem().is_none_or(|stem| stem != "buildhook") {
            return Err(Refusal::usage(format!(
                "{name} is set to `{}`, and Cargo takes one wrapper only: unset it to use buildhook",
                path.display()
            )));
        }
    }
    Ok(())
}

fn wait_for(command: &mut Command) -> io::Result<ExitStatus> {
    #[cfg(unix)]
    let held = super::signals::Held::hold()?;
    let mut child = command.spawn()?;
    #[cfg(unix)]
    let passed_on = held.pass_on(child.id());
    let status = child.wait();
    #[cfg(unix)]
    passed_on.release();
    status
}

fn cannot_start(program: &OsString, error: &io::Error) -> Refusal {
    let not_found = error.kind() == io::ErrorKind::NotFound;
    Refusal {
        message: format!("cannot start `{}`: {error}", program.display()),
        code: if not_found { exit::NOT_FOUND } else { exit::CANNOT_START },
    }
}

fn exit_code(status: ExitStatus) -> u8 {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return u8::try_from(signal).map_or(exit::WRONG, |signal| exit::SIGNAL + signal);
    }
    // Windows has exit codes above 255; what is left of them must not look like success.
    status.code().map_or(exit::WRONG, |code| u8::try_from(code).unwrap_or(exit::WRONG))
}

/// Where reports can go when the cache folder cannot be written to.
pub(super) fn temporary_folder(env: &Environment) -> PathBuf {
    let base = env.absolute(if cfg!(windows) { "TEMP" } else { "TMPDIR" });
    base.unwrap_or(Path::new("/tmp")).join(format!("buildhook-run-{}", std::process::id()))
}

/// Where the sessions of one `run` leave their reports; removed with this value.
pub(super) struct RunFolder {
    pub(super) path: PathBuf,
    _owner: fs::File,
}

impl RunFolder {
    pub(super) fn make(runs: &Path) -> io::Result<Self> {
        fs::create_dir_all(runs)?;
        sweep(runs);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let path = runs.join(format!("{}-{}", now.as_nanos(), std::process::id()));
        fs::create_dir(&path)?;
        let owner = fs::File::create(path.join(OWNER_LOCK))?;
        owner.file().lock()?;
        Ok(Self { path, _owner: owner })
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        // What cannot be removed is swept by a later run.
        let _ = fs::remove_dir_all(&self.path);
        // The folder of all runs stays while others are in it.
        let _ = self.path.parent().map(fs::remove_dir);
    }
}

/// Removes what runs that were killed left behind.
fn sweep(runs: &Path) {
    for entry in fs::read_dir(runs).into_iter().flatten().flatten() {
        let owner = fs::File::open(entry.path().join(OWNER_LOCK));
        if owner.is_ok_and(|owner| owner.file().try_lock().is_ok()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
