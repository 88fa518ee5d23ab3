//! The cache suite: real Cargo builds in which one hidden input changes at a
//! time, against any build cache that is a `RUSTC_WRAPPER` or starts Cargo.
//!
//! The cache is a black box. What it serves is compared with an uncached build
//! of the same state at the same paths; whether it served anything is seen
//! from outside, by a compiler that counts. Each case has a folder, a home, a
//! CARGO_HOME and a cache folder of its own, and a clean environment.
//!
//! Known gaps: codegen backends have no case (no second backend is shipped
//! with the toolchain); processes that a cache leaves behind are found by
//! their environment and only where there is a `/proc`.

mod cargo;
mod case;
mod cases;
mod edit;
mod invoke;
mod mutants;
mod process;
mod result;
mod runner;
mod sandbox;
mod template;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

pub use case::{Case, Verdict};
pub use cases::cases;
pub use mutants::{Mutant, mutants};
pub use result::{CaseResult, Exchange, Finding, Reuse};

use runner::Story;
use sandbox::{Sandbox, Toolchain};

/// What is tested and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The `RUSTC_WRAPPER`; none for a cache that is started by `build_command`.
    pub wrapper: Option<PathBuf>,
    /// Variables of the cache. Values may hold `{cache}`, `{home}`, `{case}`
    /// and `{port}`, a TCP port that was free when the case began.
    pub env: Vec<(OsString, OsString)>,
    /// Shell command that starts the cache's server, with the same placeholders.
    pub start: Option<String>,
    /// Shell command that stops it.
    pub stop: Option<String>,
    /// What to run in place of `cargo build`: `{command}` stands for cargo's
    /// subcommand; a last word `build` is replaced by it.
    pub build_command: Option<String>,
    /// The cache's documented path remapping: what it writes in place of a
    /// root. Translated back before results are compared.
    pub remaps: Vec<(String, Root)>,
    /// Ids, or beginnings of ids; empty for all.
    pub only: Vec<String>,
    /// Keep the folders of cases that did not pass.
    pub keep: bool,
    /// Cases at the same time.
    pub jobs: usize,
    /// PATH of the builds.
    pub path: OsString,
    /// Where to make folders; a short path, because servers make sockets below.
    pub scratch: PathBuf,
}

/// A folder that a cache may write under another name in what it builds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Root {
    /// The workspace.
    Workspace,
    /// The target folder.
    Target,
    /// CARGO_HOME.
    CargoHome,
    /// The toolchain: the sources of the standard library, if it has them.
    Sysroot,
}

/// The suite cannot run at all.
#[derive(Debug, thiserror::Error)]
pub enum SuiteError {
    /// No usable toolchain on PATH.
    #[error("no usable toolchain: {0}")]
    Toolchain(String),
    /// A name given with `--only` fits no case.
    #[error("no case is named `{name}`; nearest is `{nearest}`")]
    NoSuchCase {
        /// What was given.
        name: String,
        /// A name that exists.
        nearest: &'static str,
    },
    /// Neither a wrapper nor a build command, or one that does not exist.
    #[error("{0}")]
    Usage(String),
    /// The scratch folder cannot be made.
    #[error("{path}: {source}")]
    Scratch {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Runs the cases that `options.only` names and reports each when it ends;
/// returns all in the order of [`cases`].
///
/// # Errors
/// When nothing could be run. What goes wrong in one case is its result.
pub fn run(
    options: &Options,
    on_result: &mut (dyn FnMut(&CaseResult) + Send),
) -> Result<Vec<CaseResult>, SuiteError> {
    let chosen = choose(&options.only)?;
    validate(options)?;
    let toolchain = Toolchain::find(&options.path).map_err(SuiteError::Toolchain)?;
    let scratch = tempfile::Builder::new()
        .prefix(&prefix())
        .tempdir_in(&options.scratch)
        .map_err(|source| SuiteError::Scratch { path: options.scratch.clone(), source })?;
    let next = AtomicUsize::new(0);
    let done = Mutex::new((on_result, Vec::new()));
    thread::scope(|scope| {
        for _ in 0..options.jobs.clamp(1, chosen.len().max(1)) {
            scope.spawn(|| {
                while let Some(case) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let folder = scratch.path().join(short_name(case));
                    let result = run_case(case, options, &toolchain, folder);
                    let mut done = done.lock().unwrap_or_else(|e| e.into_inner());
                    (done.0)(&result);
                    done.1.push(result);
                }
            });
        }
    });
    let (_, mut results) = done.into_inner().unwrap_or_else(|e| e.into_inner());
    let position = |id: &str| cases().iter().position(|case| case.id == id);
    results.sort_by_key(|result: &CaseResult| position(result.id));
    if options.keep {
        // The folders of cases that passed are gone already.
        let _ = scratch.keep();
    }
    Ok(results)
}

/// The one of `words` that is most like `written`.
pub fn nearest<'a>(written: &str, words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let likeness = |word: &str| strsim::jaro_winkler(written, word);
    words.max_by(|left, right| likeness(left).total_cmp(&likeness(right)))
}

/// How every folder that this process makes begins. Short: see [`Options::scratch`].
fn prefix() -> String {
    format!("zoo{}-", std::process::id())
}

