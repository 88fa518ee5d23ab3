//! Runs the plugin suite.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use super::bench::Bench;
use super::performance::{Performance, measure};
use super::{Capabilities, Function, Need, Setup, checks};
use crate::command::Template;
use crate::evidence::{Direction, Log};
use crate::report::{CheckResult, Progress};
use crate::session::Patience;
use crate::suite::{Selection, Suite};
use crate::verdict::Outcome;
use crate::wire::strict::Violation;

/// What the user asked for.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) command: Template,
    pub(crate) seed: u64,
    pub(crate) factor: f64,
    pub(crate) selection: Selection,
    /// An existing folder for everything the run writes.
    pub(crate) root: PathBuf,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct PluginRun {
    pub(crate) results: Vec<CheckResult>,
    pub(crate) performance: Option<Performance>,
}

/// Runs the checks that `options` select.
pub(crate) fn run(options: &Options, progress: &Progress) -> Outcome<PluginRun> {
    let mut setup = Setup {
        command: options.command.clone(),
        seed: options.seed,
        nonce: nonce(),
        patience: Arc::new(Patience::new(options.factor)),
        capabilities: Capabilities {
            want: true,
            built: true,
            max_in_flight: 1,
            ..Capabilities::default()
        },
        root: options.root.clone(),
    };
    setup.capabilities = probe(&setup)?;
    let selection = &options.selection;
    let queue = selection.queue(checks());
    progress.begin(queue.len());
    let results = selection.run(&setup, checks(), queue, None, progress);
    let measured = selection.only.is_empty() && !selection.quick;
    // A plugin that cannot be measured has failed checks that say why.
    let performance = measured.then(|| performance(&setup).ok()).flatten();
    progress.end();
    Ok(PluginRun { results, performance })
}

fn performance(setup: &Setup) -> Outcome<Performance> {
    measure(&mut Bench::new(setup, "performance", &Log::default())?)
}

impl Suite for Setup {
    type Need = Need;
    type Function = Function;

    fn missing(&self, needs: &[Need]) -> Option<&'static str> {
        self.unmet(needs)
    }

    fn perform(&self, id: &str, function: Function, log: &Log) -> Outcome {
        let mut bench = Bench::new(self, id, log)?;
        log.tree(&bench.store_folder(), false);
        let outcome = function(&mut bench);
        log.tree(&bench.store_folder(), true);
        bench.check_strays();
        if log.holds(Direction::Received, &bench.canary()) {
            let text = "a message holds the value of an environment variable";
            log.violation(Violation::new("BH-ERR-004", text));
        }
        // What cannot be removed now goes with the run's folder.
        let _ = fs::remove_dir_all(&bench.folder);
        outcome
    }
}

/// Finds out what the plugin can do. A plugin that fails at it is taken to do
/// everything it announces, so that the checks say what is wrong.
fn probe(setup: &Setup) -> Outcome<Capabilities> {
    let mut bench = Bench::new(setup, "probe", &Log::default())?;
    let mut can = setup.capabilities.clone();
    can.entries = true;
    let Ok(mut session) = bench.session() else {
        return Ok(can);
    };
    can.want = session.has_hook("want-to-build");
    can.built = session.has_hook("built-a-thing");
    can.manifest = session.has_feature("manifest");
    can.max_in_flight = session.max_in_flight();
    let entry = bench.entry("probe")?;
    if can.built
        && let Ok(answer) = bench.tell(&mut session, &entry)
    {
        // An honest `no`, `later` or error means there is nothing to find.
        let declines = matches!(answer["stored"].as_str(), Some("no" | "later"));
        can.built = !declines && answer["kind"] != "error";
    }
    can.entries = can.want && (can.built || seeded(&mut bench)?);
    can.changes_bytes = setup.unmet(&[Need::Filter]).is_none() && changes_bytes(&bench)?;
    drop(session);
    fs::remove_dir_all(&bench.folder)?;
    Ok(can)
}

/// Whether an entry that the suite's own child stored is found through the filter.
fn seeded(bench: &mut Bench<'_>) -> Outcome<bool> {
    if !bench.setup.command.has_child() {
        return Ok(false);
    }
    let entry = bench.entry("seeded")?;
    let launch = bench.launch_argv(bench.child(&[]));
    let mut child = bench.session_from(&launch)?;
    bench.store(&mut child, &entry)?;
    child.close()?;
    let mut session = bench.session()?;
    Ok(bench.ask(&mut session, &entry).is_ok_and(|answer| answer["kind"] == "hit"))
}

/// Whether the child got a file that is not among those of the request.
fn changes_bytes(bench: &Bench<'_>) -> Outcome<bool> {
    let received = bench.child_received()?;
    let records =
        received.iter().flat_map(|note| note["message"]["files"].as_array().into_iter().flatten());
    let mut own = records.filter(|record| {
        // A file that is only added, such as a signature, changes no bytes.
        record["name"].as_str().is_some_and(|name| name.contains("/out/"))
    });
    Ok(own.next().is_some())
}

/// Something no other run has.
fn nonce() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    format!("{}-{}", std::process::id(), now.map_or(0, |now| now.as_nanos()))
}
