//! `buildhook doctor`: what keeps the cache from working, and what to do about it.
//!
//! Each check looks at one thing and says what it found. A build goes on whatever is wrong
//! here; `doctor` is where it is told in full.

mod cache;
mod hook;
mod system;

use std::fmt::Write as _;

use serde::Serialize;

use super::{Answer, exit};
use crate::config::{self, Config, ConfigError};
use crate::environment::Environment;
use crate::report::{render, store};

/// One thing looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Check {
    name: &'static str,
    state: State,
    found: String,
}

/// How it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    /// As it should be.
    Ok,
    /// Works, but the person may want to know.
    Note,
    /// Keeps the cache from working.
    Wrong,
}

/// What is printed.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Diagnosis {
    checks: Vec<Check>,
    healthy: bool,
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, state: State::Ok, found: found.into() }
    }

    fn note(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, state: State::Note, found: found.into() }
    }

    fn wrong(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, state: State::Wrong, found: found.into() }
    }
}

/// Looks at everything; exit code 1 when something is wrong.
pub(super) fn doctor(env: &Environment, json: bool) -> Answer {
    let config = config::load(env, &env.current_dir);
    let mut checks = configuration(&config);
    checks.push(system::compiler(env));
    checks.push(system::wrapper(env));
    #[cfg(unix)]
    checks.push(system::sessions(env));
    if let Ok(config) = &config {
        checks.extend(cache::checks(config));
        checks.extend(hook::plugins(config, env));
        checks.push(hook::recorder(config));
        checks.push(last_faults(config));
    }
    let healthy = checks.iter().all(|check| check.state != State::Wrong);
    let code = if healthy { exit::OK } else { exit::WRONG };
    Answer::of(json, &Diagnosis { checks, healthy }, text).with_code(code)
}

fn configuration(config: &Result<Config, ConfigError>) -> Vec<Check> {
    const NAME: &str = "configuration";
    match config {
        Err(error) => {
            let problems = error.problems.iter();
            problems.map(|problem| Check::wrong(NAME, problem.to_string())).collect()
        }
        Ok(config) => {
            let files: Vec<_> =
                config.files.iter().map(|file| file.path.display().to_string()).collect();
            let found = if files.is_empty() {
                "no file; defaults and variables".to_owned()
            } else {
                format!("read {}", files.join(" and "))
            };
            let notes = config.notes().into_iter().map(|note| Check::note(NAME, note));
            std::iter::once(Check::ok(NAME, found)).chain(notes).collect()
        }
    }
}

/// What went wrong in the newest session that was recorded.
fn last_faults(config: &Config) -> Check {
    const NAME: &str = "last build";
    let Some(last) = store::newest_first(&config.folders.reports()).next() else {
        return Check::ok(NAME, "none is known yet");
    };
    match render::tell_once(std::slice::from_ref(&last)) {
        lines if lines.is_empty() => Check::ok(NAME, "no faults"),
        lines => Check::note(NAME, lines.join("; ")),
    }
}

fn text(diagnosis: &Diagnosis) -> String {
    let mut text = String::new();
    for check in &diagnosis.checks {
        let state = match check.state {
            State::Ok => "ok   ",
            State::Note => "note ",
            State::Wrong => "WRONG",
        };
        let _ = writeln!(text, "{state}  {}: {}", check.name, check.found);
    }
    text
}
