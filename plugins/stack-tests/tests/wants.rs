//! What one machine has missed, another one builds, with nothing of the project.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use buildhook_stack_tests::{Setup, host};
use serde_json::Value;

/// Packages of a registry, which both machines have as folders.
const REGISTRY: &[(&str, &str)] = &[
    ("leaf/Cargo.toml", "[package]\nname = 'leaf'\nversion = '1.2.0'\n[features]\nmore = []\n"),
    // What it prints follows RUSTFLAGS on the command line.
    ("leaf/build.rs", "fn main() { println!(\"cargo:rustc-cfg=told\"); }\n"),
    (
        "leaf/src/lib.rs",
        "#![allow(unexpected_cfgs)]\n#[cfg(told)]\n\
         pub fn leaf() -> u32 { if cfg!(feature = \"more\") { 2 } else { 1 } }\n",
    ),
    (
        "derive/Cargo.toml",
        "[package]\nname = 'derive'\nversion = '0.3.1'\n[lib]\nproc-macro = true\n\
         [dependencies]\nleaf = '1'\n",
    ),
    (
        "derive/src/lib.rs",
        "extern crate proc_macro;\n#[proc_macro]\n\
         pub fn forty(_: proc_macro::TokenStream) -> proc_macro::TokenStream {\n\
         (39 + leaf::leaf()).to_string().parse().unwrap()\n}\n",
    ),
    (
        "mid/Cargo.toml",
        "[package]\nname = 'mid'\nversion = '0.1.0'\nedition = '2021'\n\
         [dependencies]\nderive = '0.3'\nleaf = { version = '1', features = ['more'] }\n",
    ),
    ("mid/src/lib.rs", "pub fn mid() -> u32 { derive::forty!() + leaf::leaf() }\n"),
];

/// The project of machine 1: two versions of `leaf`, one for programs and one for macros, and
/// two profiles that are not Cargo's own.
const PROJECT: &[(&str, &str)] = &[
    (
        "Cargo.toml",
        "[package]\nname = 'app'\nversion = '0.1.0'\nedition = '2024'\n\
         [workspace]\n[dependencies]\nmid = '0.1'\n[build-dependencies]\nleaf = '1'\n\
         [profile.dev]\ndebug = 1\n[profile.dev.package.leaf]\nopt-level = 2\n\
         [profile.release]\nlto = 'thin'\npanic = 'abort'\ncodegen-units = 1\n",
    ),
    (".cargo/config.toml", "[build]\nrustflags = ['--cfg', 'flagged']\n"),
    ("build.rs", "fn main() { assert_eq!(leaf::leaf(), 1); }\n"),
    ("src/main.rs", "fn main() { print!(\"{}\", mid::mid()); }\n"),
];

/// Registry units of the project in one call of Cargo.
const PACKAGES: [&str; 3] = ["derive", "leaf", "mid"];

fn write(dir: &Path, files: &[(&str, &str)]) {
    for (path, text) in files {
        let path = dir.join(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }
}

/// A machine: a folder with a Cargo home, a cache and a registry of its own.
struct Machine<'s> {
    setup: &'s Setup,
    dir: PathBuf,
    toolchain: Option<PathBuf>,
}

impl<'s> Machine<'s> {
    fn new(setup: &'s Setup, name: &str) -> Self {
        let dir = setup.path(name);
        let registry = dir.join("registry");
        write(&registry, REGISTRY);
        for package in PACKAGES {
            let checksums = registry.join(package).join(".cargo-checksum.json");
            fs_err::write(checksums, "{\"files\":{}}").unwrap();
        }
        let config = format!(
            "[source.crates-io]\nreplace-with = 'folder'\n[source.folder]\ndirectory = {registry:?}\n"
        );
        write(&dir, &[("cargo-home/config.toml", &config), ("home/x", ""), ("tmp/x", "")]);
        Self { setup, dir, toolchain: None }
    }

    /// Forgets all but its registry and its store.
    fn forget(&self) {
        for folder in ["cache", "project/target"] {
            let folder = self.dir.join(folder);
            if folder.exists() {
                fs_err::remove_dir_all(folder).unwrap();
            }
        }
    }

