//! The cache suite on the command line: what its cases found, as a report.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use buildhook_conformance::cache::{self, CaseResult, Options, Root, SuiteError};

use crate::cli::CacheArgs;
use crate::evidence::{Direction, Evidence, Log};
use crate::report::{CheckResult, Progress, Report};
use crate::verdict::Verdict;

/// Runs the cases that `arguments` select.
///
/// # Errors
/// When the suite cannot run, or is asked for a case that does not exist.
pub(crate) fn run(
    arguments: &CacheArgs,
    folder: &Path,
    path: OsString,
    scratch: PathBuf,
    jobs: usize,
) -> Result<Report, SuiteError> {
    let options = Options {
        wrapper: arguments.wrapper.as_ref().map(|wrapper| folder.join(wrapper)),
        env: arguments.env.iter().map(|(name, value)| (name.into(), value.into())).collect(),
        start: arguments.start.clone(),
        stop: arguments.stop.clone(),
        build_command: arguments.build_command.clone(),
        remaps: arguments.remap.clone(),
        only: arguments.common.only.clone(),
        keep: arguments.keep,
        jobs,
        path,
        scratch,
    };
    let progress = Progress::new();
    progress.begin(cache::cases().len());
    let ran = cache::run(&options, &mut |result| progress.done(&check(result)));
    progress.end();
    let results = ran?.iter().map(check).collect();
    let command = arguments.build_command.clone().or_else(|| {
        arguments
            .wrapper
            .as_ref()
            .map(|wrapper: &PathBuf| format!("RUSTC_WRAPPER={}", wrapper.display()))
    });
    Ok(Report::new("cache", command.unwrap_or_default(), arguments.common.profile, 0, results))
}

/// Reads `K=V`.
///
/// # Errors
/// What is missing.
pub(crate) fn parse_variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("NAME=VALUE is needed")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Reads `TEXT=ROOT`.
///
/// # Errors
/// Which roots there are.
pub(crate) fn parse_remap(text: &str) -> Result<(String, Root), String> {
    let roots = [Root::Workspace, Root::Target, Root::CargoHome, Root::Sysroot];
    let (written, name) = text.rsplit_once('=').ok_or("TEXT=ROOT is needed")?;
    let root = roots.into_iter().find(|root| root.name() == name);
    let names = roots.map(Root::name).join(", ");
    Ok((written.to_owned(), root.ok_or_else(|| format!("`{name}` is not one of {names}"))?))
}

fn check(result: &CaseResult) -> CheckResult {
    let verdict = match result.verdict {
        cache::Verdict::SuiteError => Verdict::SuiteError,
        cache::Verdict::NotApplicable => Verdict::NotApplicable,
        _ if result.passed() => Verdict::Pass,
        _ => Verdict::Fail,
    };
    let case = cache::cases().iter().find(|case| case.id == result.id);
    let findings: Vec<&str> =
        result.findings.iter().map(|finding| finding.message.as_str()).collect();
    let message = match result.verdict {
        cache::Verdict::Correct => String::new(),
        other => format!("{}: {}", other.name(), findings.join("; ")),
    };
    CheckResult {
        check: result.id.to_owned(),
        requirement: result.family.to_owned(),
        title: case.map(|case| case.claim).unwrap_or_default().to_owned(),
        verdict,
        message,
        duration_ms: result.duration_ms,
        reproduce: result.reproduce.clone(),
        evidence: evidence(result),
    }
}

fn evidence(result: &CaseResult) -> Evidence {
    let log = Log::default();
    for exchange in &result.transcript {
        let number = log.new_session();
        log.event(
            number,
            Direction::Sent,
            format!("cd {} && {}", exchange.folder, exchange.command).as_bytes(),
        );
        for (direction, text) in
            [(Direction::Received, &exchange.stdout), (Direction::Stderr, &exchange.stderr)]
        {
            if !text.is_empty() {
                log.event(number, direction, text.as_bytes());
            }
        }
        let exit =
            exchange.exit.map_or("no exit code".to_owned(), |code| format!("exit code {code}"));
        log.note(number, &exit);
    }
    let mut evidence = log.evidence();
    evidence.tree_before.clone_from(&result.tree_without_cache);
    evidence.tree_after.clone_from(&result.tree_with_cache);
    evidence
}
