//! One call of Cargo for a stand-in, and what came of it.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use buildhook_cargo::manifest::{Action, Manifest};
use fs_err as fs;
use serde_json::Value;

use super::super::run::WRAPPER_VARIABLES;
use super::super::{Refusal, tell};
use super::standin;
use super::toolchain::Toolchain;
use super::wants;
use crate::environment::Environment;
use crate::report::run::{FOLDER_VARIABLE, collect};
use crate::report::{UnitReport, render};

/// Lines of Cargo's own errors that are kept.
const MAX_ERROR_LINES: usize = 40;

/// What is called, and where.
pub(super) struct Call<'a> {
    pub(super) env: &'a Environment,
    pub(super) toolchain: &'a Toolchain,
    /// Cargo's configuration files and buildhook's are looked for from here.
    pub(super) cwd: &'a Path,
    /// Where reports go.
    pub(super) reports: PathBuf,
    /// The target folder.
    pub(super) target: PathBuf,
    /// The stand-in's manifest.
    pub(super) manifest: PathBuf,
    /// The command of Cargo and its options.
    pub(super) words: Vec<OsString>,
    /// `RUSTFLAGS`, in words, in place of what is configured.
    pub(super) rustflags: Option<&'a [String]>,
    /// Where sessions keep manifests.
    pub(super) manifests: PathBuf,
    /// How long sessions may take to end when Cargo has.
    pub(super) sessions_limit: Duration,
}

/// What Cargo and the sessions did.
#[derive(Default)]
pub(super) struct Built {
    /// Stems of what Cargo has built or found fresh.
    pub(super) stems: HashSet<String>,
    /// Each compile of a dependency.
    pub(super) units: Vec<UnitReport>,
    /// By stem, of what was stored.
    pub(super) actions: HashMap<String, Vec<Action>>,
    /// What Cargo says when it has not built at all.
    pub(super) error: Option<String>,
    /// What sessions have to tell.
    pub(super) tell: Vec<String>,
    /// Sessions that did not end in time: what they store is not known.
    pub(super) at_work: usize,
}

/// Variables that would change what a stand-in's units are built with.
fn is_in_the_way(name: &str) -> bool {
    name.starts_with("CARGO_PROFILE_") || matches!(name, "CARGO_BUILD_TARGET" | "RUSTFLAGS")
}

impl Call<'_> {
    pub(super) fn run(&self) -> Result<Built, Refusal> {
        fs::create_dir_all(&self.reports)?;
        let mut child = self.command().spawn().map_err(|error| {
            Refusal::wrong(format!("cannot start `{}`: {error}", self.toolchain.cargo.display()))
        })?;
        let stderr = child.stderr.take();
        let words = std::thread::spawn(move || stderr.map(pass_on).unwrap_or_default());
        let mut built = Built::default();
        let finished = child.stdout.take().is_some_and(|stdout| built.read(stdout));
        let said = words.join().unwrap_or_default();
        child.wait()?;
        if !finished {
            built.error = Some(said);
        }
        let (reports, at_work) = collect(&self.reports, self.sessions_limit)?;
        built.at_work = at_work;
        built.tell = render::tell_once(&reports);
        for unit in reports.into_iter().flat_map(|report| report.units) {
            if unit.package != standin::NAME && !built.units.contains(&unit) {
                self.keep_action(&unit, &mut built);
                built.units.push(unit);
            }
        }
        Ok(built)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.toolchain.cargo);
        command
            .args(&self.words)
            .args(["--keep-going", "--message-format", "json"])
            .arg("--manifest-path")
            .arg(&self.manifest)
            .arg("--target-dir")
            .arg(&self.target)
            .current_dir(self.cwd)
            .env(WRAPPER_VARIABLES[0], &self.env.executable)
            .env(FOLDER_VARIABLE, &self.reports)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(rustc) = &self.toolchain.rustc {
            command.env("RUSTC", rustc);
        }
        if let Some(rustflags) = self.rustflags {
            // Over all other places where flags may be.
            command.env("CARGO_ENCODED_RUSTFLAGS", rustflags.join("\u{1f}"));
            for name in self.env.variables.keys() {
                if name.to_str().is_some_and(is_in_the_way) {
                    command.env_remove(name);
                }
            }
        }
        command
    }

    /// What a unit that was stored is made of, as its session has kept it.
    fn keep_action(&self, unit: &UnitReport, built: &mut Built) {
        let Some(hex) = unit.key.as_deref().and_then(|key| key.strip_prefix("blake3:")) else {
            return;
        };
        let path = self.manifests.join(&unit.crate_name).join(format!("{hex}.json"));
        let manifest = fs::read(path).ok();
        let manifest = manifest.and_then(|text| serde_json::from_slice::<Manifest>(&text).ok());
        if let Some(Manifest { action, .. }) = manifest {
            built.actions.entry(wants::stem(&action)).or_default().push(action);
        }
    }
}

