//! `buildhook-wasm-compile < plugin.wasm > compiled`: compiles a module for `buildhook-wasm`.
//!
//! A program of its own, so that what runs guests holds no compiler, and so that a module that
//! makes the compiler eat time or memory ends a process that can be lost. It reads standard
//! input, writes standard output, opens nothing, gives itself limits first, and ends with the
//! process that started it. Exit codes: 0 done, 1 the module was not compiled, with the reason on
//! standard error.

use std::io::{Read as _, Write as _};
use std::process::ExitCode;

use buildhook_wasm_engine::{MAX_MODULE_BYTES, compile, compiler};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// CPU time, in seconds: the plugins here take less than two with the slowest build of this
/// program.
const CPU_S: u64 = 120;
/// Memory that may be written to, in bytes.
const DATA_BYTES: u64 = 2 << 30;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("buildhook-wasm-compile: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    for (resource, limit) in [
        (Resource::Cpu, CPU_S),
        (Resource::Data, DATA_BYTES),
        (Resource::Core, 0),
        (Resource::Fsize, 0),
    ] {
        // Never above what this process was started with.
        let limit = Some(getrlimit(resource).maximum.map_or(limit, |maximum| maximum.min(limit)));
        setrlimit(resource, Rlimit { current: limit, maximum: limit })
            .map_err(|error| format!("setting a limit: {error}"))?;
    }
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .map_err(|error| format!("being ended with buildhook-wasm: {error}"))?;
    let mut wasm = Vec::new();
    std::io::stdin()
        .take(MAX_MODULE_BYTES + 1)
        .read_to_end(&mut wasm)
        .map_err(|error| format!("reading the module: {error}"))?;
    if wasm.len() as u64 > MAX_MODULE_BYTES {
        return Err(format!("the module is larger than {MAX_MODULE_BYTES} bytes"));
    }
    let compiled = compiler()
        .and_then(|engine| compile(&engine, &wasm))
        .map_err(|error| format!("{error:#}"))?;
    std::io::stdout().write_all(&compiled).map_err(|error| format!("writing: {error}"))
}
