//! Drives real Cargo over small workspaces, in an environment of the test's own.
//!
//! A [`Lab`] is one test's world: a home, a cache, as many workspaces and `CARGO_HOME`s as
//! it likes, all below one temporary folder. Nothing of the person's variables or files
//! reaches what is run there, and nothing needs a network.
//!
//! `RUSTC` is a script that notes each compile and runs the real compiler, so that a
//! [`Build`] knows what was really compiled, whatever buildhook says. It writes to a
//! descriptor that it inherits: a file that it opened would be something that the compile
//! has read and written.

#![allow(unreachable_pub, reason = "shared by several test programs")]
#![allow(dead_code, reason = "each test program uses its own part")]
#![allow(clippy::disallowed_methods, reason = "tests find the compiler that Cargo runs them with")]

pub mod fixtures;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use fs_err as fs;
use serde_json::Value;
use tempfile::TempDir;

/// Nothing that is waited for takes as long unless something hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// The program under test.
pub const BUILDHOOK: &str = env!("CARGO_BIN_EXE_buildhook");

/// One test's world.
pub struct Lab {
    root: TempDir,
    rustc: PathBuf,
}

/// A folder with a Cargo workspace, and how Cargo is called there.
#[derive(Clone)]
pub struct Workspace<'l> {
    lab: &'l Lab,
    /// Its folder.
    pub dir: PathBuf,
    cargo_home: PathBuf,
    variables: BTreeMap<OsString, OsString>,
}

/// What one call of Cargo did.
#[derive(Debug)]
pub struct Build {
    /// Whether Cargo ended with success.
    pub success: bool,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error, without buildhook's summary.
    pub stderr: String,
    /// The crates that the real compiler compiled, in order.
    pub compiled: Vec<String>,
    /// The summary of `buildhook run --json`; null for plain Cargo.
    pub summary: Value,
}

impl Default for Lab {
    fn default() -> Self {
        Self::new()
    }
}

impl Lab {
    /// An empty world.
    pub fn new() -> Self {
        let root = tempfile::Builder::new().prefix("buildhook-lab-").tempdir().unwrap();
        // One name for every folder, whatever links lead to the temporary folder.
        let real = fs::canonicalize(root.path()).unwrap();
        assert_eq!(real, root.path(), "TMPDIR leads through a symbolic link");
        for dir in ["home", "cache", "tmp"] {
            fs::create_dir(root.path().join(dir)).unwrap();
        }
        let rustc = root.path().join("counting-rustc");
        let log = root.path().join("compiles");
        fs::write(&log, "").unwrap();
        write_script(&rustc, &counting_script());
        Self { root, rustc }
    }

    /// A path in this world.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.root.path().join(relative)
    }

    /// The cache folder that builds here use.
    pub fn cache(&self) -> PathBuf {
        self.path("cache")
    }

    /// A workspace called `name` with these files, and a `CARGO_HOME` of its own.
    pub fn workspace(&self, name: &str, files: &[(&str, &str)]) -> Workspace<'_> {
        let dir = self.path(name);
        fs::create_dir_all(&dir).unwrap();
        let cargo_home = self.path(&format!("cargo-home-{name}"));
        fs::create_dir_all(&cargo_home).unwrap();
        let workspace = Workspace { lab: self, dir, cargo_home, variables: BTreeMap::new() };
        for (path, text) in files {
            workspace.write(path, text);
        }
        workspace
    }

    /// `program` with the variables of this world and nothing else.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().stdin(Stdio::null()).current_dir(self.path("home"));
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::iter::once(toolchain().join("bin")).chain(std::env::split_paths(&path));
        command
            .env("PATH", std::env::join_paths(path).unwrap())
            .env("HOME", self.path("home"))
            .env("TMPDIR", self.path("tmp"))
            .env("BUILDHOOK_CACHE_DIR", self.cache())
            .env("LC_ALL", "C");
        command
    }

    /// `buildhook` with these arguments in the home folder.
    pub fn buildhook(&self, args: &[&str]) -> Output {
        self.command(BUILDHOOK).args(args).output().unwrap()
    }

    /// Standard output of `buildhook` with these arguments, as JSON.
    pub fn buildhook_json(&self, args: &[&str]) -> Value {
        let output = self.buildhook(args);
        let text = String::from_utf8(output.stdout).unwrap();
        serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{error}: {text}{}", lossy(&output.stderr)))
    }

    /// The plugin of `plugin.rs`, as a command line that keeps its entries in `folder`.
    pub fn plugin(&self, folder: &str, lie: &str) -> String {
        let program = self.path("test-plugin");
        if !program.exists() {
            let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/plugin.rs");
            let mut rustc = self.command(toolchain().join("bin/rustc"));
            let output = rustc.arg("--edition=2024").arg(source).arg("-o").arg(&program).output();
            let output = output.unwrap();
            assert!(output.status.success(), "{}", lossy(&output.stderr));
        }
        format!("'{}' '{}' {lie}", program.display(), self.path(folder).display())
    }

    /// `text` with the folder of this world replaced by `LAB`, for snapshots.
    pub fn shown(&self, text: &[u8]) -> String {
        lossy(text).replace(self.root.path().to_str().unwrap(), "LAB")
    }

    /// The crates compiled since this was called last.
    fn take_compiled(&self) -> Vec<String> {
        let log = self.path("compiles");
        let compiled = fs::read_to_string(&log).unwrap().lines().map(str::to_owned).collect();
        fs::write(&log, "").unwrap();
        compiled
    }
}

