//! Finds the executables of all plugins for tests that put them one above the other.
//!
//! Cargo tells a test where the executables of its own package are, not those of others. So
//! they are built here, by the same Cargo, into the same target folder and profile, with the
//! person's wrappers and flags out of the way.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};

use buildhook_sdk::testing::{Fixture, Session};
use serde_json::Value;

pub mod hostile;
pub mod tls;
pub mod wasm;

/// The executable of the package `buildhook-<name>`.
///
/// # Panics
/// It cannot be built.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    built(&format!("buildhook-{name}"), None)
}

/// The executable `buildhook`, which calls plugins in real builds.
///
/// # Panics
/// It cannot be built.
#[must_use]
pub fn host() -> PathBuf {
    built("buildhook", None)
}

/// The example `example` of the package `buildhook-<name>`.
///
/// # Panics
/// It cannot be built.
#[must_use]
pub fn example(name: &str, example: &str) -> PathBuf {
    built(&format!("buildhook-{name}"), Some(example))
}

/// Runs a plugin through `buildhook-conformance plugin --profile strict`, without the checks
/// that take seconds or gigabytes.
///
/// # Panics
/// It breaks a rule.
pub fn assert_strict(command: &[OsString]) {
    let output = Command::new(program("conformance"))
        .args(["plugin", "--profile", "strict", "--quick", "--jobs", "2", "--time-factor", "6"])
        .arg("--")
        .args(command)
        .output()
        .expect("the suite starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

/// `command` as words, with no variables but its own.
#[must_use]
pub fn words(command: &Command) -> Vec<OsString> {
    let mut words: Vec<OsString> = vec!["env".into(), "-i".into()];
    for (name, value) in command.get_envs() {
        let Some(value) = value else { continue };
        let mut word = name.to_owned();
        word.push("=");
        word.push(value);
        words.push(word);
    }
    words.push(command.get_program().to_owned());
    words.extend(command.get_args().map(OsString::from));
    words
}

/// The same stack of executables that are linked statically: without a dynamic linker, which
/// takes a good part of a small process's start.
///
/// # Panics
/// One of them cannot be built.
#[must_use]
pub fn statically(stack: Vec<OsString>) -> Vec<OsString> {
    let relinked = |word: OsString| match Path::new(&word).file_name().and_then(OsStr::to_str) {
        Some("buildhook-wasm") => {
            // It is found beside.
            let _ = static_program("buildhook-wasm-run");
            static_program("buildhook-wasm").into()
        }
        Some(name) if name.starts_with("buildhook-") && !name.contains('.') => {
            static_program(name).into()
        }
        _ => word,
    };
    stack.into_iter().map(relinked).collect()
}

fn static_program(package: &str) -> PathBuf {
    let mut command = cargo_build();
    // With a target named, build scripts and procedural macros do without the flag.
    command
        .args(["--release", "--target", "host-tuple", "--bins", "--package", package])
        .env("RUSTFLAGS", "-C target-feature=+crt-static");
    named(package, executables(&mut command))
}

fn built(package: &str, example: Option<&str>) -> PathBuf {
    /// By package and example.
    type Built = HashMap<(String, Option<String>), PathBuf>;
    static BUILT: LazyLock<Mutex<Built>> = LazyLock::new(Mutex::default);
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let key = (package.to_owned(), example.map(str::to_owned));
    built.entry(key).or_insert_with(|| build(package, example)).clone()
}

fn build(package: &str, example: Option<&str>) -> PathBuf {
    let mut command = cargo_build();
    command.args(["--package", package]);
    match example {
        Some(example) => command.args(["--example", example]),
        None => command.arg("--bins"),
    };
    if is_release() {
        command.arg("--release");
    }
    named(example.unwrap_or(package), executables(&mut command))
}

fn named(name: &str, executables: Vec<PathBuf>) -> PathBuf {
    executables
        .into_iter()
        .find(|path| path.file_stem().is_some_and(|stem| stem == name))
        .unwrap_or_else(|| panic!("no executable is named {name}"))
}

/// `target/<profile>`, in which this test is.
fn profile_folder() -> PathBuf {
    // target/<profile>/deps/<this test>
    let test = std::env::current_exe().expect("a test knows itself");
    let profile = test.parent().and_then(Path::parent).expect("deps lies in the profile's folder");
    profile.to_owned()
}

/// Whether this is a benchmark.
fn is_release() -> bool {
    profile_folder().ends_with("release")
}

fn target_folder() -> PathBuf {
    profile_folder().parent().expect("the profile's folder lies in target").to_owned()
}

/// `cargo build` into the target folder of this test, and nobody else's.
fn cargo_build() -> Command {
    let mut command = Command::new(env!("CARGO"));
    command
        .args(["build", "--quiet", "--message-format=json", "--target-dir"])
        .arg(target_folder())
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::inherit());
    for (variable, _) in std::env::vars_os() {
        let text = variable.to_string_lossy();
        let touches = ["CARGO_BUILD_", "CARGO_TARGET_", "CARGO_PROFILE_", "BUILDHOOK_"];
        let is = ["RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "RUSTFLAGS", "RUSTC"];
        if is.contains(&&*text) || touches.iter().any(|prefix| text.starts_with(prefix)) {
            command.env_remove(&variable);
        }
    }
    command
}

/// Runs a build; returns the executables that it has made.
fn executables(command: &mut Command) -> Vec<PathBuf> {
    let output = command.output().expect("cargo starts");
    assert!(output.status.success(), "{command:?}");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from))
        .collect()
}

/// A folder with a store in it and files to offer.
pub struct Setup {
    root: tempfile::TempDir,
    /// Files and requests.
    pub fixture: Fixture,
}

impl Setup {
    /// A fresh one.
    ///
    /// # Panics
    /// The system has no room for temporary files.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it makes folders")]
    pub fn new() -> Self {
        let root = tempfile::tempdir().expect("a temporary folder");
        let files = root.path().join("files");
        std::fs::create_dir(&files).expect("a fresh folder");
        let fixture = Fixture::new(&files);
        Self { root, fixture }
    }

    /// A path in the folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// The command of a local-dir in the folder `store`.
    #[must_use]
    pub fn local_dir(&self) -> Vec<OsString> {
        self.local_dir_in("store")
    }

    /// The command of a local-dir in the folder `name`.
    #[must_use]
    pub fn local_dir_in(&self, name: &str) -> Vec<OsString> {
        vec![program("local-dir").into(), "--dir".into(), self.path(name).into()]
    }

    /// The command of the filter `name` with `arguments` above `next`.
    #[must_use]
    pub fn above(&self, name: &str, arguments: &[&str], next: Vec<OsString>) -> Vec<OsString> {
        let mut command = vec![program(name).into_os_string()];
        command.extend(arguments.iter().map(OsString::from));
        command.push("--".into());
        command.extend(next);
        command
    }
}

/// Starts the plugin that `command` names.
///
/// # Panics
/// It does not start.
#[must_use]
pub fn session(command: &[OsString]) -> Session {
    Session::start(&command[0], &command[1..])
}
