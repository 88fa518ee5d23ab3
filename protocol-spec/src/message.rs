//! The messages and their parts (SPEC.md §2–§9).
//!
//! Two views of one line: [`Message`] keeps every member, known or not, for whoever
//! forwards it; [`Hello`], [`Request`] and [`Answer`] are what a host or a plugin works
//! with. Unknown words in open lists become `Other` or stay text, never an error.

use std::path::PathBuf;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::limits::MAX_IN_FLIGHT;
use crate::{Digest, EntryName, Key, Seal, strict};

/// One line, with all its members.
#[derive(Debug, Clone, PartialEq)]
pub struct Message(Map<String, Value>);

impl Message {
    pub(crate) fn from_members(members: Map<String, Value>) -> Self {
        Self(members)
    }

    /// The message that a typed value stands for.
    ///
    /// # Errors
    /// A path that is not Unicode cannot be written in JSON.
    pub fn of<T: Serialize>(typed: &T) -> Result<Self, serde_json::Error> {
        match serde_json::to_value(typed)? {
            Value::Object(members) => Ok(Self(members)),
            _ => Err(serde_json::Error::custom("a message is a JSON object")),
        }
    }

    /// The typed view: [`Hello`], [`Request`] or [`Answer`].
    ///
    /// # Errors
    /// Members missing or of the wrong type, in words for the other side.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        strict::from_object(&self.0)
    }

    /// All members.
    #[must_use]
    pub fn members(&self) -> &Map<String, Value> {
        &self.0
    }

    /// All members, to change: for filters, which forward what they do not know.
    pub fn members_mut(&mut self) -> &mut Map<String, Value> {
        &mut self.0
    }

    /// The member `id`, if it is a proper one.
    #[must_use]
    pub fn id(&self) -> Option<u64> {
        self.0.get("id")?.as_u64()
    }

    /// The member `kind`, if it is text.
    #[must_use]
    pub fn kind(&self) -> Option<&str> {
        self.0.get("kind")?.as_str()
    }
}

/// The first message of a plugin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub struct Hello {
    /// The protocol versions it speaks.
    pub v: Vec<u32>,
    /// Who it is.
    #[serde(deserialize_with = "strict::object")]
    pub plugin: PluginInfo,
    /// The kinds of request it answers; absent exactly when `error` is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hooks: Option<Vec<String>>,
    /// What it wants beyond the basics, such as [`FEATURE_MANIFEST`](crate::FEATURE_MANIFEST).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
    /// How many requests it accepts before it has answered, 1 to [`MAX_IN_FLIGHT`].
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub max_in_flight: u32,
    /// How long it wants to go on after standard input has closed, in milliseconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub drain_ms: u64,
    /// Why it cannot work.
    #[serde(
        default,
        deserialize_with = "strict::optional_object",
        skip_serializing_if = "Option::is_none"
    )]
    pub error: Option<ErrorBody>,
}

impl Hello {
    /// Whether the plugin answers `hook`.
    #[must_use]
    pub fn has_hook(&self, hook: Hook) -> bool {
        self.hooks.iter().flatten().any(|name| name == hook.as_str())
    }

    /// Whether the plugin asks for `feature`.
    #[must_use]
    pub fn has_feature(&self, feature: &str) -> bool {
        self.features.iter().any(|name| name == feature)
    }

    /// What BH-HELLO-002, 003 and the bounds of §2 say, beyond the types.
    ///
    /// # Errors
    /// The first rule broken, in words.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.v.is_empty() {
            return Err("`v` names no version");
        }
        if self.plugin.name.is_empty() || self.plugin.version.is_empty() {
            return Err("`plugin` has no name or no version");
        }
        if self.hooks.is_some() == self.error.is_some() {
            return Err("exactly one of `hooks` and `error` is due");
        }
        if !(1..=MAX_IN_FLIGHT).contains(&self.max_in_flight) {
            return Err("`max-in-flight` is not between 1 and 256");
        }
        Ok(())
    }
}

/// Who a plugin is, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub struct PluginInfo {
    /// For example `local-dir`.
    pub name: String,
    /// Its own version, in any form.
    pub version: String,
}

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
pub struct Request {
    /// The protocol version.
    pub v: u32,
    /// Names the request on this hop; never 0.
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
    pub files: Vec<FileRecord>,
    /// `built-a-thing` only: what building took, in milliseconds of wall time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_ms: Option<u64>,
    /// `built-a-thing` only: an entry that exists is wrong, this one takes its place.
    #[serde(default, skip_serializing_if = "is_false")]
    pub replace: bool,
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
    /// For example `rustc 1.95.0`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub toolchain: Option<String>,
    /// The package's features that are on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
}

/// One file of an entry (SPEC.md §4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub struct FileRecord {
    /// Its name within the entry.
    pub name: EntryName,
    /// Where it is now; absolute.
    #[serde(deserialize_with = "absolute")]
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
    /// Of the content, as claimed by the sender.
    pub digest: Digest,
    /// Whether the owner may execute it.
    pub executable: bool,
    /// What the receiver may do with the file at `path`.
    pub lease: Lease,
}

