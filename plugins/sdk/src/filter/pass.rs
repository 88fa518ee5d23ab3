//! [`Filter`]: what passes is looked at, let through or refused.
//!
//! The whole session runs on one thread, which sleeps until either side has something to
//! say: a message wakes one process once, and no thread of it waits for another.

use std::process::ExitCode;

use buildhook_protocol::{Message, Reason};

use super::Next;
use crate::{About, Built, Call, Error, StartError};

/// A filter that looks at what passes and waits for nothing but the next plugin. One that
/// works on files meanwhile is a [`Plugin`](crate::Plugin) with a [`Next`], which has threads.
///
/// ```no_run
/// use buildhook_sdk::filter::{self, Depth, Filter, Next};
/// use buildhook_sdk::{About, protocol::Hook};
///
/// #[derive(clap::Parser)]
/// struct Args {}
///
/// struct ReadOnly;
///
/// impl Filter for ReadOnly {
///     fn about(&self, next: &Next) -> About {
///         next.about("readonly", "1.0.0", &[Hook::WantToBuild])
///     }
/// }
///
/// fn main() -> std::process::ExitCode {
///     let depth = std::env::var_os(Depth::VARIABLE);
///     filter::main("readonly", "1.0.0", || {
///         let (_, next) = filter::start::<Args>(depth)?;
///         Ok((ReadOnly, next))
///     })
/// }
/// ```
pub trait Filter {
    /// Who it is and what it offers, most often by [`Next::about`]; asked once.
    fn about(&self, next: &Next) -> About;

    /// Why a request goes no further: it is answered with a miss, or with `stored` = `no`.
    /// `None`: the next plugin is asked.
    fn refuse(&mut self, call: &Call, built: Option<&Built>) -> Option<Reason> {
        let _ = (call, built);
        None
    }

    /// What to make of the next plugin's answer, or of there being none. Members that this
    /// filter does not know stay in the message.
    ///
    /// # Errors
    /// When nothing could be made of it.
    fn answer(&mut self, call: &Call, outcome: Result<Message, Error>) -> Result<Message, Error> {
        let _ = call;
        outcome
    }

    /// Called when what has been answered is on its way to the host, before it waits for more:
    /// the place for work that no answer should wait for. Once for several answers, perhaps.
    fn rest(&mut self) {}

    /// Called once, when everything is answered and the next plugin has ended.
    fn end(&mut self) {}
}

/// Runs a filter as a process, as [`crate::main`] does a plugin.
pub fn main<F: Filter + Send>(
    name: &str,
    version: &str,
    build: impl FnOnce() -> Result<(F, Next), StartError>,
) -> ExitCode {
    #[cfg(unix)]
    return crate::start::run(name, version, build, |(filter, next), reader, writer| {
        super::passing::serve(filter, &next, reader, writer)
    });
    #[cfg(not(unix))]
    crate::main(name, version, || build().map(in_turn::InTurn::new))
}

/// Where there is nothing to sleep on for two sides at once: one request after the other.
#[cfg(not(unix))]
mod in_turn {
    use std::sync::{Mutex, MutexGuard, PoisonError};

    use super::{Filter, Next};
    use crate::{About, Built, Call, Done, Error, Plugin, Want};

    pub(super) struct InTurn<F> {
        filter: Mutex<F>,
        next: Next,
    }

    impl<F: Filter + Send> InTurn<F> {
        pub(super) fn new((filter, next): (F, Next)) -> Self {
            Self { filter: Mutex::new(filter), next }
        }

        fn filter(&self) -> MutexGuard<'_, F> {
            self.filter.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    impl<F: Filter + Send> Plugin for InTurn<F> {
        fn about(&self) -> About {
            self.filter().about(&self.next)
        }

        fn want_to_build(&self, call: &Call) -> Result<Want, Error> {
            let mut filter = self.filter();
            filter.rest();
            match filter.refuse(call, None) {
                Some(reason) => Ok(Want::Miss(reason)),
                None => filter.answer(call, self.next.forward(call)).map(Want::Forwarded),
            }
        }

        fn built_a_thing(&self, call: &Call, built: &Built) -> Result<Done, Error> {
            let mut filter = self.filter();
            filter.rest();
            match filter.refuse(call, Some(built)) {
                Some(reason) => Ok(Done::refused(reason)),
                None => filter.answer(call, self.next.forward(call)).map(Done::Forwarded),
            }
        }

        fn drain(&self) {
            self.next.close();
            let mut filter = self.filter();
            filter.rest();
            filter.end();
        }
    }
}
