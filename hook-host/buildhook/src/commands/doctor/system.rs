//! What the machine has to have: a compiler, a Cargo that calls us, and no session that
//! outlives its build.

use std::path::Path;
use std::process::{Command, Stdio};

use super::Check;
use crate::environment::Environment;

/// The compiler that Cargo would call here answers.
pub(super) fn compiler(env: &Environment) -> Check {
    const NAME: &str = "compiler";
    let program = env.get("RUSTC").unwrap_or("rustc".as_ref());
    let output = Command::new(program).arg("-vV").stdin(Stdio::null()).output();
    match output {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout);
            Check::ok(NAME, text.lines().next().unwrap_or_default())
        }
        Ok(output) => {
            let why = String::from_utf8_lossy(&output.stderr);
            let why = why.lines().next().unwrap_or_default();
            Check::wrong(NAME, format!("`{} -vV` failed: {why}", program.display()))
        }
        Err(error) => Check::wrong(
            NAME,
            format!("`{}` cannot be started: {error}; install Rust", program.display()),
        ),
    }
}

/// What Cargo is told to wrap the compiler with, as far as variables say.
pub(super) fn wrapper(env: &Environment) -> Check {
    const NAME: &str = "wrapper";
    const HOW: &str = "set RUSTC_WRAPPER=buildhook, or build.rustc-wrapper in Cargo's \
                       configuration, or use `buildhook run`";
    let names = ["RUSTC_WRAPPER", "CARGO_BUILD_RUSTC_WRAPPER"];
    let Some((name, value)) = names.iter().find_map(|name| Some((name, env.get(name)?))) else {
        return Check::note(NAME, format!("no variable names buildhook: {HOW}"));
    };
    let is_ours = Path::new(value).file_stem().is_some_and(|stem| stem == "buildhook");
    if is_ours || Path::new(value) == env.executable {
        Check::ok(NAME, format!("{name} names buildhook"))
    } else {
        Check::wrong(NAME, format!("{name} is set to `{}`: {HOW}", value.display()))
    }
}

/// A session ends with its build; one that has not is told.
#[cfg(unix)]
pub(super) fn sessions(env: &Environment) -> Check {
    const NAME: &str = "sessions";
    let running = crate::session::runtime::running(env);
    match running.left_over {
        0 => Check::ok(NAME, format!("{} of builds at work", running.at_work)),
        left => Check::note(
            NAME,
            format!(
                "{left} of builds that are over, {} of builds at work; a compile may still run, \
                 or a plugin be storing",
                running.at_work
            ),
        ),
    }
}
