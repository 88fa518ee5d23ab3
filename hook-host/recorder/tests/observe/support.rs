//! A folder to work in, fixtures to run in it, and questions to ask of what was
//! observed.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use buildhook_recorder::{
    Event, Observation, Op, Outcome, environment, install, read as read_logs,
};
use fs_err as fs;
use tempfile::TempDir;

/// Variables of a person's that change what a compiler does.
const NEUTRALISED: [&str; 12] = [
    "BUILDHOOK_RECORD_DIR",
    "COMPILER_PATH",
    "CPATH",
    "GCC_EXEC_PREFIX",
    "LD_PRELOAD",
    "LD_RUN_PATH",
    "LIBRARY_PATH",
    "RUSTC",
    "RUSTC_BOOTSTRAP",
    "RUSTC_WRAPPER",
    "RUSTFLAGS",
    "RUSTUP_TOOLCHAIN",
];

pub(crate) struct Bench {
    folder: TempDir,
    pub(crate) library: PathBuf,
    observations: AtomicU32,
}

pub(crate) fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    for name in NEUTRALISED {
        command.env_remove(name);
    }
    command
}

impl Bench {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let library = install(&folder.path().join("library")).unwrap();
        Self { folder, library, observations: AtomicU32::new(0) }
    }

    /// The working folder of everything that runs here, links resolved.
    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().canonicalize().unwrap()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// Compiles C to `name`, unobserved.
    pub(crate) fn compile_c(&self, name: &str, source: &str, arguments: &[&str]) -> PathBuf {
        let source = self.write(&format!("{name}.c"), source);
        let output = self.path(name);
        run(command("cc")
            .args(["-std=gnu11", "-Wall", "-o"])
            .arg(&output)
            .arg(source)
            .args(arguments)
            .current_dir(self.root()));
        output
    }

    /// Compiles Rust with these arguments, unobserved.
    pub(crate) fn rustc(&self, arguments: &[&str]) {
        run(command("rustc").args(arguments).current_dir(self.root()));
    }

    /// Has the command write its logs into a new folder, which is returned.
    pub(crate) fn prepare(&self, command: &mut Command) -> PathBuf {
        let number = self.observations.fetch_add(1, Ordering::Relaxed);
        let logs = self.path(&format!("logs{number}"));
        fs::create_dir_all(&logs).unwrap();
        let own = command
            .get_envs()
            .find(|(name, _)| *name == "LD_PRELOAD")
            .and_then(|(_, value)| value.map(ToOwned::to_owned));
        let variables = environment(&self.library, &logs, own.as_deref()).unwrap();
        command.envs(variables).current_dir(self.root());
        logs
    }

    /// Runs a command that must succeed, and returns what it did.
    pub(crate) fn observe(&self, command: &mut Command) -> Observation {
        let logs = self.prepare(command);
        run(command);
        read_logs(&logs)
    }
}

pub(crate) fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

pub(crate) fn stdout(command: &mut Command) -> String {
    String::from_utf8(run(command).stdout).unwrap()
}

pub(crate) trait Ask {
    fn all(&self, op: Op, subject: impl AsRef<Path>) -> Vec<&Event>;
    fn has(&self, op: Op, outcome: Outcome, subject: impl AsRef<Path>) -> bool;
    fn executables(&self) -> Vec<String>;
    #[track_caller]
    fn assert_complete(&self);
    #[track_caller]
    fn assert_has(&self, op: Op, outcome: Outcome, subject: impl AsRef<Path>);
}

impl Ask for Observation {
    fn all(&self, op: Op, subject: impl AsRef<Path>) -> Vec<&Event> {
        let subject = subject.as_ref().as_os_str();
        self.events.iter().filter(|event| event.op == op && event.subject == subject).collect()
    }

    fn has(&self, op: Op, outcome: Outcome, subject: impl AsRef<Path>) -> bool {
        self.all(op, subject).iter().any(|event| event.outcome == outcome)
    }

    /// File names of all images, by time of start.
    fn executables(&self) -> Vec<String> {
        let name = |path: &Path| path.file_name().unwrap_or_default().to_str().unwrap().to_owned();
        self.processes.iter().map(|process| name(&process.executable)).collect()
    }

    fn assert_complete(&self) {
        assert!(self.is_complete(), "{:?}", self.unobservable);
    }

    fn assert_has(&self, op: Op, outcome: Outcome, subject: impl AsRef<Path>) {
        let subject = subject.as_ref();
        if !self.has(op, outcome, subject) {
            let same: Vec<_> = self
                .events
                .iter()
                .filter(|event| event.op == op || event.path().ends_with(subject))
                .map(|event| (event.op, event.outcome, &event.subject))
                .collect();
            panic!("no {op:?} {outcome:?} {subject:?} among {same:#?}");
        }
    }
}
