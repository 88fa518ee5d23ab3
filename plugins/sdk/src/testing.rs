//! For the tests of plugins: drives a plugin's executable as a host does, with messages that
//! a test can shape as it likes.
//!
//! It panics where a test should fail. It is no host: it has no deadlines but one limit for
//! everything, and verifies nothing unless asked to.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use buildhook_protocol::{Digest, EntryName, FileRecord, Key, Lease, seal};
use serde_json::{Value, json};

/// Longer than anything takes on a machine under load; reached only when a test fails.
const LIMIT: Duration = Duration::from_secs(60);
/// The deadline of requests that name none, in milliseconds.
const DEADLINE_MS: u64 = 30_000;

/// A plugin's process and the session with it. Killed when dropped.
pub struct Session {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    stderr: Option<JoinHandle<String>>,
    hello: Value,
    last_id: u64,
}

impl Session {
    /// Starts `program` with `arguments` and reads its hello.
    #[must_use]
    pub fn start<A: AsRef<OsStr>>(
        program: impl AsRef<OsStr>,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        let mut command = Command::new(program);
        command.args(arguments);
        Self::spawn(command)
    }

    /// Starts `command`, whose environment a test may have changed.
    #[must_use]
    pub fn spawn(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the plugin starts");
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout.expect("piped")).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let stderr = std::thread::spawn(move || {
            let mut text = String::new();
            // What is not text is not looked at by any test.
            let _ = stderr.expect("piped").read_to_string(&mut text);
            text
        });
        let mut session = Self {
            stdin: child.stdin.take(),
            child,
            lines,
            stderr: Some(stderr),
            hello: Value::Null,
            last_id: 0,
        };
        session.hello = session.receive().expect("a hello");
        session
    }

    /// The first message.
    #[must_use]
    pub fn hello(&self) -> &Value {
        &self.hello
    }

    /// The process's id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends `message` as it is.
    pub fn send(&mut self, message: &Value) {
        self.send_line(&message.to_string());
    }

    /// Sends a line, whatever it is. A plugin that is gone is found by the next receive.
    pub fn send_line(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("the session is open");
        let _ = stdin.write_all(format!("{line}\n").as_bytes());
    }

    /// The next message, or `None` when the plugin has closed its end.
    #[must_use]
    pub fn receive(&mut self) -> Option<Value> {
        match self.lines.recv_timeout(LIMIT) {
            Ok(line) => Some(serde_json::from_str(&line).expect("a message is JSON")),
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => None,
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => panic!("no answer in {LIMIT:?}"),
        }
    }

    /// Sends a request under a fresh id and returns the answer.
    pub fn ask(&mut self, mut request: Value) -> Value {
        self.last_id += 1;
        request["id"] = self.last_id.into();
        self.send(&request);
        let answer = self.receive().expect("an answer");
        assert_eq!(answer["id"], request["id"], "{answer}");
        answer
    }

    /// Closes standard input and waits for the exit; returns its status and what stood on
    /// standard error.
    pub fn close(mut self) -> (ExitStatus, String) {
        drop(self.stdin.take());
        let started = Instant::now();
        while self.receive().is_some() {}
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("our own child") {
                break status;
            }
            assert!(started.elapsed() < LIMIT, "the plugin does not exit");
            std::thread::sleep(Duration::from_millis(1));
        };
        let stderr = self.stderr.take().expect("taken once").join().expect("only reads");
        (status, stderr)
    }

    /// Kills the process, as a power cut would.
    pub fn kill(&mut self) {
        // It may have exited by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A folder with files to offer, and requests about them.
pub struct Fixture {
    dir: PathBuf,
}

impl Fixture {
    /// Uses `dir`, an existing folder.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// The key that stands for `name`.
    #[must_use]
    pub fn key(name: &str) -> Key {
        Key(Digest::of(name.as_bytes()))
    }

    /// A new scratch folder.
    #[must_use]
    pub fn scratch(&self) -> PathBuf {
        let path = self.dir.join(crate::files::unique_name());
        fs_err::create_dir(&path).expect("a fresh name");
        path
    }

    /// Writes a file and describes it as `borrowed`.
    #[must_use]
    pub fn file(&self, name: &str, content: &[u8], executable: bool) -> FileRecord {
        let path = self.dir.join(crate::files::unique_name());
        fs_err::write(&path, content).expect("the folder is writable");
        record(name, &path, content, executable, Lease::Borrowed)
    }

    /// A `want-to-build` for the key that stands for `key`, without an id.
    #[must_use]
    pub fn want(&self, key: &str) -> Value {
        self.request("want-to-build", key)
    }

    /// A `built-a-thing` of `files`, without an id.
    #[must_use]
    pub fn built(&self, key: &str, files: &[FileRecord]) -> Value {
        let mut request = self.request("built-a-thing", key);
        request["seal"] = json!(seal(&Self::key(key), files));
        request["files"] = json!(files);
        request
    }

    fn request(&self, kind: &str, key: &str) -> Value {
        json!({
            "v": 1, "kind": kind, "key": Self::key(key), "unit": {"name": key},
            "scratch": self.scratch(), "deadline-ms": DEADLINE_MS,
        })
    }
}

/// Describes a file.
#[must_use]
pub fn record(
    name: &str,
    path: &Path,
    content: &[u8],
    executable: bool,
    lease: Lease,
) -> FileRecord {
    FileRecord {
        name: EntryName::new(name).expect("a valid name"),
        path: path.to_owned(),
        size: content.len() as u64,
        digest: Digest::of(content),
        executable,
        lease,
    }
}

/// The files of a hit, by name: content read from where the answer says it is, and the
/// executable flag. Checks sizes and digests.
#[must_use]
pub fn contents(hit: &Value) -> Vec<(String, Vec<u8>, bool)> {
    assert_eq!(hit["kind"], "hit", "{hit}");
    let files: Vec<FileRecord> = serde_json::from_value(hit["files"].clone()).expect("records");
    let mut contents: Vec<_> = files
        .into_iter()
        .map(|file| {
            let content = fs_err::read(&file.path).expect("the file is there");
            assert_eq!(content.len() as u64, file.size, "{}", file.name);
            assert_eq!(Digest::of(&content), file.digest, "{}", file.name);
            (file.name.as_str().to_owned(), content, file.executable)
        })
        .collect();
    contents.sort();
    contents
}
