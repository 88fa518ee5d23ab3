//! A compiler wrapper that knows the answer: the lower bound of any wrapper that is called
//! once for each unit.
//!
//! In a recording build it runs the compiler and keeps what came out, under the words of
//! the call. In a replay it copies the outputs back and prints what was printed, and
//! checks nothing. So it is no cache: a changed source gives the old result. Folders are
//! kept as tokens, so that a replay may take place in another checkout.
//!
//! What it cannot take over (source on standard input, outputs named one by one) goes to
//! the compiler as it is.

use std::env;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::{Command, ExitCode};

mod store;

use store::{Call, Store};

/// A call that never reached the compiler.
const EXIT_FAULT: u8 = 125;

fn main() -> ExitCode {
    let mut args = env::args_os().skip(1);
    let Some(compiler) = args.next() else {
        eprintln!("buildhook-bench-oracle: to be started as a compiler wrapper");
        return ExitCode::from(EXIT_FAULT);
    };
    let args: Vec<_> = args.collect();
    let mut command = Command::new(&compiler);
    command.args(&args);
    let store = env::var_os("BUILDHOOK_BENCH_STORE").map(PathBuf::from);
    let root = env::var("BUILDHOOK_BENCH_ROOT").ok();
    let words: Option<Vec<String>> = args.into_iter().map(|arg| arg.into_string().ok()).collect();
    let folder =
        env::current_dir().ok().and_then(|folder| folder.into_os_string().into_string().ok());
    let (Some(store), Some(root), Some(words), Some(folder)) = (store, root, words, folder) else {
        return run(&mut command);
    };
    let Some(call) = Call::new(words, folder, root) else {
        return run(&mut command);
    };
    let store = Store::new(store);
    let replaying = env::var_os("BUILDHOOK_BENCH_RECORD").is_none();
    let result = if replaying { store.replay(&call) } else { store.record(&call, &mut command) };
    match result {
        Ok(Some(printed)) => {
            let _ = io::stdout().write_all(&printed.stdout);
            let _ = io::stderr().write_all(&printed.stderr);
            ExitCode::from(printed.code)
        }
        Ok(None) => run(&mut command),
        Err(error) => {
            eprintln!("buildhook-bench-oracle: {error}");
            ExitCode::from(EXIT_FAULT)
        }
    }
}

/// Runs the compiler with nothing in between.
fn run(command: &mut Command) -> ExitCode {
    match command.status() {
        Ok(status) => status.code().map_or(ExitCode::FAILURE, |code| ExitCode::from(code as u8)),
        Err(error) => {
            eprintln!("buildhook-bench-oracle: {error}");
            ExitCode::from(EXIT_FAULT)
        }
    }
}
