//! The file, and what is counted for the summary.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::SystemTime;

use buildhook_sdk::protocol::{Hello, Message};
use buildhook_sdk::{Call, Error};
use fs_err::{File, OpenOptions};
use serde::Serialize;
use serde_json::{Map, Value, json};

pub(crate) struct Log {
    /// `None` once writing has failed.
    file: Option<File>,
    /// Whole lines that are not in the file yet.
    lines: Vec<u8>,
    /// How often each sort of answer came.
    answers: BTreeMap<String, u64>,
    took_us: u64,
}

/// One line of the log.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Exchange<'a> {
    at_ms: u64,
    took_us: u64,
    request: &'a Map<String, Value>,
    answer: &'a Map<String, Value>,
}

impl Log {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self { file: Some(file), lines: Vec::new(), answers: BTreeMap::new(), took_us: 0 })
    }

    pub(crate) fn hello(&mut self, hello: &Hello) {
        self.write(&json!({"hello": hello}));
        self.flush();
    }

    pub(crate) fn exchange(&mut self, call: &Call, outcome: &Result<Message, Error>) {
        let took = call.received.elapsed();
        // A clock before 1970 is not worth an error.
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let fault;
        let answer = match outcome {
            Ok(message) => message.members(),
            Err(error) => {
                let members = [("kind", json!("error")), ("error", json!(error.0))];
                fault = members.map(|(name, value)| (name.to_owned(), value)).into_iter().collect();
                &fault
            }
        };
        let took_us = took.as_micros() as u64;
        *self.answers.entry(sort_of(answer)).or_default() += 1;
        self.took_us += took_us;
        let at_ms = now.saturating_sub(took).as_millis() as u64;
        self.write(&Exchange { at_ms, took_us, request: call.message.members(), answer });
    }

    pub(crate) fn summarise(&mut self) {
        let summary = json!({"answers": self.answers, "took-us": self.took_us});
        self.write(&json!({"summary": summary}));
        self.flush();
    }

    /// Takes `line`, for [`flush`](Self::flush).
    fn write(&mut self, line: &impl Serialize) {
        if self.file.is_none() {
            return;
        }
        let written = self.lines.len();
        match serde_json::to_writer(&mut self.lines, line) {
            Ok(()) => self.lines.push(b'\n'),
            Err(error) => {
                self.lines.truncate(written);
                self.give_up(&error.into());
            }
        }
    }

    /// Writes what was taken. In one go: lines of several processes do not mix.
    pub(crate) fn flush(&mut self) {
        let Some(file) = &mut self.file else { return };
        if !self.lines.is_empty()
            && let Err(error) = file.write_all(&self.lines)
        {
            self.give_up(&error);
        }
        self.lines.clear();
    }

    fn give_up(&mut self, error: &io::Error) {
        eprintln!("buildhook-log: nothing more is written down: {error}");
        self.file = None;
    }
}

/// For example `hit`, `miss not-found`, `done already`, `error timeout`.
fn sort_of(answer: &Map<String, Value>) -> String {
    let member = |name: &str| answer.get(name).unwrap_or(&Value::Null);
    let kind = member("kind").as_str().unwrap_or_default();
    let more = match kind {
        "miss" => &member("reason")["code"],
        "done" => member("stored"),
        "error" => &member("error")["kind"],
        _ => &Value::Null,
    };
    let more = more.as_str().unwrap_or_default();
    format!("{kind} {more}").trim_end().to_owned()
}
