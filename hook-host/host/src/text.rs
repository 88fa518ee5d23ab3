//! Words that come from a plugin and go to people: bounded, and without what a terminal
//! would obey.

use buildhook_protocol::{Reason, ReasonCode};

/// Longest text kept of one message of a plugin, in bytes: a paragraph.
const MAX_TEXT_BYTES: usize = 1000;
/// Longest reason code kept, in bytes; those of the protocol have up to 12.
const MAX_CODE_BYTES: usize = 40;

/// `text` without control characters, cut to a paragraph.
pub(crate) fn tame(text: &str) -> String {
    let end = text.floor_char_boundary(MAX_TEXT_BYTES);
    let mut tamed: String =
        text[..end].chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if end < text.len() {
        tamed.push('…');
    }
    tamed
}

/// The reason that a plugin gives, or `other`.
pub(crate) fn tame_reason(reason: Option<Reason>) -> Reason {
    let Some(reason) = reason else { return Reason::code(ReasonCode::OTHER) };
    let is_code = |code: &str| {
        (1..=MAX_CODE_BYTES).contains(&code.len())
            && code.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    let code = if is_code(&reason.code) { reason.code } else { ReasonCode::OTHER.to_owned() };
    Reason { code, message: reason.message.as_deref().map(tame) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_and_harmless() {
        assert_eq!(tame("not found"), "not found");
        assert_eq!(tame("\u{1b}[31mred\nline\u{9b}2J"), " [31mred line 2J");
        let long = "ü".repeat(10_000);
        assert!(tame(&long).len() <= MAX_TEXT_BYTES + '…'.len_utf8());
        assert!(tame(&long).ends_with('…'));
    }

    #[test]
    fn reasons_have_proper_codes() {
        let code = |code: &str| tame_reason(Some(Reason::code(code))).code;
        assert_eq!(code("not-found"), "not-found");
        assert_eq!(code("a-word-of-2030"), "a-word-of-2030");
        for wrong in ["", "Not found", "a\n", &"x".repeat(41)] {
            assert_eq!(code(wrong), "other", "{wrong:?}");
        }
        assert_eq!(tame_reason(None), Reason::code("other"));
    }
}
