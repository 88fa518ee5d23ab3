//! What is reported of one case.

use std::ffi::OsStr;
use std::process::Command;

use super::case::Verdict;
use super::process::Output;

/// Bytes of each output that a transcript keeps.
const TRANSCRIPT_LIMIT: usize = 16 * 1024;

/// Whether the unit under test came from the cache after the change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reuse {
    /// The case does not tell.
    #[default]
    Unknown,
    /// It was not compiled.
    Hit,
    /// It was compiled, though it had been a hit before the change.
    Recompiled,
    /// It was compiled, as before the change: the cache does not store it.
    NeverStored,
}

impl Reuse {
    /// The name used in reports, in kebab case.
    pub fn name(self) -> &'static str {
        match self {
            Reuse::Unknown => "unknown",
            Reuse::Hit => "hit",
            Reuse::Recompiled => "recompiled",
            Reuse::NeverStored => "never-stored",
        }
    }
}

/// One thing found wrong.
#[derive(Clone, Debug)]
pub struct Finding {
    /// What kind of fault it is.
    pub verdict: Verdict,
    /// What was seen, and what an uncached build does.
    pub message: String,
}

/// One command of a case.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The command line, quoted for a shell.
    pub command: String,
    /// Its folder.
    pub folder: String,
    /// Exit code; none after a signal or when its time was up.
    pub exit: Option<i32>,
    /// What it printed, cut to a bound.
    pub stdout: String,
    /// What it said on stderr, cut to a bound.
    pub stderr: String,
}

impl Exchange {
    pub(super) fn new(command: &Command, output: &Output) -> Self {
        Self {
            command: shown(command),
            folder: command
                .get_current_dir()
                .map(|folder| folder.display().to_string())
                .unwrap_or_default(),
            exit: output.code,
            stdout: cut(&output.stdout),
            stderr: cut(&output.stderr),
        }
    }
}

fn cut(text: &str) -> String {
    let end = text.floor_char_boundary(TRANSCRIPT_LIMIT);
    match end == text.len() {
        true => text.to_owned(),
        false => format!("{}\n[cut]\n", &text[..end]),
    }
}

/// The result of one case.
#[derive(Clone, Debug)]
pub struct CaseResult {
    /// The case.
    pub id: &'static str,
    /// Its family of inputs.
    pub family: &'static str,
    /// The worst thing found.
    pub verdict: Verdict,
    /// The verdicts that do not count against the cache.
    pub accepted: &'static [Verdict],
    /// Whether the unit under test came from the cache after the change.
    pub reuse: Reuse,
    /// Crates that the last build took from the cache.
    pub hits: Vec<String>,
    /// What was found wrong, or why the case does not apply.
    pub findings: Vec<Finding>,
    /// Every command, in order.
    pub transcript: Vec<Exchange>,
    /// Files in the target folder after the last build with the cache.
    pub tree_with_cache: Vec<String>,
    /// Files in the target folder after the last uncached build.
    pub tree_without_cache: Vec<String>,
    /// A command that repeats the case.
    pub reproduce: String,
    /// Wall time of the case.
    pub duration_ms: u64,
}

impl CaseResult {
    /// Whether the verdict is one that the case accepts.
    pub fn passed(&self) -> bool {
        self.accepted.contains(&self.verdict) || self.verdict == Verdict::NotApplicable
    }
}

/// A command line as a shell would read it.
fn shown(command: &Command) -> String {
    let quote = |word: &OsStr| {
        let word = word.to_string_lossy().into_owned();
        shlex::try_quote(&word).map_or(word.clone(), |quoted| quoted.into_owned())
    };
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(quote)
        .collect::<Vec<_>>()
        .join(" ")
}
