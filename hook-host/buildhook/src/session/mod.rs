//! The session of one build.
use std::ffi::OsString;
use std::process::ExitCode;

use crate::environment::Environment;

/// Holds the session of one build.
pub(crate) fn main(_args: Vec<OsString>, _env: &Environment) -> ExitCode {
    ExitCode::SUCCESS
}
