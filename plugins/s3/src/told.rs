//! What people are told, each thing once in a session, on standard error.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

/// Remembers what was told.
#[derive(Debug, Default)]
pub(crate) struct Told(Mutex<HashSet<&'static str>>);

impl Told {
    /// Tells `message` unless something about `topic` was told before.
    pub(crate) fn once(&self, topic: &'static str, message: &str) {
        if self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(topic) {
            eprintln!("buildhook-s3: {message}");
        }
    }
}
