//! The commands that people type. Each gives an [`Answer`]; this module prints it.
//!
//! Mistakes (usage, configuration) are refused at once with exit code [`exit::USAGE`].
//! Text for people may change; `--json` prints one object whose members only grow.

mod allow;
mod clear;
mod config;
mod doctor;
mod explain;
mod new_plugin;
mod run;
#[cfg(unix)]
mod signals;
mod stats;
mod warm;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use serde::Serialize;

use crate::config::ConfigError;
use crate::environment::Environment;

/// The exit codes of every command.
pub(crate) mod exit {
    /// Done, and nothing is wrong.
    pub(crate) const OK: u8 = 0;
    /// Something is wrong: `doctor` found it, or the command could not do its work.
    pub(crate) const WRONG: u8 = 1;
    /// The command line or the configuration is wrong; nothing was done.
    pub(crate) const USAGE: u8 = 2;
    /// `run`: the command was found but could not be started, as shells have it.
    pub(crate) const CANNOT_START: u8 = 126;
    /// `run`: the command was not found, as shells have it.
    pub(crate) const NOT_FOUND: u8 = 127;
    /// `run`: added to the number of the signal that ended the command, where the signal
    /// itself cannot be passed on.
    pub(crate) const SIGNAL: u8 = 128;
}

/// A build cache host for Cargo with plugins in any language.
///
/// Set RUSTC_WRAPPER=buildhook for Cargo, or start a build below `buildhook run`.
#[derive(Debug, Parser)]
#[command(name = "buildhook", version, arg_required_else_help = true, infer_subcommands = false)]
#[command(
    after_help = "Exit codes: 0 done; 1 something is wrong; 2 wrong usage or configuration; \
                        `run` passes on the exit code of its command."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a command whose builds use the cache, and print what the cache did.
    Run {
        /// Print the summary as JSON.
        #[arg(long)]
        json: bool,
        /// The command and its arguments.
        #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
        command: Vec<OsString>,
    },
    /// Show what the cache did since the last `clear`.
    Stats {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show why units of the last build were not restored.
    Explain {
        /// The crate to explain; all that were not restored if left out.
        #[arg(value_name = "CRATE")]
        crate_name: Option<String>,
        /// Also show what each unit read, and who read it.
        #[arg(long)]
        reads: bool,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Look for what keeps the cache from working.
    Doctor {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show the configuration in effect and where each value comes from.
    Config {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Remove all entries of the embedded store, and what is remembered of builds.
    Clear {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Let a workspace's buildhook.toml decide which commands are run and where is stored.
    Allow {
        /// The file or its folder; the one in effect here if left out.
        path: Option<PathBuf>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Take back `allow`.
    Deny {
        /// The file or its folder; the one in effect here if left out.
        path: Option<PathBuf>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Write a small, complete plugin in Rust into a new folder here.
    NewPlugin {
        /// What it is called; the folder and the executable are `buildhook-NAME`.
        #[arg(value_parser = new_plugin::parse_name)]
        name: String,
        /// The folder of the crate `buildhook-sdk`; without it, the one of a registry.
        #[arg(long, value_name = "DIR")]
        sdk: Option<PathBuf>,
    },
    /// Build dependencies and fill the cache with them, without the project that needs them.
    Warm(warm::Args),
    /// Print a script that completes buildhook's commands in a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// What a command has to say, and how it ends.
struct Answer {
    text: String,
    code: u8,
}

impl Answer {
    /// All is well; `text` goes to standard output.
    fn text(text: String) -> Self {
        Self { text, code: exit::OK }
    }

    /// `value` as JSON, or `text` of it.
    fn of<T: Serialize>(json: bool, value: &T, text: impl FnOnce(&T) -> String) -> Self {
        Self::text(if json { to_json(value) } else { text(value) })
    }

    fn with_code(self, code: u8) -> Self {
        Self { code, ..self }
    }
}

/// Why a command could not do its work.
struct Refusal {
    message: String,
    code: u8,
}

impl Refusal {
    /// The person has to write something else.
    fn usage(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: exit::USAGE }
    }

    /// The system would not let us.
    fn wrong(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: exit::WRONG }
    }
}

impl From<ConfigError> for Refusal {
    fn from(error: ConfigError) -> Self {
        Self::usage(error.to_string())
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::wrong(error.to_string())
    }
}

/// Runs the command that the arguments (without the program's own name) ask for.
pub(crate) fn main(args: Vec<OsString>, env: &Environment) -> ExitCode {
    let args = std::iter::once(OsString::from("buildhook")).chain(args);
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are "errors" that go to standard output with code 0. That
            // nobody reads them is no fault.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(exit::USAGE));
        }
    };
    match dispatch(cli.command, env) {
        Ok(answer) => print(&answer),
        Err(refusal) => {
            for line in refusal.message.lines() {
                tell(&format!("buildhook: error: {line}\n"));
            }
            ExitCode::from(refusal.code)
        }
    }
}

fn dispatch(command: Command, env: &Environment) -> Result<Answer, Refusal> {
    match command {
        Command::Run { json, command } => run::run(env, &command, json),
        Command::Stats { json } => stats::stats(env, json),
        Command::Explain { crate_name, reads, json } => {
            explain::explain(env, crate_name.as_deref(), reads, json)
        }
        Command::Doctor { json } => Ok(doctor::doctor(env, json)),
        Command::Config { json } => config::show(env, json),
        Command::Clear { json } => clear::clear(env, json),
        Command::Allow { path, json } => allow::allow(env, path.as_deref(), json),
        Command::Deny { path, json } => allow::deny(env, path.as_deref(), json),
        Command::NewPlugin { name, sdk } => new_plugin::new_plugin(env, &name, sdk.as_deref()),
        Command::Warm(args) => warm::warm(env, &args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "buildhook", &mut script);
            Ok(Answer::text(String::from_utf8_lossy(&script).into_owned()))
        }
    }
}

fn print(answer: &Answer) -> ExitCode {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(answer.text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => ExitCode::from(answer.code),
        // Whoever reads has seen enough, as in `buildhook stats | head -1`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::from(answer.code),
        Err(error) => {
            tell(&format!("buildhook: error: standard output: {error}\n"));
            ExitCode::from(exit::WRONG)
        }
    }
}

/// Writes to standard error; if even that fails, nobody is left to tell.
fn tell(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// One object on one line.
fn to_json<T: Serialize>(value: &T) -> String {
    match serde_json::to_string(value) {
        Ok(json) => json + "\n",
        // Only a path that is not Unicode cannot be written.
        Err(error) => format!("{{\"error\":{:?}}}\n", error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn no_command_looks_like_a_compiler() {
        for command in Cli::command().get_subcommands() {
            assert!(!crate::is_compiler(command.get_name().as_ref()), "{}", command.get_name());
        }
    }
}
