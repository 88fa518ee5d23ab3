//! Finding plugins by name.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use buildhook_sdk::config::nearest;

/// Plugins of this project, for the word that a person may have meant.
const KNOWN: [&str; 13] = [
    "chain",
    "compress",
    "local-dir",
    "log",
    "only",
    "opendal",
    "readonly",
    "s3",
    "sign",
    "tier",
    "verify",
    "wants",
    "wasm",
];

/// Where plugins may be.
pub(crate) struct Finder {
    folders: Vec<PathBuf>,
}

impl Finder {
    /// Beside `executable`, then in the folders of `path`, a value of PATH.
    pub(crate) fn new(executable: Option<PathBuf>, path: Option<OsString>) -> Self {
        let beside = executable.as_deref().and_then(Path::parent).map(Path::to_owned);
        let path = path.unwrap_or_default();
        let folders = beside.into_iter().chain(std::env::split_paths(&path)).collect();
        Self { folders }
    }

    /// The program that `name` in a file in `folder` stands for.
    ///
    /// # Errors
    /// There is none; a sentence with the nearest name.
    pub(crate) fn find(&self, name: &str, folder: &Path) -> Result<PathBuf, String> {
        if name.contains('/') {
            let path = folder.join(name);
            return if path.is_file() { Ok(path) } else { Err(format!("there is no `{name}`")) };
        }
        let name = name.strip_prefix("buildhook-").unwrap_or(name);
        let file = OsString::from(format!("buildhook-{name}"));
        let found = self.folders.iter().map(|folder| folder.join(&file)).find(|p| p.is_file());
        found.ok_or_else(|| {
            let hint = nearest(name, KNOWN.into_iter().filter(|known| *known != name));
            let hint = hint.map(|known| format!("; did you mean `{known}`?")).unwrap_or_default();
            format!("`{}` is not on PATH{hint}", OsStr::display(&file))
        })
    }
}
