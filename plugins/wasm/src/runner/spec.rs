//! What the supervisor tells the runner, in one line before everything else.

use std::path::PathBuf;

use buildhook_wasm_engine::Identity;
use serde::{Deserialize, Serialize};

/// All that a guest is given, and where it ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Spec {
    /// The private folder with the compiled module.
    pub(crate) cache: PathBuf,
    /// The module's key there.
    pub(crate) module: String,
    /// The file that the supervisor has found whole under it.
    pub(crate) compiled: Identity,
    /// The guest's arguments, its name first.
    pub(crate) arguments: Vec<String>,
    /// Its environment.
    pub(crate) env: Vec<(String, String)>,
    /// Folders that it sees.
    pub(crate) folders: Vec<Folder>,
    /// Whether each call is served by an instance of its own.
    pub(crate) fresh: bool,
    /// Real time, or a fixed clock.
    pub(crate) real_clock: bool,
    /// Real randomness, or the same numbers each time.
    pub(crate) real_random: bool,
    /// Most linear memory, in bytes.
    pub(crate) memory_bytes: u64,
    /// Longest time between two reads of standard input, in milliseconds.
    pub(crate) time_ms: u64,
    /// Files and folders that one instance may make.
    pub(crate) max_files: u64,
    /// Bytes that one instance may write to files.
    pub(crate) max_written_bytes: u64,
    /// The largest file.
    pub(crate) max_file_bytes: u64,
}

/// A folder that a guest sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Folder {
    /// Where it is.
    pub(crate) host: PathBuf,
    /// What the guest calls it.
    pub(crate) guest: String,
    /// Whether it may be written to.
    pub(crate) writable: bool,
}