impl Built {
    /// What another call has built into the same target folder.
    pub(super) fn add(&mut self, other: Self) {
        self.stems.extend(other.stems);
        self.units.extend(other.units);
        for (stem, actions) in other.actions {
            self.actions.entry(stem).or_default().extend(actions);
        }
        self.error = self.error.take().or(other.error);
        self.tell.extend(other.tell);
        self.at_work += other.at_work;
    }

    /// Reads Cargo's messages; whether it came as far as building.
    fn read(&mut self, stdout: impl Read) -> bool {
        let mut finished = false;
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let Ok(message) = serde_json::from_str::<Value>(&line) else { continue };
            match message["reason"].as_str() {
                Some("build-finished") => finished = true,
                Some("compiler-artifact") => {
                    let name = message["target"]["name"].as_str().unwrap_or_default();
                    let files = message["filenames"].as_array().into_iter().flatten();
                    let files = files.filter_map(Value::as_str);
                    self.stems.extend(files.filter_map(|file| stem(Path::new(file), name)));
                }
                _ => {}
            }
        }
        finished
    }
}

/// The stem of an output: of its own name, or, for a build script, which is linked to a name
/// without a hash, of its folder's.
fn stem(file: &Path, target: &str) -> Option<String> {
    let name = file.file_name()?.to_str()?;
    if target.starts_with("build-script-") {
        let folder = file.parent()?.file_name()?.to_str()?;
        let (_, hash) = folder.rsplit_once('-')?;
        return Some(format!("{}-{hash}", target.replace('-', "_")));
    }
    wants::stem_of_file(name)
}

/// Passes Cargo's words on, but for what it says of the stand-in; gives what it says last.
fn pass_on(stderr: impl Read) -> String {
    let mut last: Vec<String> = Vec::new();
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        let is_ours = line.contains(standin::NAME) || line.contains("waiting for other jobs");
        if !is_ours {
            tell(&format!("{line}\n"));
        }
        if line.starts_with("error") || !last.is_empty() {
            last.push(line);
            last.truncate(MAX_ERROR_LINES);
        }
    }
    last.join("\n")
}

/// What `cargo metadata` says of the workspace of `manifest`.
pub(super) fn metadata(
    toolchain: &Toolchain,
    manifest: &Path,
    offline: bool,
) -> Result<Value, Refusal> {
    let mut command = Command::new(&toolchain.cargo);
    command.args(["metadata", "--format-version", "1", "--locked", "--manifest-path"]);
    command.arg(manifest).current_dir(manifest.parent().unwrap_or(manifest));
    if offline {
        command.arg("--offline");
    }
    if let Some(rustc) = &toolchain.rustc {
        command.env("RUSTC", rustc);
    }
    let output = command.stdin(Stdio::null()).output()?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        return Err(Refusal::wrong(format!("{}: {}", manifest.display(), why.trim())));
    }
    serde_json::from_slice(&output.stdout)
        .map_err(|error| Refusal::wrong(format!("cargo metadata: {error}")))
}

/// The names of the packages that `metadata` has from folders.
pub(super) fn own_packages(metadata: &Value) -> HashSet<String> {
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let own = packages.filter(|package| package["source"].is_null());
    own.filter_map(|package| Some(package["name"].as_str()?.to_owned())).collect()
}

/// Where a stand-in is, by its number.
pub(super) fn place(folder: &Path, number: usize) -> PathBuf {
    folder.join(format!("stand-in-{number}"))
}
