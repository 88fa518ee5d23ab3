//! One cargo command and what can be seen of its result: success, diagnostics,
//! what the programs print, files. Two of these are compared to tell a right
//! result from a wrong one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::case::Look;
use super::process::{self, Output};
use super::sandbox::{ARGUMENT_SEPARATOR, Sandbox};

/// A tiny workspace builds in a second; a minute is a hang, also on a busy machine.
pub(super) const BUILD_LIMIT: Duration = Duration::from_secs(120);
/// The programs print one line.
pub(super) const RUN_LIMIT: Duration = Duration::from_secs(20);

/// What a build did, in a form that can be compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Observed {
    pub(super) success: bool,
    /// Rendered, sorted: Cargo prints them in the order units end.
    pub(super) diagnostics: Vec<String>,
    /// Program, and its exit code and output.
    pub(super) programs: BTreeMap<String, String>,
    pub(super) files: BTreeSet<String>,
    pub(super) shell: String,
    pub(super) stderr: String,
}

/// The units of a build.
#[derive(Clone, Debug, Default)]
pub(super) struct Units {
    /// Crates that Cargo said were not fresh.
    pub(super) built: BTreeSet<String>,
    /// Crates that the real compiler compiled.
    pub(super) compiled: BTreeSet<String>,
    /// Programs among the artifacts, by kind and name.
    pub(super) programs: BTreeMap<String, PathBuf>,
    pub(super) diagnostics: Vec<String>,
}

/// Reads Cargo's JSON messages.
pub(super) fn units(stdout: &str) -> Units {
    let mut units = Units::default();
    for line in stdout.lines() {
        let Ok(message) = serde_json::from_str::<Value>(line) else {
            // Other message formats print diagnostics as text.
            if !line.is_empty() {
                units.diagnostics.push(line.to_owned());
            }
            continue;
        };
        match message["reason"].as_str() {
            Some("compiler-message") => {
                if let Some(text) = message["message"]["rendered"].as_str() {
                    units.diagnostics.push(text.to_owned());
                }
            }
            Some("compiler-artifact") => {
                let target = &message["target"];
                let name = target["name"].as_str().unwrap_or_default();
                if message["fresh"] == Value::Bool(false) {
                    units.built.insert(name.replace('-', "_"));
                }
                if let Some(path) = message["executable"].as_str() {
                    let kind = target["kind"][0].as_str().unwrap_or_default();
                    let test = message["profile"]["test"] == Value::Bool(true);
                    let key = format!("{kind} {name}{}", if test { " (test)" } else { "" });
                    units.programs.insert(key, PathBuf::from(path));
                }
            }
            _ => {}
        }
    }
    units.diagnostics.sort();
    units
}

/// Names of crates compiled, from the part of the compiler's log after `offset`.
pub(super) fn compiled(sandbox: &Sandbox, offset: u64) -> io::Result<BTreeSet<String>> {
    let log = fs::read(sandbox.log_path()).or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => Ok(Vec::new()),
        _ => Err(error),
    })?;
    let tail = log.get(offset as usize..).unwrap_or_default();
    Ok(String::from_utf8_lossy(tail).lines().filter_map(compiled_crate).collect())
}

/// The crate of a logged call, if it compiles one: probes have no name or the
/// name `___`, a run for dep-info alone emits nothing else, and one with
/// `--print` only answers.
fn compiled_crate(line: &str) -> Option<String> {
    let arguments: Vec<&str> = line.split(ARGUMENT_SEPARATOR).collect();
    let values = |flag: &'static str| {
        arguments.iter().enumerate().filter_map({
            let arguments = &arguments;
            move |(i, argument)| match argument.strip_prefix(flag)? {
                "" => arguments.get(i + 1).copied(),
                rest => rest.strip_prefix('='),
            }
        })
    };
    let name = values("--crate-name").next()?;
    let emits_code =
        values("--emit").flat_map(|list| list.split(',')).any(|kind| !kind.starts_with("dep-info"));
    let asks = values("--print").next().is_some();
    (emits_code && !asks && name != "___").then(|| name.to_owned())
}

