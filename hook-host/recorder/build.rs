//! Builds the preload library, which the crate carries as bytes.
//!
//! The library is optional: where it cannot exist (Windows, static musl) or, off
//! Linux, cannot be built, the crate compiles with `PRELOAD` set to `None`. On
//! glibc Linux a library that does not build is an error.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-changed=preload");
    println!("cargo::rustc-check-cfg=cfg(preload)");
    let target = Target::of_build();
    let library = PathBuf::from(env::var_os("OUT_DIR").expect("Cargo sets OUT_DIR"))
        .join("libbuildhook_recorder.so");
    if !target.has_recorder() {
        return;
    }
    match build(&target, &library) {
        Ok(()) => {
            println!("cargo::rustc-cfg=preload");
            println!(
                "cargo::rustc-env=RECORDER_LIBRARY={}",
                library.to_str().expect("Cargo's folders are UTF-8")
            );
        }
        Err(error) if target.is_required() => {
            println!("cargo::error=the recorder's library was not built: {error}");
        }
        Err(error) => println!("cargo::warning=built without the recorder: {error}"),
    }
}

struct Target {
    os: String,
    environment: String,
    processor: String,
}

impl Target {
    fn of_build() -> Self {
        let variable = |name| env::var(name).unwrap_or_default();
        Self {
            os: variable("CARGO_CFG_TARGET_OS"),
            environment: variable("CARGO_CFG_TARGET_ENV"),
            processor: variable("CARGO_CFG_TARGET_ARCH"),
        }
    }

    fn has_recorder(&self) -> bool {
        self.os == "macos" || self.is_required()
    }

    /// Whether a failure to build the library is a failure of the build.
    fn is_required(&self) -> bool {
        self.os == "linux"
            && self.environment == "gnu"
            && ["x86_64", "aarch64"].contains(&self.processor.as_str())
    }
}

fn build(target: &Target, library: &Path) -> Result<(), String> {
    let mut command = compiler()?;
    command.args([
        "-std=gnu11",
        "-O2",
        "-fPIC",
        "-fvisibility=hidden",
        // Hooks are handed null where the headers promise that nobody does.
        "-fno-delete-null-pointer-checks",
        // The checked variants have hooks of their own.
        "-U_FORTIFY_SOURCE",
        "-Wall",
        "-Wextra",
    ]);
    if target.os == "macos" {
        command.args(["-dynamiclib", "-Wno-unused-function"]);
    } else {
        command.args(["-shared", "-s"]);
        // Bound at load: a signal handler or forked child must not enter the loader.
        command.args(["-Wl,-z,now", "-Wl,-z,relro", "-Wl,--as-needed"]);
    }
    command.arg("-o").arg(library);
    let mut sources: Vec<_> = fs::read_dir("preload")
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| format!("preload/: {error}"))?
        .into_iter()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "c"))
        .collect();
    sources.sort();
    command.args(sources);
    if target.os == "linux" {
        // dlsym moved to libc in glibc 2.34; before, it is here.
        command.arg("-ldl");
    }
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("the C compiler ended with {status}")),
        Err(error) => Err(format!("{}: {error}", command.get_program().display())),
    }
}

fn compiler() -> Result<Command, String> {
    cc::Build::new()
        .cargo_metadata(false)
        .warnings(false)
        .opt_level(2)
        .debug(false)
        .try_get_compiler()
        .map(|compiler| compiler.to_command())
        .map_err(|error| error.to_string())
}
