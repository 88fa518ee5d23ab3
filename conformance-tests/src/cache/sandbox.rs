//! The folder a case lives in, and the environment of its builds.
//!
//! | folder | holds |
//! |---|---|
//! | `ws` | the workspace |
//! | `cache`, `home`, `tmp` | what the cache under test may use |
//! | `cargo-home` | CARGO_HOME, empty at first |
//! | `toolchain/bin` | the counting compiler, first on PATH |
//! | `log` | outputs of commands, hooks |
//!
//! Placeholders in files and commands of cases: `@CASE@` this folder, `@HOST@`
//! the target triple, `@SYSROOT@` the real sysroot, `@PATH@` the PATH of builds. In `--env`, `--start` and
//! `--stop`: `{cache}`, `{home}`, `{case}`, and `{port}`, a free TCP port.
//!
//! A hit is seen without the cache's help: RUSTC is a script that notes each
//! call and becomes the real compiler. It keeps one path and one content for
//! all builds of a case, as a compiler does.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::case::{Case, Need};
use super::template;

/// Separates arguments in the log: no argument of a compiler holds it.
pub(super) const ARGUMENT_SEPARATOR: char = '\x1f';

/// Files in memory, on Linux.
pub(super) const MEMORY: &str = "/dev/shm";

/// The real tools, found once.
#[derive(Clone, Debug)]
pub(super) struct Toolchain {
    pub(super) sysroot: PathBuf,
    pub(super) host: String,
    pub(super) path: OsString,
}

impl Toolchain {
    /// Asks the `rustc` on `path`, in the environment of the suite itself: a
    /// rustup proxy needs its home.
    pub(super) fn find(path: &OsStr) -> Result<Self, String> {
        let ask = |args: &[&str]| -> Result<String, String> {
            let output = Command::new("rustc")
                .args(args)
                .env("PATH", path)
                .output()
                .map_err(|e| format!("rustc: {e}"))?;
            if !output.status.success() {
                return Err(format!("rustc {} failed", args.join(" ")));
            }
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        };
        let sysroot = PathBuf::from(ask(&["--print", "sysroot"])?);
        let cargo = sysroot.join("bin/cargo");
        if !cargo.is_file() {
            return Err(format!("{}: no cargo in the toolchain", cargo.display()));
        }
        Ok(Self { host: ask(&["--print", "host-tuple"])?, sysroot, path: path.to_owned() })
    }

    /// The first thing of `needs` that this machine lacks.
    pub(super) fn lacks(&self, needs: &[Need]) -> Option<String> {
        needs.iter().find_map(|need| match need {
            Need::Tool(name) => std::env::split_paths(&self.path)
                .all(|folder| !folder.join(name).is_file())
                .then(|| format!("no `{name}` on PATH")),
            Need::Clippy => (!self.sysroot.join("bin/clippy-driver").is_file())
                .then(|| "the toolchain has no clippy-driver".to_owned()),
            Need::Host(host) => (self.host != *host).then(|| format!("needs {host}")),
            Need::Mount => {
                let tried =
                    Command::new("unshare").args(["--mount", "--map-root-user", "true"]).output();
                (!tried.is_ok_and(|output| output.status.success()))
                    .then(|| "no private mounts here".to_owned())
            }
        })
    }
}

/// The folder of one case.
#[derive(Debug)]
pub(super) struct Sandbox {
    pub(super) root: PathBuf,
    pub(super) toolchain: Toolchain,
    /// Where the counting compiler writes. Not below the case, where there is a
    /// choice: a cache that watches what a compilation writes may take a file
    /// for an output, but not one below `/dev`.
    tally: TempDir,
    port: u16,
}

impl Sandbox {
    /// Makes the folders and writes the workspace of `case`.
    pub(super) fn new(root: PathBuf, toolchain: &Toolchain, case: &Case) -> io::Result<Self> {
        for folder in ["ws", "cache", "home", "tmp", "cargo-home", "log/hooks"] {
            fs::create_dir_all(root.join(folder))?;
        }
        let sandbox = Self {
            root: root.canonicalize()?,
            toolchain: toolchain.clone(),
            tally: TempDir::with_prefix_in(super::prefix(), MEMORY)
                .or_else(|_| TempDir::new_in(root.join("log")))?,
            port: TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port(),
        };
        sandbox.write_toolchain()?;
        let base = template::files(case.base).iter();
        for (path, content) in base.chain(case.files) {
            sandbox.write(&sandbox.root.join("ws").join(path), content)?;
        }
        Ok(sandbox)
    }

