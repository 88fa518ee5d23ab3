//! The policy file: what a guest is given. What is not in it is not given.

use std::path::{Component, Path, PathBuf};

use buildhook_sdk::{StartError, cli, config};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// What the files of one call are offered under.
pub(crate) const REQUEST: &str = "/request";
/// The guest's folder for what it makes.
pub(crate) const SCRATCH: &str = "/scratch";

/// A policy, checked.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Policy {
    /// The only module that may be run: `blake3:` and 64 hexadecimal digits.
    #[serde(default)]
    pub(crate) module: Option<Module>,
    /// Most memory of an instance.
    #[serde(default = "default_memory", deserialize_with = "bytes")]
    pub(crate) memory: u64,
    /// Longest call, waiting for the next plugin not counted.
    #[serde(default = "default_time", rename = "time-ms", deserialize_with = "time")]
    pub(crate) time_ms: u64,
    /// How long an instance lives.
    #[serde(default)]
    pub(crate) instance: Lifetime,
    /// What it knows of the time.
    #[serde(default)]
    pub(crate) clock: Source,
    /// Where its random numbers are from.
    #[serde(default)]
    pub(crate) random: Source,
    /// Variables of the environment that it sees.
    #[serde(default)]
    pub(crate) env: Vec<String>,
    /// Whether it may read the files that requests and answers name.
    #[serde(default = "yes")]
    pub(crate) contents: bool,
    /// What it may make and answer in one call.
    #[serde(default)]
    pub(crate) output: Output,
    /// Folders that it sees.
    #[serde(default, rename = "folder")]
    pub(crate) folders: Vec<Folder>,
}

/// The digest of a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Module(pub(crate) blake3::Hash);

/// How long an instance lives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Lifetime {
    /// As long as the session: faster, and it may remember.
    #[default]
    Session,
    /// For one call.
    Call,
}

/// Whether something comes from the world outside.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Source {
    /// Always the same.
    #[default]
    Fixed,
    /// The machine's.
    Real,
}

/// Bounds of one call.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Output {
    /// Files and folders made; files answered.
    pub(crate) files: u64,
    /// The largest file.
    #[serde(deserialize_with = "bytes")]
    pub(crate) file_size: u64,
    /// Bytes written; bytes answered.
    #[serde(deserialize_with = "bytes")]
    pub(crate) size: u64,
}

impl Default for Output {
    fn default() -> Self {
        // A unit has a dozen files; the largest outputs known have some hundred megabytes.
        Self { files: 1024, file_size: 1 << 30, size: 2 << 30 }
    }
}

/// A folder that a guest sees.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Folder {
    /// Where it is; absolute.
    pub(crate) path: PathBuf,
    /// What the guest calls it; absolute.
    pub(crate) guest: String,
    /// Whether it may be written to.
    pub(crate) access: Access,
}

/// What may be done in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Access {
    /// Read.
    Read,
    /// Read, make, change and remove.
    Write,
}

impl Policy {
    /// Reads the policy at `path`. `private` is the folder that no guest may see.
    ///
    /// # Errors
    /// [`StartError::Config`], which names the file, and the line or the folder.
    pub(crate) fn read(path: &Path, private: &Path) -> Result<Self, StartError> {
        let mut policy: Self = config::read_toml(path)?;
        let wrong = |what: String| StartError::Config(format!("{}: {what}", path.display()));
        for folder in &mut policy.folders {
            check_guest_path(&folder.guest).map_err(wrong)?;
            let shown = folder.path.display().to_string();
            if !folder.path.is_absolute() {
                return Err(wrong(format!("the folder `{shown}` is to be absolute")));
            }
            // What is granted is the place itself, whatever links led there.
            folder.path = fs_err::canonicalize(&folder.path)
                .map_err(|error| wrong(format!("the folder `{shown}` is not there: {error}")))?;
            if !folder.path.is_dir() {
                return Err(wrong(format!("`{shown}` is no folder")));
            }
            if folder.path.starts_with(private) || private.starts_with(&folder.path) {
                return Err(wrong(format!(
                    "the folder `{shown}` has to do with {}, where compiled modules are: \
                     grant another one",
                    private.display()
                )));
            }
        }
        for outer in policy.folders.iter().filter(|folder| folder.access == Access::Write) {
            let is_inside =
                |inner: &&Folder| inner.guest != outer.guest && inner.path.starts_with(&outer.path);
            if let Some(inner) = policy.folders.iter().find(is_inside) {
                return Err(wrong(format!(
                    "the folder `{}` lies in `{}`, which may be written to whatever is said of what \
                     is in it: grant one of them",
                    inner.path.display(),
                    outer.path.display()
                )));
            }
        }
        let mut names: Vec<&str> = policy.folders.iter().map(|f| f.guest.as_str()).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(wrong(format!("two folders are called `{}`", pair[0])));
        }
        Ok(policy)
    }
}

