//! How a session ends: in order, by force or by itself.

use std::collections::BTreeMap;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use super::{Session, describe, unix_ms};
use crate::evidence::Direction;
use crate::process::Output;
use crate::verdict::Outcome;
use crate::wire::strict::excerpt;

/// Time for a process that the plugin started to follow it.
const RELATIVES_GRACE: Duration = Duration::from_millis(500);

/// How a session ended.
#[derive(Debug)]
pub(crate) struct Ending {
    /// Answers that came after standard input was closed, by id.
    pub(crate) answers: BTreeMap<u64, Value>,
    /// How the process ended; nothing when it had to be killed.
    pub(crate) status: Option<ExitStatus>,
    /// When it had ended, by the wall clock.
    pub(crate) ended_unix_ms: u64,
}

impl Session {
    /// Closes standard input, reads what still comes and waits for the end.
    pub(crate) fn close(mut self) -> Outcome<Ending> {
        self.check_leases();
        self.log.note(self.number, "close standard input");
        let drain = Duration::from_millis(self.hello["drain-ms"].as_u64().unwrap_or(0));
        let limit = self.patience.end_limit(drain);
        let start = Instant::now();
        self.process.close_input();
        self.read_to_end(start, limit);
        let status = self.process.wait(limit.saturating_sub(start.elapsed()));
        let ended_unix_ms = unix_ms();
        self.judge_end(status, limit);
        Ok(Ending { answers: std::mem::take(&mut self.early), status, ended_unix_ms })
    }

    fn judge_end(&mut self, status: Option<ExitStatus>, limit: Duration) {
        self.finished = true;
        match status {
            None => {
                self.patience.hung();
                let text =
                    format!("still running {} ms after standard input ended", limit.as_millis());
                self.violate("BH-END-001", text);
            }
            Some(status) if self.fault_sent && status.code() == Some(1) => {}
            Some(status) if !status.success() => {
                let status = describe(status);
                self.violate(
                    "BH-END-001",
                    format!("ended with {status} after standard input ended"),
                );
            }
            Some(_) => {}
        }
        if let Some(code) = status.and_then(|status| status.code())
            && code > 2
        {
            self.violate("BH-END-008", format!("the exit code is {code}"));
        }
        if status.is_some() {
            let start = Instant::now();
            while !self.process.relatives().is_empty() {
                if start.elapsed() > RELATIVES_GRACE {
                    self.violate(
                        "BH-END-004",
                        "a process that the plugin started is still running",
                    );
                    break;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        self.finish(&status.map_or_else(|| "killed by the suite".to_owned(), describe));
    }

    /// Reads until standard output ends or `limit` after `start`.
    fn read_to_end(&mut self, start: Instant, limit: Duration) {
        while let Output::Line(bytes, ended) =
            self.process.read(limit.saturating_sub(start.elapsed()))
        {
            if let Some(message) = self.read_line(&bytes, ended) {
                self.sort(message);
            }
        }
    }

    /// Kills the plugin's process without warning.
    pub(crate) fn kill(mut self) {
        self.process.signal(Signal::KILL);
        self.log.note(self.number, "SIGKILL");
        self.finish("killed");
    }

    /// Waits for the process to end by itself, reading on.
    pub(crate) fn wait_end(&mut self, limit: Duration) -> Option<ExitStatus> {
        let start = Instant::now();
        self.read_to_end(start, limit);
        self.process.wait(limit.saturating_sub(start.elapsed()))
    }

    pub(super) fn describe_end(&mut self) -> String {
        let status = self.process.wait(Duration::from_millis(500));
        let status = status.map_or_else(
            || "closed its standard output".to_owned(),
            |status| format!("ended with {}", describe(status)),
        );
        self.process.finish_stderr(Duration::from_millis(200));
        let stderr = self.process.stderr();
        let text = String::from_utf8_lossy(&stderr.start).into_owned();
        let tail = text.lines().rev().take(3).collect::<Vec<_>>();
        let tail = tail.into_iter().rev().collect::<Vec<_>>().join(" | ");
        let stderr = if tail.is_empty() {
            String::new()
        } else {
            format!("; it said: {}", excerpt(&tail, 400))
        };
        format!("the plugin {status} too early{stderr}")
    }

    fn finish(&mut self, status: &str) {
        self.finished = true;
        self.process.kill();
        self.process.finish_stderr(Duration::from_millis(200));
        let stderr = self.process.stderr();
        if stderr.total_bytes > 0 {
            self.log.event(self.number, Direction::Stderr, &stderr.start);
        }
        self.log.note(self.number, &format!("end: {status}"));
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if !self.finished {
            self.finish("killed by the suite");
        }
    }
}
