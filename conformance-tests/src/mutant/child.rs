//! The suite's own child of a filter: a right store that notes what it
//! receives and, when told so, is slow, silent, dead or wrong.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};

use super::emit::Out;
use super::server::Server;
use crate::session::unix_ms;

/// Arguments of the subcommand `fake-child`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct ChildOptions {
    /// The folder of the store.
    #[arg(long)]
    pub(crate) dir: PathBuf,
    /// A file that gets one JSON line per event.
    #[arg(long)]
    pub(crate) trace: PathBuf,
    /// Hooks to announce, separated by commas.
    #[arg(long)]
    hooks: Option<String>,
    /// Versions to announce, separated by commas.
    #[arg(long)]
    versions: Option<String>,
    #[arg(long, default_value_t = 4)]
    max_in_flight: u64,
    #[arg(long, default_value_t = 0)]
    hello_delay_ms: u64,
    #[arg(long, default_value_t = 0)]
    answer_delay_ms: u64,
    /// Holds the first answer back, and no other.
    #[arg(long, default_value_t = 0)]
    slow_first_ms: u64,
    #[arg(long, default_value_t = 0)]
    exit_delay_ms: u64,
    /// Adds unknown members to answers and their records.
    #[arg(long)]
    decorate: bool,
    /// Changes the content of files in hits, not their records.
    #[arg(long)]
    corrupt: bool,
    #[arg(long)]
    die_on_request: bool,
    #[arg(long)]
    die_in_answer: bool,
    #[arg(long)]
    nonsense: bool,
    #[arg(long)]
    silent: bool,
}

/// Plays the child until standard input ends.
pub(crate) fn run(options: &ChildOptions) -> io::Result<ExitCode> {
    let folder = options.dir.clone();
    Server::new(folder, None, "shared", "", Some(options.clone())).session()
}

impl ChildOptions {
    fn note(&self, note: Value) -> io::Result<()> {
        let mut note = note;
        note["at-ms"] = unix_ms().into();
        let mut file = OpenOptions::new().append(true).create(true).open(&self.trace)?;
        // One write, so that children at once do not mix their lines.
        file.write_all(format!("{note}\n").as_bytes())
    }

    /// Notes a request.
    pub(super) fn note_request(&self, request: &Value) -> io::Result<()> {
        self.note(json!({"event": "request", "message": request}))
    }

    /// Makes the hello what the options say.
    pub(super) fn hello(&self, hello: &mut Value) {
        sleep(Duration::from_millis(self.hello_delay_ms));
        if let Some(hooks) = &self.hooks {
            hello["hooks"] = hooks.split(',').collect::<Vec<_>>().into();
        }
        if let Some(versions) = &self.versions {
            hello["v"] = versions
                .split(',')
                .filter_map(|v| v.parse::<u64>().ok())
                .collect::<Vec<_>>()
                .into();
        }
        hello["max-in-flight"] = self.max_in_flight.into();
    }

    /// Dies or writes nonsense instead of an answer, if told to.
    pub(super) fn misbehave(&self, out: &Out) -> io::Result<Option<ExitCode>> {
        let mut stdout = io::stdout().lock();
        if self.die_in_answer {
            stdout.write_all(b"{\"id\":1,\"kind\":\"mi")?;
            stdout.flush()?;
        }
        if self.nonsense {
            stdout.write_all(b"nonsense\n[1,2]\n{\"kind\":\"hit\"}\n")?;
            stdout.flush()?;
        }
        drop(stdout);
        out.finish()?;
        Ok((self.die_on_request || self.die_in_answer).then(|| ExitCode::from(1)))
    }

    /// Changes an answer; returns how long to hold it back, or nothing when it
    /// is not to be given at all.
    pub(super) fn adjust(&self, answer: &mut Value, requests: u64) -> io::Result<Option<Duration>> {
        if self.silent || self.nonsense {
            return Ok(None);
        }
        if self.decorate {
            let luggage = json!({"n": [1, {"deep": "ü"}]});
            answer["x-child"] = luggage.clone();
            for record in crate::wire::records_mut(answer, "files") {
                record["x-child"] = luggage.clone();
            }
        }
        if self.corrupt {
            for record in answer["files"].as_array().into_iter().flatten() {
                let path = record["path"].as_str().unwrap_or_default();
                let mut content = fs::read(path)?;
                content.iter_mut().for_each(|byte| *byte ^= 1);
                fs::write(path, content)?;
            }
        }
        let first = if requests == 1 { self.slow_first_ms } else { 0 };
        Ok(Some(Duration::from_millis(self.answer_delay_ms.max(first))))
    }

    /// Notes the end and takes its time over it.
    pub(super) fn end(&self) -> io::Result<()> {
        self.note(json!({"event": "end-of-input"}))?;
        sleep(Duration::from_millis(self.exit_delay_ms));
        self.note(json!({"event": "exit"}))
    }
}
