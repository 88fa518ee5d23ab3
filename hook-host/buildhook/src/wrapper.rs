//! The compiler wrapper: what Cargo calls in place of rustc.
//!
//! It is started for every crate, so it does as little as can be done here: the session of
//! the build knows the answer ([`crate::session`]), this process only asks, runs the
//! compiler when it must, and passes on what the compiler says.
//!
//! Invariants:
//! - whatever goes wrong with the session, the compiler runs, exactly as called;
//! - nothing of our own is written to standard output or error: Cargo keeps and replays it.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use buildhook_cargo::args::{self, Parsed};
use buildhook_cargo::diagnostics::Translation;

use crate::environment::Environment;
use crate::session::client::Session;
use crate::session::wire::{Finished, Question, Reply, RunReply};

/// What a shell answers when a program cannot be run.
const CANNOT_RUN: u8 = 127;
/// Added to a signal's number by convention when a program was ended by it.
const SIGNAL: i32 = 128;

/// Answers a call of Cargo: `args` are the compiler and its arguments.
pub(crate) fn main(args: Vec<OsString>, env: &Environment) -> ExitCode {
    let words: Option<Vec<String>> =
        args.iter().map(|word| word.to_str().map(str::to_owned)).collect();
    let Some(words) = words.filter(|words| is_compile(words, env)) else {
        return untouched(&args);
    };
    let asked = Session::of_this_build(env).and_then(|mut session| {
        let question = Question::Before {
            words,
            cwd: env.current_dir.clone(),
            env: env.variables.iter().map(|(n, v)| (n.clone(), v.clone())).collect(),
        };
        let reply = session.ask(&question)?;
        Ok((session, reply))
    });
    match asked {
        Ok((_, Reply::Hit { stdout, stderr })) => replay(&stdout, &stderr),
        Ok((session, Reply::Run(run))) => compile(&args, &run, session),
        Ok((_, Reply::Untouched | Reply::Done)) | Err(_) => untouched(&args),
    }
}

/// Only compiles are worth a session; Cargo's and build scripts' probes are not.
fn is_compile(words: &[String], env: &Environment) -> bool {
    let read = |path: &std::path::Path| fs_err::read_to_string(env.current_dir.join(path)).ok();
    matches!(args::parse(words, read), Parsed::Compile(_))
}

/// Becomes the compiler.
fn untouched(args: &[OsString]) -> ExitCode {
    let mut command = Command::new(&args[0]);
    command.args(&args[1..]);
    #[cfg(unix)]
    {
        let error = std::os::unix::process::CommandExt::exec(&mut command);
        cannot_run(&args[0], &error)
    }
    #[cfg(not(unix))]
    match command.status() {
        Ok(status) => exit_code(status),
        Err(error) => cannot_run(&args[0], &error),
    }
}

fn cannot_run(program: &OsString, error: &io::Error) -> ExitCode {
    // Without a compiler there is nothing to replay this later.
    eprintln!("error: cannot run `{}`: {error}", program.display());
    ExitCode::from(CANNOT_RUN)
}

fn replay(stdout: &[u8], stderr: &[u8]) -> ExitCode {
    // When Cargo no longer listens, it no longer matters.
    let _ = io::stdout().write_all(stdout).and_then(|()| io::stdout().flush());
    let _ = io::stderr().write_all(stderr);
    ExitCode::SUCCESS
}

/// Runs the compiler, passes on what it says as it says it, and tells the session.
fn compile(args: &[OsString], run: &RunReply, mut session: Session) -> ExitCode {
    let started = Instant::now();
    let (launcher, rest) = args.split_at(run.launcher_words.clamp(1, args.len()));
    let mut command = Command::new(&launcher[0]);
    command.args(&launcher[1..]).args(&run.extra_arguments).args(rest);
    command.envs(run.variables.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::inherit()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return cannot_run(&launcher[0], &error),
    };
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let output = std::thread::spawn(move || forward_stdout(stdout));
    let said = forward_stderr(stderr, &run.translation);
    let output = output.join().unwrap_or_default();
    let status = match child.wait() {
        Ok(status) => status,
        Err(error) => return cannot_run(&launcher[0], &error),
    };
    let finished = Finished {
        success: status.success(),
        stdout: output,
        stderr: said,
        duration_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
    };
    // The compiler is done; a session that has died costs only the entry.
    let _ = session.ask(&Question::After(finished));
    exit_code(status)
}

fn forward_stdout(stream: Option<impl Read>) -> Vec<u8> {
    let mut kept = Vec::new();
    if let Some(mut stream) = stream {
        let mut buffer = [0; 8192];
        while let Ok(read @ 1..) = stream.read(&mut buffer) {
            kept.extend_from_slice(&buffer[..read]);
            let _ = io::stdout().write_all(&buffer[..read]).and_then(|()| io::stdout().flush());
        }
    }
    kept
}

/// Passes lines on at once, since Cargo starts dependent crates when it reads of a finished
/// `.rmeta`; folders replace tokens. Keeps the lines as the compiler wrote them.
fn forward_stderr(stream: Option<impl Read>, translation: &Translation) -> Vec<u8> {
    let mut kept = Vec::new();
    let Some(stream) = stream else { return kept };
    let mut lines = BufReader::new(stream);
    let mut line = Vec::new();
    while let Ok(1..) = lines.read_until(b'\n', &mut line) {
        let shown = std::str::from_utf8(&line).map(|text| translation.apply(text));
        let bytes = shown.as_deref().map_or(line.as_slice(), str::as_bytes);
        let _ = io::stderr().write_all(bytes);
        kept.append(&mut line);
    }
    kept
}

fn exit_code(status: std::process::ExitStatus) -> ExitCode {
    #[cfg(unix)]
    let code = status.code().or_else(|| {
        std::os::unix::process::ExitStatusExt::signal(&status).map(|signal| SIGNAL + signal)
    });
    #[cfg(not(unix))]
    let code = status.code();
    ExitCode::from(u8::try_from(code.unwrap_or(1)).unwrap_or(1))
}

/// How long a wrapper waits for a session's answer: longer than all limits of one unit's
/// requests together, and only ever reached when the session itself hangs.
pub(crate) const ANSWER_LIMIT: Duration = Duration::from_secs(60);
