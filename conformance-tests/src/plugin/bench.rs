//! What one check works with: a folder, a command, requests and expectations.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use memchr::memmem;
use serde_json::{Value, json};

use super::Setup;
use super::entry::{Entry, Piece, Random};
use crate::command::this_program;
use crate::evidence::{Log, Snapshot, walk};
use crate::process::Launch;
use crate::sandbox::Sandbox;
use crate::session::{Session, short};
use crate::verdict::{Outcome, Stop, fail, require};
use crate::wire::strict::Violation;

/// Deadline of an ordinary request.
const DEADLINE: Duration = Duration::from_secs(5);
/// Deadline of a request with a lot to do.
pub(crate) const LONG_DEADLINE_MS: u64 = 120_000;
/// A variable that looks like a credential; its value must never come back.
const CANARY_VARIABLE: &str = "CONFORMANCE_ACCESS_TOKEN";
/// The store lies this deep in a check's folder, so that what climbs out of it
/// by `..` still lands where the suite looks.
const NEST: &str = "nest/nest/nest";

/// The workplace of one check.
#[derive(Debug)]
pub(crate) struct Bench<'a> {
    /// What is the same for all checks.
    pub(crate) setup: &'a Setup,
    /// Everything of this check is below.
    pub(crate) folder: PathBuf,
    pub(crate) log: Log,
    pub(crate) random: Random,
    label: String,
    files: u64,
}

impl<'a> Bench<'a> {
    /// Makes the folders of a check named `label`, whose sessions write to `log`.
    ///
    /// # Errors
    /// When a folder cannot be made.
    pub(crate) fn new(setup: &'a Setup, label: &str, log: &Log) -> io::Result<Self> {
        let folder = setup.root.join(label);
        for name in [NEST, "scratch", "inputs", "suite", "cwd", "tmp"] {
            fs::create_dir_all(folder.join(name))?;
        }
        let bench = Self {
            setup,
            folder,
            log: log.clone(),
            random: Random::new(setup.seed, label),
            label: label.to_owned(),
            files: 0,
        };
        fs::create_dir(bench.store_folder())?;
        Ok(bench)
    }

    /// What `{store}` stands for.
    pub(crate) fn store_folder(&self) -> PathBuf {
        self.folder.join(NEST).join("store")
    }

    /// The store of the suite's own child.
    pub(crate) fn child_store(&self) -> PathBuf {
        self.folder.join("suite/child-store")
    }

    /// Where the suite's own child notes what it received.
    pub(crate) fn child_trace(&self) -> PathBuf {
        self.folder.join("suite/child-trace")
    }

    /// The command line of the suite's own child.
    pub(crate) fn child(&self, options: &[&str]) -> Vec<String> {
        let (store, trace) = (text(&self.child_store()), text(&self.child_trace()));
        let fixed = ["fake-child", "--dir", &store, "--trace", &trace];
        let all = fixed.iter().chain(options).map(|word| (*word).to_owned());
        std::iter::once(text(&this_program())).chain(all).collect()
    }

    /// What to start, with a child that behaves.
    pub(crate) fn launch(&self) -> Launch {
        self.launch_over(&[])
    }

    /// What to start, with a child that has these options.
    pub(crate) fn launch_over(&self, child_options: &[&str]) -> Launch {
        let argv = self.setup.command.expand(&self.store_folder(), &self.child(child_options));
        self.launch_argv(argv)
    }

    /// A command line in this check's environment.
    pub(crate) fn launch_argv(&self, argv: Vec<String>) -> Launch {
        let env: Vec<(String, OsString)> = vec![
            ("TMPDIR".to_owned(), self.folder.join("tmp").into_os_string()),
            (CANARY_VARIABLE.to_owned(), self.canary().into()),
        ];
        Launch { argv, env, cwd: self.folder.join("cwd") }
    }

    /// The value that must never come back.
    pub(crate) fn canary(&self) -> String {
        format!("canary{:016x}", Random::new(self.setup.seed, "canary").next())
    }

    /// A session whose hello is read.
    pub(crate) fn session(&self) -> Outcome<Session> {
        self.session_from(&self.launch())
    }

    /// A session of another command line, its hello read.
    pub(crate) fn session_from(&self, launch: &Launch) -> Outcome<Session> {
        let mut session = self.start(launch)?;
        session.read_hello()?;
        Ok(session)
    }

    /// A process whose hello is not read.
    pub(crate) fn start(&self, launch: &Launch) -> Outcome<Session> {
        Session::start(launch, &self.log, &self.setup.patience)
    }

    /// A session in a sandbox, its hello read.
    pub(crate) fn sandboxed(&self, sandbox: &Sandbox) -> Outcome<Session> {
        let argv = sandbox.wrap(self.launch().argv).map_err(Stop::Untestable)?;
        let mut session = self.start(&self.launch_argv(argv))?;
        session.hidden.clone_from(&sandbox.small);
        session.read_hello()?;
        Ok(session)
    }

    /// A path for a file of the suite's own.
    pub(crate) fn input_path(&mut self) -> PathBuf {
        self.files += 1;
        self.folder.join("inputs").join(format!("input {}", self.files))
    }

