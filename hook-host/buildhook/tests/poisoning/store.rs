//! A store as its attacker sees it: all entries, to be read, changed and written back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use buildhook_protocol::{FileRecord, Key, Lease, seal};
use buildhook_sdk::testing::{Fixture, Session, contents, record};
use buildhook_stack_tests::program;
use fs_err as fs;
use serde_json::{Value, json};

/// One entry.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) key: Key,
    pub(crate) purpose: &'static str,
    pub(crate) seal: Value,
    /// Content and executable bit, by name.
    pub(crate) files: BTreeMap<String, (Vec<u8>, bool)>,
}

/// A folder of `buildhook-local-dir`.
pub(crate) struct Store {
    pub(crate) dir: PathBuf,
}

impl Store {
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// The command line of the store without any filter.
    pub(crate) fn command(&self) -> String {
        format!("{} --dir {}", program("local-dir").display(), self.dir.display())
    }

    fn session(&self) -> Session {
        Session::start(program("local-dir"), [Path::new("--dir"), &self.dir])
    }

    /// All that is stored, in the order of keys.
    pub(crate) fn read(&self) -> Vec<Entry> {
        let mut session = self.session();
        let mut entries = Vec::new();
        for purpose in ["inputs", "outputs"] {
            for key in keys(&self.dir.join("v1/entries").join(purpose)) {
                let hit = session.ask(self.request("want-to-build", key, purpose));
                let files = contents(&hit).into_iter().map(|(n, content, x)| (n, (content, x)));
                let seal = hit["seal"].clone();
                entries.push(Entry { key, purpose, seal, files: files.collect() });
            }
        }
        entries
    }

    /// Writes entries over those that are there. `reseal`: each with the seal that fits it.
    pub(crate) fn write(&self, entries: &[Entry], reseal: bool) {
        let mut session = self.session();
        for entry in entries {
            let folder = self.scratch();
            let files: Vec<FileRecord> = entry
                .files
                .iter()
                .enumerate()
                .map(|(at, (name, (content, executable)))| {
                    let path = folder.join(at.to_string());
                    fs::write(&path, content).unwrap();
                    record(name, &path, content, *executable, Lease::Borrowed)
                })
                .collect();
            let mut request = self.request("built-a-thing", entry.key, entry.purpose);
            request["seal"] =
                if reseal { json!(seal(&entry.key, &files)) } else { entry.seal.clone() };
            request["files"] = json!(files);
            request["replace"] = true.into();
            assert_eq!(session.ask(request)["stored"], "yes");
        }
    }

    fn request(&self, kind: &str, key: Key, purpose: &str) -> Value {
        json!({
            "v": 1, "kind": kind, "key": key, "purpose": purpose, "unit": {},
            "scratch": self.scratch(), "deadline-ms": 60_000,
        })
    }

    /// A new folder beside the store.
    fn scratch(&self) -> PathBuf {
        let beside = self.dir.with_extension("scratch");
        fs::create_dir_all(&beside).unwrap();
        Fixture::new(&beside).scratch()
    }
}

fn keys(folder: &Path) -> Vec<Key> {
    let below = |folder: &Path| {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut paths: Vec<PathBuf> = entries.collect();
        paths.sort();
        paths
    };
    let files = below(folder).into_iter().flat_map(|folder| below(&folder));
    let key = |path: PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        format!("blake3:{name}").parse().unwrap()
    };
    files.map(key).collect()
}
