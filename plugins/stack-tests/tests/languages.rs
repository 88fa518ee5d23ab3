//! The plugins in `plugins/examples`, written in other languages with nothing but their
//! standard libraries: each against the conformance suite, and in real builds.
//!
//! What needs an interpreter that is absent says "not run"; with `CI=true` it fails instead.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use buildhook_stack_tests::{Setup, host, program};

fn file(path: &str) -> OsString {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(path).into()
}

/// Whether `tool` can be used; a test that returns for the want of it has not been run.
fn has(tool: &str, argument: &str) -> bool {
    let found = Command::new(tool).arg(argument).output().is_ok_and(|o| o.status.success());
    let is_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
    assert!(found || !is_ci, "{tool} is absent; with CI=true it has to be there");
    if !found {
        println!("not run: {tool} is absent");
    }
    found
}

/// The check that needs more disk than some machines have free: what is not tried there is told.
const HUGE: &str = "more-than-4-gib";
/// Held while the suite runs, for gigabytes are copied: one plugin at a time.
static DISK: Mutex<()> = Mutex::new(());

/// Time limits are stretched: interpreters take their time to start on a machine under load.
fn assert_conformant(setup: &Setup, command: &[OsString], expected_failures: Option<OsString>) {
    let _disk = DISK.lock().unwrap_or_else(PoisonError::into_inner);
    let report = setup.path("report");
    let mut suite = Command::new(program("conformance"));
    suite.args(["plugin", "--profile", "core", "--jobs", "6", "--time-factor", "6", "--report"]);
    suite.arg(&report);
    if let Some(file) = expected_failures {
        suite.arg("--expected-failures").arg(file);
    }
    let output = suite.arg("--").args(command).output().unwrap();
    if output.status.success() {
        return;
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let told = format!("{text}{}", String::from_utf8_lossy(&output.stderr));
    let report = fs_err::read(report.join("report.json")).expect(&told);
    let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
    for result in report["results"].as_array().unwrap() {
        let verdict = result["verdict"].as_str().unwrap();
        if verdict == "untestable" && result["check"] == HUGE {
            println!("not run: {HUGE}: {}", result["message"]);
        } else {
            let is_good =
                matches!(verdict, "pass" | "not-applicable" | "warn" | "expected-failure");
            assert!(is_good, "{told}");
        }
    }
}

/// A project of two crates in `dir`.
fn project(dir: &Path) {
    let files = [
        ("Cargo.toml", "[workspace]\nresolver = '3'\nmembers = ['leaf', 'app']\n"),
        ("leaf/Cargo.toml", "[package]\nname = 'leaf'\nedition = '2024'\n"),
        ("leaf/src/lib.rs", "pub fn leaf() -> u32 {\n    41\n}\n"),
        (
            "app/Cargo.toml",
            "[package]\nname = 'app'\nedition = '2024'\n[dependencies]\nleaf = { path = '../leaf' }\n",
        ),
        ("app/src/main.rs", "fn main() {\n    print!(\"{}\", leaf::leaf() + 1);\n}\n"),
    ];
    for (path, text) in files {
        let path = dir.join(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }
}

/// Builds the project anew in the folder `name` on a machine that remembers nothing but what
/// is behind the hook; returns how many units were hits.
fn build(setup: &Setup, name: &str, hook: &[OsString]) -> u64 {
    let dir = setup.path(name);
    project(&dir);
    let quoted: Vec<_> = hook.iter().map(|word| format!("'{}'", word.display())).collect();
    let cargo = PathBuf::from(env!("CARGO"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let toolchain = cargo.parent().unwrap().to_owned();
    let path = std::iter::once(toolchain).chain(std::env::split_paths(&path));
    fs_err::create_dir_all(dir.join("tmp")).unwrap();
    let output = Command::new(host())
        .args(["run", "--json", "--"])
        .arg(cargo)
        .args(["build", "--offline"])
        .current_dir(&dir)
        .env_clear()
        .env("PATH", std::env::join_paths(path).unwrap())
        .env("HOME", &dir)
        .env("CARGO_HOME", dir.join("cargo-home"))
        .env("TMPDIR", dir.join("tmp"))
        .env("BUILDHOOK_CACHE_DIR", dir.join("cache"))
        .env("BUILDHOOK_HOOK", quoted.join(" "))
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let app = Command::new(dir.join("target/debug/app")).output().unwrap();
    assert_eq!(app.stdout, b"42");
    let summary: serde_json::Value =
        serde_json::from_str(stderr.trim_end().lines().last().unwrap()).unwrap();
    assert_eq!(summary["totals"]["faults"], serde_json::json!({}), "{summary:#}");
    summary["totals"]["hits"].as_u64().unwrap()
}

/// A store is conformant, and gives the builds of another folder what the first has stored.
fn assert_is_a_store(setup: &Setup, command: &[OsString]) {
    let with = |store: OsString| [command, &[store]].concat();
    let hook = with(setup.path("store").into());
    assert_eq!(build(setup, "first", &hook), 0);
    assert_eq!(build(setup, "second", &hook), 2);
    assert_conformant(setup, &with("{store}".into()), None);
}

#[test]
fn python() {
    if has("python3", "--version") {
        assert_is_a_store(&Setup::new(), &["python3".into(), file("python/store.py")]);
    }
}

#[test]
fn node() {
    if has("node", "--version") {
        assert_is_a_store(&Setup::new(), &["node".into(), file("node/store.js")]);
    }
}

#[test]
fn go() {
    if !has("go", "version") {
        return;
    }
    let setup = Setup::new();
    let executable = setup.path("store-go");
    let output = Command::new("go")
        .args(["build", "-o"])
        .arg(&executable)
        .arg(file("go/store.go"))
        .env("GOCACHE", setup.path("go-cache"))
        .env("GOFLAGS", "")
        .env("GO111MODULE", "off")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_is_a_store(&setup, &[executable.into()]);
}

#[test]
fn shell() {
    if !has("awk", "BEGIN { exit 0 }") {
        return;
    }
    let setup = Setup::new();
    let filter = |next: &[OsString]| [&["sh".into(), file("shell/readonly.sh")], next].concat();
    let store = setup.local_dir();
    let hook = filter(&store);
    assert_eq!(build(&setup, "unstored", &hook), 0);
    assert_eq!(build(&setup, "first", &store), 0, "nothing was stored");
    assert_eq!(build(&setup, "second", &hook), 2);
    assert_conformant(&setup, &filter(&["{child}".into()]), Some(file("shell/expected-failures")));
}
