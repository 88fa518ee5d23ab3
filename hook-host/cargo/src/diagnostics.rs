//! What rustc says on standard error, one JSON object a line.
//!
//! - On the way to Cargo, tokens become folders again, on hits and on misses.
//! - Stored lines hold tokens: those that rustc wrote for remapped paths, and those put in
//!   place of the output folder in artifact notifications, which rustc never remaps.
//! - Some diagnostics describe the machine and not the source (a lost jobserver, a full
//!   disk). A unit with one of those is not stored, or it would be replayed for ever.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::roots::{Roots, TOKEN_PREFIX};

/// Kinds of message that are a function of the unit.
const KNOWN_TYPES: &[&str] = &["artifact", "diagnostic", "future_incompat", "unused_extern"];

/// Replaces tokens in lines of JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Translation {
    roots: Vec<(String, String)>,
}

impl Translation {
    /// For the folders of `roots`.
    #[must_use]
    pub fn new(roots: &Roots) -> Self {
        let pair = |root: &crate::roots::Root| {
            let quoted = Value::from(root.path.to_str()?).to_string();
            // What JSON writes between its quotes.
            Some((root.token.to_owned(), quoted[1..quoted.len() - 1].to_owned()))
        };
        Self { roots: roots.iter().filter_map(pair).collect() }
    }

    /// `line` with folders in place of tokens.
    #[must_use]
    pub fn apply<'l>(&self, line: &'l str) -> std::borrow::Cow<'l, str> {
        if !line.contains(TOKEN_PREFIX) {
            return line.into();
        }
        let mut text = line.to_owned();
        for (token, folder) in &self.roots {
            text = text.replace(token, folder);
        }
        text.into()
    }
}

/// Standard error as it is stored.
#[must_use]
pub fn to_stored(stderr: &str, roots: &Roots) -> String {
    let mut stored = String::with_capacity(stderr.len());
    for line in stderr.split_inclusive('\n') {
        if line.starts_with("{\"$message_type\":\"artifact\"") {
            stored.push_str(&roots.tokenise_text(line));
        } else {
            stored.push_str(line);
        }
    }
    stored
}

/// Whether all of `stderr` is a function of the unit; otherwise the first line that is not.
///
/// # Errors
/// The offending line, shortened.
pub fn check_cacheable(stderr: &str) -> Result<(), String> {
    for line in stderr.lines().filter(|line| !line.trim().is_empty()) {
        if !is_about_the_unit(line) {
            return Err(line.chars().take(200).collect());
        }
    }
    Ok(())
}

fn is_about_the_unit(line: &str) -> bool {
    let Ok(Value::Object(message)) = serde_json::from_str(line) else { return false };
    let Some(kind) = message.get("$message_type").and_then(Value::as_str) else { return false };
    if !KNOWN_TYPES.contains(&kind) {
        return false;
    }
    if kind != "diagnostic" {
        return true;
    }
    let has_code = message.get("code").is_some_and(|code| !code.is_null());
    let has_span = message.get("spans").and_then(Value::as_array).is_some_and(|s| !s.is_empty());
    let text = message.get("message").and_then(Value::as_str).unwrap_or_default();
    has_code || has_span || is_summary(text)
}

/// `1 warning emitted`, `12 warnings emitted`.
fn is_summary(text: &str) -> bool {
    let mut words = text.split(' ');
    words.next().is_some_and(|n| n.parse::<u32>().is_ok())
        && matches!(words.next(), Some("warning" | "warnings"))
        && words.eq(["emitted"])
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn roots(workspace: &str) -> Roots {
        let out_dir = format!("{workspace}/target/debug/deps");
        Roots::new(workspace.as_ref(), Path::new("/c"), out_dir.as_ref(), Path::new("/opt/rust"))
    }

    #[test]
    fn an_artifact_moves_to_another_folder() {
        let line = "{\"$message_type\":\"artifact\",\"artifact\":\"/ws/target/debug/deps/libx.rmeta\",\"emit\":\"metadata\"}\n";
        let stored = to_stored(line, &roots("/ws"));
        assert!(!stored.contains("/ws"));
        let moved = Translation::new(&roots("/a \"b\"")).apply(&stored).into_owned();
        assert_eq!(moved, line.replace("/ws", "/a \\\"b\\\""));
    }

    #[test]
    fn only_what_describes_the_unit_is_cacheable() {
        let diagnostic = |code: &str, spans: &str, message: &str| {
            format!(
                "{{\"$message_type\":\"diagnostic\",\"message\":\"{message}\",\"code\":{code},\"spans\":{spans}}}"
            )
        };
        for (line, expected) in [
            (diagnostic("{\"code\":\"dead_code\"}", "[]", "unused"), true),
            (diagnostic("null", "[{}]", "syntax"), true),
            (diagnostic("null", "[]", "2 warnings emitted"), true),
            (diagnostic("null", "[]", "failed to connect to jobserver"), false),
            ("{\"$message_type\":\"artifact\"}".to_owned(), true),
            ("{\"$message_type\":\"news\"}".to_owned(), false),
            ("[rustc_driver] log line".to_owned(), false),
            (String::new(), true),
        ] {
            assert_eq!(check_cacheable(&line).is_ok(), expected, "{line}");
        }
    }
}
