//! What can be said of one check, and the exit codes made of it.

use std::process::ExitCode;

use serde::{Deserialize, Serialize};

/// Everything required holds.
pub(crate) const EXIT_CONFORMANT: u8 = 0;
/// At least one verdict counts as a failure.
pub(crate) const EXIT_NOT_CONFORMANT: u8 = 1;
/// The command line or a file it names is wrong.
pub(crate) const EXIT_USAGE: u8 = 2;
/// The suite itself failed; nothing is said of the thing under test.
pub(crate) const EXIT_SUITE_ERROR: u8 = 3;

/// Verdict on one check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) enum Verdict {
    /// The requirement held.
    Pass,
    /// A capability that the requirement speaks of is not declared.
    NotApplicable,
    /// A SHOULD did not hold.
    Warn,
    /// It failed, as the user's list said it would.
    ExpectedFailure,
    /// It passed although the user's list said that it fails.
    UnexpectedPass,
    /// The requirement applies but could not be put to the test here.
    Untestable,
    /// A MUST did not hold.
    Fail,
    /// The suite could not do its own part.
    SuiteError,
}

impl Verdict {
    /// Every verdict, best first.
    pub(crate) const ALL: [Self; 8] = [
        Self::Pass,
        Self::NotApplicable,
        Self::Warn,
        Self::ExpectedFailure,
        Self::UnexpectedPass,
        Self::Untestable,
        Self::Fail,
        Self::SuiteError,
    ];

    /// The name in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::NotApplicable => "not-applicable",
            Self::Warn => "warn",
            Self::ExpectedFailure => "expected-failure",
            Self::UnexpectedPass => "unexpected-pass",
            Self::Untestable => "untestable",
            Self::Fail => "fail",
            Self::SuiteError => "suite-error",
        }
    }

    /// Whether it makes the thing under test not conformant.
    pub(crate) fn counts_as_failure(self, profile: Profile) -> bool {
        match self {
            Self::Fail | Self::Untestable | Self::UnexpectedPass => true,
            Self::Warn => profile == Profile::Strict,
            Self::Pass | Self::NotApplicable | Self::ExpectedFailure | Self::SuiteError => false,
        }
    }
}

/// How much is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) enum Profile {
    /// Every MUST. A SHOULD that does not hold is a warning.
    Core,
    /// Every MUST and every SHOULD.
    Strict,
}

/// Why a check did not simply pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The requirement does not hold.
    Fail(String),
    /// The requirement does not concern this thing.
    NotApplicable(String),
    /// It concerns it, but cannot be tried here.
    Untestable(String),
    /// The suite failed.
    Suite(String),
}

impl From<std::io::Error> for Stop {
    fn from(error: std::io::Error) -> Self {
        Self::Suite(error.to_string())
    }
}

/// What a check returns.
pub(crate) type Outcome<T = ()> = Result<T, Stop>;

/// `Err(Stop::Fail)` with a formatted text.
macro_rules! fail {
    ($($argument:tt)*) => {
        return Err($crate::verdict::Stop::Fail(format!($($argument)*)))
    };
}
/// [`fail!`] unless the condition holds.
macro_rules! require {
    ($condition:expr, $($argument:tt)*) => {
        if !$condition {
            return Err($crate::verdict::Stop::Fail(format!($($argument)*)));
        }
    };
}
pub(crate) use {fail, require};

/// The exit code of a run with these verdicts.
pub(crate) fn exit_code(verdicts: impl Iterator<Item = Verdict>, profile: Profile) -> ExitCode {
    let mut code = EXIT_CONFORMANT;
    for verdict in verdicts {
        if verdict == Verdict::SuiteError {
            return ExitCode::from(EXIT_SUITE_ERROR);
        }
        if verdict.counts_as_failure(profile) {
            code = EXIT_NOT_CONFORMANT;
        }
    }
    ExitCode::from(code)
}
