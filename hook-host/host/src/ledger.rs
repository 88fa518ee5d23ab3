//! What one plugin has done so far, and whether it is still worth asking: plain counting,
//! no threads, no processes.

use std::time::{Duration, Instant};

use buildhook_protocol::{Hello, Hook};

use crate::fault::{Fault, FaultKind};
use crate::limits::Limits;
use crate::report::PluginReport;
use crate::text::tame;

/// The counts of one plugin.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    report: PluginReport,
    /// Why it is left alone altogether.
    off: Option<String>,
    want: HookLedger,
    built: HookLedger,
    damaged: u32,
    lost: Duration,
    /// The end of the last time lost: overlapping waits are one loss to the build.
    lost_until: Option<Instant>,
}

#[derive(Debug, Default)]
struct HookLedger {
    faults: u32,
    off: Option<String>,
}

impl Ledger {
    pub(crate) fn new(report: PluginReport) -> Self {
        Self { report, ..Self::default() }
    }

    /// A session has begun.
    pub(crate) fn started(&mut self, hello: &Hello) {
        self.report.sessions += 1;
        self.report.name = Some(tame(&hello.plugin.name));
        self.report.version = Some(tame(&hello.plugin.version));
    }

    /// A process has ended.
    pub(crate) fn ended(&mut self, exit: Option<String>) {
        self.report.exit = exit;
    }

    /// What a session has on standard error.
    pub(crate) fn heard(&mut self, (tail, dropped): (String, u64)) {
        self.report.stderr_tail = tail;
        self.report.stderr_dropped_bytes = dropped;
    }

    /// The time from `start` to `end` was spent in vain.
    pub(crate) fn lose(&mut self, start: Instant, end: Instant) {
        let start = self.lost_until.map_or(start, |until| until.max(start));
        self.lost += end.saturating_duration_since(start);
        self.lost_until = Some(self.lost_until.map_or(end, |until| until.max(end)));
    }

    /// The time spent in vain so far.
    pub(crate) fn lost(&self) -> Duration {
        self.lost
    }

    /// Notes a fault; true when it was the one that switches the plugin off altogether.
    pub(crate) fn note(&mut self, hook: Option<Hook>, fault: Fault, limits: &Limits) -> bool {
        let was_on = self.off.is_none();
        if was_on {
            self.off = self.judge(hook, &fault, limits);
        }
        self.report.note(hook, fault);
        was_on && self.off.is_some()
    }

    /// Why the plugin is to be left alone after `fault`, if it is.
    fn judge(&mut self, hook: Option<Hook>, fault: &Fault, limits: &Limits) -> Option<String> {
        let message = &fault.message;
        if fault.kind.is_final() {
            return Some(message.clone());
        }
        if self.lost >= limits.lost {
            return Some(format!(
                "cost {} ms of waiting in vain; the last time: {message}",
                self.lost.as_millis()
            ));
        }
        if fault.kind == FaultKind::Corrupt {
            self.damaged += 1;
            let too_many = self.damaged >= limits.corrupt_until_off;
            return too_many
                .then(|| format!("gave {} damaged entries; the last: {message}", self.damaged));
        }
        if !fault.kind.is_counted() {
            return None;
        }
        let both = fault.kind == FaultKind::Exited;
        for of in [Hook::WantToBuild, Hook::BuiltAThing] {
            if both || hook == Some(of) {
                let ledger = self.hook(of);
                ledger.faults += 1;
                if ledger.faults >= limits.faults_until_off && ledger.off.is_none() {
                    ledger.off = Some(format!("{} faults; the last: {message}", ledger.faults));
                }
            }
        }
        let all_off = self.report.hooks.iter().all(|hook| self.off(*hook).is_some());
        all_off.then(|| self.hook(self.report.hooks[0]).off.clone()).flatten()
    }

    /// Why `hook` is left alone, if it is.
    pub(crate) fn off(&self, hook: Hook) -> Option<&str> {
        let ledger = match hook {
            Hook::WantToBuild => &self.want,
            Hook::BuiltAThing => &self.built,
        };
        self.off.as_deref().or(ledger.off.as_deref())
    }

    fn hook(&mut self, hook: Hook) -> &mut HookLedger {
        match hook {
            Hook::WantToBuild => &mut self.want,
            Hook::BuiltAThing => &mut self.built,
        }
    }

