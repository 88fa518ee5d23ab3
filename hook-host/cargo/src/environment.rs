//! The variables of one compiler call, as the wrapper received them.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

/// A snapshot; nothing in this crate looks at the process's own variables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    /// The value of `name`.
    #[must_use]
    pub fn get(&self, name: impl AsRef<OsStr>) -> Option<&OsStr> {
        self.0.get(name.as_ref()).map(OsString::as_os_str)
    }

    /// The value of `name` when it is Unicode.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.to_str()
    }

    /// All variables.
    pub fn iter(&self) -> impl Iterator<Item = (&OsString, &OsString)> {
        self.0.iter()
    }

    /// `CARGO_HOME`, or Cargo's default for it.
    #[must_use]
    pub fn cargo_home(&self) -> Option<PathBuf> {
        let set = self.get("CARGO_HOME").filter(|value| !value.is_empty()).map(PathBuf::from);
        set.or_else(|| Some(Path::new(self.get("HOME")?).join(".cargo")))
    }

    /// Where `word` leads when it is executed in `cwd`: by path, or looked up on `PATH`.
    ///
    /// # Errors
    /// Nothing of that name can be executed.
    pub fn find_program(&self, word: &str, cwd: &Path) -> io::Result<PathBuf> {
        if word.contains('/') {
            return Ok(cwd.join(word));
        }
        let folders = self.get("PATH").unwrap_or_default();
        std::env::split_paths(folders)
            .map(|folder| cwd.join(folder).join(word))
            .find(|file| is_executable(file))
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no `{word}` on PATH")))
    }
}

impl FromIterator<(OsString, OsString)> for Environment {
    fn from_iter<T: IntoIterator<Item = (OsString, OsString)>>(variables: T) -> Self {
        Self(variables.into_iter().collect())
    }
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs_err::metadata(file).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}
