//! Words for reasons that come from plugins: text there, a fixed word here.

use buildhook_protocol::ReasonCode;

/// The known code that `text` is, or `other`.
#[must_use]
pub(crate) fn intern(text: &str) -> &'static str {
    const KNOWN: &[&str] = &[
        ReasonCode::NOT_FOUND,
        ReasonCode::CORRUPT,
        ReasonCode::POLICY,
        ReasonCode::UNSIGNED,
        ReasonCode::EXPIRED,
        ReasonCode::REVOKED,
        ReasonCode::OUT_OF_SCOPE,
        ReasonCode::DISAGREEMENT,
        ReasonCode::UNAVAILABLE,
        ReasonCode::TIMEOUT,
    ];
    KNOWN.iter().find(|known| **known == text).copied().unwrap_or(ReasonCode::OTHER)
}