    fn buildhook(&self, cwd: &str, hook: &[OsString], args: &[&str]) -> Output {
        let quoted: Vec<_> = hook.iter().map(|word| format!("'{}'", word.display())).collect();
        let cargo = Path::new(env!("CARGO"));
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path =
            std::iter::once(cargo.parent().unwrap().to_owned()).chain(std::env::split_paths(&path));
        let mut command = Command::new(host());
        command
            .args(args)
            .current_dir(self.dir.join(cwd))
            .env_clear()
            .env("PATH", std::env::join_paths(path).unwrap())
            .env("HOME", self.dir.join("home"))
            .env("CARGO", cargo)
            .env("CARGO_HOME", self.dir.join("cargo-home"))
            .env("TMPDIR", self.dir.join("tmp"))
            .env("BUILDHOOK_CACHE_DIR", self.dir.join("cache"))
            .env("BUILDHOOK_HOOK", quoted.join(" "));
        if let Some(toolchain) = &self.toolchain {
            command.env("RUSTC", toolchain.join("bin/rustc"));
        }
        command.output().unwrap()
    }

    /// One call of Cargo in the project; gives each unit of a registry and its outcome.
    fn cargo(&self, hook: &[OsString], args: &[&str]) -> Vec<(String, String)> {
        let words = [&["run", "--json", "--", env!("CARGO")], args, &["--offline"]].concat();
        let output = self.buildhook("project", hook, &words);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{stderr}");
        let summary: Value = serde_json::from_str(stderr.lines().last().unwrap()).unwrap();
        let units = summary["reports"].as_array().unwrap().iter();
        let units = units.flat_map(|report| report["units"].as_array().unwrap());
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let mut outcomes: Vec<_> = units
            .filter(|unit| PACKAGES.iter().any(|package| unit["package"] == *package))
            .map(|unit| {
                (
                    format!("{} {}", text(&unit["package"]), text(&unit["unit-type"])),
                    text(&unit["outcome"]),
                )
            })
            .collect();
        outcomes.sort();
        outcomes
    }

    #[track_caller]
    fn assert_all_hits(&self, hook: &[OsString], args: &[&str]) {
        let outcomes = self.cargo(hook, args);
        assert!(outcomes.len() >= 5, "{outcomes:?}");
        assert!(outcomes.iter().all(|(_, outcome)| outcome == "hit"), "{args:?}: {outcomes:?}");
    }

    /// `buildhook warm --json` in an empty folder.
    fn warm(&self, hook: &[OsString], args: &[&str]) -> Value {
        let output =
            self.buildhook("home", hook, &[&["warm", "--json", "--offline"], args].concat());
        let (stdout, stderr) = (&output.stdout, String::from_utf8_lossy(&output.stderr));
        let summary: Value =
            serde_json::from_slice(stdout).unwrap_or_else(|e| panic!("{e}: {stderr}"));
        assert!(output.status.success(), "{summary:#}\n{stderr}");
        summary
    }

    /// A hook that keeps entries in a store, and a log of what it does.
    fn store(&self, name: &str) -> (Vec<OsString>, PathBuf) {
        let log = self.setup.path(&format!("{name}.jsonl"));
        let store = self.setup.local_dir_in(name);
        (self.setup.above("log", &["--to", log.to_str().unwrap()], store), log)
    }
}

/// A copy of the toolchain that these tests run with, and one more file in its libraries.
fn altered_toolchain(to: &Path) {
    let output = Command::new("rustc").arg("--print=sysroot").output().unwrap();
    let from = PathBuf::from(String::from_utf8(output.stdout).unwrap().trim_end());
    let rustlib = from.join("lib/rustlib");
    let triple = |path: &PathBuf| path.join("lib").is_dir();
    let entries = fs_err::read_dir(&rustlib).unwrap().map(|entry| entry.unwrap().path());
    let triples: Vec<_> = entries.filter(triple).collect();
    link_file(&from.join("bin/rustc"), &to.join("bin/rustc"));
    for entry in fs_err::read_dir(from.join("lib")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            link_file(&path, &to.join("lib").join(path.file_name().unwrap()));
        }
    }
    for folder in triples {
        let to = to.join("lib/rustlib").join(folder.file_name().unwrap());
        link_all(&folder, &to);
        fs_err::write(to.join("lib/altered"), "").unwrap();
    }
}

fn link_all(from: &Path, to: &Path) {
    for entry in fs_err::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() { link_all(&path, &to) } else { link_file(&path, &to) }
    }
}

