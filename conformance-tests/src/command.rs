//! The command line under test and its placeholders.
//!
//! `{store}` becomes a fresh folder in every check, wherever it stands in a
//! word. A word that is exactly `{child}` becomes the command line of the
//! suite's own child. Words that name an existing file or folder are made
//! absolute, because checks run in folders of their own.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Stands for the folder of a store.
const STORE: &str = "{store}";
/// Stands for the command line of a child.
const CHILD: &str = "{child}";

/// A command line before its placeholders are replaced.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    words: Vec<String>,
}

impl Template {
    /// Takes the user's words; `folder` is where relative ones begin.
    pub(crate) fn new(words: &[String], folder: &Path) -> Self {
        let absolute = |word: &String| {
            let path = Path::new(word);
            let relative = !word.is_empty() && path.is_relative() && folder.join(path).exists();
            // The bare name of a program is looked up on PATH, not here.
            let bare = std::ptr::eq(word, &raw const words[0]) && !word.contains('/');
            if relative && !bare {
                folder.join(path).to_string_lossy().into_owned()
            } else {
                word.clone()
            }
        };
        Self { words: words.iter().map(absolute).collect() }
    }

    /// Whether the command names a store folder.
    pub(crate) fn has_store(&self) -> bool {
        self.words.iter().any(|word| word.contains(STORE))
    }

    /// Whether the command names a child: it is a filter.
    pub(crate) fn has_child(&self) -> bool {
        self.words.iter().any(|word| word == CHILD)
    }

    /// The command line with its placeholders replaced.
    pub(crate) fn expand(&self, store: &Path, child: &[String]) -> Vec<String> {
        let store = store.to_string_lossy();
        let expand = |word: &String| {
            if word == CHILD { child.to_vec() } else { vec![word.replace(STORE, &store)] }
        };
        self.words.iter().flat_map(expand).collect()
    }

    /// The same command with `word` where the plugin's own arguments end;
    /// nothing when that place is not known.
    pub(crate) fn with_argument(&self, word: &str) -> Option<Self> {
        let mut other = self.clone();
        let place = if self.has_child() {
            let child = self.words.iter().position(|word| word == CHILD)?;
            self.words[..child].iter().rposition(|word| word == "--")?
        } else {
            self.words.len()
        };
        other.words.insert(place, word.to_owned());
        Some(other)
    }
}

/// Whether a command line that begins with `word` names a program: by its path, or
/// by a name in one of the folders of `path`.
pub(crate) fn can_start(word: &str, folder: &Path, path: &OsStr) -> bool {
    if word.contains('/') {
        return folder.join(word).is_file();
    }
    std::env::split_paths(path).any(|place| folder.join(place).join(word).is_file())
}

/// The program that runs now, for children that are the suite itself.
pub(crate) fn this_program() -> PathBuf {
    std::env::current_exe().unwrap_or_else(|_| PathBuf::from("buildhook-conformance"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_and_places() {
        let words = ["filter", "--to={store}/x", "--", "{child}"].map(str::to_owned);
        let template = Template::new(&words, Path::new("/nowhere"));
        assert!(template.has_store() && template.has_child());
        let child = ["a".to_owned(), "b".to_owned()];
        assert_eq!(
            template.expand(Path::new("/s"), &child),
            ["filter", "--to=/s/x", "--", "a", "b"]
        );
        let other = template.with_argument("--bad").unwrap();
        assert_eq!(
            other.expand(Path::new("/s"), &child),
            ["filter", "--to=/s/x", "--bad", "--", "a", "b"]
        );
    }
}
