//! What this machine remembers of actions: their input sets and latest manifests.
//!
//! The sets answer "what does this unit read?" without asking the hook; the manifests
//! are for `explain`. Everything here can be deleted at any time.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use buildhook_protocol::Key;

use crate::atomic;
use crate::explain;
use crate::inputs::{InputRecord, Item, MAX_RECORD_BYTES};
use crate::manifest::Manifest;

/// Manifests kept per crate name.
const MAX_MANIFESTS: usize = 16;

/// A folder of records.
#[derive(Debug, Clone)]
pub struct Index {
    folder: PathBuf,
}

impl Index {
    /// Keeps everything below `folder`, which need not exist.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The record of an action; empty when there is none that can be read.
    #[must_use]
    pub fn record(&self, action: &Key) -> InputRecord {
        let path = self.record_path(action);
        let small = fs_err::metadata(&path).is_ok_and(|m| m.len() <= MAX_RECORD_BYTES);
        let bytes = if small { fs_err::read(&path).unwrap_or_default() } else { Vec::new() };
        InputRecord::parse(&bytes).unwrap_or_default()
    }

    /// Replaces the record of an action.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn set_record(&self, action: &Key, record: &InputRecord) -> io::Result<()> {
        atomic::write(&self.record_path(action), &record.to_bytes())
    }

    fn record_path(&self, action: &Key) -> PathBuf {
        let hex = action.0.to_hex();
        self.folder.join("inputs").join(&hex[..2]).join(hex)
    }

    /// Where manifests of crates named `crate_name` are, each named by its key.
    #[must_use]
    pub fn manifests(&self, crate_name: &str) -> PathBuf {
        self.folder.join("manifests").join(crate_name)
    }

    /// Keeps `manifest` and who read its inputs, and of its crate the [`MAX_MANIFESTS`] latest.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn keep_manifest(
        &self,
        key: &Key,
        manifest: &Manifest,
        readers: &BTreeMap<Item, BTreeSet<String>>,
    ) -> io::Result<()> {
        let folder = self.manifests(&manifest.action.crate_name);
        let hex = key.0.to_hex();
        let reads = serde_json::to_vec(&explain::reads(readers))?;
        atomic::write(&explain::readers_path(&folder, &hex), &reads)?;
        atomic::write(&folder.join(format!("{hex}.json")), &manifest.to_bytes())?;
        prune(&folder)
    }
}

fn prune(folder: &Path) -> io::Result<()> {
    let mut files = Vec::new();
    for entry in fs_err::read_dir(folder)? {
        let entry = entry?;
        if entry.path().extension().is_some_and(|extension| extension == "json") {
            files.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    if files.len() > MAX_MANIFESTS {
        files.sort();
        for (_, path) in &files[..files.len() - MAX_MANIFESTS] {
            // Another process may have been faster.
            let _ = fs_err::remove_file(path);
            let _ = fs_err::remove_file(path.with_extension("readers"));
        }
    }
    Ok(())
}
