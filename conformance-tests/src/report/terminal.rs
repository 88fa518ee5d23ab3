//! What a person sees.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::Mutex;
use std::sync::PoisonError;

use super::{CheckResult, Report};
use crate::verdict::Verdict;

/// A line at the foot of a terminal; nothing where there is none.
#[derive(Debug)]
pub(crate) struct Progress {
    shown: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    all: usize,
    done: usize,
    bad: usize,
}

impl Progress {
    /// Shows itself when standard error is a terminal.
    pub(crate) fn new() -> Self {
        Self { shown: io::stderr().is_terminal(), state: Mutex::default() }
    }

    /// Shows nothing.
    pub(crate) fn hidden() -> Self {
        Self { shown: false, state: Mutex::default() }
    }

    /// `all` checks are to come.
    pub(crate) fn begin(&self, all: usize) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).all = all;
    }

    /// A check begins.
    pub(crate) fn start(&self, id: &str) {
        self.draw(id);
    }

    /// A check has ended.
    pub(crate) fn done(&self, result: &CheckResult) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.done += 1;
        if !matches!(result.verdict, Verdict::Pass | Verdict::NotApplicable) {
            state.bad += 1;
        }
        drop(state);
        self.draw(&result.check);
    }

    /// No more checks.
    pub(crate) fn end(&self) {
        if self.shown {
            // A terminal that is gone is no reason to stop.
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }

    fn draw(&self, id: &str) {
        if self.shown {
            let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let (done, all, bad) = (state.done, state.all, state.bad);
            let _ = write!(io::stderr(), "\r\x1b[K[{done}/{all}] {bad} not passed · {id}");
            let _ = io::stderr().flush();
        }
    }
}

/// Everything that is not a pass, and the counts.
pub(crate) fn summary(report: &Report) -> String {
    let mut text = String::new();
    for result in &report.results {
        if matches!(result.verdict, Verdict::Pass | Verdict::NotApplicable) {
            continue;
        }
        let (verdict, id) = (result.verdict.name(), &result.check);
        text.push_str(&format!("{verdict:>16}  {id}  ({})\n", result.requirement));
        text.push_str(&format!("{:18}{}\n", "", result.title));
        text.push_str(&format!("{:18}{}\n", "", result.message));
        text.push_str(&format!("{:18}{}\n\n", "", result.reproduce));
    }
    let counts: Vec<String> = Verdict::ALL
        .iter()
        .filter_map(|verdict| {
            let count = report.counts.get(verdict.name()).copied().unwrap_or(0);
            (count > 0).then(|| format!("{count} {}", verdict.name()))
        })
        .collect();
    if let Some(times) = &report.performance {
        let show = |time: Option<u64>| time.map_or("-".to_owned(), |time| format!("{time} µs"));
        text.push_str(&format!(
            "medians: hello {} µs, miss {}, store {}, hit {}, one-shot miss {}\n",
            times.hello_us,
            show(times.miss_us),
            show(times.store_us),
            show(times.hit_us),
            show(times.one_shot_us),
        ));
    }
    let conformant = if report.conformant { "conformant" } else { "not conformant" };
    let seconds = report.duration_ms / 1_000;
    text.push_str(&format!(
        "{conformant}: {} in {seconds} s, seed {}\n",
        counts.join(", "),
        report.seed
    ));
    text
}
