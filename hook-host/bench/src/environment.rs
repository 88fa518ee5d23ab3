//! What measured builds see of the person's environment: next to nothing.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use fs_err as fs;
use serde::Serialize;

use crate::error::Error;

/// Last lines of a failed command that are shown.
const SHOWN_LINES: usize = 20;

/// Variables that builds are given.
pub(crate) struct Environment {
    /// The person's, behind the folder of this program, where the others of the project are.
    path: OsString,
    rustup_home: PathBuf,
    toolchain: Option<OsString>,
    /// The person's, for what it has downloaded.
    pub(crate) cargo_home: PathBuf,
}

/// What the figures depend on.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Machine {
    pub(crate) os: &'static str,
    pub(crate) arch: &'static str,
    pub(crate) processors: usize,
    pub(crate) rustc: String,
    pub(crate) cargo: String,
    /// Of the last minute, when measuring ended; absent where it is not known.
    pub(crate) load: Option<String>,
}

impl Environment {
    /// From the variables that `read` gives.
    pub(crate) fn new(
        read: &dyn Fn(&str) -> Option<OsString>,
        own_program: io::Result<PathBuf>,
    ) -> Result<Self, Error> {
        let home = |variable: &'static str, folder: &str| {
            let below_home = || Some(Path::new(&read("HOME")?).join(folder));
            read(variable).map(PathBuf::from).or_else(below_home).ok_or(Error::NoHome(variable))
        };
        let own_folder = own_program?.parent().map(Path::to_owned).unwrap_or_default();
        let person_path = read("PATH").unwrap_or_default();
        let folders = std::iter::once(own_folder).chain(std::env::split_paths(&person_path));
        Ok(Self {
            path: std::env::join_paths(folders).unwrap_or(person_path),
            rustup_home: home("RUSTUP_HOME", ".rustup")?,
            toolchain: read("RUSTUP_TOOLCHAIN"),
            cargo_home: home("CARGO_HOME", ".cargo")?,
        })
    }

    /// A command with nothing but PATH and the toolchain's whereabouts.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear();
        command.env("PATH", &self.path).env("RUSTUP_HOME", &self.rustup_home);
        if let Some(toolchain) = &self.toolchain {
            command.env("RUSTUP_TOOLCHAIN", toolchain);
        }
        command.stdin(Stdio::null());
        command
    }

    /// Where `program` is: beside this one, or on PATH.
    pub(crate) fn find(&self, program: &str) -> Option<PathBuf> {
        let name = format!("{program}{}", std::env::consts::EXE_SUFFIX);
        std::env::split_paths(&self.path).map(|dir| dir.join(&name)).find(|path| path.is_file())
    }

    /// What there is to know of this machine.
    pub(crate) fn machine(&self) -> Result<Machine, Error> {
        let version = |program| -> Result<String, Error> {
            Ok(output(self.command(program).arg("--version"))?.trim().to_owned())
        };
        let load = fs::read_to_string("/proc/loadavg").ok();
        Ok(Machine {
            os: std::env::consts::OS,
            arch: std::env::consts::ARCH,
            processors: thread::available_parallelism()?.get(),
            rustc: version("rustc")?,
            cargo: version("cargo")?,
            load: load.and_then(|text| Some(text.split_whitespace().next()?.to_owned())),
        })
    }
}

/// Runs `command` to its end and gives what it wrote on standard output.
pub(crate) fn output(command: &mut Command) -> Result<String, Error> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = text.lines().collect();
    Err(Error::Command {
        command: format!("{command:?}"),
        status: output.status.to_string(),
        said: lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n"),
    })
}
