//! Tests any buildhook plugin, host or build cache, from outside: nothing here
//! knows or uses the code of the things it tests.
//!
//! This file reads the environment and the arguments; see `plugin/mod.rs` for
//! how a check is added.

mod cache_suite;
mod cli;
mod command;
mod evidence;
mod expected;
mod host;
mod mutant;
mod plugin;
mod process;
mod registry;
mod report;
mod sandbox;
mod self_test;
mod session;
mod suite;
mod verdict;
mod wire;

use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use buildhook_conformance::cache::{self, SuiteError};
use clap::Parser as _;
use clap::error::{ContextKind, ContextValue};

use cli::{CacheArgs, Cli, Command, CommonArgs, SuiteArgs};
use command::Template;
use report::{Progress, Report};
use session::shlex_join;
use suite::Selection;
use verdict::{EXIT_SUITE_ERROR, EXIT_USAGE, Outcome, Stop};

/// Exit code after Ctrl-C, as shells write it.
const EXIT_INTERRUPTED: i32 = 130;

fn main() -> ExitCode {
    let arguments: Vec<String> =
        env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    match parse(&arguments).command {
        Command::Mutant(mut arguments) => {
            arguments.environment = environment();
            mutant::run(arguments)
        }
        Command::FakeChild(options) => {
            mutant::child::run(&options).unwrap_or_else(|error| suite_error(&error.to_string()))
        }
        Command::Script(arguments) => {
            host::script::run(&arguments).unwrap_or_else(|error| suite_error(&error.to_string()))
        }
        Command::FakeHost(mut arguments) => {
            arguments.hook = env::var("BUILDHOOK_HOOK").unwrap_or_default();
            arguments.environment = environment();
            host::fake::run(arguments).unwrap_or_else(|error| suite_error(&error.to_string()))
        }
        // Before any thread is started: a namespace is entered by one thread.
        Command::Sandbox { sandbox, argv } => suite_error(&sandbox.enter(&argv)),
        Command::List { json } => {
            print!("{}", if json { inventory().to_string() } else { list() + &list_cases() });
            ExitCode::SUCCESS
        }
        Command::Show { id } => show(&id),
        Command::Cache(arguments) => cache_suite(&arguments, &arguments_folder()),
        Command::Plugin(arguments) => suite(Suite::Plugin, &arguments, &arguments_folder()),
        Command::Host(arguments) => suite(Suite::Host, &arguments, &arguments_folder()),
        Command::Run(arguments) if arguments.common.only.is_empty() => {
            usage("say what to run with --only ID; `list` shows what there is")
        }
        Command::Run(arguments) => {
            let host = |id: &String| !Suite::Plugin.has(id) && Suite::Host.has(id);
            let host = arguments.common.only.iter().any(host);
            let suite_of_ids = if host { Suite::Host } else { Suite::Plugin };
            suite(suite_of_ids, &arguments, &arguments_folder())
        }
        Command::SelfTest(arguments) => match working_folder() {
            Ok(root) => self_test::run(&arguments, root.path(), processors()),
            Err(error) => suite_error(&error.to_string()),
        },
    }
}

/// Parses the command line. A mutant is a plugin and so has to say what it
/// does not understand in its hello.
fn parse(arguments: &[String]) -> Cli {
    let error = match Cli::try_parse_from(arguments) {
        Ok(cli) => return cli,
        Err(error) => error,
    };
    if arguments.get(1).is_some_and(|word| word == "mutant")
        && let Some(ContextValue::String(unknown)) = error.get(ContextKind::InvalidArg)
    {
        let mut known: Vec<String> =
            arguments.iter().filter(|word| *word != unknown).cloned().collect();
        known.insert(2, format!("--unknown={unknown}"));
        return Cli::parse_from(known);
    }
    error.exit()
}

/// All variables, for the mutants that leak them.
fn environment() -> String {
    let line = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        format!("{}={}\n", name.to_string_lossy(), value.to_string_lossy())
    };
    env::vars_os().map(line).collect()
}

fn arguments_folder() -> PathBuf {
    env::current_dir().unwrap_or_default()
}

/// Says what kept the suite from its work.
fn suite_error(text: &str) -> ExitCode {
    eprintln!("buildhook-conformance: {text}");
    ExitCode::from(EXIT_SUITE_ERROR)
}

fn usage(text: &str) -> ExitCode {
    eprintln!("buildhook-conformance: {text}");
    ExitCode::from(EXIT_USAGE)
}

