//! How sources of credentials are reached: files, programs, and services of AWS. All of them end
//! by themselves, whatever they find.

use std::io::{self, Read as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqsign_core::{CommandExecute, CommandOutput, Error, FileRead, HttpSend, Result};
use ureq::Agent;

/// Metadata services are one hop away: what does not answer by then is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// STS and SSO are asked over the network.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// What AWS's own library for Go grants a `credential_process` (`processcreds.DefaultTimeout`).
const PROCESS_TIMEOUT: Duration = Duration::from_mins(1);
/// A program that has said all is looked after this often until it has ended.
const ENDS_EVERY: Duration = Duration::from_millis(5);
/// Longest answer of a source of credentials, in bytes.
const MAX_ANSWER_BYTES: u64 = 1024 * 1024;
/// Where metadata services of AWS are, never behind a proxy.
const LINK_LOCAL: &str = "169.254.";

#[derive(Debug)]
pub(super) struct Files;

impl FileRead for Files {
    async fn file_read(&self, path: &str) -> Result<Vec<u8>> {
        fs_err::read(path).map_err(|error| Error::config_invalid(error.to_string()))
    }
}

#[derive(Debug)]
pub(super) struct Commands;

impl CommandExecute for Commands {
    async fn command_execute<'a>(
        &'a self,
        program: &'a str,
        args: &'a [&'a str],
    ) -> Result<CommandOutput> {
        let (status, stdout) = answer_of(Command::new(program).args(args), PROCESS_TIMEOUT)
            .map_err(|error| Error::config_invalid(error.to_string()))?;
        Ok(CommandOutput { status: status.code().unwrap_or(-1), stdout, stderr: Vec::new() })
    }
}

/// Runs `command`, which must end within `limit`, and returns what it writes to standard output. It
/// stays in this process's group: who ends the plugin ends it too.
fn answer_of(command: &mut Command, limit: Duration) -> io::Result<(ExitStatus, Vec<u8>)> {
    let started = Instant::now();
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let output = child.stdout.take();
    let (sender, receiver) = mpsc::channel();
    // Not joined: what `command` has started may hold the pipe for ever.
    thread::spawn(move || {
        let mut answer = Vec::new();
        let read = output.map(|output| output.take(MAX_ANSWER_BYTES).read_to_end(&mut answer));
        // Nobody listens when the time is over.
        let _ = sender.send(read.transpose().map(|_| answer));
    });
    let answer = receiver.recv_timeout(limit).map_err(|_| io::ErrorKind::TimedOut.into());
    let ended = answer.and_then(|answer| Ok((end_of(&mut child, limit, started)?, answer?)));
    if ended.is_err() {
        // It may have ended just now.
        let _ = child.kill();
        child.wait()?;
    }
    ended
}

fn end_of(child: &mut Child, limit: Duration, started: Instant) -> io::Result<ExitStatus> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if started.elapsed() > limit {
            return Err(io::ErrorKind::TimedOut.into());
        }
        thread::sleep(ENDS_EVERY);
    }
}

#[derive(Debug)]
pub(super) struct Http(pub(super) Agent);

impl HttpSend for Http {
    async fn http_send(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>> {
        let direct = request.uri().host().is_some_and(|host| host.starts_with(LINK_LOCAL));
        let (parts, body) = request.into_parts();
        let request = http::Request::from_parts(parts, body.to_vec());
        let configured = self
            .0
            .configure_request(request)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_global(Some(REQUEST_TIMEOUT));
        let configured = if direct { configured.proxy(None) } else { configured };
        let failed = |_| Error::unexpected("a source of credentials does not answer");
        let (parts, mut body) = self.0.run(configured.build()).map_err(failed)?.into_parts();
        let body = body.with_config().limit(MAX_ANSWER_BYTES).read_to_vec().map_err(failed)?;
        Ok(http::Response::from_parts(parts, Bytes::from(body)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration) -> io::Result<(ExitStatus, Vec<u8>)> {
        answer_of(Command::new("/bin/sh").args(["-c", script]), limit)
    }

    #[test]
    fn a_program_that_does_not_end_is_ended() {
        const SHORT: Duration = Duration::from_millis(200);
        // It says nothing; it has said all there is and stays.
        for script in ["exec sleep 1000", "exec sleep 1000 >&-"] {
            assert_eq!(shell(script, SHORT).unwrap_err().kind(), io::ErrorKind::TimedOut);
        }
        let (status, answer) = shell("echo answer; exit 3", PROCESS_TIMEOUT).unwrap();
        assert_eq!((status.code(), answer), (Some(3), b"answer\n".to_vec()));
    }

    #[test]
    fn an_endless_answer_is_cut() {
        // The program ends when nobody reads any more.
        let (_, answer) = shell("exec cat /dev/zero", PROCESS_TIMEOUT).unwrap();
        assert_eq!(answer.len() as u64, MAX_ANSWER_BYTES);
    }
}
