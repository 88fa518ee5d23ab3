//! What supervisor and runner say to each other besides what host and guest do.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{Identity, ModuleKey, Modules, ModulesError, Sound};

/// The runner's argument for running guests: its first line of input is a [`Spec`].
pub const SERVE: &str = "--serve";
/// The runner's argument for looking at a module: its one line of input is a [`Kept`], its
/// answer [`Imports`].
pub const IMPORTS: &str = "--imports";
/// The line that ends the input of one instance. Nothing is to follow it before [`ENDED`].
pub const END_OF_INPUT: &str = r#"{"hop":"end"}"#;
/// The runner's line when an instance whose input has ended is no more. No guest can say it in
/// between: none is heard then.
pub const ENDED: &str = r#"{"hop":"ended"}"#;
/// The line after that, for which the runner starts another instance. None sees it.
pub const BEGIN: &str = r#"{"hop":"begin"}"#;

/// Where the compiled module is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Kept {
    /// The private folder.
    pub cache: PathBuf,
    /// The module's key there.
    pub module: ModuleKey,
    /// The file that the supervisor has found whole under it.
    pub file: Identity,
}

impl Kept {
    /// The file, as the one who told of it has found it.
    ///
    /// # Errors
    /// Those of [`Modules::find_again`]; or it has gone.
    pub fn find(&self) -> Result<Sound, ModulesError> {
        let found = Modules::open(&self.cache)?.find_again(&self.module, &self.file)?;
        found.ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotFound).into())
    }
}

/// What a module asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Imports {
    /// Its imports.
    pub imports: Vec<Import>,
    /// Whether it has a `_start`.
    pub is_command: bool,
}

/// One import of a module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Import {
    /// The module that is imported from.
    pub module: String,
    /// The function.
    pub name: String,
    /// Whether any guest is given it.
    pub is_given: bool,
}

/// All that a guest is given, and where it ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Spec {
    /// Its compiled module.
    pub compiled: Kept,
    /// The guest's arguments, its name first.
    pub arguments: Vec<String>,
    /// Its environment.
    pub env: Vec<(String, String)>,
    /// Folders that it sees.
    pub folders: Vec<Folder>,
    /// Whether each call is served by an instance of its own.
    pub fresh: bool,
    /// Whether each instance is told first what the next plugin has said of itself.
    pub is_filter: bool,
    /// Real time, or a fixed clock.
    pub real_clock: bool,
    /// Real randomness, or the same numbers each time.
    pub real_random: bool,
    /// Most linear memory, in bytes.
    pub memory_bytes: u64,
    /// Longest time between two lines of standard output, in milliseconds.
    pub time_ms: u64,
    /// Files and folders that a guest may make between two lines.
    pub max_files: u64,
    /// Bytes that a guest may write between two lines.
    pub max_written_bytes: u64,
    /// The largest file.
    pub max_file_bytes: u64,
}

/// A folder that a guest sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Folder {
    /// Where it is.
    pub host: PathBuf,
    /// What the guest calls it.
    pub guest: String,
    /// Whether it may be written to.
    pub writable: bool,
}
