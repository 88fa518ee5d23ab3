//! A machine of a user: a home, a `CARGO_HOME`, a checkout, caches, and the bucket's address.

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::server::{ACCESS_KEY, BUCKET, SECRET};

/// How patient builds are with a bucket far away; README.md recommends the same.
const SETTINGS: &str = "[limits]\nwant-to-build-ms = 20000\nbuilt-a-thing-ms = 20000\n\
    drain-ms = 120000\n";
const WAIT_MS: u32 = 20_000;
const DRAIN_MS: u32 = 110_000;

/// What all machines share.
pub(crate) struct Around {
    pub(crate) path: OsString,
    pub(crate) rustup_home: PathBuf,
    pub(crate) toolchain: Option<OsString>,
    /// The Cargo home whose downloaded packages are used.
    pub(crate) downloads: PathBuf,
    pub(crate) programs: PathBuf,
    pub(crate) sccache: Option<PathBuf>,
    pub(crate) project: PathBuf,
    pub(crate) options: Vec<String>,
    /// Nobody has set limits for a bucket far away.
    pub(crate) default_limits: bool,
}

/// Who builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tool {
    Plain,
    /// A local store before the bucket.
    Buildhook,
    /// The local store alone.
    Local,
    Sccache,
}

impl Tool {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Buildhook => "buildhook",
            Self::Local => "local-dir",
            Self::Sccache => "sccache",
        }
    }
}

/// What came of a build.
pub(crate) struct Built {
    pub(crate) tool: Tool,
    /// Until everything is uploaded.
    pub(crate) wall: Duration,
    pub(crate) hits: u64,
    pub(crate) misses: u64,
    /// What the plugins had to say.
    pub(crate) said: String,
}

pub(crate) struct Machine<'a> {
    around: &'a Around,
    root: PathBuf,
    address: SocketAddr,
}

impl<'a> Machine<'a> {
    /// Unpacks the packages and copies the project.
    pub(crate) fn new(around: &'a Around, root: &Path, address: SocketAddr) -> Self {
        let machine = Self { around, root: root.to_owned(), address };
        for folder in ["home", "cargo/registry", "state"] {
            fs::create_dir_all(root.join(folder)).expect("a folder");
        }
        for part in ["cache", "index"] {
            let from = around.downloads.join("registry").join(part);
            symlink(from, root.join("cargo/registry").join(part)).expect("a link");
        }
        copy(&around.project, &machine.checkout());
        let settings = if around.default_limits { "" } else { SETTINGS };
        fs::write(root.join("settings.toml"), settings).expect("a file");
        fs::write(root.join("tiers.toml"), machine.tiers()).expect("a file");
        let mut fetch = machine.command("cargo");
        fetch.arg("fetch").env_remove("CARGO_NET_OFFLINE");
        run(&mut fetch);
        machine
    }

    /// Builds into an empty target folder.
    pub(crate) fn build(&self, tool: Tool) -> Built {
        let start = Instant::now();
        let (hits, misses, said) = match tool {
            Tool::Plain => {
                run(self.command("cargo").args(["build", "--offline"]));
                (0, 0, String::new())
            }
            Tool::Buildhook => self.with_buildhook(&self.tier()),
            Tool::Local => self.with_buildhook(&quoted(&self.local_dir())),
            Tool::Sccache => self.with_sccache(),
        };
        Built { tool, wall: start.elapsed(), hits, misses, said }
    }

    /// Removes what was built.
    pub(crate) fn clean(&self) {
        fs::remove_dir_all(self.checkout().join("target")).expect("there is one");
    }

    fn with_buildhook(&self, hook: &str) -> (u64, u64, String) {
        let mut command = self.command(self.around.programs.join("buildhook"));
        command
            .args(["run", "--json", "--", "cargo", "build", "--offline"])
            .env("BUILDHOOK_CACHE_DIR", self.root.join("state"))
            .env("BUILDHOOK_CONFIG", self.root.join("settings.toml"))
            .env("BUILDHOOK_HOOK", hook);
        let stderr = String::from_utf8_lossy(&run(&mut command).stderr).into_owned();
        let summary: Value =
            serde_json::from_str(stderr.trim_end().lines().last().unwrap_or_default())
                .expect("the last line is the summary");
        let (mut hits, mut misses, mut said) = (0, 0, String::new());
        for report in summary["reports"].as_array().into_iter().flatten() {
            for unit in report["units"].as_array().into_iter().flatten() {
                if unit["outcome"] == "hit" { hits += 1 } else { misses += 1 }
            }
            said += &report["hook"].to_string();
        }
        (hits, misses, said)
    }