/// Removes what a run in this process has made, for one that is told to end; `scratch` is that
/// of its [`Options`].
pub fn clean_up(scratch: &Path) {
    for folder in [scratch, Path::new(sandbox::MEMORY)] {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let made =
            entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix()));
        for entry in made {
            // What cannot be removed is in a folder for temporary files.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

fn choose(only: &[String]) -> Result<Vec<&'static Case>, SuiteError> {
    let mut chosen = vec![only.is_empty(); cases().len()];
    for name in only {
        let exact = cases().iter().any(|case| case.id == name);
        let fits = |case: &Case| match exact {
            true => case.id == name,
            false => case.id.starts_with(name.as_str()),
        };
        if !cases().iter().any(fits) {
            let ids = cases().iter().map(|case| case.id);
            return Err(SuiteError::NoSuchCase {
                name: name.clone(),
                nearest: nearest(name, ids).unwrap_or_default(),
            });
        }
        for (chosen, case) in chosen.iter_mut().zip(cases()) {
            *chosen |= fits(case);
        }
    }
    Ok(cases().iter().zip(chosen).filter_map(|(case, chosen)| chosen.then_some(case)).collect())
}

fn validate(options: &Options) -> Result<(), SuiteError> {
    match (&options.wrapper, &options.build_command) {
        (None, None) => Err(SuiteError::Usage("a wrapper or a build command is needed".to_owned())),
        (Some(wrapper), _) if !(wrapper.is_absolute() && wrapper.is_file()) => {
            Err(SuiteError::Usage(format!(
                "{}: the wrapper must be the absolute path of a program",
                wrapper.display()
            )))
        }
        (_, Some(command)) if build_words(command, "build").is_none() => {
            Err(SuiteError::Usage(format!("`{command}` is not a command")))
        }
        _ => Ok(()),
    }
}

/// The words that run cargo's `subcommand` through a build command.
fn build_words(template: &str, subcommand: &str) -> Option<Vec<String>> {
    let mut words = shlex::split(template)?;
    if template.contains("{command}") {
        for word in &mut words {
            *word = word.replace("{command}", subcommand);
        }
        return Some(words);
    }
    match words.last_mut()? {
        last if last == "build" => *last = subcommand.to_owned(),
        _ if subcommand == "build" => {}
        _ => return None,
    }
    Some(words)
}

fn short_name(case: &Case) -> &'static str {
    case.id.strip_prefix("zoo/").unwrap_or(case.id)
}

fn run_case(
    case: &'static Case,
    options: &Options,
    toolchain: &Toolchain,
    folder: PathBuf,
) -> CaseResult {
    let start = Instant::now();
    let finding = |verdict, message: String| Story {
        findings: vec![Finding { verdict, message }],
        ..Story::default()
    };
    let story = if let Some(lack) = lacks(case, options, toolchain) {
        finding(Verdict::NotApplicable, lack)
    } else {
        match Sandbox::new(folder.clone(), toolchain, case) {
            Ok(sandbox) => runner::tell(case, options, &sandbox),
            Err(error) => finding(Verdict::SuiteError, error.to_string()),
        }
    };
    let verdict = story.findings.iter().map(|f| f.verdict).max();
    let result = CaseResult {
        id: case.id,
        family: case.family,
        verdict: verdict.unwrap_or(Verdict::Correct),
        accepted: case.accept,
        reuse: story.reuse,
        hits: story.hits.into_iter().collect(),
        findings: story.findings,
        transcript: story.transcript,
        tree_with_cache: story.tree_with_cache,
        tree_without_cache: story.tree_without_cache,
        reproduce: reproduce(case, options),
        duration_ms: u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX),
    };
    if !options.keep || result.passed() {
        // Whatever cannot be removed now goes with the scratch folder.
        let _ = std::fs::remove_dir_all(folder);
    }
    result
}

fn lacks(case: &Case, options: &Options, toolchain: &Toolchain) -> Option<String> {
    toolchain.lacks(case.needs).or_else(|| {
        let command = options.build_command.as_deref()?;
        let subcommand = case.cargo.first()?;
        build_words(command, subcommand)
            .is_none()
            .then(|| format!("`{command}` cannot run `cargo {subcommand}`"))
    })
}

/// The command that runs this case alone, and keeps its folder.
fn reproduce(case: &Case, options: &Options) -> String {
    let mut words = vec!["buildhook-conformance".to_owned(), "cache".to_owned()];
    let mut flag = |name: &str, value: String| words.extend([name.to_owned(), value]);
    if let Some(wrapper) = &options.wrapper {
        flag("--wrapper", wrapper.display().to_string());
    }
    for (name, value) in &options.env {
        let (name, value) = (name.to_string_lossy(), value.to_string_lossy());
        flag("--env", format!("{name}={value}"));
    }
    for (name, value) in [
        ("--start", &options.start),
        ("--stop", &options.stop),
        ("--build-command", &options.build_command),
    ] {
        if let Some(value) = value {
            flag(name, value.clone());
        }
    }
    for (token, root) in &options.remaps {
        flag("--remap", format!("{token}={}", root.name()));
    }
    flag("--only", case.id.to_owned());
    words.push("--keep".to_owned());
    words
        .iter()
        .map(|word| shlex::try_quote(word).map_or(word.clone(), |quoted| quoted.into_owned()))
        .collect::<Vec<_>>()
        .join(" ")
}

impl Root {
    /// The name used on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Root::Workspace => "workspace",
            Root::Target => "target",
            Root::CargoHome => "cargo-home",
            Root::Sysroot => "sysroot",
        }
    }
}
