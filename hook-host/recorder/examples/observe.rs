//! Runs a command and prints what it and everything it started took from outside:
//! `cargo run -p buildhook-recorder --example observe -- rustc main.rs`.

use std::collections::BTreeSet;
use std::error::Error;
use std::process::{Command, ExitCode};

use buildhook_recorder::{PRELOAD_VARIABLE, environment, install, read};

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let program = arguments.next().ok_or("usage: observe COMMAND [ARGUMENT]...")?;
    let folder = tempfile::tempdir()?;
    let logs = folder.path().join("logs");
    fs_err::create_dir(&logs)?;
    let library = install(folder.path())?;
    let own = std::env::var_os(PRELOAD_VARIABLE);
    let variables = environment(&library, &logs, own.as_deref())?;
    let status = Command::new(program).args(arguments).envs(variables).status()?;

    let observation = read(&logs);
    let inputs: BTreeSet<_> = observation
        .inputs()
        .map(|event| {
            let executable = observation.process(event.process).executable.file_name();
            let module = event.module.and_then(|module| observation.module(module).file_name());
            let who = [executable, module].map(|name| name.unwrap_or_default().to_string_lossy());
            format!(
                "{} {}\t{:?} {:?}\t{:?}",
                who[0], who[1], event.op, event.outcome, event.subject
            )
        })
        .collect();
    for input in inputs {
        println!("{input}");
    }
    for missing in &observation.unobservable {
        println!("unobservable: {missing:?}");
    }
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
