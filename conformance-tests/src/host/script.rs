//! The scripted plugin that a host is tested with: behaves in one way, and
//! notes everything the host sends and every rule that breaks.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, sleep};
use std::time::Duration;

use clap::ValueEnum;
use serde_json::{Value, json};

use super::requests;
use crate::mutant::store::{Found, Store};
use crate::plugin::bench::text;
use crate::wire::strict;

/// How long a request is looked at before it is answered: a second one in this
/// time, or a file that changes, is the host's fault.
const WATCH: Duration = Duration::from_millis(20);
/// How much later than its deadline an answer comes.
const LATE: Duration = Duration::from_secs(2);
/// Written to standard error by the noisy plugin, and nowhere else.
pub(crate) const NOISE: &str = "noise-of-a-plugin";
/// Bytes of noise at a time; more than any pipe holds.
pub(crate) const NOISE_BYTES: usize = 1 << 20;

/// One way to behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Script {
    /// A store that is right.
    Store,
    /// Answers from a store that others filled, and stores nothing.
    Frozen,
    /// The same, its files `borrowed`.
    Borrowed,
    /// The same, with unknown members, features and codes, and nulls.
    Decorated,
    /// Asks for manifests.
    Manifest,
    Version99,
    Versions1And7,
    WantOnly,
    BuiltOnly,
    SilentHello,
    ErrorHello,
    DiesAtStart,
    DiesOnRequest,
    Noisy,
    Late,
    NotJson,
    ArrayAnswer,
    DuplicateMember,
    Fraction,
    Surrogate,
    Deep,
    LongLine,
    WrongContent,
    WrongSize,
    MissingFile,
    Misfiled,
    RequestError,
    SessionError,
    HangsAtEnd,
    Drains,
}

/// Arguments of the subcommand `script`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ScriptArgs {
    #[arg(value_enum)]
    script: Script,
    #[arg(long)]
    dir: PathBuf,
    #[arg(long)]
    trace: PathBuf,
}

struct Plugin {
    script: Script,
    store: Store,
    trace: PathBuf,
    lines: Receiver<Vec<u8>>,
    /// Lines read while a request was looked at.
    early: Vec<Vec<u8>>,
    ids: BTreeSet<u64>,
    /// Why the host must not send anything any more.
    over: Option<&'static str>,
}

/// Plays the plugin until standard input ends.
pub(crate) fn run(arguments: &ScriptArgs) -> io::Result<ExitCode> {
    note(&arguments.trace, json!({"event": "start", "descriptors": descriptors()}))?;
    match arguments.script {
        Script::DiesAtStart => return Ok(ExitCode::from(1)),
        Script::Noisy => noise()?,
        _ => {}
    }
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        let mut input = BufReader::new(io::stdin());
        loop {
            let mut line = Vec::new();
            let most = 2 * crate::wire::MAX_LINE_BYTES as u64;
            let read = (&mut input).take(most).read_until(b'\n', &mut line);
            if !matches!(read, Ok(count) if count > 0) || sender.send(line).is_err() {
                return;
            }
        }
    });
    let mut plugin = Plugin {
        script: arguments.script,
        store: Store::new(arguments.dir.clone(), None, String::new()),
        trace: arguments.trace.clone(),
        lines,
        early: Vec::new(),
        ids: BTreeSet::new(),
        over: None,
    };
    plugin.session()
}

/// Appends one line to a trace.
pub(crate) fn note(trace: &Path, mut note: Value) -> io::Result<()> {
    note["pid"] = std::process::id().into();
    let mut file = OpenOptions::new().append(true).create(true).open(trace)?;
    // One write, so that plugins at once do not mix their lines.
    file.write_all(format!("{note}\n").as_bytes())
}

/// Descriptors above standard error that this process was given: what they are.
pub(super) fn descriptors() -> Vec<String> {
    let Ok(folder) = fs::read_dir("/proc/self/fd") else { return Vec::new() };
    let target =
        |number: &u32| fs::read_link(format!("/proc/self/fd/{number}")).map(|path| text(&path));
    let numbers: Vec<u32> =
        folder.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    let others = numbers.iter().filter(|number| **number > 2);
    // The folder that was just read is gone by now.
    others.filter_map(|number| target(number).ok()).collect()
}

fn noise() -> io::Result<()> {
    let line = format!("{NOISE}\n");
    io::stderr().write_all(line.repeat(NOISE_BYTES / line.len()).as_bytes())
}

fn write(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()
}

impl Plugin {
    fn note(&self, value: Value) -> io::Result<()> {
        note(&self.trace, value)
    }

    fn violation(&self, requirement: &str, text: &str) -> io::Result<()> {
        self.note(json!({"event": "violation", "requirement": requirement, "text": text}))
    }