    /// A file with `content`.
    pub(crate) fn piece(&mut self, name: &str, content: &[u8]) -> Outcome<Piece> {
        Ok(Piece::write(name, self.input_path(), content, false)?)
    }

    /// A key that no other run, check or label has, and its manifest.
    pub(crate) fn key(&mut self, label: &str) -> Outcome<(String, PathBuf)> {
        let manifest = json!({
            "case": self.label,
            "label": label,
            "nonce": self.setup.nonce,
            "seed": self.setup.seed.to_string(),
        });
        let content = manifest.to_string();
        let path = self.folder.join("inputs").join(format!("manifest {label}"));
        fs::write(&path, &content)?;
        Ok((crate::wire::digest(content.as_bytes()), path))
    }

    /// An entry of two ordinary files.
    pub(crate) fn entry(&mut self, label: &str) -> Outcome<Entry> {
        let library = self.random.bytes(3_000);
        let info = format!("foo: {label} {}\n", self.random.next());
        let first = self.piece("out/libfoo.rlib", &library)?;
        let second = self.piece("out/foo.d", info.as_bytes())?;
        self.entry_of(label, vec![first, second])
    }

    /// An entry of these files.
    pub(crate) fn entry_of(&mut self, label: &str, pieces: Vec<Piece>) -> Outcome<Entry> {
        let (key, manifest) = self.key(label)?;
        let mut entry =
            Entry { key, manifest, purpose: None, seal: String::new(), pieces, lease: "borrowed" };
        entry.reseal();
        Ok(entry)
    }

    /// Another entry under the same key: the same names, other content.
    pub(crate) fn rival(&mut self, entry: &Entry, label: &str) -> Outcome<Entry> {
        let mut rival = self.entry(label)?;
        rival.key.clone_from(&entry.key);
        rival.manifest.clone_from(&entry.manifest);
        rival.purpose = entry.purpose;
        rival.reseal();
        Ok(rival)
    }

    /// A new empty folder.
    pub(crate) fn scratch(&mut self) -> Outcome<PathBuf> {
        self.files += 1;
        let path = self.folder.join("scratch").join(self.files.to_string());
        fs::create_dir(&path)?;
        Ok(path)
    }

    /// A request for this entry.
    pub(crate) fn want(&mut self, entry: &Entry) -> Outcome<Value> {
        let mut request = json!({
            "v": 1,
            "kind": "want-to-build",
            "key": entry.key,
            "unit": {"name": "foo", "package": "foo", "version": "1.2.3", "origin": "registry",
                     "type": "lib", "emit": ["link", "metadata"], "profile": "debug"},
            "scratch": self.scratch()?,
            "deadline-ms": self.limit(DEADLINE).as_millis(),
        });
        if let Some(purpose) = entry.purpose {
            request["purpose"] = purpose.into();
        }
        if self.setup.capabilities.manifest {
            let content = fs::read(&entry.manifest)?;
            request["manifest"] = json!({
                "name": "manifest.json",
                "path": entry.manifest,
                "size": content.len(),
                "digest": crate::wire::digest(&content),
                "executable": false,
                "lease": "borrowed",
            });
        }
        Ok(request)
    }

    /// A request that tells of this entry.
    pub(crate) fn built(&mut self, entry: &Entry) -> Outcome<Value> {
        let mut request = self.want(entry)?;
        request["kind"] = "built-a-thing".into();
        request["seal"] = entry.seal.as_str().into();
        request["files"] = entry.records().into();
        request["cost-ms"] = 840.into();
        Ok(request)
    }

    /// Tells of an entry and returns the answer; the files must be left alone.
    pub(crate) fn tell(&mut self, session: &mut Session, entry: &Entry) -> Outcome<Value> {
        let request = self.built(entry)?;
        self.tell_as(session, entry, request)
    }

    /// [`Self::tell`] with a request that was changed.
    pub(crate) fn tell_as(
        &mut self,
        session: &mut Session,
        entry: &Entry,
        request: Value,
    ) -> Outcome<Value> {
        let before = Snapshot::of(entry.paths());
        let answer = session.ask(request)?;
        if entry.lease != "owned"
            && let Some(change) = before.changes(entry.lease == "borrowed")
        {
            let requirement = match entry.lease {
                "shared" => "BH-FILE-007",
                _ if change.contains("hard link") => "BH-FILE-006",
                _ => "BH-FILE-012",
            };
            self.log.violation(Violation::new(requirement, change));
        }
        Ok(answer)
    }

    /// Stores an entry through the plugin and expects it to say `yes`.
    pub(crate) fn store(&mut self, session: &mut Session, entry: &Entry) -> Outcome {
        let answer = self.tell(session, entry)?;
        expect_stored(&answer)
    }

    /// Stores an entry by whichever way there is: the plugin, or the suite's
    /// own child below a filter that does not store.
    pub(crate) fn seed(&mut self, session: &mut Session, entry: &Entry) -> Outcome {
        if self.setup.capabilities.built {
            return self.store(session, entry);
        }
        let launch = self.launch_argv(self.child(&[]));
        let mut child = self.session_from(&launch)?;
        self.store(&mut child, entry)?;
        child.close().map(|_| ())
    }

