//! What the process was started with, taken once in `main.rs` and passed down.
//!
//! Nothing below `main.rs` asks the operating system for a variable, an argument or the
//! working folder, so every function can be tested with values of the test's own.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// A snapshot of the variables, the working folder and this program's own path.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment {
    /// All variables.
    pub(crate) variables: BTreeMap<OsString, OsString>,
    /// The working folder.
    pub(crate) current_dir: PathBuf,
    /// The path of this executable.
    pub(crate) executable: PathBuf,
}

impl Environment {
    /// The value of a variable; one that is set to nothing counts as not set.
    pub(crate) fn get(&self, name: &str) -> Option<&OsStr> {
        self.variables.get(OsStr::new(name)).map(OsString::as_os_str).filter(|v| !v.is_empty())
    }

    /// The value of a variable that names an absolute path; others count as not set, as
    /// the XDG Base Directory specification asks.
    pub(crate) fn absolute(&self, name: &str) -> Option<&Path> {
        self.get(name).map(Path::new).filter(|path| path.is_absolute())
    }

    /// The person's home folder.
    pub(crate) fn home(&self) -> Option<&Path> {
        self.absolute(if cfg!(windows) { "USERPROFILE" } else { "HOME" })
    }
}

#[cfg(test)]
impl Environment {
    /// An environment with just these variables.
    pub(crate) fn of(variables: &[(&str, &Path)]) -> Self {
        let variables =
            variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        Self { variables, ..Self::default() }
    }
}
