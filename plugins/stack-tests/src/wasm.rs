//! `buildhook-wasm` and plugins built for it.
//!
//! All guests are built at once, into the target folder of the test, and compiled forms are
//! kept there too: what one test has paid for is there for the next.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};

use crate::{Setup, cargo_build, executables, target_folder};

/// What `compress` needs to be built for WASI: it holds zstd, which is C.
const CLANG: &str = "clang";
/// Where Debian's wasi-libc has its headers.
const WASI_HEADERS: &str = "/usr/include/wasm32-wasi";

/// The executable `buildhook-wasm`, with its runner and its compiler beside it.
///
/// # Panics
/// It cannot be built.
#[must_use]
pub fn sandbox() -> PathBuf {
    // One after the other: in one build Cargo would give the runner the compiler's code.
    let _ = (compiler(), runner());
    crate::program("wasm")
}

/// The executable `buildhook-wasm-run`.
///
/// # Panics
/// It cannot be built.
#[must_use]
pub fn runner() -> PathBuf {
    crate::program("wasm-run")
}

/// The executable `buildhook-wasm-compile`.
///
/// # Panics
/// It cannot be built.
#[must_use]
pub fn compiler() -> PathBuf {
    crate::program("wasm-compile")
}

/// The plugin or example `name` as a module: `local-dir`, `only`, `shelf`, `wasm-hostile`.
///
/// # Panics
/// It cannot be built.
#[must_use]
pub fn guest(name: &str) -> PathBuf {
    static GUESTS: LazyLock<Vec<PathBuf>> = LazyLock::new(|| {
        let packages = ["local-dir", "only", "wasm-hostile"];
        let mut made = build_guests(
            &packages,
            &[
                "--bin",
                "buildhook-local-dir",
                "--bin",
                "buildhook-only",
                "--bin",
                "buildhook-wasm-hostile",
            ],
        );
        made.extend(build_guests(&["sdk"], &["--example", "shelf"]));
        made
    });
    let file = if name == "shelf" { name.to_owned() } else { format!("buildhook-{name}") };
    compiled(named(&GUESTS, &file))
}

/// A program that runs another one, for which there is no `openat2`.
///
/// # Panics
/// It cannot be built.
#[must_use]
pub fn without_openat2() -> PathBuf {
    crate::program("wasm-hostile").with_file_name("without-openat2")
}

/// The plugin `compress` as a module; `None` where there is no C compiler for WASI.
///
/// # Panics
/// It cannot be built; or, with `CI=true`, there is no compiler.
#[must_use]
pub fn compress() -> Option<PathBuf> {
    static COMPRESS: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
        has_clang().then(|| named(&build_guests(&["compress"], &["--bins"]), "buildhook-compress"))
    });
    COMPRESS.clone().map(compiled)
}

/// Whether C can be compiled for WASI; says so where it cannot.
///
/// # Panics
/// With `CI=true` it must.
#[must_use]
pub fn has_clang() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|dir| dir.join(CLANG).is_file())
        && Path::new(WASI_HEADERS).is_dir();
    if !found {
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "clang, wasi-libc: absent");
        println!("not run: clang or wasi-libc is not installed");
    }
    found
}

fn build_guests(packages: &[&str], what: &[&str]) -> Vec<PathBuf> {
    let mut command = cargo_build();
    let profile = if crate::is_release() { "release" } else { "guest" };
    command.args(["--target", "wasm32-wasip1", "--profile", profile]).args(what);
    for package in packages {
        command.args(["--package", &format!("buildhook-{package}")]);
    }
    command
        .env("CC_wasm32_wasip1", CLANG)
        .env("AR_wasm32_wasip1", "llvm-ar")
        .env("CFLAGS_wasm32_wasip1", format!("-isystem {WASI_HEADERS}"));
    executables(&mut command)
}

/// Has `module` compiled and kept in [`cache`], once in this process: an unoptimised compiler
/// takes longer for that than hosts, filters and the conformance suite wait for a hello.
fn compiled(module: PathBuf) -> PathBuf {
    static DONE: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    // Held meanwhile: whoever wants the same waits for it.
    let mut done = DONE.lock().unwrap_or_else(PoisonError::into_inner);
    if done.insert(module.clone()) {
        let folder = tempfile::tempdir().expect("a folder");
        let policy = folder.path().join("policy.toml");
        fs_err::write(&policy, "").expect("a fresh name");
        let mut command = Command::new(sandbox());
        command.arg("--policy").arg(&policy).arg("--cache-dir").arg(cache()).arg(&module);
        // What the guest says to having no arguments is of no interest.
        let _ = command.stdin(Stdio::null()).output().expect("it starts");
    }
    module
}

fn named(made: &[PathBuf], name: &str) -> PathBuf {
    let found = made.iter().find(|path| path.file_stem().is_some_and(|stem| stem == name));
    found.unwrap_or_else(|| panic!("{name} is not among {made:?}")).clone()
}

/// Where compiled modules are kept for all tests.
#[must_use]
pub fn cache() -> PathBuf {
    target_folder().join("wasm-cache")
}

/// A grant for a policy.
#[must_use]
pub fn folder(path: &Path, guest: &str, access: &str) -> String {
    format!("[[folder]]\npath = {path:?}\nguest = {guest:?}\naccess = {access:?}\n")
}

impl Setup {
    /// The command of `module` in a sandbox with `policy`, which is TOML.
    ///
    /// # Panics
    /// The policy cannot be written.
    #[must_use]
    pub fn sandboxed(&self, policy: &str, module: &Path, arguments: &[&str]) -> Vec<OsString> {
        let file = self.path(&format!("{}.toml", buildhook_sdk::files::unique_name()));
        fs_err::write(&file, policy).expect("a fresh name");
        let mut command: Vec<OsString> = vec![sandbox().into(), "--policy".into(), file.into()];
        command.extend(["--cache-dir".into(), cache().into(), module.into()]);
        command.extend(arguments.iter().map(OsString::from));
        command
    }

    /// The command of a sandboxed local-dir in the folder `name`.
    ///
    /// # Panics
    /// The folder cannot be made.
    #[must_use]
    pub fn sandboxed_local_dir(&self, name: &str) -> Vec<OsString> {
        let store = self.path(name);
        fs_err::create_dir_all(&store).expect("a folder");
        let policy = format!(
            "clock = \"real\"\nrandom = \"real\"\ntime-ms = 60000\n{}",
            folder(&store, "/store", "write")
        );
        self.sandboxed(&policy, &guest("local-dir"), &["--dir", "/store"])
    }
}