    /// Writes a file with its placeholders filled in, folders included.
    pub(super) fn write(&self, path: &Path, content: &str) -> io::Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, self.fill(content))
    }

    /// Fills in the placeholders of cases.
    pub(super) fn fill(&self, text: &str) -> String {
        if !text.contains('@') {
            return text.to_owned();
        }
        text.replace("@CASE@", &self.root.to_string_lossy())
            .replace("@HOST@", &self.toolchain.host)
            .replace("@SYSROOT@", &self.toolchain.sysroot.to_string_lossy())
            .replace("@PATH@", &self.path().to_string_lossy())
    }

    /// Fills in the placeholders of options.
    pub(super) fn fill_option(&self, text: &str) -> String {
        let folder = |name: &str| self.root.join(name).to_string_lossy().into_owned();
        text.replace("{cache}", &folder("cache"))
            .replace("{home}", &folder("home"))
            .replace("{case}", &self.root.to_string_lossy())
            .replace("{port}", &self.port.to_string())
    }

    /// What the compiler was asked so far.
    pub(super) fn log_path(&self) -> PathBuf {
        self.tally.path().join("rustc")
    }

    /// A command in a clean environment.
    pub(super) fn command(&self, program: impl AsRef<OsStr>, folder: &Path) -> Command {
        let at = |name: &str| self.root.join(name);
        let mut command = Command::new(program);
        command
            .current_dir(folder)
            .env_clear()
            .env("PATH", self.path())
            .env("HOME", at("home"))
            .env("TMPDIR", at("tmp"))
            .env("XDG_CACHE_HOME", at("cache"))
            .env("XDG_RUNTIME_DIR", at("tmp"))
            .env("LC_ALL", "C")
            .env("CARGO_HOME", at("cargo-home"))
            // Not CARGO_INCREMENTAL: one cache refuses to run where that says 1.
            .env("CARGO_PROFILE_DEV_INCREMENTAL", "false")
            .env("CARGO_NET_OFFLINE", "true")
            .env("CARGO_TERM_COLOR", "never")
            .env("CARGO_BUILD_JOBS", "2")
            .env("RUSTC", at("toolchain/bin/rustc"));
        command
    }

    fn path(&self) -> OsString {
        let mut path = self.root.join("toolchain/bin").into_os_string();
        path.push(":");
        path.push(&self.toolchain.path);
        path
    }

    fn write_toolchain(&self) -> io::Result<()> {
        let bin = self.root.join("toolchain/bin");
        fs::create_dir_all(&bin)?;
        let real = self.toolchain.sysroot.join("bin");
        for name in ["cargo", "rustdoc", "cargo-clippy"] {
            symlink(real.join(name), bin.join(name))?;
        }
        for name in ["rustc", "clippy-driver"] {
            let script = COMPILER
                .replace("@SEPARATOR@", &ARGUMENT_SEPARATOR.to_string())
                .replace("@LOG@", &self.log_path().to_string_lossy())
                .replace("@HOOKS@", &self.root.join("log/hooks").to_string_lossy())
                .replace("@REAL@", &real.join(name).to_string_lossy());
            fs::write(bin.join(name), script)?;
            fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755))?;
        }
        Ok(())
    }

    /// Ends what the case has left running: every process whose HOME is the
    /// case's. Nothing where there is no `/proc`.
    pub(super) fn end_leftovers(&self) -> usize {
        let mut home = b"HOME=".to_vec();
        home.extend(self.root.join("home").as_os_str().as_encoded_bytes());
        let Ok(processes) = fs::read_dir("/proc") else {
            return 0;
        };
        processes
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
            .filter(|pid| {
                fs::read(format!("/proc/{pid}/environ"))
                    .is_ok_and(|environment| environment.split(|b| *b == 0).any(|v| v == home))
            })
            .filter_map(rustix::process::Pid::from_raw)
            // Failure means that it has just ended by itself.
            .map(|pid| rustix::process::kill_process(pid, rustix::process::Signal::KILL))
            .filter(Result::is_ok)
            .count()
    }
}

/// The counting compiler. Only a compilation of a named crate runs hooks:
/// probes and dep-info runs do not.
const COMPILER: &str = r#"#!/bin/sh
IFS='@SEPARATOR@'
printf '%s\n' "$*" >>'@LOG@'
name=
emit=
asks=
previous=
for argument do
    case $previous$argument in
    --crate-name=*) name=${argument#*=} ;;
    --crate-name*) name=$argument ;;
    --emit*link*|--emit*metadata*) emit=yes ;;
    --print*) asks=yes ;;
    esac
    case $argument in
    --crate-name|--emit) previous=$argument ;;
    *) previous= ;;
    esac
done
[ -n "$emit" ] && [ -z "$asks" ] || name=
if [ -n "$name" ] && [ -e '@HOOKS@'/before-"$name" ]; then
    mv '@HOOKS@'/before-"$name" '@HOOKS@'/ran-$$
    . '@HOOKS@'/ran-$$
fi
if [ -n "$name" ] && [ -e '@HOOKS@'/after-"$name" ]; then
    mv '@HOOKS@'/after-"$name" '@HOOKS@'/ran-$$
    '@REAL@' "$@"
    code=$?
    . '@HOOKS@'/ran-$$
    exit $code
fi
exec '@REAL@' "$@"
"#;