    fn session(&mut self) -> io::Result<ExitCode> {
        if self.script == Script::SilentHello {
            // The host closes standard input or kills.
            while self.lines.recv().is_ok() {
                self.violation("BH-HELLO-009", "a request before any hello")?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        let hello = self.hello();
        write(&crate::wire::line(&hello))?;
        if self.script == Script::ErrorHello {
            return Ok(ExitCode::from(1));
        }
        while let Some(line) = self.next() {
            if let Some(code) = self.request(&line)? {
                return Ok(code);
            }
        }
        self.note(json!({"event": "end-of-input"}))?;
        match self.script {
            Script::HangsAtEnd => loop {
                sleep(Duration::from_secs(60));
            },
            Script::Drains => sleep(Duration::from_millis(400)),
            _ => {}
        }
        self.note(json!({"event": "exit"}))?;
        Ok(ExitCode::SUCCESS)
    }

    fn next(&mut self) -> Option<Vec<u8>> {
        if self.early.is_empty() { self.lines.recv().ok() } else { Some(self.early.remove(0)) }
    }

    fn hello(&mut self) -> Value {
        let mut hello = json!({
            "v": [1],
            "plugin": {"name": "script", "version": "1"},
            "hooks": ["want-to-build", "built-a-thing"],
            "max-in-flight": 1,
        });
        match self.script {
            Script::Version99 => {
                hello["v"] = json!([99]);
                self.over = Some("BH-HELLO-006");
            }
            Script::Versions1And7 => hello["v"] = json!([7, 1]),
            Script::WantOnly => hello["hooks"] = json!(["want-to-build"]),
            Script::BuiltOnly => hello["hooks"] = json!(["built-a-thing"]),
            Script::Manifest => hello["features"] = json!(["manifest"]),
            Script::Drains => hello["drain-ms"] = 1_000.into(),
            Script::Decorated => {
                hello["features"] = json!(["x-conformance", "telepathy"]);
                hello["x-hello"] = json!({"deep": [1]});
                hello["drain-ms"] = Value::Null;
            }
            Script::ErrorHello => {
                hello["error"] =
                    json!({"kind": "config", "scope": "session", "message": "as the script says"});
                if let Some(members) = hello.as_object_mut() {
                    members.remove("hooks");
                }
            }
            _ => {}
        }
        hello
    }

    /// Notes and answers one line; an exit code ends the session.
    fn request(&mut self, line: &[u8]) -> io::Result<Option<ExitCode>> {
        let shown = String::from_utf8_lossy(line).into_owned();
        if let Some(requirement) = self.over {
            self.violation(requirement, "a request after the session was over")?;
        }
        let parsed = strict::parse(line.strip_suffix(b"\n").unwrap_or(line));
        let (request, violations) = match parsed {
            Ok(parsed) => parsed,
            Err(violation) => {
                self.violation(violation.requirement, &violation.text)?;
                return Ok(Some(ExitCode::from(1)));
            }
        };
        let manifest = request["manifest"]["path"].as_str();
        let manifest = manifest.and_then(|path| fs::read_to_string(path).ok());
        let line = shown.trim_end();
        self.note(json!({"event": "request", "line": line, "message": request, "manifest-text": manifest}))?;
        let id = request["id"].as_u64().unwrap_or(0);
        if !self.ids.insert(id) {
            self.violation("BH-REQ-009", &format!("the id {id} a second time"))?;
        }
        let announced = match self.script {
            Script::WantOnly => request["kind"] == "want-to-build",
            Script::BuiltOnly => request["kind"] == "built-a-thing",
            _ => true,
        };
        if !announced {
            self.violation("BH-HELLO-005", &format!("{} was not announced", request["kind"]))?;
        }
        for violation in violations.into_iter().chain(requests::lint(&request)) {
            self.violation(violation.requirement, &violation.text)?;
        }
        if let Ok(line) = self.lines.recv_timeout(WATCH) {
            self.violation("BH-HELLO-005", "a second request although `max-in-flight` is 1")?;
            self.early.push(line);
        }
        if let Some(change) = requests::changed(&request) {
            self.violation("BH-FILE-010", &change)?;
        }
        if self.script == Script::DiesOnRequest {
            return Ok(Some(ExitCode::from(1)));
        }
        let answer = self.answer(&request)?;
        self.send(&request, answer)?;
        Ok(None)
    }

    fn answer(&mut self, request: &Value) -> io::Result<Value> {
        let id = &request["id"];
        if request["kind"] == "built-a-thing" {
            let stored = self.script == Script::Store && self.store.put(request).is_ok();
            return Ok(
                json!({"id": id, "kind": "done", "stored": if stored { "yes" } else { "no" }}),
            );
        }
        let Found::Entry(record) = self.store.get(request) else {
            return Ok(json!({"id": id, "kind": "miss", "reason": {"code": "not-found"}}));
        };
        let mut files = record["files"].as_array().cloned().unwrap_or_default();
        let mut seal = record["seal"].clone();
        match self.script {
            Script::Borrowed => files.iter_mut().for_each(|file| file["lease"] = "borrowed".into()),
            Script::WrongContent | Script::Misfiled | Script::MissingFile | Script::WrongSize => {
                self.spoil(request, &mut files)?;
            }
            _ => {}
        }
        if self.script == Script::WrongSize {
            // Nothing but the size gives it away.
            seal = crate::wire::seal(request["key"].as_str().unwrap_or_default(), &files).into();
        }
        self.note(json!({"event": "hit", "key": request["key"], "files": files}))?;
        Ok(json!({"id": id, "kind": "hit", "seal": seal, "files": files}))
    }

    /// Makes a hit one that the host must not use, of content that is found
    /// again if it does.
    fn spoil(&self, request: &Value, files: &mut [Value]) -> io::Result<()> {
        let scratch = PathBuf::from(request["scratch"].as_str().unwrap_or_default());
        for (index, file) in files.iter_mut().enumerate() {
            let mut content = fs::read(file["path"].as_str().unwrap_or_default())?;
            if content.is_empty() {
                content = b"not empty any more".to_vec();
            }
            let middle = content.len() / 2;
            content[middle] ^= 0x20;
            let path = scratch.join(format!("spoiled-{index}"));
            fs::write(&path, &content)?;
            let digest = crate::wire::digest(&content);
            self.note(json!({"event": "poison", "digest": digest, "name": file["name"]}))?;
            file["path"] = text(&path).into();
            file["lease"] = "owned".into();
            if self.script != Script::WrongContent {
                file["digest"] = digest.into();
                file["size"] = content.len().into();
            }
            if self.script == Script::WrongSize {
                file["size"] = (content.len() + 1).into();
            }
        }
        if self.script == Script::MissingFile
            && let Some(file) = files.last_mut()
        {
            file["path"] = text(&scratch.join("never-there")).into();
        }
        Ok(())
    }

    fn send(&mut self, request: &Value, mut answer: Value) -> io::Result<()> {
        let fault = |kind: &str, scope: &str| {
            json!({"id": request["id"], "kind": "error",
                   "error": {"kind": kind, "scope": scope, "message": "as the script says"}})
        };
        match self.script {
            Script::RequestError => answer = fault("unavailable", "request"),
            Script::SessionError => {
                answer = fault("auth", "session");
                self.over = Some("BH-ERR-002");
            }
            Script::Noisy => noise()?,
            Script::Late => return self.send_late(request, &answer),
            Script::Decorated => decorate(&mut answer),
            _ => {}
        }
        let text = answer.to_string();
        let open = &text[1..];
        let line = match self.script {
            Script::NotJson => b"{\"id\":\n".to_vec(),
            Script::ArrayAnswer => format!("[{text}]\n").into_bytes(),
            Script::DuplicateMember => format!("{{\"kind\":\"miss\",{open}\n").into_bytes(),
            Script::Fraction => format!("{{\"x-number\":1.5,{open}\n").into_bytes(),
            Script::Surrogate => format!("{{\"x-text\":\"\\ud800\",{open}\n").into_bytes(),
            Script::Deep => {
                format!("{{\"x-deep\":{}1{},{open}\n", "[".repeat(40), "]".repeat(40)).into_bytes()
            }
            Script::LongLine => {
                let padding = "x".repeat(crate::wire::MAX_LINE_BYTES);
                format!("{{\"x-padding\":\"{padding}\",{open}\n").into_bytes()
            }
            _ => return write(format!("{text}\n").as_bytes()),
        };
        self.over = Some("BH-WIRE-009");
        // The host may have hung up in the middle, which is its right.
        let _ = write(&line);
        Ok(())
    }

    /// Answers after the deadline and notes whether the host still waited.
    fn send_late(&mut self, request: &Value, answer: &Value) -> io::Result<()> {
        let deadline = Duration::from_millis(request["deadline-ms"].as_u64().unwrap_or(0));
        match self.lines.recv_timeout(deadline.min(Duration::from_secs(30)) + LATE) {
            Err(mpsc::RecvTimeoutError::Timeout) => {
                self.violation(
                    "BH-REQ-006",
                    "the host still waits two seconds after the deadline",
                )?;
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => {}
            Ok(line) => self.early.push(line),
        }
        // A host that is gone needs no answer.
        let _ = write(format!("{answer}\n").as_bytes());
        Ok(())
    }
}

fn decorate(answer: &mut Value) {
    answer["x-answer"] = json!({"deep": [{"a": 1}]});
    answer["cost-ms"] = Value::Null;
    if answer["kind"] == "miss" {
        answer["reason"] = json!({"code": "x-never-heard-of", "message": null});
    }
    for record in crate::wire::records_mut(answer, "files") {
        record["x-record"] = json!([true]);
    }
}
