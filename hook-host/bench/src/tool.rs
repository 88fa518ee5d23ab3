//! The tools that are measured, and how each is started.

use std::path::{Path, PathBuf};
use std::process;

use crate::environment::{Environment, output};
use crate::error::Error;
use crate::project::Project;

/// What can be measured, in the order of tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Tool {
    /// Cargo with no wrapper.
    Plain,
    /// Copies recorded outputs: the lower bound of a wrapper that is called for each unit.
    Oracle,
    /// This project, as a wrapper.
    Buildhook,
    /// This project, by `buildhook run`.
    BuildhookRun,
    /// This project, with the plugin of `--hook`.
    BuildhookHook,
    /// mozilla's sccache, with a server.
    Sccache,
    /// kache, with a daemon.
    Kache,
    /// mr-boxington, in place of Cargo.
    Mbx,
}

/// What Cargo, or who stands in for it, is told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Command {
    /// Compile and link.
    Build,
    /// Only look for errors.
    Check,
}

impl Command {
    /// As Cargo calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Check => "check",
        }
    }
}

/// What is measured.
#[derive(Clone, Copy)]
pub(crate) struct Task<'a> {
    pub(crate) command: Command,
    /// The Cargo profile.
    pub(crate) profile: &'a str,
    /// The plugin of [`Tool::BuildhookHook`], a command line in which `{dir}` is its folder.
    pub(crate) hook: &'a str,
}

/// A tool that is there.
pub(crate) struct Candidate {
    pub(crate) tool: Tool,
    program: PathBuf,
    pub(crate) version: String,
}

impl Tool {
    const ALL: [Self; 8] = [
        Self::Plain,
        Self::Oracle,
        Self::Buildhook,
        Self::BuildhookRun,
        Self::BuildhookHook,
        Self::Sccache,
        Self::Kache,
        Self::Mbx,
    ];

    /// As on the command line and in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Oracle => "oracle",
            Self::Buildhook => "buildhook",
            Self::BuildhookRun => "buildhook-run",
            Self::BuildhookHook => "buildhook-hook",
            Self::Sccache => "sccache",
            Self::Kache => "kache",
            Self::Mbx => "mbx",
        }
    }

    fn program(self) -> &'static str {
        match self {
            Self::Plain => "cargo",
            Self::Oracle => "buildhook-bench-oracle",
            Self::Buildhook | Self::BuildhookRun | Self::BuildhookHook => "buildhook",
            Self::Sccache => "sccache",
            Self::Kache => "kache",
            Self::Mbx => "mbx",
        }
    }
}

impl Candidate {
    /// The tools of `wanted`, or all that are there when it is empty.
    pub(crate) fn find(environment: &Environment, wanted: &[Tool]) -> Result<Vec<Self>, Error> {
        let mut found = Vec::new();
        let mut all = if wanted.is_empty() { Tool::ALL.to_vec() } else { wanted.to_vec() };
        all.sort();
        all.dedup();
        for tool in all {
            match environment.find(tool.program()) {
                Some(program) => {
                    let version = version(environment, tool, &program)?;
                    found.push(Self { tool, program, version });
                }
                None if wanted.is_empty() => {
                    eprintln!("{} is not on PATH and not measured", tool.name());
                }
                None => return Err(Error::NotFound(tool.program().to_owned())),
            }
        }
        Ok(found)
    }

    /// Where the tool keeps everything.
    pub(crate) fn home(&self, project: &Project) -> PathBuf {
        project.work.join("tools").join(self.tool.name())
    }

    /// Where the oracle notes calls that it has to leave to the compiler in a replay.
    pub(crate) fn unknown_calls(&self, project: &Project) -> PathBuf {
        self.home(project).join("cache/unknown-calls")
    }

    /// Starts a server where the tool has one.
    pub(crate) fn start(&self, environment: &Environment, project: &Project) -> Result<(), Error> {
        match self.tool {
            Tool::Sccache => self.control(environment, project, &["--start-server"]),
            Tool::Kache => self.control(environment, project, &["daemon", "start"]),
            _ => Ok(()),
        }
    }

    /// Ends what [`Candidate::start`] has started.
    pub(crate) fn stop(&self, environment: &Environment, project: &Project) -> Result<(), Error> {
        match self.tool {
            Tool::Sccache => self.control(environment, project, &["--stop-server"]),
            Tool::Kache => self.control(environment, project, &["daemon", "stop"]),
            _ => Ok(()),
        }
    }

    fn control(
        &self,
        environment: &Environment,
        project: &Project,
        args: &[&str],
    ) -> Result<(), Error> {
        let mut command = environment.command(&self.program);
        self.set_up(&mut command, project);
        output(command.args(args)).map(drop)
    }

    /// The command that builds in `folder`; `recording` is for the oracle.
    pub(crate) fn build(
        &self,
        environment: &Environment,
        project: &Project,
        folder: &Path,
        task: Task<'_>,
        recording: bool,
    ) -> process::Command {
        let mut command = match self.tool {
            Tool::Mbx => environment.command(&self.program),
            Tool::BuildhookRun => {
                let mut command = environment.command(&self.program);
                command.args(["run", "--", "cargo"]);
                command
            }
            _ => environment.command("cargo"),
        };
        command
            .args([task.command.name(), "--offline", "--profile", task.profile])
            .current_dir(folder);
        self.set_up(&mut command, project);
        if !matches!(self.tool, Tool::Plain | Tool::BuildhookRun | Tool::Mbx) {
            command.env("RUSTC_WRAPPER", &self.program);
        }
        if self.tool == Tool::BuildhookHook {
            let dir = self.home(project).join("store");
            command.env("BUILDHOOK_HOOK", task.hook.replace("{dir}", &dir.to_string_lossy()));
        }
        if self.tool == Tool::Oracle {
            command.env("BUILDHOOK_BENCH_STORE", self.home(project).join("cache"));
            command.env("BUILDHOOK_BENCH_ROOT", folder);
            if recording {
                command.env("BUILDHOOK_BENCH_RECORD", "1");
            }
        }
        command
    }

    /// Variables that keep the tool's files in its own home.
    fn set_up(&self, command: &mut process::Command, project: &Project) {
        let home = self.home(project);
        command.env("HOME", &home).env("CARGO_HOME", &project.cargo_home);
        let cache = home.join("cache");
        match self.tool {
            Tool::Plain | Tool::Oracle => {}
            Tool::Buildhook | Tool::BuildhookRun | Tool::BuildhookHook => {
                command.env("BUILDHOOK_CACHE_DIR", cache);
            }
            Tool::Sccache => {
                command.env("SCCACHE_DIR", cache).env("SCCACHE_SERVER_UDS", home.join("socket"));
            }
            Tool::Kache => {
                command.env("KACHE_CACHE_DIR", cache).env("KACHE_RUNTIME_DIR", home.join("run"));
            }
            Tool::Mbx => {
                command.env("MBX_CACHE_DIR", cache);
            }
        }
    }
}

fn version(environment: &Environment, tool: Tool, program: &Path) -> Result<String, Error> {
    if tool == Tool::Oracle {
        return Ok(env!("CARGO_PKG_VERSION").to_owned());
    }
    let said = output(environment.command(program).arg("--version"))?;
    let version =
        said.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    Ok(version.unwrap_or(said.trim()).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    #[test]
    fn names_are_those_of_the_command_line() {
        for tool in Tool::ALL {
            assert_eq!(Tool::from_str(tool.name(), false), Ok(tool));
        }
        assert_eq!(Tool::value_variants().len(), Tool::ALL.len());
    }
}