    /// The report as it stands.
    pub(crate) fn report(&self) -> PluginReport {
        let hook_off = |hook: Hook, ledger: &HookLedger| {
            ledger.off.as_ref().map(|why| format!("`{}`: {why}", hook.as_str()))
        };
        let switched_off = match &self.off {
            Some(why) => vec![why.clone()],
            None => {
                [hook_off(Hook::WantToBuild, &self.want), hook_off(Hook::BuiltAThing, &self.built)]
                    .into_iter()
                    .flatten()
                    .collect()
            }
        };
        let lost_ms = u64::try_from(self.lost.as_millis()).unwrap_or(u64::MAX);
        PluginReport { switched_off, lost_ms, ..self.report.clone() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ledger() -> Ledger {
        let hooks = vec![Hook::WantToBuild, Hook::BuiltAThing];
        Ledger::new(PluginReport { hooks, ..PluginReport::default() })
    }

    fn fault(kind: FaultKind) -> Fault {
        Fault::new(kind, "it did")
    }

    #[test]
    fn each_sort_of_fault_has_its_weight() {
        let limits = Limits::default();
        let want = Some(Hook::WantToBuild);
        // Faults until the hook is off, and whether the other hook then is off too.
        let cases = [
            (FaultKind::Start, Some((1, true))),
            (FaultKind::Hello, Some((1, true))),
            (FaultKind::Protocol, Some((1, true))),
            (FaultKind::Session, Some((1, true))),
            (FaultKind::Exited, Some((limits.faults_until_off, true))),
            (FaultKind::Timeout, Some((limits.faults_until_off, false))),
            (FaultKind::Answer, Some((limits.faults_until_off, false))),
            (FaultKind::Error, Some((limits.faults_until_off, false))),
            (FaultKind::Corrupt, Some((limits.corrupt_until_off, true))),
            (FaultKind::Busy, None),
            (FaultKind::Shutdown, None),
            (FaultKind::Host, None),
        ];
        for (kind, expected) in cases {
            let mut ledger = ledger();
            let mut until_off = None;
            for n in 1..=100 {
                let switched_off = ledger.note(want, fault(kind), &limits);
                if until_off.is_none() && ledger.off(Hook::WantToBuild).is_some() {
                    let both = ledger.off(Hook::BuiltAThing).is_some();
                    assert_eq!(switched_off, both, "{kind:?}");
                    until_off = Some((n, both));
                } else {
                    assert!(!switched_off, "{kind:?}: told once");
                }
            }
            assert_eq!(until_off, expected, "{kind:?}");
            let report = ledger.report();
            assert_eq!((report.faults.len(), report.faults[0].count), (1, 100), "{kind:?}");
            assert_eq!(report.switched_off.len(), usize::from(expected.is_some()), "{kind:?}");
        }
    }

    #[test]
    fn both_hooks_off_is_the_plugin_off() {
        let limits = Limits { faults_until_off: 1, ..Limits::default() };
        let mut ledger = ledger();
        assert!(!ledger.note(Some(Hook::WantToBuild), fault(FaultKind::Error), &limits));
        assert!(ledger.note(Some(Hook::BuiltAThing), fault(FaultKind::Error), &limits));
    }

    #[test]
    fn time_lost_switches_off() {
        let limits = Limits::default();
        let mut ledger = ledger();
        let start = Instant::now();
        ledger.lose(start, start + limits.lost);
        assert!(ledger.note(Some(Hook::WantToBuild), fault(FaultKind::Busy), &limits));
    }

    proptest! {
        /// However waits overlap, in the order in which they end, the loss is the time that
        /// at least one of them covers.
        #[test]
        fn overlapping_losses_count_once(
            mut waits in proptest::collection::vec((0u64..200, 0u64..50), 0..20),
        ) {
            waits.sort_by_key(|(start, length)| start + length);
            let zero = Instant::now();
            let at = |ms: u64| zero + Duration::from_millis(ms);
            let mut ledger = ledger();
            let mut covered = [false; 250];
            let mut counted = 0;
            let mut until = 0;
            for (start, length) in waits {
                ledger.lose(at(start), at(start + length));
                covered[start as usize..(start + length) as usize].fill(true);
                // Time before the end of the last loss is past: it is never counted late.
                counted += (start + length).saturating_sub(start.max(until));
                until = until.max(start + length);
            }
            prop_assert_eq!(ledger.lost(), Duration::from_millis(counted));
            let union = covered.iter().filter(|covered| **covered).count() as u64;
            prop_assert!(counted <= union);
        }
    }
}