/// Ends processes and calls `clean_up` when the user interrupts.
fn clean_up_on_signal(clean_up: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    #[expect(clippy::disallowed_methods, reason = "all that would be left is cleaned up before")]
    thread::spawn(move || {
        if signals.forever().next().is_some() {
            process::kill_all();
            clean_up();
            std::process::exit(EXIT_INTERRUPTED);
        }
    });
    Ok(())
}

fn processors() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Which suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Suite {
    Plugin,
    Host,
}

impl Suite {
    /// Whether a check has this id, or decides the requirement that has it.
    fn has(self, id: &str) -> bool {
        match self {
            Self::Plugin => plugin::checks().any(|one| one.id == id || one.requirement == id),
            Self::Host => host::checks().any(|one| one.id == id || one.requirement == id),
        }
    }
}

fn suite(suite: Suite, arguments: &SuiteArgs, folder: &Path) -> ExitCode {
    let path = env::var_os("PATH").unwrap_or_default();
    if let Some(word) = arguments.argv.first()
        && !command::can_start(word, folder, &path)
    {
        return usage(&format!("{word}: there is no such program"));
    }
    let expected = match known_ids(suite, &arguments.common) {
        Ok(expected) => expected,
        Err(error) => return usage(&error),
    };
    let root = match working_folder() {
        Ok(root) => root,
        Err(error) => return suite_error(&error.to_string()),
    };
    let start = Instant::now();
    let seed = arguments.seed.unwrap_or_else(|| u64::from(std::process::id()));
    let outcome = match suite {
        Suite::Plugin => plugin_suite(arguments, folder, root.path(), seed),
        Suite::Host => host_suite(arguments, folder, root.path(), seed),
    };
    conclude(outcome, start, &arguments.common, &expected)
}

/// The expected failures, once every id that the user wrote is known to exist.
fn known_ids(suite: Suite, arguments: &CommonArgs) -> Result<Vec<String>, String> {
    for id in &arguments.only {
        expected::known(id)?;
        if !suite.has(id) {
            let name = format!("{suite:?}").to_lowercase();
            return Err(format!("the {name} suite has no check of `{id}`; see `show {id}`"));
        }
    }
    let expected = arguments.expected_failures.as_deref().map(expected::read).transpose()?;
    Ok(expected.unwrap_or_default())
}

fn cache_suite(arguments: &CacheArgs, folder: &Path) -> ExitCode {
    // `--only` takes beginnings of ids here, which the suite itself looks up.
    let expected =
        match arguments.common.expected_failures.as_deref().map(expected::read).transpose() {
            Ok(expected) => expected.unwrap_or_default(),
            Err(error) => return usage(&error),
        };
    let start = Instant::now();
    let jobs = arguments.common.jobs.map_or_else(processors, usize::from);
    let path = env::var_os("PATH").unwrap_or_default();
    let scratch = env::temp_dir();
    let made = scratch.clone();
    if !arguments.keep
        && let Err(error) = clean_up_on_signal(move || cache::clean_up(&made))
    {
        return suite_error(&error.to_string());
    }
    match cache_suite::run(arguments, folder, path, scratch, jobs) {
        Ok(report) => conclude(Ok(report), start, &arguments.common, &expected),
        Err(error @ (SuiteError::NoSuchCase { .. } | SuiteError::Usage(_))) => {
            usage(&error.to_string())
        }
        Err(error) => suite_error(&error.to_string()),
    }
}

/// Applies the list of expected failures, prints and writes the report.
fn conclude(
    outcome: Outcome<Report>,
    start: Instant,
    arguments: &CommonArgs,
    expected: &[String],
) -> ExitCode {
    let mut report = match outcome {
        Ok(report) => report,
        Err(
            Stop::Fail(text)
            | Stop::NotApplicable(text)
            | Stop::Untestable(text)
            | Stop::Suite(text),
        ) => {
            return suite_error(&text);
        }
    };
    expected::apply(&mut report.results, expected);
    report.count();
    report.duration_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    print!("{}", report::summary(&report));
    if let Some(folder) = &arguments.report
        && let Err(error) = report.write(folder)
    {
        return suite_error(&format!("{}: {error}", folder.display()));
    }
    verdict::exit_code(report.results.iter().map(|result| result.verdict), arguments.profile)
}

/// A folder for everything a run writes, removed also when it is interrupted.
fn working_folder() -> std::io::Result<tempfile::TempDir> {
    let root = tempfile::Builder::new().prefix("buildhook-conformance-").tempdir()?;
    let path = root.path().to_owned();
    clean_up_on_signal(|| {
        // What cannot be removed is in the folder for temporary files.
        let _ = std::fs::remove_dir_all(path);
    })?;
    Ok(root)
}

