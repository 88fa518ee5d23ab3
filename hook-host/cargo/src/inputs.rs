//! What a unit has read: items without values, and their values here and now.
//!
//! A compile is a function of its action and of what it read. So a *set* of items that
//! an earlier compile of the same action was seen to read, evaluated now, makes a key: when
//! every value is what it was, the compile would read the same and write the same.
//! A set that hides an input cannot make an old entry match a new build unless it was recorded
//! falsely; who may write records is a matter of the hook (signatures).
//!
//! Records come from outside: their number, size and every word is bounded, and evaluating
//! one opens regular files only.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use buildhook_host::DigestCache;
use buildhook_protocol::Digest;
use serde::{Deserialize, Serialize};

use crate::environment::Environment;
use crate::roots::Roots;

/// Most items in a set: a link of a large program reads some hundreds of files.
pub const MAX_ITEMS: usize = 100_000;
/// Most sets kept for one action: branches and packages of one name share it.
pub const MAX_SETS: usize = 8;
/// Longest record in bytes.
pub const MAX_RECORD_BYTES: u64 = 8 * 1024 * 1024;

/// Longest file that is read for its digest. A record from outside may name anything, such as
/// `/proc/kcore`, which claims 128 TiB.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024 * 1024;

/// One thing that was read. Paths have tokens for folders.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Item {
    /// A file's content, or that there is none.
    Path(PathBuf),
    /// The names in a folder.
    Listing(PathBuf),
    /// Where a path leads when all links are followed.
    Resolved(PathBuf),
    /// What a path is, links not followed, and what its owner may do with what it leads to.
    Metadata(PathBuf),
    /// A variable's value, in which folders count as tokens.
    Variable(String),
    /// A variable's value to the letter: it may end up in the output.
    LiteralVariable(String),
    /// A program looked up on `PATH`.
    Program(String),
    /// Where a root is, by token: the output depends on the place.
    Place(String),
    /// How many folders the workspace is in.
    Depth,
}

/// What an item is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Value {
    /// No such file or folder; an unset variable.
    Absent,
    /// The digest of a file's content, a listing, or a variable's value.
    Digest(Digest),
    /// A folder where a file was looked for.
    Folder,
    /// A path, a number or words, for [`Item::Resolved`], [`Item::Metadata`], [`Item::Place`] and
    /// [`Item::Depth`].
    Text(String),
    /// A program: where it was found, and its content.
    Program(PathBuf, Digest),
}

/// An item with its value: a line of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Input {
    /// What was read.
    pub item: Item,
    /// What it is.
    pub value: Value,
}

/// The items that one compile read, sorted, each once.
pub type InputSet = BTreeSet<Item>;

/// A bounded list of sets, the latest first: the record of an action.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct InputRecord {
    /// At most [`MAX_SETS`].
    pub sets: Vec<InputSet>,
}

impl InputRecord {
    /// Reads a record; `None` when it breaks a bound or is no record.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let record: Self = serde_json::from_slice(bytes).ok()?;
        let bounded =
            record.sets.len() <= MAX_SETS && record.sets.iter().all(|set| set.len() <= MAX_ITEMS);
        bounded.then_some(record)
    }

    /// The record as bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // Paths are checked to be Unicode when they are observed.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Puts `set` first and keeps at most [`MAX_SETS`].
    pub fn add(&mut self, set: InputSet) {
        self.sets.retain(|known| *known != set);
        self.sets.insert(0, set);
        self.sets.truncate(MAX_SETS);
    }

    /// Adds the sets of `other` behind its own.
    pub fn merge(&mut self, other: Self) {
        for set in other.sets {
            if !self.sets.contains(&set) {
                self.sets.push(set);
            }
        }
        self.sets.truncate(MAX_SETS);
    }
}

