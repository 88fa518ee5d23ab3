//! What people are told, each thing once in a session, on standard error.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

/// Remembers what was told.
#[derive(Debug)]
pub(super) struct Told {
    plugin: &'static str,
    topics: Mutex<HashSet<&'static str>>,
}

impl Told {
    /// On behalf of the plugin of this name.
    pub(super) fn new(plugin: &'static str) -> Self {
        Self { plugin, topics: Mutex::default() }
    }

    /// Tells `message` unless something about `topic` was told before.
    pub(super) fn once(&self, topic: &'static str, message: &str) {
        if self.topics.lock().unwrap_or_else(PoisonError::into_inner).insert(topic) {
            self.say(message);
        }
    }

    /// Tells `message`.
    pub(super) fn say(&self, message: &str) {
        eprintln!("buildhook-{}: {message}", self.plugin);
    }
}