/// A session of a build that was not started by `run` may still be writing its report, and
/// would make a folder of the lab anew.
impl Drop for Lab {
    fn drop(&mut self) {
        let mark = format!("HOME={}", self.path("home").display());
        let is_ours = |entry: &fs::DirEntry| {
            let environ = fs::read(entry.path().join("environ")).unwrap_or_default();
            environ.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
        };
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline
            && fs::read_dir("/proc").into_iter().flatten().flatten().any(|entry| is_ours(&entry))
        {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl<'l> Workspace<'l> {
    /// Writes a file of the workspace.
    pub fn write(&self, path: &str, text: &str) -> &Self {
        let path = self.dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    /// Removes a file of the workspace.
    pub fn remove(&self, path: &str) -> &Self {
        fs::remove_file(self.dir.join(path)).unwrap();
        self
    }

    /// Replaces `from`, which must be there, in a file of the workspace.
    pub fn edit(&self, path: &str, from: &str, to: &str) -> &Self {
        let text = fs::read_to_string(self.dir.join(path)).unwrap();
        assert!(text.contains(from), "{path} does not hold {from:?}");
        self.write(path, &text.replace(from, to))
    }

    /// Removes what was built here.
    pub fn clean(&self) -> &Self {
        let target = self.dir.join("target");
        if target.exists() {
            fs::remove_dir_all(target).unwrap();
        }
        self
    }

    /// Sets a variable for every later call.
    pub fn set(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.variables.insert(name.into(), value.as_ref().into());
        self
    }

    /// A second checkout called `name`: the same sources and variables, another folder,
    /// another `CARGO_HOME`, nothing built.
    pub fn checkout(&self, name: &str) -> Workspace<'l> {
        let mut other = self.lab.workspace(name, &[]);
        copy_sources(&self.dir, &other.dir);
        other.variables = self.variables.clone();
        other
    }

    /// Cargo with these arguments under buildhook; it must succeed.
    pub fn cargo(&self, args: &[&str]) -> Build {
        self.try_cargo(args).expect_success(args)
    }

    /// Cargo with these arguments under buildhook.
    pub fn try_cargo(&self, args: &[&str]) -> Build {
        let mut command = self.command(BUILDHOOK);
        command.args(["run", "--json", "--"]).arg(toolchain().join("bin/cargo")).args(args);
        let mut build = self.finish(&mut command);
        let (rest, summary) = split_last_line(&build.stderr);
        build.summary = serde_json::from_str(&summary)
            .unwrap_or_else(|error| panic!("{error}: no summary in {}", build.stderr));
        build.stderr = rest;
        build
    }

    /// Cargo with these arguments and no cache; it must succeed.
    pub fn plain_cargo(&self, args: &[&str]) -> Build {
        let mut command = self.command(toolchain().join("bin/cargo"));
        self.finish(command.args(args)).expect_success(args)
    }

    /// Standard output of a program built here.
    pub fn output_of(&self, program: &str) -> String {
        let output = self.command(self.dir.join("target/debug").join(program)).output().unwrap();
        assert!(output.status.success(), "{program}: {}", lossy(&output.stderr));
        lossy(&output.stdout)
    }

    /// `program` in this workspace's folder with its variables, and descriptor 9 open for
    /// the script that counts.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.lab.command("sh");
        command
            .args(["-c", "log=$1; shift; exec \"$@\" 9>>\"$log\"", "sh"])
            .arg(self.lab.path("compiles"))
            .arg(program)
            .current_dir(&self.dir)
            .env("CARGO_HOME", &self.cargo_home)
            .env("CARGO_NET_OFFLINE", "true")
            .env("RUSTC", &self.lab.rustc)
            .envs(&self.variables);
        command
    }

    fn finish(&self, command: &mut Command) -> Build {
        self.lab.take_compiled();
        let output = command.output().unwrap();
        Build {
            success: output.status.success(),
            stdout: lossy(&output.stdout),
            stderr: lossy(&output.stderr),
            compiled: self.lab.take_compiled(),
            summary: Value::Null,
        }
    }
}

impl Build {
    /// The crates with this outcome, sorted: `hit`, `miss`, `uncached` or `failed`.
    pub fn with_outcome(&self, outcome: &str) -> Vec<String> {
        let units = self.units().filter(|unit| unit["outcome"] == outcome);
        let mut names: Vec<_> =
            units.map(|unit| unit["crate-name"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    }

    /// The crates restored, sorted.
    pub fn hits(&self) -> Vec<String> {
        self.with_outcome("hit")
    }

    /// The crates built and offered to the cache, sorted.
    pub fn misses(&self) -> Vec<String> {
        self.with_outcome("miss")
    }

    /// The crates really compiled, sorted.
    pub fn compiled_sorted(&self) -> Vec<String> {
        let mut compiled = self.compiled.clone();
        compiled.sort();
        compiled
    }

    /// Each crate that was not cacheable and the code of the reason.
    pub fn refusals(&self) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let uncached = self.units().filter(|unit| unit["outcome"] == "uncached");
        uncached.map(|unit| (text(&unit["crate-name"]), text(&unit["reason"]["code"]))).collect()
    }

    /// What the summary tells: notes and faults, one sentence each.
    pub fn told(&self) -> Vec<String> {
        let told = self.summary["tell"].as_array().into_iter().flatten();
        told.map(|line| line.as_str().unwrap().to_owned()).collect()
    }

    /// All units of all sessions as the reports have them.
    pub fn units(&self) -> impl Iterator<Item = &Value> {
        let reports = self.summary["reports"].as_array().into_iter().flatten();
        reports.flat_map(|report| report["units"].as_array().into_iter().flatten())
    }

    /// Nothing was compiled and nothing was refused: every unit came from the cache.
    #[track_caller]
    pub fn assert_all_hits(&self) {
        assert_eq!(self.compiled, [""; 0], "compiled: {:#}", self.summary);
        assert_eq!(self.refusals(), [], "{:#}", self.summary);
        assert!(!self.hits().is_empty(), "nothing was built: {}", self.stderr);
    }

    #[track_caller]
    fn expect_success(self, args: &[&str]) -> Self {
        assert!(self.success, "cargo {args:?}: {}\n{}", self.stdout, self.stderr);
        self
    }
}

/// The installation of the compiler that these tests were started with.
pub fn toolchain() -> &'static Path {
    static TOOLCHAIN: OnceLock<PathBuf> = OnceLock::new();
    TOOLCHAIN.get_or_init(|| {
        let output = Command::new("rustc").arg("--print=sysroot").output().unwrap();
        PathBuf::from(String::from_utf8(output.stdout).unwrap().trim_end())
    })
}

/// Waits for a condition; fails after [`PATIENCE`].
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Whether a tool that is absent is a failure.
pub fn is_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| value == "true")
}

