//! How a store on a server is to behave: the options that all such stores have, in one form.

use std::time::Duration;

use buildhook_protocol::limits::MAX_IN_FLIGHT;

use super::Names;
use crate::StartError;

/// Of 374 MB that a build of 104 crates with debug information made, file by file, level 1 left
/// 108 MB and took 1.2 s, level 3 98.5 MB and 1.8 s, level 6 90.9 MB and 4.8 s; 10 MB take
/// 0.8 s at 100 Mbit/s, every time they are fetched.
const DEFAULT_LEVEL: i32 = 3;
/// Two answers that do not come in the 2 s that hosts give; the third is on its way by then, and
/// after three the server is left alone.
const DEFAULT_PATIENCE_MS: u64 = 4_000;
/// As many compiles as a large machine runs at once.
const DEFAULT_MAX_IN_FLIGHT: u32 = 32;
/// What is still to be uploaded when a build ends. The host may grant less.
const DEFAULT_DRAIN_MS: u64 = 30_000;

/// What a person wrote.
#[derive(Debug, Clone, Default)]
pub struct Wishes {
    /// Below which name everything lies.
    pub prefix: Option<String>,
    /// The level of compression, 1 to 19, or 0 for none.
    pub zstd: Option<i32>,
    /// Answers when an entry is there, not before.
    pub wait: bool,
    /// Longest that builds wait for the server in vain, in all.
    pub patience_ms: Option<u64>,
    /// Requests of the host at once.
    pub max_in_flight: Option<u32>,
    /// Longest that uploads go on after the build.
    pub drain_ms: Option<u64>,
}

/// What it comes to.
#[derive(Debug, Clone)]
pub struct Conduct {
    pub(super) name: &'static str,
    pub(super) version: &'static str,
    pub(super) names: Names,
    pub(super) zstd_level: Option<i32>,
    pub(super) wait: bool,
    pub(super) patience: Duration,
    pub(super) max_in_flight: u32,
    pub(super) drain_ms: u64,
}

impl Conduct {
    /// That of the plugin of this name and version, on a server that takes prefixes of up to
    /// `max_prefix_bytes`.
    ///
    /// # Errors
    /// [`StartError::Config`]: a wish makes no sense; names it.
    pub fn new(
        name: &'static str,
        version: &'static str,
        max_prefix_bytes: usize,
        wishes: Wishes,
    ) -> Result<Self, StartError> {
        let prefix = wishes.prefix.unwrap_or_default();
        let prefix = prefix.trim_matches('/');
        check_prefix(prefix, max_prefix_bytes)?;
        let zstd_level = match wishes.zstd.unwrap_or(DEFAULT_LEVEL) {
            0 => None,
            level @ 1..=19 => Some(level),
            _ => return Err(config("`zstd` is a level from 1 to 19, or 0 for none".to_owned())),
        };
        let max_in_flight = wishes.max_in_flight.unwrap_or(DEFAULT_MAX_IN_FLIGHT);
        if !(1..=MAX_IN_FLIGHT).contains(&max_in_flight) {
            return Err(config("`max-in-flight` is a number from 1 to 256".to_owned()));
        }
        Ok(Self {
            name,
            version,
            names: Names::new(prefix),
            zstd_level,
            wait: wishes.wait,
            patience: Duration::from_millis(wishes.patience_ms.unwrap_or(DEFAULT_PATIENCE_MS)),
            max_in_flight,
            drain_ms: wishes.drain_ms.unwrap_or(DEFAULT_DRAIN_MS),
        })
    }

    /// Below which names everything lies.
    #[must_use]
    pub fn names(&self) -> &Names {
        &self.names
    }
}

fn check_prefix(prefix: &str, max_bytes: usize) -> Result<(), StartError> {
    let valid = |c: char| c.is_ascii_alphanumeric() || "-._/".contains(c);
    let wrong = |segment: &str| segment.is_empty() || segment == "." || segment == "..";
    if !prefix.is_empty() && (!prefix.chars().all(valid) || prefix.split('/').any(wrong)) {
        return Err(config(format!(
            "`{prefix}` is no prefix: write words of letters, digits, `-`, `.` and `_`, separated \
             by single slashes"
        )));
    }
    if prefix.len() > max_bytes {
        return Err(config(format!("`prefix` is longer than {max_bytes} bytes")));
    }
    Ok(())
}

fn config(message: String) -> StartError {
    StartError::Config(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(wishes: Wishes) -> String {
        Conduct::new("x", "1", 8, wishes).unwrap_err().to_string()
    }

    #[test]
    fn what_makes_no_sense_is_refused_and_named() {
        for prefix in ["a//b", "../x", "a b", "a/."] {
            let wishes = Wishes { prefix: Some(prefix.to_owned()), ..Wishes::default() };
            assert!(refused(wishes).contains(&format!("`{prefix}` is no prefix")));
        }
        let long = Wishes { prefix: Some("a".repeat(9)), ..Wishes::default() };
        assert!(refused(long).contains("`prefix` is longer than 8 bytes"));
        for zstd in [-1, 20] {
            let wishes = Wishes { zstd: Some(zstd), ..Wishes::default() };
            assert!(refused(wishes).contains("`zstd` is a level from 1 to 19, or 0"));
        }
        for max_in_flight in [0, 257] {
            let wishes = Wishes { max_in_flight: Some(max_in_flight), ..Wishes::default() };
            assert!(refused(wishes).contains("`max-in-flight` is a number from 1 to 256"));
        }
        let fine = Wishes { prefix: Some("/a/b/".to_owned()), zstd: Some(0), ..Wishes::default() };
        let conduct = Conduct::new("x", "1", 8, fine).unwrap();
        assert_eq!((conduct.names().root(), conduct.zstd_level), ("a/b/v2", None));
    }
}