fn link_file(from: &Path, to: &Path) {
    fs_err::create_dir_all(to.parent().unwrap()).unwrap();
    let real = fs_err::canonicalize(from).unwrap();
    if std::fs::hard_link(&real, to).is_err() {
        fs_err::copy(real, to).unwrap();
    }
}

/// Whether an entry of `name` was given to the store of `log`.
fn was_stored(log: &Path, name: &str) -> bool {
    let text = fs_err::read_to_string(log).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines
        .map(|line| line["request"].clone())
        .any(|request| request["kind"] == "built-a-thing" && request["unit"]["package"] == name)
}

#[test]
fn what_one_machine_misses_another_builds() {
    let setup = Setup::new();
    let mut first = Machine::new(&setup, "first");
    write(&first.dir.join("project"), PROJECT);
    let second = Machine::new(&setup, "second");
    let calls: [&[&str]; 3] = [&["build"], &["build", "--release"], &["check"]];

    let wants = setup.path("wants.jsonl");
    let recording = setup.above("wants", &["--to", wants.to_str().unwrap()], setup.local_dir());
    for call in calls {
        // What was built before is fresh only in another target folder.
        first.forget();
        let outcomes = first.cargo(&recording, call);
        assert!(outcomes.len() >= 5, "{outcomes:?}");
    }

    let (store, log) = second.store("warmed");
    let wanted = wants.to_str().unwrap();
    let summary = second.warm(&store, &["--from", wanted]);
    assert!(!summary["warmed"].as_array().unwrap().is_empty(), "{summary:#}");
    assert!(summary["left-out"]["workspace"].as_u64().unwrap() > 0, "{summary:#}");
    for own in ["app", "buildhook-stand-in"] {
        assert!(!was_stored(&log, own), "{own}");
    }
    for call in calls {
        first.forget();
        first.assert_all_hits(&store, call);
    }

    // A compiler that nobody has used yet.
    let toolchain = setup.path("toolchain");
    altered_toolchain(&toolchain);
    let named = toolchain.to_str().unwrap();
    let (store, _) = second.store("warmed-for-another-compiler");
    second.warm(&store, &["--from", wanted, "--toolchain", named]);
    first.toolchain = Some(toolchain.clone());
    for call in &calls[..2] {
        first.forget();
        first.assert_all_hits(&store, call);
    }

    // The same from the lock, by the project's own features and profiles.
    let (store, log) = second.store("warmed-from-a-lock");
    let lock = first.dir.join("project/Cargo.lock");
    let lock = ["--lock", lock.to_str().unwrap(), "--toolchain", named, "--"];
    second.warm(&store, &[&lock[..], calls[1]].concat());
    assert!(!was_stored(&log, "app"));
    first.forget();
    first.assert_all_hits(&store, calls[1]);
}

/// Mistakes are told before anything is built.
#[test]
fn mistakes_are_told_with_their_place() {
    let setup = Setup::new();
    let machine = Machine::new(&setup, "machine");
    write(
        &machine.dir,
        &[
            ("home/lines", "\n{\"v\":1}\n"),
            ("home/newer", "{\"v\":2,\"why\":\"miss\",\"unit\":{}}\n"),
            ("home/Cargo.lock", "version = 4\n[[package]\n"),
        ],
    );
    for (args, told) in [
        (&["--from", "none"][..], "`none`"),
        (&["--from", "lines"], "lines:2: not what buildhook-wants writes: missing field"),
        (&["--from", "newer"], "newer:1: not what buildhook-wants writes: version 2"),
        (&["--lock", "Cargo.lock"], "Cargo.lock:2: not a Cargo.lock"),
        (&["--lock", "none"], "none"),
        (&["--from", "lines", "--toolchain", "./none"], "lines:2"),
        (&["--lock", "Cargo.lock", "--", "test"], "`cargo test` cannot be warmed"),
        (&[], "--from"),
    ] {
        let output = machine.buildhook("home", &setup.local_dir(), &[&["warm"], args].concat());
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
        assert!(stderr.contains(told), "{args:?}: {stderr}");
    }
    write(&machine.dir, &[("home/empty", "")]);
    let unknown = ["warm", "--from", "empty", "--toolchain", "./none"];
    let output = machine.buildhook("home", &setup.local_dir(), &unknown);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("--toolchain ./none: neither a compiler"), "{stderr}");
}
