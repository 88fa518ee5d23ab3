//! `Cargo.lock`: which packages there are, and where they come from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fs_err as fs;
use serde::Deserialize;

use super::super::Refusal;

/// Largest lock that is read, in bytes: ten times that of a workspace of a thousand packages.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// A lock that was read.
#[derive(Debug)]
pub(super) struct Lock {
    pub(super) path: PathBuf,
    /// By name and version.
    packages: BTreeMap<(String, String), Source>,
}

/// Where a package comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Source {
    /// crates.io, or what takes its place here.
    #[default]
    CratesIo,
    /// Another registry: the place of its index.
    Registry(String),
    /// A repository: its place, and the member that says which commit, if one does.
    Git { url: String, reference: Option<(String, String)> },
}

#[derive(Deserialize)]
struct File {
    version: Option<i64>,
    #[serde(default)]
    package: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    source: Option<String>,
}

impl Lock {
    pub(super) fn read(path: &Path) -> Result<Self, Refusal> {
        let usage = |what: String| Refusal::usage(format!("--lock: {what}"));
        let path = fs::canonicalize(path).map_err(|error| usage(error.to_string()))?;
        let size = fs::metadata(&path).map_err(|error| usage(error.to_string()))?.len();
        if size > MAX_BYTES {
            return Err(usage(format!("{} is larger than {MAX_BYTES} bytes", path.display())));
        }
        let text = fs::read_to_string(&path).map_err(|error| usage(error.to_string()))?;
        let file: File = toml::from_str(&text).map_err(|error| {
            let line = error.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
            usage(format!("{}:{line}: not a Cargo.lock: {}", path.display(), error.message()))
        })?;
        if file.version.is_none() && file.package.is_empty() {
            return Err(usage(format!("{}: not a Cargo.lock: no packages", path.display())));
        }
        let packages = file.package.into_iter().filter_map(|package| {
            let source = Source::parse(&package.source?)?;
            Some(((package.name, package.version), source))
        });
        Ok(Self { path, packages: packages.collect() })
    }

    pub(super) fn source(&self, package: &str, version: &str) -> Option<&Source> {
        self.packages.get(&(package.to_owned(), version.to_owned()))
    }

    /// Name, version and source of each package that is not the project's own.
    pub(super) fn packages(&self) -> impl Iterator<Item = (&str, &str, &Source)> {
        let packages = self.packages.iter();
        packages.map(|((name, version), source)| (name.as_str(), version.as_str(), source))
    }
}

impl Source {
    /// As a lock has it. `None`: a folder.
    fn parse(text: &str) -> Option<Self> {
        const CRATES_IO: [&str; 2] = [
            "registry+https://github.com/rust-lang/crates.io-index",
            "sparse+https://index.crates.io/",
        ];
        if CRATES_IO.contains(&text) {
            return Some(Self::CratesIo);
        }
        if let Some(index) = text.strip_prefix("registry+") {
            return Some(Self::Registry(index.to_owned()));
        }
        if text.starts_with("sparse+") {
            return Some(Self::Registry(text.to_owned()));
        }
        // The commit is pinned by the lock, which the stand-in gets too.
        let place = text.strip_prefix("git+")?.split('#').next().unwrap_or_default();
        let (url, query) = place.split_once('?').unwrap_or((place, ""));
        let reference =
            query.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        Some(Self::Git { url: url.to_owned(), reference })
    }

    /// What a dependency says of it, with a comma before.
    pub(super) fn member(&self) -> String {
        match self {
            Self::CratesIo => String::new(),
            Self::Registry(index) => format!(", registry-index = {index:?}"),
            Self::Git { url, reference: None } => format!(", git = {url:?}"),
            Self::Git { url, reference: Some((name, value)) } => {
                format!(", git = {url:?}, {name} = {value:?}")
            }
        }
    }
}
