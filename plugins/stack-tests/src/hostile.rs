//! The scene of an attack: a folder that may be read, one that may be written, and a secret
//! beside them.

use std::ffi::OsString;

use serde_json::Value;

use crate::wasm::{folder, guest, without_openat2};
use crate::{Setup, program, session};

/// What a sandboxed plugin may take in most of these tests, in milliseconds: longer than any
/// of them needs on a slow machine.
pub const PATIENT: &str = "time-ms = 30000\n";

/// The folders, and the plugin that attacks.
pub struct Scene {
    /// Files and requests.
    pub setup: Setup,
}

impl Scene {
    /// A fresh one.
    ///
    /// # Panics
    /// The system has no room for temporary files.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it makes folders")]
    pub fn new() -> Self {
        let setup = Setup::new();
        for name in ["read", "write", "secret"] {
            fs_err::create_dir(setup.path(name)).expect("a fresh folder");
        }
        fs_err::write(setup.path("secret/file"), "secret").expect("a fresh file");
        fs_err::write(setup.path("read/file"), "read").expect("a fresh file");
        Self { setup }
    }

    /// The policy that grants `/read` and `/write`.
    #[must_use]
    pub fn policy(&self) -> String {
        let folder = |name: &str| folder(&self.setup.path(name), &format!("/{name}"), name);
        format!("{PATIENT}{}{}", folder("read"), folder("write"))
    }

    /// A path of this machine, as text.
    ///
    /// # Panics
    /// It is not Unicode.
    #[must_use]
    pub fn host(&self, name: &str) -> String {
        self.setup.path(name).to_str().expect("Unicode").to_owned()
    }

    /// The command of the hostile plugin in the sandbox.
    #[must_use]
    pub fn sandboxed(&self, policy: &str, arguments: &[&str]) -> Vec<OsString> {
        self.setup.sandboxed(policy, &guest("wasm-hostile"), arguments)
    }

    /// What came of an attack in the sandbox, on this kernel.
    #[must_use]
    pub fn attack(&self, policy: &str, arguments: &[&str]) -> String {
        self.outcome(&self.sandboxed(policy, arguments))
    }

    /// Makes an attack in the sandbox, on a kernel with `openat2` and on one without: both say
    /// what is expected.
    ///
    /// # Panics
    /// One does not.
    pub fn assert_says(&self, policy: &str, arguments: &[&str], expected: &str) {
        for command in both_kernels(self.sandboxed(policy, arguments)) {
            let outcome = self.outcome(&command);
            assert!(outcome.contains(expected), "{command:?}: {outcome}");
        }
    }

    /// What comes of it where there is no sandbox.
    #[must_use]
    pub fn natively(&self, arguments: &[&str]) -> String {
        let mut command = vec![program("wasm-hostile").into_os_string()];
        command.extend(arguments.iter().map(OsString::from));
        self.outcome(&command)
    }

    /// What `command` says of its attack.
    #[must_use]
    pub fn outcome(&self, command: &[OsString]) -> String {
        message(&session(command).ask(self.setup.fixture.want("k")))
    }

    /// Makes a FIFO.
    ///
    /// # Panics
    /// The name is taken.
    pub fn fifo(&self, name: &str) {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        mknodat(CWD, self.setup.path(name), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)
            .expect("a fresh name");
    }
}

/// `command` as it is, and where there is no `openat2`.
#[must_use]
pub fn both_kernels(command: Vec<OsString>) -> [Vec<OsString>; 2] {
    let without = [&[without_openat2().into()], &command[..]].concat();
    [command, without]
}

/// The reason of a miss, in words.
///
/// # Panics
/// It is no miss.
#[must_use]
pub fn message(answer: &Value) -> String {
    assert_eq!(answer["kind"], "miss", "{answer}");
    answer["reason"]["message"].as_str().unwrap_or_default().to_owned()
}
