//! Whether a server, or another plugin, is worth waiting for.
//!
//! Counted is the time in which at least one request waited in vain: no build is longer for it
//! by more than that. A hit pays for the time that it took, and earns what building would have
//! taken. When more is lost than the limit and what was earned, builds are better off without.
//!
//! A wait is known to be in vain when it has ended, so what is lost may be above the limit by as
//! much as one request may take, however many there are at once.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The account of one server.
#[derive(Debug)]
pub struct Patience {
    limit: Duration,
    account: Mutex<Account>,
}

#[derive(Debug, Default)]
struct Account {
    /// Disjoint stretches of time in which somebody waited in vain, the earliest first.
    stretches: Vec<(Instant, Instant)>,
    /// All of them together.
    lost: Duration,
    earned: Duration,
}

impl Patience {
    /// For as much as `limit` in vain.
    #[must_use]
    pub fn new(limit: Duration) -> Self {
        Self { limit, account: Mutex::default() }
    }

    /// Whether there is any left.
    #[must_use]
    pub fn is_left(&self) -> bool {
        let account = self.account();
        account.lost <= self.limit.saturating_add(account.earned)
    }

    /// A wait that began at `since` was in vain.
    pub fn lose(&self, since: Instant) {
        let mut account = self.account();
        // Within the lock: stretches end in the order in which they are told.
        account.lose(since, Instant::now());
    }

    /// A wait was worth it, and has spared this much.
    pub fn earn(&self, spared: Duration) {
        let mut account = self.account();
        account.earned = account.earned.saturating_add(spared);
    }

    fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Account {
    /// `end` is not before any that was told earlier, so what overlaps are the last ones.
    fn lose(&mut self, mut start: Instant, end: Instant) {
        while let Some((first, last)) = self.stretches.pop_if(|(_, last)| *last >= start) {
            self.lost = self.lost.saturating_sub(last.saturating_duration_since(first));
            start = start.min(first);
        }
        self.stretches.push((start, end));
        self.lost += end.saturating_duration_since(start);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_counts_once_however_many_wait() {
        let zero = Instant::now();
        let at = |seconds: u64| zero + Duration::from_secs(seconds);
        let mut account = Account::default();
        for (start, end, lost) in [
            (0, 2, 2),
            (1, 3, 3),
            (5, 6, 4),
            // It waited all the time, and so nobody ever did not.
            (0, 7, 7),
            (2, 7, 7),
            (9, 10, 8),
        ] {
            account.lose(at(start), at(end));
            assert_eq!(account.lost, Duration::from_secs(lost), "{start} to {end}");
        }
    }

    #[test]
    fn what_is_lost_is_bounded_by_the_limit_and_what_is_earned() {
        let start = Instant::now();
        let patience = Patience::new(Duration::from_secs(600));
        let lose = |seconds| patience.account().lose(start, start + Duration::from_secs(seconds));
        lose(600);
        assert!(patience.is_left());
        lose(601);
        assert!(!patience.is_left());
        patience.earn(Duration::from_secs(1));
        assert!(patience.is_left());
    }
}
