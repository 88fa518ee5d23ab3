//! Runs the compiler.
use std::ffi::OsString;
use std::process::{Command, ExitCode};

use crate::environment::Environment;

/// Runs the compiler that the arguments name.
pub(crate) fn main(args: Vec<OsString>, _env: &Environment) -> ExitCode {
    let status = Command::new(&args[0]).args(&args[1..]).status();
    status.map_or(ExitCode::from(127), |s| ExitCode::from(s.code().unwrap_or(1) as u8))
}
