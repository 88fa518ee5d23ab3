//! Measures build caches over one project, beside plain builds and an oracle.
//!
//! Runs alternate: in each round every tool builds once with an empty cache, and then, in
//! turns, several times with a full one: in the same folder, in another one, with nothing
//! to do and after edits. Target folders are empty but for the last. A shared machine
//! changes from minute to minute, so ratios are taken within a turn, and their median is
//! reported.
//!
//! Isolation: every tool has a home, a cache folder and an environment of its own; all
//! share one Cargo home that is filled before anything is measured.
//!
//! Known gaps: the oracle does not run on systems other than Unix; processor time leaves
//! out what daemons of a tool do.

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

mod disk;
mod environment;
mod error;
mod figures;
mod hook;
mod plot;
mod project;
mod report;
mod run;
mod tool;

use environment::Environment;
use error::Error;
use project::Source;
use tool::{Candidate, Tool};

/// A measurement failed; what was measured until then is lost.
const EXIT_FAULT: u8 = 1;
/// The command line was wrong (clap uses the same code).
const EXIT_USAGE: u8 = 2;

/// Measures build caches: cold, warm, and warm in another folder, in alternating runs.
#[derive(Parser)]
#[command(name = "buildhook-bench", version)]
struct Arguments {
    /// What to build: `ripgrep`, `template` (a hyper and reqwest service), or a folder.
    #[arg(long, value_name = "ripgrep|template|PATH")]
    project: Source,
    /// How often each tool begins with an empty cache; the median counts.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: u32,
    /// How often each tool builds with the cache that it has filled, for each of --runs.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    warm_runs: u32,
    /// Where results.json, table.md and plot.svg go.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Which tools, by name; all that are on PATH when left out.
    #[arg(long, value_delimiter = ',', value_name = "TOOL,…")]
    tools: Vec<Tool>,
    /// The Cargo profile.
    #[arg(long, default_value = "dev")]
    profile: String,
    /// What Cargo is told to do.
    #[arg(long, default_value = "build")]
    command: tool::Command,
    /// The plugin whose single calls are timed and which `buildhook-hook` uses, with its
    /// arguments; `{dir}` is an empty folder.
    #[arg(long, default_value = "buildhook-local-dir --dir {dir}", value_name = "COMMAND")]
    hook: String,
    /// Only time the calls of the plugin.
    #[arg(long)]
    only_hook: bool,
    /// Folder for projects, targets and caches; a temporary one when left out.
    #[arg(long, value_name = "DIR")]
    work: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let environment = match Environment::new(&|name| env::var_os(name), env::current_exe()) {
        Ok(environment) => environment,
        Err(error) => return fail(&error),
    };
    match measure(&arguments, &environment) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn fail(error: &Error) -> ExitCode {
    eprintln!("buildhook-bench: {error}");
    ExitCode::from(if error.is_usage() { EXIT_USAGE } else { EXIT_FAULT })
}

fn measure(arguments: &Arguments, environment: &Environment) -> Result<(), Error> {
    // Found before anything takes time.
    let hook = hook::find(environment, &arguments.hook)?;
    let candidates = match arguments.only_hook {
        true => Vec::new(),
        false => Candidate::find(environment, &arguments.tools)?,
    };
    let temporary;
    let work = match &arguments.work {
        Some(work) => {
            fs_err::create_dir_all(work)?;
            fs_err::canonicalize(work)?
        }
        None => {
            temporary = tempfile::Builder::new().prefix("buildhook-bench").tempdir()?;
            fs_err::canonicalize(temporary.path())?
        }
    };
    fs_err::create_dir_all(&arguments.out)?;
    let calls = match hook {
        Some(hook) => Some(hook::measure(&hook, &work.join("hook"))?),
        None => None,
    };
    let measured = match candidates.is_empty() {
        true => run::Measured::default(),
        false => {
            let rounds = run::Rounds { cold: arguments.runs, warm: arguments.warm_runs };
            let project = project::prepare(environment, &arguments.project, &work)?;
            {
                let task = tool::Task {
                    command: arguments.command,
                    profile: &arguments.profile,
                    hook: &arguments.hook,
                };
                run::all(environment, &candidates, &project, task, rounds)?
            }
        }
    };
    let machine = environment.machine()?;
    let report = report::Report::new(arguments, machine, &candidates, measured, calls);
    report.write(&arguments.out)?;
    print!("{}", report.table());
    Ok(())
}