/// Looks at what a build left.
pub(super) fn observe(
    sandbox: &Sandbox,
    look: &Look,
    place: &Place<'_>,
    output: &Output,
    units: &Units,
) -> io::Result<Observed> {
    let mut observed = Observed {
        success: output.success(),
        diagnostics: units.diagnostics.clone(),
        ..Observed::default()
    };
    if look.stderr {
        observed.stderr = without_progress(&output.stderr);
    }
    if !output.success() {
        return Ok(observed);
    }
    if look.run {
        for (name, path) in &units.programs {
            let ran = run_program(sandbox, place, path)?;
            observed.programs.insert(name.clone(), ran);
        }
    }
    if !look.files.is_empty() {
        list(place.target, look.files, &mut observed.files)?;
    }
    if let Some(command) = look.sh {
        let mut shell = sandbox.command("sh", place.folder);
        shell.args(["-c", &sandbox.fill(command)]).env("TARGET", place.target);
        let ran = process::run(&mut shell, &sandbox.root.join("log"), "look", RUN_LIMIT)?;
        observed.shell = format!("{}{}", ran.stdout, ran.stderr);
    }
    Ok(observed)
}

/// Where a build takes place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) folder: &'a Path,
    pub(super) target: &'a Path,
    pub(super) env: &'a BTreeMap<String, String>,
}

fn run_program(sandbox: &Sandbox, place: &Place<'_>, path: &Path) -> io::Result<String> {
    let mut program = sandbox.command(path, place.folder);
    program.env("RUST_BACKTRACE", "0").envs(place.env);
    match process::run(&mut program, &sandbox.root.join("log"), "run", RUN_LIMIT) {
        Ok(ran) => {
            let stdout = without_times(&ran.stdout);
            Ok(format!("{:?}\n{stdout}{}", ran.code, ran.stderr))
        }
        Err(error) => Ok(format!("does not start: {}", error.kind())),
    }
}

/// Test programs end with the time they took.
fn without_times(stdout: &str) -> String {
    stdout
        .lines()
        .map(|line| line.split("; finished in ").next().unwrap_or(line))
        .map(|line| format!("{line}\n"))
        .collect()
}

/// Files below `folder` with one of the endings, save the incremental folder,
/// whose names are random.
fn list(folder: &Path, endings: &[&str], found: &mut BTreeSet<String>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        let metadata = fs::metadata(&path)?;
        if metadata.is_dir() {
            if entry.file_name() != "incremental" {
                list(&path, endings, found)?;
            }
        } else if endings.iter().any(|end| entry_ends(&path, end)) {
            // The folder's own name is enough: above it a cache may have its own
            // layout.
            let parts: Vec<_> = path.components().rev().take(2).collect();
            let name: PathBuf = parts.into_iter().rev().collect();
            let name = name.display();
            let executable = metadata.permissions().mode() & 0o100 != 0;
            found.insert(format!(
                "{name}{}{}",
                if executable { " executable" } else { "" },
                if metadata.len() == 0 { " empty" } else { "" },
            ));
        }
    }
    Ok(())
}

fn entry_ends(path: &Path, ending: &str) -> bool {
    path.as_os_str().as_encoded_bytes().ends_with(ending.as_bytes())
}

/// Cargo's progress is words aligned to the right of twelve columns.
fn without_progress(stderr: &str) -> String {
    stderr
        .lines()
        .filter(|line| {
            let word = line.get(..12).unwrap_or_default().trim_start();
            !(word.chars().next().is_some_and(char::is_uppercase)
                && line.as_bytes().get(12) == Some(&b' '))
        })
        .map(|line| format!("{line}\n"))
        .collect()
}

impl Observed {
    /// Applies `normal` to every text.
    pub(super) fn map(mut self, normal: &dyn Fn(&str) -> String) -> Self {
        for text in &mut self.diagnostics {
            *text = normal(text);
        }
        for text in self.programs.values_mut() {
            *text = normal(text);
        }
        self.shell = normal(&self.shell);
        self.stderr = normal(&self.stderr);
        self
    }

    /// What differs first between `self` and what was `expected`.
    pub(super) fn difference(&self, expected: &Self) -> Option<String> {
        let parts = [
            ("success", self.success.to_string(), expected.success.to_string()),
            ("diagnostics", self.diagnostics.join(""), expected.diagnostics.join("")),
            ("programs", format!("{:#?}", self.programs), format!("{:#?}", expected.programs)),
            ("files", format!("{:#?}", self.files), format!("{:#?}", expected.files)),
            ("output of tools", self.shell.clone(), expected.shell.clone()),
            ("stderr", self.stderr.clone(), expected.stderr.clone()),
        ];
        parts.into_iter().find(|(_, ours, theirs)| ours != theirs).map(|(what, ours, theirs)| {
            format!("{what}: {} instead of {}", brief(&ours), brief(&theirs))
        })
    }
}

/// Enough of a text to tell two apart by eye.
fn brief(text: &str) -> String {
    const LIMIT: usize = 300;
    let text = text.trim();
    match text.char_indices().nth(LIMIT) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}