/// What the receiver may do with a file (BH-FILE-006 to 009).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Lease {
    /// Read it, for a while.
    Borrowed,
    /// Read or hard-link it, as long as it is there; never write.
    Shared,
    /// It is yours; it lies in the request's scratch folder.
    Owned,
}

/// An answer of the plugin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Answer {
    /// The entry, whole.
    Hit {
        /// Of the request.
        id: u64,
        /// As it was stored.
        seal: Seal,
        /// All files of the entry.
        #[serde(deserialize_with = "strict::objects")]
        files: Vec<FileRecord>,
        /// What building took, when known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cost_ms: Option<u64>,
    },
    /// No entry.
    Miss {
        /// Of the request.
        id: u64,
        /// Why, for people.
        #[serde(
            default,
            deserialize_with = "strict::optional_object",
            skip_serializing_if = "Option::is_none"
        )]
        reason: Option<Reason>,
    },
    /// `built-a-thing` was taken note of.
    Done {
        /// Of the request.
        id: u64,
        /// What became of the entry.
        stored: Stored,
        /// Why not, for people.
        #[serde(
            default,
            deserialize_with = "strict::optional_object",
            skip_serializing_if = "Option::is_none"
        )]
        reason: Option<Reason>,
        /// Files that now also live elsewhere, all `shared` (BH-BUILT-010).
        #[serde(
            default,
            deserialize_with = "strict::objects",
            skip_serializing_if = "Vec::is_empty"
        )]
        relocated: Vec<FileRecord>,
    },
    /// It could not be done.
    Error {
        /// Of the request; 0 when it had none.
        id: u64,
        /// What happened.
        #[serde(deserialize_with = "strict::object")]
        error: ErrorBody,
    },
}

impl Answer {
    /// The id of the request that this answers.
    #[must_use]
    pub fn id(&self) -> u64 {
        match self {
            Self::Hit { id, .. }
            | Self::Miss { id, .. }
            | Self::Done { id, .. }
            | Self::Error { id, .. } => *id,
        }
    }
}

/// What became of an entry that was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Stored {
    /// It is stored.
    Yes,
    /// It was there, and is complete.
    Already,
    /// It will be tried in the background.
    Later,
    /// It is not stored.
    No,
}

/// Why there was a miss or nothing was stored, for people and statistics.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub struct Reason {
    /// One of [`ReasonCode`], or another word.
    pub code: String,
    /// A sentence for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl Reason {
    /// A reason without a sentence.
    #[must_use]
    pub fn code(code: &str) -> Self {
        Self { code: code.to_owned(), message: None }
    }

    /// A reason with a sentence.
    #[must_use]
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: Some(message.into()) }
    }
}

/// The codes of [`Reason`] that the spec names (SPEC.md §5).
#[derive(Debug)]
#[non_exhaustive]
pub struct ReasonCode;

#[expect(missing_docs, reason = "the words speak for themselves; SPEC.md §5 lists them")]
impl ReasonCode {
    pub const NOT_FOUND: &str = "not-found";
    pub const CORRUPT: &str = "corrupt";
    pub const POLICY: &str = "policy";
    pub const UNSIGNED: &str = "unsigned";
    pub const EXPIRED: &str = "expired";
    pub const REVOKED: &str = "revoked";
    pub const OUT_OF_SCOPE: &str = "out-of-scope";
    pub const DISAGREEMENT: &str = "disagreement";
    pub const UNAVAILABLE: &str = "unavailable";
    pub const TIMEOUT: &str = "timeout";
    pub const OTHER: &str = "other";
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub struct ErrorBody {
    /// What sort of fault.
    pub kind: ErrorKind,
    /// A sentence for people: what happened and what to do.
    pub message: String,
    /// Whether the session is over.
    #[serde(default)]
    pub scope: Scope,
    /// The chain of causes, outermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub caused_by: Vec<String>,
}

impl ErrorBody {
    /// An error that concerns one request.
    #[must_use]
    pub fn request(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), scope: Scope::Request, caused_by: Vec::new() }
    }

    /// An error that ends the session.
    #[must_use]
    pub fn session(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { scope: Scope::Session, ..Self::request(kind, message) }
    }
}

/// Sorts of faults (SPEC.md §9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the words speak for themselves; SPEC.md §9 lists them")]
pub enum ErrorKind {
    BadRequest,
    UnknownKind,
    Config,
    Auth,
    Unavailable,
    NoSpace,
    Timeout,
    Child,
    #[serde(other)]
    Other,
}

/// How far an error reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// This request only.
    #[default]
    Request,
    /// The session is over (BH-ERR-002).
    Session,
}

fn absolute<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.contains('\0') {
        return Err(D::Error::custom("a path holds U+0000"));
    }
    let path = PathBuf::from(text);
    if path.is_absolute() { Ok(path) } else { Err(D::Error::custom("a path is not absolute")) }
}

fn one() -> u32 {
    1
}

fn is_one(value: &u32) -> bool {
    *value == 1
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

fn is_false(value: &bool) -> bool {
    !*value
}
