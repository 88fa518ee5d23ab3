//! Whether a tier is worth waiting for.
//!
//! Counted is the time in which at least one request waited: no build is longer for it by more
//! than that. A hit pays for the time that it took, and for what building would have taken. When
//! the rest is more than the tier's `patience-ms`, the build is better off without.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The account of one tier.
#[derive(Debug)]
pub(crate) struct Patience {
    limit: Duration,
    account: Mutex<Account>,
}

#[derive(Debug, Default)]
struct Account {
    waiting: u32,
    /// Since when somebody waits.
    since: Option<Instant>,
    waited: Duration,
    earned: Duration,
}

impl Patience {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, account: Mutex::default() }
    }

    /// Whether there is any left.
    pub(crate) fn is_left(&self) -> bool {
        let account = self.account();
        account.waited <= self.limit.saturating_add(account.earned)
    }

    /// Waits for what `work` gives.
    pub(crate) fn wait<T>(&self, work: impl FnOnce() -> T) -> T {
        let mut account = self.account();
        account.waiting += 1;
        account.since.get_or_insert_with(Instant::now);
        drop(account);
        let outcome = work();
        let mut account = self.account();
        account.waiting -= 1;
        if account.waiting == 0
            && let Some(since) = account.since.take()
        {
            account.waited += since.elapsed();
        }
        outcome
    }

    /// A wait was worth it.
    pub(crate) fn earn(&self, worth: Duration) {
        let mut account = self.account();
        account.earned = account.earned.saturating_add(worth);
    }

    fn account(&self) -> std::sync::MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
