//! Why a unit is not cached: a code to count by and a word for people.

use std::fmt;

/// A reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// For statistics, such as `incremental-history`.
    pub code: &'static str,
    /// What in particular.
    pub detail: String,
}

impl Refusal {
    /// A reason with its particulars.
    #[must_use]
    pub fn new(code: &'static str, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}
