//! `buildhook`: a build cache host for Cargo with plugins in any language.
//!
//! One program in three roles, told apart by its first argument before anything else is
//! looked at, because the first role is paid for once per crate:
//! - the compiler wrapper (`buildhook rustc …`, as Cargo calls it);
//! - the session of one build (`buildhook __session …`, started by a wrapper);
//! - the commands that people type.
//!
//! This file alone reads the environment.

mod commands;
mod config;
mod environment;
mod folders;
mod report;
mod session;
mod tree;
mod wrapper;

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

use environment::Environment;

/// The hidden command that holds the session of one build.
const SESSION: &str = "__session";

fn main() -> ExitCode {
    let mut args: Vec<OsString> = std::env::args_os().skip(1).collect();
    let env = Environment {
        variables: std::env::vars_os().collect(),
        current_dir: std::env::current_dir().unwrap_or_default(),
        executable: std::env::current_exe().unwrap_or_default(),
    };
    match args.first() {
        Some(first) if is_compiler(first) => wrapper::main(args, &env),
        Some(first) if first == SESSION => session::main(args.split_off(1), &env),
        _ => commands::main(args, &env),
    }
}

/// Whether Cargo would pass this word as the compiler to run: a path, `rustc` or a name
/// that begins so, or a driver such as `clippy-driver`. No command of ours is like that.
fn is_compiler(word: &OsStr) -> bool {
    if Path::new(word).components().count() > 1 || Path::new(word).is_absolute() {
        return true;
    }
    let stem = Path::new(word).file_stem().unwrap_or(word).as_encoded_bytes();
    stem.starts_with(b"rustc") || stem.ends_with(b"-driver")
}
