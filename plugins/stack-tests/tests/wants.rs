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

/// The packages of the registry.
const PACKAGES: [&str; 3] = ["derive", "leaf", "mid"];

/// The index of another registry. Nobody asks it: its packages are in a folder, too.
const OTHER_INDEX: &str = "sparse+https://registry.invalid/index/";
/// Its one package.
const OTHER: &[(&str, &str)] = &[
    (
        "over/Cargo.toml",
        "[package]\nname = 'over'\nversion = '0.2.0'\nedition = '2021'\n\
         [dependencies]\nleaf = { version = '1', registry-index = 'https://github.com/rust-lang/crates.io-index' }\n",
    ),
    ("over/src/lib.rs", "pub fn over() -> u32 { leaf::leaf() }\n"),
    ("over/.cargo-checksum.json", "{\"files\":{}}"),
];
/// A package in a repository.
const REPOSITORY: &[(&str, &str)] = &[
    ("Cargo.toml", "[package]\nname = 'gitty'\nversion = '0.5.0'\nedition = '2021'\n"),
    ("src/lib.rs", "pub fn gitty() -> u32 { 2 }\n"),
];

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
        let other = dir.join("other-registry");
        write(&other, OTHER);
        let config = format!(
            "[source.crates-io]\nreplace-with = 'folder'\n[source.folder]\ndirectory = {registry:?}\n\
             [registries.other]\nindex = '{OTHER_INDEX}'\n\
             [source.other]\nregistry = '{OTHER_INDEX}'\nreplace-with = 'other-folder'\n\
             [source.other-folder]\ndirectory = {other:?}\n"
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
            .env("RUSTUP_HOME", self.dir.join("rustup-home"))
            .env("TMPDIR", self.dir.join("tmp"))
            .env("BUILDHOOK_CACHE_DIR", self.dir.join("cache"))
            .env("BUILDHOOK_HOOK", quoted.join(" "));
        if let Some(toolchain) = &self.toolchain {
            command.env("RUSTC", toolchain.join("bin/rustc"));
        }
        command.output().unwrap()
    }

    /// One call of Cargo in the project; gives each unit that is not its own and its outcome.
    fn cargo(&self, hook: &[OsString], args: &[&str]) -> Vec<(String, String)> {
        let words = [&["run", "--json", "--", env!("CARGO")], args].concat();
        let output = self.buildhook("project", hook, &words);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{stderr}");
        let summary: Value = serde_json::from_str(stderr.lines().last().unwrap()).unwrap();
        let units = summary["reports"].as_array().unwrap().iter();
        let units = units.flat_map(|report| report["units"].as_array().unwrap());
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let mut outcomes: Vec<_> = units
            .filter(|unit| unit["package"] != "app")
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
        let output = self.buildhook("home", hook, &[&["warm", "--json"], args].concat());
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
    let calls: [&[&str]; 4] = [
        &["build"],
        &["build", "--release"],
        &["check"],
        // The flags of the project are then those of the target's units alone.
        &["build", "--target", "wasm32-wasip1"],
    ];

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
    let summary = second.warm(&store, &["--offline", "--from", wanted]);
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
    second.warm(&store, &["--offline", "--from", wanted, "--toolchain", named]);
    first.toolchain = Some(toolchain.clone());
    for call in &calls[..2] {
        first.forget();
        first.assert_all_hits(&store, call);
    }

    // The same from the lock, by the project's own features and profiles.
    let (store, log) = second.store("warmed-from-a-lock");
    let lock = first.dir.join("project/Cargo.lock");
    let lock = ["--offline", "--lock", lock.to_str().unwrap(), "--toolchain", named, "--"];
    second.warm(&store, &[&lock[..], calls[1]].concat());
    assert!(!was_stored(&log, "app"));
    first.forget();
    first.assert_all_hits(&store, calls[1]);
}

