//! Runs a command where its disk is full, its store read-only, or root is
//! nobody, by way of Linux user namespaces. No privilege is needed.
//!
//! The suite starts itself with the subcommand `sandbox`, which changes its
//! surroundings and then becomes the command. Mounts end with the namespace.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use crate::command::this_program;
use crate::plugin::bench::text;

/// What is different inside.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
#[group(skip)]
pub(crate) struct Sandbox {
    /// A folder that becomes an empty file system of `--size-bytes`.
    #[arg(long)]
    pub(crate) small: Option<PathBuf>,
    /// Size of the `--small` file system.
    #[arg(long, default_value_t = 1 << 20)]
    pub(crate) size_bytes: u64,
    /// A folder that becomes read-only.
    #[arg(long)]
    pub(crate) read_only: Option<PathBuf>,
    /// Takes root's right to ignore permissions away.
    #[arg(long)]
    pub(crate) unprivileged: bool,
}

static AVAILABLE: LazyLock<Result<(), String>> = LazyLock::new(|| {
    let mut probe = Command::new(this_program());
    probe.args(["sandbox", "--small", &text(&std::env::temp_dir()), "--", "true"]);
    match probe.stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Err(error.to_string()),
    }
});

impl Sandbox {
    /// The command line that runs `argv` inside.
    ///
    /// # Errors
    /// Why this machine has no sandbox.
    pub(crate) fn wrap(&self, argv: Vec<String>) -> Result<Vec<String>, String> {
        let why = |error: &String| format!("this machine has no user namespaces: {error}");
        AVAILABLE.as_ref().map_err(why)?;
        let mut words = vec![text(&this_program()), "sandbox".to_owned()];
        if let Some(folder) = &self.small {
            words.extend(["--small".to_owned(), text(folder)]);
            words.extend(["--size-bytes".to_owned(), self.size_bytes.to_string()]);
        }
        if let Some(folder) = &self.read_only {
            words.extend(["--read-only".to_owned(), text(folder)]);
        }
        if self.unprivileged {
            words.push("--unprivileged".to_owned());
        }
        words.push("--".to_owned());
        words.extend(argv);
        Ok(words)
    }

    /// Becomes `argv` inside. Returns only when that fails, with the reason.
    /// The process must have one thread.
    #[cfg(target_os = "linux")]
    pub(crate) fn enter(&self, argv: &[String]) -> String {
        use std::os::unix::process::CommandExt as _;
        match self.prepare() {
            Err(error) => error.to_string(),
            Ok(()) => Command::new(&argv[0]).args(&argv[1..]).exec().to_string(),
        }
    }

    /// There are no user namespaces here.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn enter(&self, _argv: &[String]) -> String {
        "user namespaces exist on Linux only".to_owned()
    }

    #[cfg(target_os = "linux")]
    fn prepare(&self) -> std::io::Result<()> {
        use nix::sched::{CloneFlags, unshare};
        use rustix::mount::{MountFlags, mount, mount_bind, mount_remount};
        use std::fs::write;

        let user = rustix::process::geteuid().as_raw();
        let group = rustix::process::getegid().as_raw();
        if self.unprivileged {
            // With no mapping nobody is root inside, and the next `exec` drops
            // every capability.
            return unshare(CloneFlags::CLONE_NEWUSER).map_err(Into::into);
        }
        unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)?;
        write("/proc/self/setgroups", "deny")?;
        write("/proc/self/uid_map", format!("{user} {user} 1"))?;
        write("/proc/self/gid_map", format!("{group} {group} 1"))?;
        if let Some(folder) = &self.small {
            let size = std::ffi::CString::new(format!("size={}", self.size_bytes))?;
            mount("tmpfs", folder, "tmpfs", MountFlags::empty(), size.as_c_str())?;
        }
        if let Some(folder) = &self.read_only {
            mount_bind(folder, folder)?;
            mount_remount(folder, MountFlags::BIND | MountFlags::RDONLY, "")?;
        }
        Ok(())
    }
}
