//! Requests (SPEC.md §3, §5, §6).

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{FileRecord, absolute, check_files};
#[cfg(feature = "schema")]
use crate::limits::MAX_FILES;
use crate::limits::MAX_INTEGER;
use crate::{Key, Seal, strict};

/// The two kinds of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Hook {
    /// "Do you have this?"
    WantToBuild,
    /// "I have built this."
    BuiltAThing,
}

impl Hook {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WantToBuild => "want-to-build",
            Self::BuiltAThing => "built-a-thing",
        }
    }
}

/// What an entry is for; two purposes never share entries (BH-REQ-003).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(transform = crate::schema::open))]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// What a build made.
    #[default]
    Outputs,
    /// What a unit has read when it was built before (SPEC.md §7).
    Inputs,
    /// A purpose of a later version.
    #[serde(other)]
    Other,
}

impl Purpose {
    fn is_default(&self) -> bool {
        *self == Self::Outputs
    }
}

/// A request of the host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "schema", schemars(extend(
    "if" = {"properties": {"kind": {"const": "built-a-thing"}}},
    "then" = {"required": ["seal", "files"]}
)))]
pub struct Request {
    /// The protocol version.
    pub v: u32,
    /// Names the request on this hop; never 0.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = MAX_INTEGER)))]
    pub id: u64,
    /// What is asked.
    pub kind: Hook,
    /// The entry.
    pub key: Key,
    /// Which entry of that key.
    #[serde(default, skip_serializing_if = "Purpose::is_default")]
    pub purpose: Purpose,
    /// What is built, for people and policies.
    #[serde(deserialize_with = "strict::object")]
    pub unit: Unit,
    /// An empty folder for this request.
    #[serde(deserialize_with = "absolute")]
    pub scratch: PathBuf,
    /// Time for the answer, in milliseconds from when the plugin reads the request.
    #[cfg_attr(feature = "schema", schemars(range(max = MAX_INTEGER)))]
    pub deadline_ms: u64,
    /// What the key stands for, for plugins that ask for it.
    #[serde(
        default,
        deserialize_with = "strict::optional_object",
        skip_serializing_if = "Option::is_none"
    )]
    pub manifest: Option<FileRecord>,
    /// `built-a-thing` only: the seal of `files`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seal: Option<Seal>,
    /// `built-a-thing` only: what was built.
    #[serde(default, deserialize_with = "strict::objects", skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = MAX_FILES)))]
    pub files: Vec<FileRecord>,
    /// `built-a-thing` only: what building took, in milliseconds of wall time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(max = MAX_INTEGER)))]
    pub cost_ms: Option<u64>,
    /// `built-a-thing` only: an entry that exists is wrong, this one takes its place.
    #[serde(default, skip_serializing_if = "is_false")]
    pub replace: bool,
}

impl Request {
    /// What §3, §4 and §6 say, beyond the types.
    ///
    /// # Errors
    /// The first rule broken, in words.
    pub fn check(&self) -> Result<(), &'static str> {
        if !(1..=MAX_INTEGER).contains(&self.id) {
            return Err("`id` is not between 1 and 2^53 - 1");
        }
        if self.deadline_ms > MAX_INTEGER || self.cost_ms.is_some_and(|ms| ms > MAX_INTEGER) {
            return Err("a time is above 2^53 - 1");
        }
        if self.kind == Hook::BuiltAThing && (self.seal.is_none() || self.files.is_empty()) {
            return Err("`built-a-thing` has no `seal` or no `files`");
        }
        check_files(&self.files)?;
        check_files(self.manifest.as_slice())
    }
}

/// What is built, for people and policies; never identity (BH-REQ-004).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case", default)]
pub struct Unit {
    /// The crate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The package that the crate belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
    /// The package's version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// `registry`, `git`, `path` or `workspace`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// `lib`, `proc-macro`, `bin`, `test`, `build-script`, ….
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub unit_type: Option<String>,
    /// What the compiler is to write: `link`, `metadata`, ….
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub emit: Vec<String>,
    /// The target triple.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// `debug`, `release` or another profile's folder name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// The compiler and its version, as SPEC.md §3.1 shows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub toolchain: Option<String>,
    /// The package's features that are on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
    /// The same text wherever this workspace is built: a store may guess by it what will be
    /// asked for next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workspace: Option<String>,
}

fn is_false(value: &bool) -> bool {
    !*value
}
