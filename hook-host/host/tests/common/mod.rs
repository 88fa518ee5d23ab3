//! What the tests share: plugins in memory and as scripts, units, entries, folders.

#![allow(dead_code, reason = "each test program uses a part")]

use std::fs;
use std::io::{self, BufRead, BufReader, PipeReader, PipeWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use buildhook_host::{Ask, Built, Hooks, Host, Launch, Limits, Lookup, OfferedFile, Outcome};
use buildhook_host::{PluginCommand, Streams};
use buildhook_protocol::{Digest, EntryName, FileRecord, Key, Lease, Purpose, Reason, Unit, seal};
use serde_json::{Value, json};

pub(crate) const HELLO: &str = r#"{"v":[1],"plugin":{"name":"fake","version":"1"},"hooks":["want-to-build","built-a-thing"],"max-in-flight":8}"#;

/// A key made of any text.
pub(crate) fn key(text: &str) -> Key {
    Key(Digest::of(text.as_bytes()))
}

pub(crate) fn name(text: &str) -> EntryName {
    EntryName::new(text).expect("a good name")
}

/// A unit to ask about, with a scratch root of its own.
pub(crate) struct Fixture {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) unit: Unit,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let unit = Unit { name: Some("fixture".into()), ..Unit::default() };
        Self { dir: tempfile::tempdir().expect("a folder"), unit }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn scratch_root(&self) -> PathBuf {
        self.path("scratch")
    }

    pub(crate) fn want(&self, host: &Host, of: &str) -> Lookup {
        let root = self.scratch_root();
        host.want_to_build(&self.ask(of, &root))
    }

    pub(crate) fn ask<'a>(&'a self, of: &str, scratch_root: &'a Path) -> Ask<'a> {
        Ask {
            key: key(of),
            purpose: Purpose::Outputs,
            unit: &self.unit,
            scratch_root,
            manifest: None,
        }
    }

    pub(crate) fn built(
        &self,
        host: &Host,
        of: &str,
        files: &[OfferedFile],
        replace: bool,
    ) -> Outcome {
        let root = self.scratch_root();
        let built = Built { files, cost_ms: Some(7), replace };
        host.built_a_thing(&self.ask(of, &root), &built)
    }

    /// Writes a file and its record.
    pub(crate) fn file(&self, at: &str, named: &str, content: &[u8], lease: Lease) -> FileRecord {
        let path = self.path(at);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(&path, content).expect("a file");
        FileRecord {
            name: name(named),
            path,
            size: content.len() as u64,
            digest: Digest::of(content),
            executable: false,
            lease,
        }
    }

    /// One file to offer.
    pub(crate) fn some_file(&self) -> [OfferedFile; 1] {
        [offered(&self.file("built", "out/built", b"built", Lease::Borrowed))]
    }

    /// Files and folders that requests have left under the scratch root.
    pub(crate) fn scratch_left(&self) -> Vec<PathBuf> {
        let list = |folder: &Path| -> Vec<PathBuf> {
            let entries = fs::read_dir(folder).into_iter().flatten();
            entries.map(|entry| entry.expect("an entry").path()).collect()
        };
        let homes = list(&self.scratch_root());
        let requests = homes.iter().flat_map(|home| list(home));
        requests.flat_map(|request| list(&request)).collect()
    }
}

pub(crate) fn offered(record: &FileRecord) -> OfferedFile {
    OfferedFile {
        name: record.name.clone(),
        path: record.path.clone(),
        size: record.size,
        digest: record.digest,
        executable: record.executable,
        lease: record.lease,
    }
}

/// A hit for `key(of)`, with the right seal, as a plugin would write it but for `id`.
pub(crate) fn hit(of: &str, files: &[FileRecord]) -> Value {
    json!({"kind": "hit", "seal": seal(&key(of), files), "files": files})
}

/// A plugin in memory: `serve` gets requests and the pipe to answer on.
pub(crate) fn in_memory(
    serve: impl Fn(BufReader<PipeReader>, PipeWriter) + Send + Sync + 'static,
) -> Launch {
    let serve = Arc::new(serve);
    Launch::InMemory(Arc::new(move || -> io::Result<Streams> {
        let (output, their_output) = io::pipe()?;
        let (their_input, input) = io::pipe()?;
        let serve = Arc::clone(&serve);
        thread::spawn(move || serve(BufReader::new(their_input), their_output));
        Ok((Box::new(output), Box::new(input)))
    }))
}

/// A plugin in memory that says hello and gives, for each request, the answers to write.
pub(crate) fn answering(answer: impl Fn(&Value) -> Vec<Value> + Send + Sync + 'static) -> Launch {
    in_memory(move |requests, mut output| {
        if writeln!(output, "{HELLO}").is_err() {
            return;
        }
        for line in requests.lines() {
            let Ok(line) = line else { return };
            let request: Value = serde_json::from_str(&line).expect("the host writes JSON");
            for answer in answer(&request) {
                if writeln!(output, "{answer}").is_err() {
                    return;
                }
            }
        }
    })
}

/// `answer` with the id of `request`.
pub(crate) fn reply(request: &Value, mut answer: Value) -> Vec<Value> {
    answer["id"] = request["id"].clone();
    vec![answer]
}

/// A plugin that is a shell script.
pub(crate) fn script(text: &str) -> Launch {
    Launch::Command(PluginCommand::new("/bin/sh", ["-c", text], path_only()))
}

/// The environment of plugins in tests: what finds programs, and nothing of the person's.
pub(crate) fn path_only() -> Vec<(std::ffi::OsString, std::ffi::OsString)> {
    vec![("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into())]
}

pub(crate) fn host(launch: Launch) -> Host {
    Host::new(Hooks::both(launch), quick())
}

/// Limits that let a test of a hang be short, yet leave a slow machine its time.
pub(crate) fn quick() -> Limits {
    Limits {
        want: Duration::from_millis(300),
        built: Duration::from_millis(300),
        lost: Duration::from_millis(700),
        hello: Duration::from_secs(20),
        ..Limits::default()
    }
}

/// Limits under which no deadline is ever met: for tests in which time plays no part.
pub(crate) fn patient() -> Limits {
    let long = Duration::from_secs(60);
    Limits { hello: long, want: long, built: long, lost: long, ..Limits::default() }
}

/// The reason of a miss.
#[track_caller]
pub(crate) fn miss(lookup: Lookup) -> Reason {
    match lookup {
        Lookup::Miss(reason) => reason,
        Lookup::Hit(entry) => panic!("a hit: {entry:?}"),
    }
}

#[track_caller]
pub(crate) fn entry(lookup: Lookup) -> buildhook_host::Entry {
    match lookup {
        Lookup::Hit(entry) => entry,
        Lookup::Miss(reason) => panic!("a miss: {reason:?}"),
    }
}

#[track_caller]
pub(crate) fn not_stored(outcome: Outcome) -> Reason {
    match outcome {
        Outcome::NotStored(reason) => reason,
        stored => panic!("stored: {stored:?}"),
    }
}
