//! A small build cache that is right, and can be told to be wrong in one way.
//!
//! It exists to test the cache suite: with no fault it passes every case, and
//! with a fault it must fail the cases made for it. It is right because it is
//! coarse: the key covers the whole command line, the whole environment and
//! every file below a given folder.
//!
//! | variable | meaning |
//! |---|---|
//! | `BROKEN_ROOT` | the folder whose files all count |
//! | `BROKEN_STORE` | where entries live |
//! | `BROKEN_FAULT` | the fault; none when unset or empty |

mod call;
mod fault;
mod key;
mod store;

use std::env;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Command, ExitCode, ExitStatus, Stdio};

use call::Call;
use fault::{Behaviour, Fault};
use store::{Entry, Store};

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            // A cache must not fail a build; this one has nothing else to do
            // when even the compiler cannot be run.
            eprintln!("broken-wrapper: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> io::Result<ExitCode> {
    let words: Vec<OsString> = env::args_os().skip(1).collect();
    let name = env::var("BROKEN_FAULT").unwrap_or_default();
    let fault = Fault::named(&name)
        .ok_or_else(|| io::Error::other(format!("`{name}` is no fault that it knows")))?;
    let (Some(root), Some(store)) = (env::var_os("BROKEN_ROOT"), env::var_os("BROKEN_STORE"))
    else {
        return Err(io::Error::other("BROKEN_ROOT and BROKEN_STORE must be set"));
    };
    let Some(call) = Call::parse(&words, fault) else {
        return pass_through(&words);
    };
    let inputs = key::Inputs {
        call: &call,
        root: PathBuf::from(root),
        folder: env::current_dir()?,
        environment: env::vars_os().collect(),
        fault,
    };
    cached(&words, &inputs, &Store::new(PathBuf::from(store), fault))
}

fn cached(words: &[OsString], inputs: &key::Inputs<'_>, store: &Store) -> io::Result<ExitCode> {
    let fault = inputs.fault;
    if fault.is(Behaviour::Noisy) {
        eprintln!("broken-wrapper: looking for {}", inputs.call.crate_name);
    }
    let _lock = match fault.is(Behaviour::Locks) {
        true => Some(store.lock()?),
        false => None,
    };
    let Ok(before) = inputs.key() else {
        return pass_through(words);
    };
    match store.get(&before.key, inputs.call) {
        Ok(Some(entry)) => return replay(&entry, fault),
        Ok(None) => {}
        Err(error) if fault.is(Behaviour::Fails) => return Err(error),
        Err(_) => {}
    }
    let (status, entry) = compile(words)?;
    let Ok(after) = inputs.key() else {
        return Ok(exit_code(status));
    };
    let unchanged = before == after || fault.is(Behaviour::TrustsInputs);
    let worth = status.success() || (fault.is(Behaviour::StoresFailures));
    let describable = entry.speaks_json() || fault.is(Behaviour::StoresMessages);
    if (unchanged || fault.is(Behaviour::KeysLate)) && worth && describable {
        let key = match fault.is(Behaviour::KeysLate) {
            true => &after.key,
            false => &before.key,
        };
        let entry = Entry { code: status.code().unwrap_or(1), ..entry };
        if let Err(error) = store.put(key, inputs.call, &entry)
            && fault.is(Behaviour::Fails)
        {
            return Err(error);
        }
    }
    Ok(exit_code(status))
}

fn compile(words: &[OsString]) -> io::Result<(ExitStatus, Entry)> {
    let output = Command::new(&words[0]).args(&words[1..]).stdin(Stdio::inherit()).output()?;
    io::stdout().write_all(&output.stdout)?;
    io::stderr().write_all(&output.stderr)?;
    let entry = Entry { code: 0, stdout: output.stdout, stderr: output.stderr };
    Ok((output.status, entry))
}

fn replay(entry: &Entry, fault: &Fault) -> io::Result<ExitCode> {
    io::stdout().write_all(&entry.stdout)?;
    if !fault.is(Behaviour::Silent) {
        io::stderr().write_all(&entry.stderr)?;
    }
    Ok(ExitCode::from(u8::try_from(entry.code).unwrap_or(1)))
}

fn pass_through(words: &[OsString]) -> io::Result<ExitCode> {
    let (program, arguments) =
        words.split_first().ok_or_else(|| io::Error::other("no compiler given"))?;
    Ok(exit_code(Command::new(program).args(arguments).status()?))
}

fn exit_code(status: ExitStatus) -> ExitCode {
    ExitCode::from(status.code().and_then(|c| u8::try_from(c).ok()).unwrap_or(1))
}
