//! Locks that outlive a panic, threads that may fail to start.
//!
//! The host's state is plain data, whole after every statement, and a cache that panics
//! because it panicked before, or because the system has no thread left, would fail a build.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

/// Locks `mutex`, poisoned or not.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a thread.
pub(crate) fn spawn(
    name: &str,
    work: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(format!("plugin {name}")).spawn(work)
}
