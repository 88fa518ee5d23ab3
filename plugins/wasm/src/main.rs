//! `buildhook-wasm --policy POLICY.toml PLUGIN.wasm [ARGS…] [-- NEXT…]`: runs a plugin that is
//! not trusted, with what a policy grants and nothing else.
//!
//! Two processes: this one, the *supervisor*, speaks with the host as any plugin does, checks
//! and translates; the *runner* (`buildhook-wasm-run`), which it starts and kills, has the guest
//! in it. See `README.md` beside this crate for what is protected against whom.
//!
//! - The supervisor runs none of the guest's code and believes nothing that it says.
//! - The runner has an empty environment, and of the file system what the policy names.
//! - A guest that traps, loops, floods or lies costs a miss; the next call has a new one.
//!
//! Known gaps: Linux only. One call at a time: a guest has one thread.

mod beside;
mod inspect;
mod modules;
mod policy;
mod supervisor;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use buildhook_sdk::filter::Depth;
use buildhook_sdk::{EXIT_FAULT, EXIT_USAGE, StartError, cli};

use policy::Policy;
use supervisor::{Idle, Sandbox, Setup};

const NAME: &str = "wasm";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Runs a plugin that you do not trust.
#[derive(Debug, clap::Parser)]
#[command(
    name = "buildhook-wasm",
    version,
    after_help = "What stands after `--` is the next \
    plugin of a filter: a program, started outside of the sandbox.\n\
    `buildhook-wasm inspect PLUGIN.wasm` shows what a module asks for."
)]
struct Args {
    /// What the plugin is given.
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// Where compiled modules are kept, and files of calls at work.
    #[arg(long, value_name = "DIR")]
    cache_dir: Option<PathBuf>,
    /// The plugin, a module of WASI preview 1.
    plugin: PathBuf,
    /// Its arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

/// Shows what a module asks for, and a policy that would do.
#[derive(Debug, clap::Parser)]
#[command(name = "buildhook-wasm inspect")]
struct InspectArgs {
    /// Where compiled modules are kept.
    #[arg(long, value_name = "DIR")]
    cache_dir: Option<PathBuf>,
    /// The plugin.
    plugin: PathBuf,
}

fn main() -> ExitCode {
    let mut arguments: Vec<OsString> = std::env::args_os().collect();
    match arguments.get(1).and_then(|argument| argument.to_str()) {
        Some("inspect") => {
            arguments.remove(1);
            told(inspect(arguments))
        }
        _ => buildhook_sdk::main(NAME, VERSION, || start(arguments)),
    }
}

fn told(outcome: Result<(), (u8, String)>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, why)) => {
            eprintln!("buildhook-wasm: {why}");
            ExitCode::from(code)
        }
    }
}

fn start(mut arguments: Vec<OsString>) -> Result<Sandbox, StartError> {
    let split = arguments.iter().position(|argument| argument == "--");
    let next = split.map(|split| arguments.split_off(split).split_off(1));
    let args: Args = cli::parse_from(arguments)?;
    let program = beside::find(beside::RUNNER)?;
    // It gets ready on another processor while this one reads and checks.
    let runner = Idle::start(&program)
        .map_err(|error| StartError::Child(beside::cannot_start(&program, &error)))?;
    let cache = cache_dir(args.cache_dir)?;
    let policy = Policy::read(&args.policy, &cache)?;
    let module = modules::ensure(&args.plugin, policy.module, &cache)?;
    let mut env = Vec::new();
    for name in &policy.env {
        match std::env::var(name) {
            Ok(value) => env.push((name.clone(), value)),
            // What is not set is not passed on.
            Err(std::env::VarError::NotPresent) => {}
            Err(error) => return Err(StartError::Config(format!("the variable {name}: {error}"))),
        }
    }
    let guest_name = args
        .plugin
        .file_stem()
        .map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    let depth = Depth::new(std::env::var_os(Depth::VARIABLE))?;
    Sandbox::start(Setup {
        program,
        runner,
        cache,
        module,
        policy,
        arguments: std::iter::once(guest_name).chain(args.args).collect(),
        env,
        next,
        depth,
    })
}

fn inspect(arguments: Vec<OsString>) -> Result<(), (u8, String)> {
    let usage = |error: StartError| (EXIT_USAGE, error.to_string());
    let args: InspectArgs = match cli::parse_from(arguments) {
        Err(StartError::Help(text)) => {
            println!("{text}");
            return Ok(());
        }
        other => other.map_err(usage)?,
    };
    let cache = cache_dir(args.cache_dir).map_err(usage)?;
    let module = modules::ensure(&args.plugin, None, &cache).map_err(usage)?;
    let runner = beside::find(beside::RUNNER).map_err(usage)?;
    let text = inspect::describe(&module, &runner).map_err(|why| (EXIT_FAULT, why))?;
    print!("{text}");
    Ok(())
}

/// The cache folder, made if need be, by its real name.
fn cache_dir(given: Option<PathBuf>) -> Result<PathBuf, StartError> {
    use std::os::unix::fs::DirBuilderExt as _;
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let dir = given
        .or_else(|| set("XDG_CACHE_HOME").map(|cache| cache.join("buildhook/wasm")))
        .or_else(|| set("HOME").map(|home| home.join(".cache/buildhook/wasm")))
        .ok_or_else(|| StartError::Config("HOME is not set: say --cache-dir".to_owned()))?;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&dir)
        .and_then(|()| dir.canonicalize())
        .map_err(|error| StartError::Config(format!("{}: {error}", dir.display())))
}
