//! How deep a stack of filters is: refuses a stack that contains itself.

use std::ffi::OsString;

use crate::StartError;

/// The number of filters above this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depth(u32);

impl Depth {
    /// The environment variable in which a filter tells its child how deep it is.
    pub const VARIABLE: &str = "BUILDHOOK_FILTER_DEPTH";
    /// The deepest stack: far above any that a person writes, low enough to stop a loop of
    /// processes before it hurts.
    pub const MAX: u32 = 32;

    /// The depth of this process, from the value of [`VARIABLE`](Self::VARIABLE).
    ///
    /// # Errors
    /// [`StartError::Child`] when the stack is too deep, [`StartError::Config`] when the
    /// value is no number.
    pub fn new(value: Option<OsString>) -> Result<Self, StartError> {
        let Some(value) = value else { return Ok(Self(0)) };
        let depth: u32 = value.to_str().and_then(|text| text.parse().ok()).ok_or_else(|| {
            StartError::Config(format!("the variable {} is no number: unset it", Self::VARIABLE))
        })?;
        if depth >= Self::MAX {
            return Err(StartError::Child(format!(
                "more than {} filters stand above each other: does a stack contain itself?",
                Self::MAX
            )));
        }
        Ok(Self(depth))
    }

    /// The value of the variable for a child. [`Next`](super::Next) sets it; whoever starts a
    /// plugin in another way does so too.
    #[must_use]
    pub fn below(self) -> String {
        (self.0 + 1).to_string()
    }
}
