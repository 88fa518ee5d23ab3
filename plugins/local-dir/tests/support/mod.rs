//! What the tests of the store share: a folder with a store in it and files to offer.

#![allow(unreachable_pub, reason = "shared by several test programs")]
#![allow(dead_code, reason = "each test program uses its own part")]

use std::path::{Path, PathBuf};

use buildhook_sdk::testing::{Fixture, Session};

/// The executable.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_buildhook-local-dir");

/// One test's world.
pub struct Setup {
    /// Removed at the end.
    pub root: tempfile::TempDir,
    /// Files and requests.
    pub fixture: Fixture,
}

impl Setup {
    /// A fresh one.
    pub fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let files = root.path().join("files");
        fs_err::create_dir(&files).unwrap();
        let fixture = Fixture::new(&files);
        Self { root, fixture }
    }

    /// Where the store is.
    pub fn store(&self) -> PathBuf {
        self.root.path().join("store")
    }

    /// A session with the executable over the store.
    pub fn session(&self) -> Session {
        Session::start(PROGRAM, [Path::new("--dir"), &self.store()])
    }

    /// The file of the entry of `key`.
    pub fn entry_file(&self, key: &str) -> PathBuf {
        let hex = Fixture::key(key).0.to_hex();
        self.store().join("v1/entries/outputs").join(&hex[..2]).join(&hex)
    }
}