/// Writes an executable script.
pub fn write_script(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    // Another process makes the copy that is executed: while this one has a file open for
    // writing, a thread of it may fork, and the child's descriptor makes it "text busy".
    let temporary = path.with_extension("new");
    fs::write(&temporary, text).unwrap();
    fs::set_permissions(&temporary, std::fs::Permissions::from_mode(0o755)).unwrap();
    let status = Command::new("cp").arg(&temporary).arg(path).status().unwrap();
    assert!(status.success());
    fs::remove_file(temporary).unwrap();
}

/// Notes the crate of each compile, one line written at once, and runs the real compiler.
/// Cargo's probe of the compiler is called `___`.
fn counting_script() -> String {
    format!(
        r#"#!/bin/sh
name=
for word do
    if [ "$name" = next ]; then name=$word; break; fi
    if [ "$word" = --crate-name ]; then name=next; fi
done
case $name in ''|___) ;; *) echo "$name" >&9 ;; esac
exec '{}' "$@"
"#,
        toolchain().join("bin/rustc").display()
    )
}

/// Copies all but what was built.
fn copy_sources(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().unwrap();
        if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(&from).unwrap(), &to).unwrap();
        } else if kind.is_file() {
            fs::copy(&from, &to).unwrap();
        } else if entry.file_name() != "target" {
            fs::create_dir(&to).unwrap();
            copy_sources(&from, &to);
        }
    }
}

fn split_last_line(text: &str) -> (String, String) {
    let text = text.trim_end();
    let start = text.rfind('\n').map_or(0, |newline| newline + 1);
    (text[..start].to_owned(), text[start..].to_owned())
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
