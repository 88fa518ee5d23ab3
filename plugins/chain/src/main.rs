//! `buildhook-chain stack.toml`: a stack of filters and caches, written as data.
//!
//! ```toml
//! [[filter]]
//! plugin = ["only", "--origin", "registry,git"]
//!
//! [[filter]]
//! plugin = ["compress", "--level", "3"]
//!
//! [[cache]]
//! plugin = ["local-dir", "--dir", "/var/cache/buildhook"]
//! ```
//!
//! The first filter is the one that the host talks to. With several caches each says `name`,
//! `read`, `write` and `back-fill`, and may say `background`, `timeout-ms` and `patience-ms`, as for
//! `buildhook-tier`, which then stands at the end.
//!
//! A plugin that is named without a slash is the executable `buildhook-<name>`, beside this
//! one or on PATH; one with a slash is a path, relative to the file's folder.
//!
//! The stack is the same as `buildhook-only … -- buildhook-compress … -- …` by hand: this
//! program puts that command together and becomes it, so it costs nothing per request.

mod find;
mod stack;

use std::convert::Infallible;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use buildhook_sdk::filter::Depth;
use buildhook_sdk::{Plugin, StartError, cli};

use find::Finder;

const NAME: &str = "chain";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Runs the stack of filters and caches that a TOML file describes.
#[derive(Debug, clap::Parser)]
#[command(name = "buildhook-chain", version)]
struct Args {
    /// The file.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print the command that the stack is, a line for each word, and run nothing.
    #[arg(long)]
    print: bool,
}

fn main() -> ExitCode {
    let depth = std::env::var_os(Depth::VARIABLE);
    let finder = Finder::new(std::env::current_exe().ok(), std::env::var_os("PATH"));
    match start(depth, &finder) {
        Ok(never) => match never {},
        Err(error) => buildhook_sdk::main::<Box<dyn Plugin>>(NAME, VERSION, || Err(error)),
    }
}

fn start(depth: Option<OsString>, finder: &Finder) -> Result<Infallible, StartError> {
    let depth = Depth::new(depth)?;
    let args: Args = cli::parse()?;
    let command = stack::read(&args.file, finder)?;
    if args.print {
        let words = command.iter().map(|word| format!("{}\n", word.display()));
        return Err(StartError::Help(words.collect()));
    }
    become_command(&command, depth)
}

/// Replaces this process: nothing has been written yet, so the host sees only the stack.
fn become_command(command: &[OsString], depth: Depth) -> Result<Infallible, StartError> {
    use std::os::unix::process::CommandExt as _;
    let [program, arguments @ ..] = command else { unreachable!("a stack has a cache") };
    let error = Command::new(program).args(arguments).env(Depth::VARIABLE, depth.below()).exec();
    Err(StartError::Child(format!("cannot start `{}`: {error}", program.display())))
}
