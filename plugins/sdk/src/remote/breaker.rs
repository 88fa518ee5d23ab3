//! Leaves a server alone that has failed several times in a row.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Requests that have to fail in a row, each after its own retries. A single slow answer or a
/// restart of the server costs no more than these.
const FAILURES: u32 = 3;
/// How long the server is left alone before one request tries it again. Long against what a
/// failing request costs, short against a build.
const REST: Duration = Duration::from_secs(15);

/// Closed while requests succeed; open for [`REST`] after [`FAILURES`] failures; then one
/// request may try.
#[derive(Debug, Default)]
pub struct Breaker(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    failures: u32,
    open_until: Option<Instant>,
}

impl Breaker {
    /// Whether a request may be sent at `now`.
    #[must_use]
    pub fn admits(&self, now: Instant) -> bool {
        let mut state = self.state();
        match state.open_until {
            Some(until) if now < until => false,
            Some(_) => {
                // This one tries; the others wait for what becomes of it.
                state.open_until = Some(now + REST);
                true
            }
            None => true,
        }
    }

    /// The server has answered.
    pub fn succeeded(&self) {
        *self.state() = State::default();
    }

    /// A request has failed; true when this is what opens the breaker.
    pub fn failed(&self, now: Instant) -> bool {
        let mut state = self.state();
        state.failures = state.failures.saturating_add(1);
        if state.failures < FAILURES {
            return false;
        }
        let opens = state.open_until.is_none();
        state.open_until = Some(now + REST);
        opens
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_after_failures_in_a_row_and_lets_one_try() {
        let breaker = Breaker::default();
        let start = Instant::now();
        assert!(!breaker.failed(start));
        assert!(!breaker.failed(start));
        breaker.succeeded();
        assert!(!breaker.failed(start));
        assert!(!breaker.failed(start));
        assert!(breaker.admits(start));
        assert!(breaker.failed(start));
        assert!(!breaker.admits(start));

        let later = start + REST;
        assert!(breaker.admits(later), "one tries");
        assert!(!breaker.admits(later), "the others wait");
        breaker.succeeded();
        assert!(breaker.admits(later));
    }
}