    /// Asks for an entry.
    pub(crate) fn ask(&mut self, session: &mut Session, entry: &Entry) -> Outcome<Value> {
        let request = self.want(entry)?;
        session.ask(request)
    }

    /// Asks for an entry and expects to get it whole.
    pub(crate) fn expect_hit(&mut self, session: &mut Session, entry: &Entry) -> Outcome<Value> {
        let answer = self.ask(session, entry)?;
        expect_hit(&answer, entry)?;
        Ok(answer)
    }

    /// Asks for an entry and expects anything but a hit.
    pub(crate) fn expect_no_hit(&mut self, session: &mut Session, entry: &Entry) -> Outcome<Value> {
        let answer = self.ask(session, entry)?;
        require!(answer["kind"] != "hit", "a hit where nothing was stored: {}", short(&answer));
        Ok(answer)
    }

    /// Asks for an entry and expects it whole, or no hit; tells which.
    pub(crate) fn whole_or_no_hit(
        &mut self,
        session: &mut Session,
        entry: &Entry,
    ) -> Outcome<bool> {
        let answer = self.ask(session, entry)?;
        if answer["kind"] == "hit" {
            expect_hit(&answer, entry)?;
        }
        Ok(answer["kind"] == "hit")
    }

    /// A time limit for something that is not an answer.
    pub(crate) fn limit(&self, limit: Duration) -> Duration {
        crate::evidence::scaled(limit, self.setup.patience.factor)
    }

    /// Requests the suite's own child received, oldest first.
    pub(crate) fn child_received(&self) -> Outcome<Vec<Value>> {
        let requests = self.child_notes()?.into_iter().filter(|note| note["event"] == "request");
        Ok(requests.collect())
    }

    /// Everything the suite's own child noted, oldest first.
    pub(crate) fn child_notes(&self) -> Outcome<Vec<Value>> {
        let text = match fs::read_to_string(self.child_trace()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            other => other?,
        };
        let parse = |line: &str| {
            serde_json::from_str(line).map_err(|error| Stop::Suite(format!("child trace: {error}")))
        };
        text.lines().map(parse).collect()
    }

    /// Notes files that lie where a plugin has no business to write, and what
    /// must not be in a store.
    pub(crate) fn check_strays(&self) {
        let ours = ["scratch", "inputs", "suite"].map(|name| self.folder.join(name));
        let store = self.store_folder();
        let skeleton =
            |path: &Path| store.starts_with(path) || path.ends_with("cwd") || path.ends_with("tmp");
        let stray = |name: &Path| {
            let text = format!("{} was written outside the store and `scratch`", name.display());
            self.log.violation(Violation::new("BH-FILE-013", text));
        };
        walk(&self.folder, &mut |path, metadata| {
            let known = path.starts_with(&store) || ours.iter().any(|ours| path.starts_with(ours));
            if !(known || metadata.is_dir() && skeleton(path)) {
                stray(path.strip_prefix(&self.folder).unwrap_or(path));
            }
        });
        let inputs = self.folder.join("inputs");
        walk(&inputs, &mut |path, _| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let ours = name.starts_with("input ") || name.starts_with("manifest ");
            if path.parent() != Some(&inputs) || !ours {
                stray(path.strip_prefix(&self.folder).unwrap_or(path));
            }
        });
        self.check_secrets(&store);
    }

    /// Notes files of a store that hold the canary.
    fn check_secrets(&self, store: &Path) {
        let canary = self.canary();
        let canary = memmem::Finder::new(&canary);
        walk(store, &mut |path, metadata| {
            let small = metadata.is_file() && metadata.len() <= 1 << 20;
            let holds = |bytes: Vec<u8>| canary.find(&bytes).is_some();
            if small && fs::read(path).is_ok_and(holds) {
                let name = path.strip_prefix(&self.folder).unwrap_or(path).display();
                let text = format!("{name} holds the value of {CANARY_VARIABLE}");
                self.log.violation(Violation::new("BH-BUILT-013", text));
            }
        });
    }
}

/// A path as text; the suite's own folders are valid Unicode.
pub(crate) fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Whether `done` says that the entry can be found from now on.
pub(crate) fn says_stored(answer: &Value) -> bool {
    answer["kind"] == "done" && matches!(answer["stored"].as_str(), Some("yes" | "already"))
}

/// Expects `done` with `yes` or `already`.
pub(crate) fn expect_stored(answer: &Value) -> Outcome {
    require!(says_stored(answer), "the entry was not stored: {}", short(answer));
    Ok(())
}

/// Expects a hit that is `entry` whole.
pub(crate) fn expect_hit(answer: &Value, entry: &Entry) -> Outcome {
    require!(answer["kind"] == "hit", "no hit for an entry that was stored: {}", short(answer));
    if let Some(difference) = entry.difference(answer) {
        fail!("the hit is not what was stored: {difference}");
    }
    Ok(())
}
