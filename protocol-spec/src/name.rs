//! Names of files within an entry (BH-FILE-001, BH-FILE-002).
//!
//! A name travels between systems and ends up in file systems, so what any of them
//! would refuse or reinterpret is refused here, before a path is ever made of it.
//!
//! Known gap: names that only some file systems fold into one (case beyond ASCII,
//! Unicode normalisation) are taken for different ones. An entry with both cannot be
//! restored there; the host's check of each restored file finds it.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

use crate::limits::{MAX_NAME_BYTES, MAX_SEGMENT_BYTES, MAX_SEGMENTS};

/// A checked name: relative, `/`-separated, safe on every file system we know.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct EntryName(String);

/// Why a text is no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Empty, or longer than [`MAX_NAME_BYTES`].
    #[error("a name has 1 to 1024 bytes")]
    Length,
    /// An empty or too long segment, or too many of them.
    #[error("a name has at most 16 segments of 1 to 255 bytes")]
    Segment,
    /// `.` or `..`.
    #[error("a segment of a name is not `.` or `..`")]
    Dots,
    /// A control character or one of `\ : * ? " < > |`.
    #[error("a name holds no control character and none of \\ : * ? \" < > |")]
    Character,
    /// Windows drops dots and spaces at the end.
    #[error("a segment of a name does not end in a dot or a space")]
    Trailing,
    /// A device name of Windows.
    #[error("a segment of a name is not a device name of Windows")]
    Device,
    /// Two names that some file system takes for one.
    #[error("two names of one entry are the same, or differ in case only")]
    Duplicate,
    /// A name that another one uses as a folder.
    #[error("a name of one entry is a folder of another one")]
    Folder,
}

impl EntryName {
    /// Checks `text`.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
        let text = text.into();
        check(&text)?;
        Ok(Self(text))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What follows `prefix` and a slash, if the name is in that folder.
    #[must_use]
    pub fn strip_folder(&self, prefix: &str) -> Option<&str> {
        self.0.strip_prefix(prefix)?.strip_prefix('/')
    }

    /// Whether the name is one of the host's (`out/…`, `log/…`) and so part of the seal.
    #[must_use]
    pub fn is_host_owned(&self) -> bool {
        self.strip_folder("out").is_some() || self.strip_folder("log").is_some()
    }
}

/// Checks that all names fit into one folder together: unique, also without regard to
/// ASCII case, and none a folder of another.
///
/// # Errors
/// [`NameError::Duplicate`] or [`NameError::Folder`].
pub fn check_unique<'a>(names: impl IntoIterator<Item = &'a EntryName>) -> Result<(), NameError> {
    let mut seen = HashSet::new();
    for name in names {
        if !seen.insert(name.0.to_ascii_lowercase()) {
            return Err(NameError::Duplicate);
        }
    }
    for name in &seen {
        if name.match_indices('/').any(|(end, _)| seen.contains(&name[..end])) {
            return Err(NameError::Folder);
        }
    }
    Ok(())
}

fn check(text: &str) -> Result<(), NameError> {
    if text.is_empty() || text.len() > MAX_NAME_BYTES {
        return Err(NameError::Length);
    }
    for (index, segment) in text.split('/').enumerate() {
        if segment.is_empty() || segment.len() > MAX_SEGMENT_BYTES || index >= MAX_SEGMENTS {
            return Err(NameError::Segment);
        }
        if segment == "." || segment == ".." {
            return Err(NameError::Dots);
        }
        if segment.chars().any(|c| c.is_control() || "\\:*?\"<>|".contains(c)) {
            return Err(NameError::Character);
        }
        if segment.ends_with(['.', ' ']) {
            return Err(NameError::Trailing);
        }
        if is_device(segment) {
            return Err(NameError::Device);
        }
    }
    Ok(())
}

fn is_device(segment: &str) -> bool {
    let stem = segment.split('.').next().unwrap_or(segment).trim_end_matches(' ');
    let stem = stem.to_ascii_lowercase();
    match stem.as_str() {
        "con" | "prn" | "aux" | "nul" | "conin$" | "conout$" => true,
        _ => ["com", "lpt"].iter().any(|device| {
            let mut number = stem.strip_prefix(device).unwrap_or_default().chars();
            matches!((number.next(), number.next()), (Some('1'..='9' | '¹' | '²' | '³'), None))
        }),
    }
}

impl FromStr for EntryName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl<'de> Deserialize<'de> for EntryName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for EntryName {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "EntryName".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string", "minLength": 1, "maxLength": MAX_NAME_BYTES,
            "description": "A relative, /-separated name; SPEC.md BH-FILE-001 has all the rules."
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        let long = "x".repeat(256);
        let many = ["a"; 17].join("/");
        let cases: &[(&str, Result<(), NameError>)] = &[
            ("out/libfoo-1.rlib", Ok(())),
            ("@sign/alice.sig", Ok(())),
            ("out/a b/ünï.d", Ok(())),
            ("out/console", Ok(())),
            ("com10", Ok(())),
            ("", Err(NameError::Length)),
            ("/etc/passwd", Err(NameError::Segment)),
            ("a//b", Err(NameError::Segment)),
            ("a/", Err(NameError::Segment)),
            (&long, Err(NameError::Segment)),
            (&many, Err(NameError::Segment)),
            ("a/../b", Err(NameError::Dots)),
            ("./a", Err(NameError::Dots)),
            ("a\\b", Err(NameError::Character)),
            ("c:x", Err(NameError::Character)),
            ("a\u{0}", Err(NameError::Character)),
            ("a\n", Err(NameError::Character)),
            ("a.", Err(NameError::Trailing)),
            ("a /b", Err(NameError::Trailing)),
            ("out/NUL.txt", Err(NameError::Device)),
            ("lpt9", Err(NameError::Device)),
            ("Com².d/x", Err(NameError::Device)),
            ("conin$", Err(NameError::Device)),
            ("aux .tar.gz", Err(NameError::Device)),
            ("lpt", Ok(())),
            ("com¹¹", Ok(())),
        ];
        for (text, expected) in cases {
            assert_eq!(EntryName::new(*text).map(|_| ()), *expected, "{text:?}");
        }
    }

    #[test]
    fn uniqueness_ignores_case() {
        let names = ["out/A", "out/a"].map(|n| EntryName::new(n).unwrap());
        assert_eq!(check_unique(&names), Err(NameError::Duplicate));
        assert_eq!(check_unique(&names[..1]), Ok(()));
        let names = ["out/a/b", "OUT/A"].map(|n| EntryName::new(n).unwrap());
        assert_eq!(check_unique(&names), Err(NameError::Folder));
        let names = ["out/a.d/b", "out/a"].map(|n| EntryName::new(n).unwrap());
        assert_eq!(check_unique(&names), Ok(()));
    }
}