fn check_guest_path(path: &str) -> Result<(), String> {
    let segments = plain_segments(path);
    let is_ours = [REQUEST, SCRATCH].iter().any(|own| Path::new(path).starts_with(own));
    if segments.is_none_or(|segments| segments.is_empty()) || path.ends_with('/') {
        Err(format!("the guest path `{path}` is to be absolute and plain, such as `/store`"))
    } else if is_ours {
        Err(format!("the guest path `{path}` is taken: `{REQUEST}` and `{SCRATCH}` are"))
    } else {
        Ok(())
    }
}

/// The segments of an absolute path without `.`, `..` and empty ones; `None`: it is not so.
pub(crate) fn plain_segments(path: &str) -> Option<Vec<&str>> {
    let rest = path.strip_prefix('/')?;
    let segments: Vec<&str> = rest.split('/').collect();
    let plain = |segment: &&str| {
        let mut parts = Path::new(segment).components();
        matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None))
    };
    segments.iter().all(plain).then_some(segments)
}

fn default_memory() -> u64 {
    // A Rust plugin uses 2 MiB, and the largest message, parsed, some ten times its 16 MiB.
    256 << 20
}

fn default_time() -> u64 {
    // What the host waits for a hit by default.
    2000
}

fn yes() -> bool {
    true
}

/// `"256MiB"` or a number.
fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    cli::parse_bytes(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    const LONGEST_MS: u64 = 3_600_000;
    let time_ms = u64::deserialize(deserializer)?;
    if (1..=LONGEST_MS).contains(&time_ms) {
        Ok(time_ms)
    } else {
        Err(D::Error::custom(format!("`time-ms` is from 1 to {LONGEST_MS}")))
    }
}

impl<'de> Deserialize<'de> for Module {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.strip_prefix("blake3:")
            .and_then(|hex| blake3::Hash::from_hex(hex).ok())
            .map(Self)
            .ok_or_else(|| D::Error::custom("`module` is `blake3:` and 64 hexadecimal digits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Policy, String> {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        for folder in ["store", "cache/modules"] {
            fs_err::create_dir_all(dir.join(folder)).unwrap();
        }
        let path = dir.join("policy.toml");
        fs_err::write(&path, text.replace("DIR", dir.to_str().unwrap())).unwrap();
        let outcome = Policy::read(&path, &dir.join("cache"));
        outcome.map_err(|error| error.to_string().replace(dir.to_str().unwrap(), "DIR"))
    }

    #[test]
    fn an_empty_policy_grants_nothing() {
        let policy = read("").unwrap();
        assert!(policy.folders.is_empty() && policy.env.is_empty());
        assert_eq!((policy.clock, policy.random), (Source::Fixed, Source::Fixed));
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        let cases = [
            ("memory = \"1MiB\"\nfoldr = 1\n", "policy.toml:2: unknown field `foldr`"),
            ("foldr = 1\n", "did you mean `folder`?"),
            ("clock = \"reel\"\n", "did you mean `real`?"),
            ("module = \"sha256:00\"\n", "policy.toml:1: `module` is `blake3:`"),
            ("time-ms = 0\n", "policy.toml:1: `time-ms` is from 1"),
            ("[[folder]]\npath = \"DIR/no\"\nguest = \"/a\"\naccess = \"read\"\n", "is not there"),
            ("[[folder]]\npath = \"store\"\nguest = \"/a\"\naccess = \"read\"\n", "absolute"),
            ("[[folder]]\npath = \"DIR/store\"\nguest = \"/a/../b\"\naccess = \"read\"\n", "plain"),
            (
                "[[folder]]\npath = \"DIR/store\"\nguest = \"/scratch\"\naccess = \"read\"\n",
                "taken",
            ),
            ("[[folder]]\npath = \"DIR\"\nguest = \"/a\"\naccess = \"read\"\n", "compiled modules"),
            (
                "[[folder]]\npath = \"DIR/cache/modules\"\nguest = \"/a\"\naccess = \"write\"\n",
                "compiled modules",
            ),
        ];
        for (text, expected) in cases {
            let error = read(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn only_plain_paths_have_segments() {
        assert_eq!(plain_segments("/a/b"), Some(vec!["a", "b"]));
        for path in ["a", "", "/", "/a//b", "/a/./b", "/a/..", "/a/"] {
            assert_eq!(plain_segments(path), None, "{path}");
        }
    }
}
