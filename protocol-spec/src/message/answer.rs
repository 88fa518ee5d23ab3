//! Answers (SPEC.md §5, §6, §9).

use serde::{Deserialize, Serialize};

use super::{FileRecord, check_files};
#[cfg(feature = "schema")]
use crate::limits::MAX_FILES;
use crate::limits::MAX_INTEGER;
use crate::{Seal, strict};

/// An answer of the plugin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Answer {
    /// The entry, whole.
    Hit {
        /// Of the request.
        #[cfg_attr(feature = "schema", schemars(range(min = 1, max = MAX_INTEGER)))]
        id: u64,
        /// As it was stored.
        seal: Seal,
        /// All files of the entry.
        #[serde(deserialize_with = "strict::objects")]
        #[cfg_attr(feature = "schema", schemars(length(min = 1, max = MAX_FILES)))]
        files: Vec<FileRecord>,
        /// What building took, when known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "schema", schemars(range(max = MAX_INTEGER)))]
        cost_ms: Option<u64>,
    },
    /// No entry.
    Miss {
        /// Of the request.
        #[cfg_attr(feature = "schema", schemars(range(min = 1, max = MAX_INTEGER)))]
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
        #[cfg_attr(feature = "schema", schemars(range(min = 1, max = MAX_INTEGER)))]
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
        #[cfg_attr(feature = "schema", schemars(length(max = MAX_FILES)))]
        relocated: Vec<FileRecord>,
    },
    /// It could not be done.
    Error {
        /// Of the request; 0 when it had none.
        #[cfg_attr(feature = "schema", schemars(range(max = MAX_INTEGER)))]
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

    /// What §3 to §6 say, beyond the types.
    ///
    /// # Errors
    /// The first rule broken, in words.
    pub fn check(&self) -> Result<(), &'static str> {
        let may_be_nameless = matches!(self, Self::Error { .. });
        if self.id() > MAX_INTEGER || (self.id() == 0 && !may_be_nameless) {
            return Err("`id` is not between 1 and 2^53 - 1");
        }
        match self {
            Self::Hit { files, .. } if files.is_empty() => Err("`hit` has no `files`"),
            Self::Hit { cost_ms: Some(ms), .. } if *ms > MAX_INTEGER => {
                Err("a time is above 2^53 - 1")
            }
            Self::Hit { files, .. } => check_files(files),
            Self::Done { relocated, .. } => check_files(relocated),
            Self::Miss { .. } | Self::Error { .. } => Ok(()),
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
    /// A word of SPEC.md §5, or another one.
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
#[cfg_attr(feature = "schema", schemars(transform = crate::schema::open))]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// This request only.
    Request,
    /// The session is over (BH-ERR-002).
    Session,
}
