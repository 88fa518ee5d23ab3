//! The file, and what is counted for the summary.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use buildhook_sdk::protocol::{Hello, Message};
use buildhook_sdk::{Call, Error};
use fs_err::{File, OpenOptions};
use serde_json::{Value, json};

pub(crate) struct Log(Mutex<Inner>);

struct Inner {
    /// `None` once writing has failed.
    file: Option<File>,
    /// How often each sort of answer came.
    answers: BTreeMap<String, u64>,
    took_us: u64,
}

/// One exchange that has begun.
pub(crate) struct Exchange {
    at_ms: u64,
    started: Instant,
}

impl Log {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let inner = Inner { file: Some(file), answers: BTreeMap::new(), took_us: 0 };
        Ok(Self(Mutex::new(inner)))
    }

    pub(crate) fn hello(&self, hello: &Hello) {
        self.lock().write(&json!({"hello": hello}));
    }

    pub(crate) fn begin(&self) -> Exchange {
        // A clock before 1970 is not worth an error.
        let at_ms = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_millis() as u64);
        Exchange { at_ms, started: Instant::now() }
    }

    pub(crate) fn end(&self, exchange: Exchange, call: &Call, outcome: &Result<Message, Error>) {
        let took_us = exchange.started.elapsed().as_micros() as u64;
        let answer = match outcome {
            Ok(message) => Value::Object(message.members().clone()),
            Err(error) => json!({"kind": "error", "error": error.0}),
        };
        let mut inner = self.lock();
        *inner.answers.entry(sort_of(&answer)).or_default() += 1;
        inner.took_us += took_us;
        inner.write(&json!({
            "at-ms": exchange.at_ms, "took-us": took_us,
            "request": call.message.members(), "answer": answer,
        }));
    }

    pub(crate) fn summarise(&self) {
        let mut inner = self.lock();
        let summary = json!({"answers": inner.answers, "took-us": inner.took_us});
        inner.write(&json!({"summary": summary}));
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn write(&mut self, value: &Value) {
        let Some(file) = &mut self.file else { return };
        // One write: lines of several processes do not mix.
        if let Err(error) = file.write_all(format!("{value}\n").as_bytes()) {
            eprintln!("buildhook-log: nothing more is written down: {error}");
            self.file = None;
        }
    }
}

/// For example `hit`, `miss not-found`, `done already`, `error timeout`.
fn sort_of(answer: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
    let kind = text(&answer["kind"]);
    let more = match kind.as_str() {
        "miss" => text(&answer["reason"]["code"]),
        "done" => text(&answer["stored"]),
        "error" => text(&answer["error"]["kind"]),
        _ => String::new(),
    };
    format!("{kind} {more}").trim_end().to_owned()
}
