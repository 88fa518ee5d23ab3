//! Tests any buildhook plugin, host or build cache, from outside: nothing here
//! knows or uses the code of the things it tests.
//!
//! This file reads the environment and the arguments; see `plugin/mod.rs` for
//! how a check is added.

mod cli;
mod command;
mod evidence;
mod expected;
mod mutant;
mod plugin;
mod process;
mod registry;
mod report;
mod sandbox;
mod session;
mod verdict;
mod wire;

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use clap::Parser as _;
use clap::error::{ContextKind, ContextValue};

use cli::{Cli, Command, SelfTestArgs, SuiteArgs};
use command::Template;
use mutant::matrix::{SelfTest, render};
use report::{Progress, Report};
use session::shlex_join;
use verdict::{EXIT_NOT_CONFORMANT, EXIT_SUITE_ERROR, EXIT_USAGE, Stop};

/// Exit code after Ctrl-C, as shells write it.
const EXIT_INTERRUPTED: i32 = 130;

fn main() -> ExitCode {
    let arguments: Vec<String> =
        env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    match parse(&arguments).command {
        Command::Mutant(mut arguments) => {
            let variables = env::vars_os().map(|(name, value)| {
                format!("{}={}\n", name.to_string_lossy(), value.to_string_lossy())
            });
            arguments.environment = variables.collect();
            mutant::run(arguments)
        }
        Command::FakeChild(options) => {
            mutant::child::run(&options).unwrap_or_else(|error| suite_error(&error.to_string()))
        }
        // Before any thread is started: a namespace is entered by one thread.
        Command::Sandbox { sandbox, argv } => suite_error(&sandbox.enter(&argv)),
        Command::List => {
            plugin_list();
            ExitCode::SUCCESS
        }
        Command::Show { id } => show(&id),
        Command::Plugin(arguments) | Command::Run(arguments) => {
            plugin_suite(&arguments, &arguments_folder())
        }
        Command::SelfTest(arguments) => self_test(&arguments),
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

fn arguments_folder() -> PathBuf {
    env::current_dir().unwrap_or_default()
}

fn suite_error(text: &str) -> ExitCode {
    eprintln!("buildhook-conformance: {text}");
    ExitCode::from(EXIT_SUITE_ERROR)
}

fn usage(text: &str) -> ExitCode {
    eprintln!("buildhook-conformance: {text}");
    ExitCode::from(EXIT_USAGE)
}

/// Ends processes and removes `root` when the user interrupts.
fn clean_up_on_signal(root: PathBuf) -> std::io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    thread::spawn(move || {
        if signals.forever().next().is_some() {
            process::kill_all();
            // What cannot be removed is in the folder for temporary files.
            let _ = std::fs::remove_dir_all(&root);
            std::process::exit(EXIT_INTERRUPTED);
        }
    });
    Ok(())
}

fn processors() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

fn plugin_suite(arguments: &SuiteArgs, folder: &std::path::Path) -> ExitCode {
    let start = Instant::now();
    for id in &arguments.only {
        if let Err(error) = expected::known(id) {
            return usage(&error);
        }
    }
    let expected = match arguments.expected_failures.as_deref().map(expected::read).transpose() {
        Ok(expected) => expected.unwrap_or_default(),
        Err(error) => return usage(&error),
    };
    let root = match tempfile::Builder::new().prefix("buildhook-conformance-").tempdir() {
        Ok(root) => root,
        Err(error) => return suite_error(&error.to_string()),
    };
    if let Err(error) = clean_up_on_signal(root.path().to_owned()) {
        return suite_error(&error.to_string());
    }
    let seed = arguments.seed.unwrap_or_else(|| u64::from(std::process::id()));
    let profile = format!("{:?}", arguments.profile).to_lowercase();
    let options = plugin::run::Options {
        command: Template::new(&arguments.argv, folder),
        seed,
        only: arguments.only.clone(),
        factor: arguments.time_factor,
        jobs: arguments.jobs.map_or_else(processors, usize::from),
        quick: false,
        root: root.path().to_owned(),
        reproduce: format!("buildhook-conformance plugin --profile {profile} --seed {seed}"),
        reproduce_command: format!("-- {}", shlex_join(&arguments.argv)),
    };
    let run = match plugin::run::run(&options, &Progress::new()) {
        Ok(run) => run,
        Err(
            Stop::Fail(text)
            | Stop::NotApplicable(text)
            | Stop::Untestable(text)
            | Stop::Suite(text),
        ) => {
            return suite_error(&text);
        }
    };
    let mut results = run.results;
    expected::apply(&mut results, &expected);
    let command = shlex_join(&arguments.argv);
    let mut report = Report::new("plugin", command, arguments.profile, seed, results);
    report.performance = run.performance;
    report.duration_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    finish(&report, arguments)
}

/// Prints and writes the report.
fn finish(report: &Report, arguments: &SuiteArgs) -> ExitCode {
    print!("{}", report::summary(report));
    if let Some(folder) = &arguments.report
        && let Err(error) = report.write(folder)
    {
        return suite_error(&format!("{}: {error}", folder.display()));
    }
    verdict::exit_code(report.results.iter().map(|result| result.verdict), arguments.profile)
}

fn plugin_list() {
    for row in registry::all() {
        let level = format!("{:?}", row.level).to_uppercase();
        let checks = if row.checks.is_empty() { "-".to_owned() } else { row.checks.join(" ") };
        println!("{:14} {level:6} {checks}", row.id);
    }
}

fn show(id: &str) -> ExitCode {
    if let Err(error) = expected::known(id) {
        return usage(&error);
    }
    let check = plugin::checks().find(|check| check.id == id);
    let row = registry::find(check.map_or(id, |check| check.requirement));
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
        for check in plugin::checks().filter(|check| check.requirement == row.id) {
            println!("  check {}: {}", check.id, check.title);
        }
    }
    ExitCode::SUCCESS
}

fn self_test(arguments: &SelfTestArgs) -> ExitCode {
    let root = match tempfile::Builder::new().prefix("buildhook-conformance-").tempdir() {
        Ok(root) => root,
        Err(error) => return suite_error(&error.to_string()),
    };
    if let Err(error) = clean_up_on_signal(root.path().to_owned()) {
        return suite_error(&error.to_string());
    }
    let test = SelfTest {
        root: root.path(),
        seed: arguments.seed,
        jobs: processors(),
        factor: arguments.time_factor,
        aimed: arguments.aimed,
    };
    let mut print = |row: &mutant::matrix::Row| println!("{}", render(row));
    let rows = if arguments.only.is_empty() {
        test.baselines(&mut print).and_then(|mut rows| {
            rows.extend(test.mutants(&mut print)?);
            Ok(rows)
        })
    } else {
        let named = mutant::catalog::Mutation::all().iter();
        let named = named.filter(|mutation| arguments.only.contains(&mutation.name()));
        named
            .map(|mutation| {
                let row = test.mutant(*mutation)?;
                print(&row);
                println!("      {}", row.checks.iter().cloned().collect::<Vec<_>>().join(" "));
                Ok(row)
            })
            .collect()
    };
    match rows {
        Ok(rows) if rows.iter().all(mutant::matrix::Row::holds) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(EXIT_NOT_CONFORMANT),
        Err(stop) => suite_error(&format!("{stop:?}")),
    }
}