/// From a repository and from another registry; with the lock, which says where they are.
#[test]
fn packages_from_elsewhere_are_built() {
    let setup = Setup::new();
    let repository = setup.path("repository");
    write(&repository, REPOSITORY);
    for words in [&["init", "-q"][..], &["add", "."], &["commit", "-q", "-m", "one"]] {
        let mut git = Command::new("git");
        git.current_dir(&repository).args(["-c", "user.name=a", "-c", "user.email=a@b"]);
        assert!(git.args(words).status().unwrap().success(), "{words:?}");
    }
    let first = Machine::new(&setup, "first");
    write(&first.dir.join("project"), PROJECT);
    let manifest = PROJECT[0].1.replace(
        "mid = '0.1'\n",
        &format!(
            "mid = '0.1'\nover = {{ version = '0.2', registry = 'other' }}\n\
             gitty = {{ git = 'file://{}' }}\n",
            repository.display()
        ),
    );
    let main = "fn main() { print!(\"{}\", mid::mid() + over::over() + gitty::gitty()); }\n";
    write(&first.dir.join("project"), &[("Cargo.toml", &manifest), ("src/main.rs", main)]);
    let wants = setup.path("wants.jsonl");
    let recording = setup.above("wants", &["--to", wants.to_str().unwrap()], setup.local_dir());
    let outcomes = first.cargo(&recording, &["build"]);
    for name in ["gitty lib", "over lib", "mid lib"] {
        assert!(outcomes.iter().any(|(unit, _)| unit == name), "{outcomes:?}");
    }

    let second = Machine::new(&setup, "second");
    let lock = first.dir.join("project/Cargo.lock");
    let lock = ["--lock", lock.to_str().unwrap()];
    let (store, _) = second.store("warmed");
    let summary = second.warm(&store, &[&["--from", wants.to_str().unwrap()], &lock[..]].concat());
    assert!(!summary["warmed"].as_array().unwrap().is_empty(), "{summary:#}");
    first.forget();
    first.assert_all_hits(&store, &["build"]);

    // By the lock alone, with nothing of the project beside it.
    let alone = second.dir.join("home/Cargo.lock");
    fs_err::copy(lock[1], &alone).unwrap();
    let (store, _) = second.store("warmed-from-a-lock");
    let summary = second.warm(&store, &["--lock", alone.to_str().unwrap()]);
    let text = summary["warmed"].to_string();
    for name in ["gitty 0.5.0", "over 0.2.0", "mid 0.1.0"] {
        assert!(text.contains(name), "{summary:#}");
    }
}

/// A source may be anywhere: stand-ins are written to the folder of the run, and nowhere else.
#[test]
fn sources_outside_of_the_workspace_are_left_as_they_are() {
    let setup = Setup::new();
    let machine = Machine::new(&setup, "machine");
    let far = setup.path("far/tool.rs");
    let manifest = format!(
        "[package]\nname = 'app'\nversion = '0.1.0'\nedition = '2024'\n[workspace]\n\
         [lib]\npath = '../shared/lib.rs'\n[[bin]]\nname = 'tool'\npath = {far:?}\n\
         [dependencies]\nmid = '0.1'\n"
    );
    let files = [
        ("project/Cargo.toml", manifest.as_str()),
        ("shared/lib.rs", "pub fn shared() -> u32 { mid::mid() }\n"),
        ("project/src/main.rs", "fn main() { print!(\"{}\", app::shared()); }\n"),
    ];
    write(&machine.dir, &files);
    let tool = "fn main() {}\n";
    write(&setup.path("far"), &[("tool.rs", tool)]);
    machine.cargo(&setup.local_dir(), &["build"]);

    let (store, _) = machine.store("warmed");
    let lock = machine.dir.join("project/Cargo.lock");
    let summary = machine.warm(&store, &["--offline", "--lock", lock.to_str().unwrap()]);
    assert!(summary["warmed"].to_string().contains("mid 0.1.0"), "{summary:#}");
    for (path, text) in files {
        assert_eq!(fs_err::read_to_string(machine.dir.join(path)).unwrap(), text);
    }
    assert_eq!(fs_err::read_to_string(far).unwrap(), tool);
    let runs = fs_err::read_dir(machine.dir.join("cache/host/runs"));
    assert_eq!(runs.map_or(0, Iterator::count), 0, "what a run has written goes with it");
    machine.forget();
    machine.assert_all_hits(&store, &["build"]);
}

#[test]
fn a_toolchain_is_known_by_the_name_that_rustup_has_for_it() {
    let setup = Setup::new();
    let mut first = Machine::new(&setup, "first");
    write(&first.dir.join("project"), PROJECT);
    let second = Machine::new(&setup, "second");
    let toolchain = setup.path("toolchain");
    altered_toolchain(&toolchain);
    let linked = Command::new("rustup")
        .args(["toolchain", "link", "altered"])
        .arg(&toolchain)
        .env("RUSTUP_HOME", second.dir.join("rustup-home"))
        .env_remove("RUSTUP_TOOLCHAIN")
        .status();
    if !linked.is_ok_and(|status| status.success()) {
        return not_run("there is no rustup");
    }
    let wants = setup.path("wants.jsonl");
    let recording = setup.above("wants", &["--to", wants.to_str().unwrap()], setup.local_dir());
    first.cargo(&recording, &["build"]);
    let (store, _) = second.store("warmed");
    let wanted = ["--offline", "--from", wants.to_str().unwrap(), "--toolchain", "altered"];
    second.warm(&store, &wanted);
    first.toolchain = Some(toolchain);
    first.forget();
    first.assert_all_hits(&store, &["build"]);
}

/// A part of a test that needs what is not on this machine.
fn not_run(why: &str) {
    assert!(std::env::var_os("CI").is_none(), "in CI everything is run: {why}");
    eprintln!("not run: {why}");
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