fn plugin_suite(arguments: &SuiteArgs, folder: &Path, root: &Path, seed: u64) -> Outcome<Report> {
    let options = plugin::run::Options {
        command: Template::new(&arguments.argv, folder),
        seed,
        factor: arguments.time_factor,
        selection: selection("plugin", arguments, seed, processors()),
        root: root.to_owned(),
    };
    let run = plugin::run::run(&options, &Progress::new())?;
    let command = shlex_join(&arguments.argv);
    let mut report = Report::new("plugin", command, arguments.common.profile, seed, run.results);
    report.performance = run.performance;
    Ok(report)
}

fn host_suite(arguments: &SuiteArgs, folder: &Path, root: &Path, seed: u64) -> Outcome<Report> {
    let options = host::run::Options {
        words: arguments.argv.clone(),
        cwd: folder.to_owned(),
        factor: arguments.time_factor,
        // A build uses all processors by itself.
        selection: selection("host", arguments, seed, 1),
        root: root.to_owned(),
    };
    let results = host::run::run(&options, &Progress::new())?;
    Ok(Report::new("host", shlex_join(&arguments.argv), arguments.common.profile, seed, results))
}

/// What is to be run, and how to run it again.
fn selection(suite: &str, arguments: &SuiteArgs, seed: u64, jobs: usize) -> Selection {
    let profile = format!("{:?}", arguments.common.profile).to_lowercase();
    Selection {
        only: arguments.common.only.clone(),
        quick: arguments.quick,
        jobs: arguments.common.jobs.map_or(jobs, usize::from),
        reproduce: [
            format!("buildhook-conformance {suite} --profile {profile} --seed {seed}"),
            format!("-- {}", shlex_join(&arguments.argv)),
        ],
    }
}

fn list() -> String {
    let line = |row: &registry::Requirement| {
        let level = format!("{:?}", row.level).to_uppercase();
        let checks = if row.checks.is_empty() { "-".to_owned() } else { row.checks.join(" ") };
        format!("{:14} {level:6} {checks}\n", row.id)
    };
    registry::all().iter().map(line).collect()
}

/// The cases of the cache suite, which belong to families instead of requirements.
fn list_cases() -> String {
    let cases = cache::cases().iter();
    cases.map(|case| format!("{:40} {}\n", case.id, case.family)).collect()
}

/// Every check and every broken thing.
fn inventory() -> serde_json::Value {
    use serde_json::json;
    let check = |id: &str, requirement: &str, title: &str, host: bool| json!({"id": id, "requirement": requirement, "title": title, "host": host});
    let checks = plugin::checks().map(|one| check(one.id, one.requirement, one.title, false));
    let host_checks = host::checks().map(|one| check(one.id, one.requirement, one.title, true));
    let mutants = mutant::catalog::Mutation::all().iter();
    let mutants = mutants
        .map(|one| json!({"name": one.name(), "requirement": one.requirement(), "host": false}));
    let hosts = host::catalog::HostMutation::all().iter();
    let hosts = hosts
        .map(|one| json!({"name": one.name(), "requirement": one.requirement(), "host": true}));
    json!({
        "checks": checks.chain(host_checks).collect::<Vec<_>>(),
        "mutants": mutants.chain(hosts).collect::<Vec<_>>(),
    })
}

fn show(id: &str) -> ExitCode {
    if let Err(error) = expected::known(id) {
        return usage(&error);
    }
    let checks: Vec<(&str, &str, &str)> = plugin::checks()
        .map(|check| (check.id, check.requirement, check.title))
        .chain(host::checks().map(|check| (check.id, check.requirement, check.title)))
        .collect();
    let check = checks.iter().find(|check| check.0 == id);
    let row = registry::find(check.map_or(id, |check| check.1));
    if let Some(row) = row {
        let level = format!("{:?}", row.level).to_uppercase();
        println!("{} ({level}, since {}; {})\n  {}", row.id, row.since, row.clause, row.sentence);
        println!("  binds: {:?}", row.side);
        if let Some(capability) = &row.capability {
            println!("  applies with: {capability}");
        }
        if let Some(reason) = &row.untestable {
            println!("  not tested: {reason}");
        }
        for (id, _, title) in checks.iter().filter(|check| check.1 == row.id) {
            println!("  check {id}: {title}");
        }
    }
    if let Some(case) = cache::cases().iter().find(|case| case.id == id) {
        println!("{} (cache suite, {})\n  {}", case.id, case.family, case.claim);
    }
    ExitCode::SUCCESS
}
