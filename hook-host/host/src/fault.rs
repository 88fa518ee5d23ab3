//! What a plugin can do wrong, and how much of it is borne.

use buildhook_protocol::{Reason, ReasonCode};
use serde::{Deserialize, Serialize};

use crate::text::tame;

/// Sorts of faults, by what they say about the plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// It could not be started, or ended before its hello.
    Start,
    /// Its hello is wrong, late, of another version, or says that it cannot work.
    Hello,
    /// It wrote what is no message, or answered what was not asked: out of step for good.
    Protocol,
    /// It sent an error of scope `session`.
    Session,
    /// It ended, or closed a stream, in the middle of a session.
    Exited,
    /// It did not answer in time.
    Timeout,
    /// It had no free place for the request in time: slow rather than wrong.
    Busy,
    /// An answer that is a message but not one that fits the request.
    Answer,
    /// It answered with an error of scope `request`.
    Error,
    /// A hit whose files contradict their names, sizes, digests or seal.
    Corrupt,
    /// It did not end as the protocol wants it after its input had closed.
    Shutdown,
    /// The host's own trouble: its scratch folder, a path that is not Unicode.
    Host,
}

impl FaultKind {
    /// Whether one such fault is enough to leave the plugin alone for the rest of the build.
    pub(crate) fn is_final(self) -> bool {
        matches!(self, Self::Start | Self::Hello | Self::Protocol | Self::Session)
    }

    /// Whether it counts towards leaving a hook alone.
    pub(crate) fn is_counted(self) -> bool {
        matches!(self, Self::Exited | Self::Timeout | Self::Answer | Self::Error)
    }

    /// The reason code of the miss that the fault becomes.
    fn reason_code(self) -> &'static str {
        match self {
            Self::Timeout | Self::Busy => ReasonCode::TIMEOUT,
            Self::Corrupt => ReasonCode::CORRUPT,
            Self::Host => ReasonCode::OTHER,
            _ => ReasonCode::UNAVAILABLE,
        }
    }
}

/// One thing that went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Fault {
    /// What sort.
    pub kind: FaultKind,
    /// What happened and what to do, without the plugin's name.
    pub message: String,
}

impl Fault {
    pub(crate) fn new(kind: FaultKind, message: impl AsRef<str>) -> Self {
        Self { kind, message: tame(message.as_ref()) }
    }

    /// The miss that this fault becomes (BH-ERR-005).
    pub(crate) fn reason(&self) -> Reason {
        Reason::new(self.kind.reason_code(), self.message.clone())
    }
}