    fn with_sccache(&self) -> (u64, u64, String) {
        let sccache = self.around.sccache.as_ref().expect("it was found");
        let control = |argument: &[&str]| run(self.sccache(sccache).args(argument));
        control(&["--start-server"]);
        let mut build = self.command("cargo");
        build.args(["build", "--offline"]).env("RUSTC_WRAPPER", sccache);
        self.for_sccache(&mut build);
        run(&mut build);
        let stats = control(&["--show-stats", "--stats-format=json"]).stdout;
        control(&["--stop-server"]);
        let stats: Value = serde_json::from_slice(&stats).expect("sccache's figures");
        let count = |name: &str| -> u64 {
            let counts = stats["stats"][name]["counts"].as_object().into_iter().flatten();
            counts.filter_map(|(_, count)| count.as_u64()).sum()
        };
        (count("cache_hits"), count("cache_misses"), String::new())
    }

    fn sccache(&self, program: &Path) -> Command {
        let mut command = self.command(program);
        self.for_sccache(&mut command);
        command
    }

    fn for_sccache(&self, command: &mut Command) {
        command
            .env("SCCACHE_BUCKET", BUCKET)
            .env("SCCACHE_ENDPOINT", format!("http://{}", self.address))
            .env("SCCACHE_REGION", "us-east-1")
            .env("SCCACHE_S3_USE_SSL", "false")
            .env("SCCACHE_SERVER_UDS", self.root.join("sccache.socket"));
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", &self.around.path)
            .env("HOME", self.root.join("home"))
            .env("CARGO_HOME", self.root.join("cargo"))
            .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
            .env("AWS_SECRET_ACCESS_KEY", SECRET)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .current_dir(self.checkout())
            .stdin(Stdio::null());
        command.env("RUSTUP_HOME", &self.around.rustup_home);
        if let Some(toolchain) = &self.around.toolchain {
            command.env("RUSTUP_TOOLCHAIN", toolchain);
        }
        command
    }

    fn checkout(&self) -> PathBuf {
        self.root.join("checkout")
    }

    fn program(&self, name: &str) -> String {
        self.around.programs.join(name).display().to_string()
    }

    fn local_dir(&self) -> [String; 3] {
        let store = self.root.join("store").display().to_string();
        [self.program("buildhook-local-dir"), "--dir".to_owned(), store]
    }

    fn tier(&self) -> String {
        let tiers = self.root.join("tiers.toml").display().to_string();
        let mut tier = vec![self.program("buildhook-tier")];
        tier.extend(self.drain());
        tier.push(tiers);
        quoted(&tier)
    }

    fn drain(&self) -> Option<String> {
        (!self.around.default_limits).then(|| format!("--drain-ms={DRAIN_MS}"))
    }

    /// A local store before the bucket.
    fn tiers(&self) -> String {
        let mut s3 = vec![
            self.program("buildhook-s3"),
            format!("--bucket={BUCKET}"),
            format!("--endpoint=http://{}", self.address),
            "--summary".to_owned(),
        ];
        s3.extend(self.drain());
        s3.extend(self.around.options.iter().cloned());
        let local = self.local_dir();
        let timeout = match self.around.default_limits {
            true => String::new(),
            false => format!("timeout-ms = {WAIT_MS}\n"),
        };
        format!(
            "[[tier]]\nname = 'local'\nplugin = {local:?}\nread = true\nwrite = true\n\
             back-fill = true\n\n[[tier]]\nname = 'bucket'\nplugin = {s3:?}\nread = true\n\
             write = true\nback-fill = false\nbackground = true\n{timeout}"
        )
    }
}

/// A command line of these words.
fn quoted(words: &[String]) -> String {
    words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ")
}

fn run(command: &mut Command) -> Output {
    let output = command.output().expect("the program starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {stderr}");
    output
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("the project is there") {
        let entry = entry.expect("an entry");
        let (name, kind) = (entry.file_name(), entry.file_type().expect("a kind"));
        if kind.is_dir() && name != "target" && name != ".git" {
            copy(&entry.path(), &to.join(&name));
        } else if kind.is_file() {
            fs::copy(entry.path(), to.join(&name)).expect("a copy");
        }
    }
}