/// Where and with what a set is evaluated.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The folders behind the tokens.
    pub roots: &'a Roots,
    /// The compile's variables.
    pub env: &'a Environment,
    /// The folder that it runs in.
    pub cwd: &'a Path,
    /// Contents already known.
    pub digests: &'a DigestCache,
}

impl Place<'_> {
    /// All values of `set`, or `None` when one of them cannot be told.
    #[must_use]
    pub fn evaluate(&self, set: &InputSet) -> Option<Vec<Input>> {
        set.iter()
            .map(|item| Some(Input { item: item.clone(), value: self.value(item).ok()? }))
            .collect()
    }

    fn value(&self, item: &Item) -> io::Result<Value> {
        match item {
            Item::Path(path) => self.path(&self.resolve(path)?),
            Item::Listing(path) => listing(&self.resolve(path)?),
            Item::Resolved(path) => match fs_err::canonicalize(self.resolve(path)?) {
                Ok(real) => Ok(Value::Text(self.roots.tokenise(&real).display().to_string())),
                Err(error) if is_absence(&error) => Ok(Value::Absent),
                Err(error) => Err(error),
            },
            Item::Metadata(path) => metadata(&self.resolve(path)?),
            Item::Variable(name) => self.variable(name, true),
            Item::LiteralVariable(name) => self.variable(name, false),
            Item::Program(word) => match self.env.find_program(word, self.cwd) {
                Ok(path) => {
                    let (digest, _) = self.digests.digest(&path)?;
                    Ok(Value::Program(self.roots.tokenise(&path), digest))
                }
                Err(error) if is_absence(&error) => Ok(Value::Absent),
                Err(error) => Err(error),
            },
            Item::Place(token) => {
                Ok(Value::Text(self.roots.place(token).ok_or(io::ErrorKind::NotFound)?))
            }
            Item::Depth => Ok(Value::Text(self.cwd.components().count().to_string())),
        }
    }

    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        self.roots.resolve(path).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn path(&self, path: &Path) -> io::Result<Value> {
        match fs_err::metadata(path) {
            Ok(metadata) if metadata.is_dir() => Ok(Value::Folder),
            Ok(metadata) if metadata.is_file() && metadata.len() <= MAX_FILE_BYTES => {
                Ok(Value::Digest(self.digests.digest(path)?.0))
            }
            Ok(_) => Err(io::ErrorKind::InvalidInput.into()),
            Err(error) if is_absence(&error) => Ok(Value::Absent),
            Err(error) => Err(error),
        }
    }

    fn variable(&self, name: &str, tokens: bool) -> io::Result<Value> {
        let Some(value) = self.env.get(name) else { return Ok(Value::Absent) };
        let digest = match value.to_str() {
            Some(text) if tokens => Digest::of(self.roots.tokenise_text(text).as_bytes()),
            _ => Digest::of(value.as_encoded_bytes()),
        };
        Ok(Value::Digest(digest))
    }
}

fn listing(folder: &Path) -> io::Result<Value> {
    let entries = match fs_err::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if is_absence(&error) => return Ok(Value::Absent),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        // Who walks folders without following links tells a link from what it leads to.
        let kind = match entry.file_type()? {
            kind if kind.is_dir() => "/",
            kind if kind.is_symlink() => "@",
            _ => "",
        };
        names.push([entry.file_name().as_encoded_bytes(), kind.as_bytes(), b"\n"].concat());
    }
    names.sort();
    Ok(Value::Digest(Digest::of(&names.concat())))
}

/// Times are left out, and the permissions of others, which follow the umask of whoever made the
/// file: with them hardly two machines would share an entry.
fn metadata(path: &Path) -> io::Result<Value> {
    const OWNER: u32 = 0o700;
    let kind = match fs_err::symlink_metadata(path) {
        Ok(metadata) if metadata.is_symlink() => "link",
        Ok(metadata) if metadata.is_dir() => "folder",
        Ok(_) => "file",
        Err(error) if is_absence(&error) => return Ok(Value::Absent),
        Err(error) => return Err(error),
    };
    let permissions = match fs_err::metadata(path) {
        Ok(metadata) => format!("{:o}", metadata.permissions().mode() & OWNER),
        Err(error) if is_absence(&error) => "to nothing".to_owned(),
        Err(error) => return Err(error),
    };
    Ok(Value::Text(format!("{kind} {permissions}")))
}

fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> InputSet {
        names.iter().map(|name| Item::Path(PathBuf::from(name))).collect()
    }

    #[test]
    fn a_record_keeps_the_latest_sets_each_once() {
        let mut record = InputRecord::default();
        for n in 0..MAX_SETS + 3 {
            record.add(set(&[&format!("/{n}")]));
        }
        record.add(set(&["/5"]));
        assert_eq!(record.sets.len(), MAX_SETS);
        assert_eq!(record.sets[0], set(&["/5"]));
        assert_eq!(record.sets[1], set(&["/10"]));
        assert_eq!(InputRecord::parse(&record.to_bytes()), Some(record));
    }

    #[test]
    fn records_from_outside_are_bounded_and_strict() {
        let many = InputRecord { sets: vec![set(&["/a"]); MAX_SETS + 1] };
        assert_eq!(InputRecord::parse(&many.to_bytes()), None);
        for text in ["", "[]", "{\"sets\":[[{\"spell\":\"/a\"}]]}", "{\"sets\":[],\"more\":1}"] {
            assert_eq!(InputRecord::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn values_follow_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs_err::write(at("file"), "content").unwrap();
        let roots =
            Roots::new(folder.path(), Path::new("/c"), &at("target/debug/deps"), Path::new("/s"));
        let env: Environment =
            [("AT".into(), folder.path().join("x").into_os_string())].into_iter().collect();
        let digests = DigestCache::new();
        let place = Place { roots: &roots, env: &env, cwd: folder.path(), digests: &digests };
        let token = |name: &str| Path::new(crate::roots::WORKSPACE).join(name);
        let value =
            |item: Item| place.evaluate(&InputSet::from([item])).map(|mut v| v.remove(0).value);
        let digest = |text: &str| Some(Value::Digest(Digest::of(text.as_bytes())));

        assert_eq!(value(Item::Path(token("file"))), digest("content"));
        assert_eq!(value(Item::Path(token("none"))), Some(Value::Absent));
        assert_eq!(value(Item::Path(token("file/below"))), Some(Value::Absent));
        assert_eq!(value(Item::Path("/".into())), Some(Value::Folder));
        assert_eq!(value(Item::Path("/dev/null".into())), None);
        assert_eq!(value(Item::Path("/.buildhook/nowhere/x".into())), None);
        assert_eq!(value(Item::Listing(token(""))), digest("file\n"));
        std::os::unix::fs::symlink(at("file"), at("link")).unwrap();
        assert_eq!(value(Item::Listing(token(""))), digest("file\nlink@\n"));
        let told = |text: &str| Some(Value::Text(text.to_owned()));
        fs_err::set_permissions(at("file"), std::fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(value(Item::Metadata(token("file"))), told("file 600"));
        assert_eq!(value(Item::Metadata(token("link"))), told("link 600"));
        assert_eq!(value(Item::Metadata(token("none"))), Some(Value::Absent));
        fs_err::remove_file(at("file")).unwrap();
        assert_eq!(value(Item::Metadata(token("link"))), told("link to nothing"));
        assert_eq!(value(Item::Variable("AT".to_owned())), digest("/.buildhook/workspace/x"));
        let literal = folder.path().join("x");
        assert_eq!(
            value(Item::LiteralVariable("AT".to_owned())),
            digest(literal.to_str().unwrap())
        );
        assert_eq!(value(Item::Variable("NONE".to_owned())), Some(Value::Absent));
        assert_eq!(value(Item::Program("none".to_owned())), Some(Value::Absent));
    }
}
