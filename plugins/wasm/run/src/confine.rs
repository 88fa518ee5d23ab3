//! What the process gives up before the guest begins: limits of the kernel's, which hold also
//! when wasmtime does not.
//!
//! Landlock is used where the kernel has it (Linux 5.13 and later): then even a way out of
//! wasmtime's folders ends at the folders that were granted, and nothing connects to a
//! network. Elsewhere the rest has to do. It holds for the thread that asks for it and those
//! that come from it: no other thread is started before.

use buildhook_wasm_engine::{Folder, Spec};
use nix::sys::signal::{SigSet, Signal};
use rustix::process::{Resource, Rlimit, setrlimit};

/// Descriptors: the granted folders, and what a plugin may reasonably have open.
const MAX_OPEN_FILES: u64 = 128;
/// What the process itself needs beside the guest's memory: code, stacks, buffers, a line of
/// 16 MiB on its way.
const OWN_MEMORY_BYTES: u64 = 192 << 20;

/// Leaves the folder that the supervisor was started in, and ends this process with it, however
/// that ends: a guest may sleep when its supervisor is killed.
pub(super) fn leave() -> Result<(), String> {
    rustix::process::chdir("/").map_err(|error| format!("leaving the folder: {error}"))?;
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .map_err(|error| format!("being ended with the supervisor: {error}"))?;
    Ok(())
}

/// Confines this process for good.
///
/// # Errors
/// A limit cannot be set: nothing may run then.
pub(super) fn confine(spec: &Spec) -> Result<(), String> {
    let memory = spec.memory_bytes.saturating_add(OWN_MEMORY_BYTES);
    for (resource, limit) in [
        (Resource::Core, 0),
        (Resource::Nofile, MAX_OPEN_FILES),
        (Resource::Fsize, spec.max_file_bytes),
        // What may be written to; address space alone costs nothing, and wasmtime reserves it.
        (Resource::Data, memory),
    ] {
        // Never above what this process was started with.
        let maximum = rustix::process::getrlimit(resource).maximum;
        let limit = Some(maximum.map_or(limit, |maximum| maximum.min(limit)));
        setrlimit(resource, Rlimit { current: limit, maximum: limit })
            .map_err(|error| format!("setting a limit: {error}"))?;
    }
    // A file that would be too long is an error for the guest, not the end of this process.
    let mut too_long = SigSet::empty();
    too_long.add(Signal::SIGXFSZ);
    too_long.thread_block().map_err(|error| format!("blocking a signal: {error}"))?;
    #[cfg(target_os = "linux")]
    landlock(&spec.folders).map_err(|error| format!("Landlock: {error}"))?;
    Ok(())
}

#[cfg(target_os = "linux")]
fn landlock(folders: &[Folder]) -> Result<landlock::RulesetStatus, landlock::RulesetError> {
    use landlock::{
        ABI, Access as _, AccessFs, AccessNet, BitFlags, PathBeneath, PathFd, Ruleset,
        RulesetAttr as _, RulesetCreatedAttr as _,
    };

    // The newest whose rights are used here; an older kernel takes what it knows.
    let abi = ABI::V5;
    let read: BitFlags<AccessFs> = AccessFs::ReadFile | AccessFs::ReadDir;
    let write = read
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::MakeDir
        | AccessFs::RemoveFile
        | AccessFs::RemoveDir
        | AccessFs::Refer;
    let mut ruleset = Ruleset::default()
        .handle_access(AccessFs::from_all(abi))?
        .handle_access(AccessNet::from_all(abi))?
        .create()?;
    for folder in folders {
        // A folder that has gone since is refused when it is opened for the guest.
        if let Ok(fd) = PathFd::new(&folder.host) {
            let rights = if folder.writable { write } else { read };
            ruleset = ruleset.add_rule(PathBeneath::new(fd, rights))?;
        }
    }
    Ok(ruleset.restrict_self()?.ruleset)
}

/// Landlock alone: threads of this test stand for a guest that has got out of wasmtime.
#[cfg(target_os = "linux")]
#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::fs::{MetadataExt as _, symlink};
    use std::path::Path;

    use landlock::RulesetStatus;
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    /// What a process that nothing else holds back may try, by name.
    fn attacks(dir: &Path, port: u16) -> Vec<(&'static str, Result<(), Error>)> {
        let at = |name: &str| dir.join(name);
        let fifo =
            mknodat(CWD, at("write/fifo"), FileType::Fifo, Mode::RUSR, 0).map_err(Error::from);
        vec![
            ("read a secret", std::fs::read(at("secret/file")).map(drop)),
            ("list it", std::fs::read_dir(at("secret")).map(drop)),
            ("read by a link", std::fs::read(at("write/link")).map(drop)),
            (
                "read by /proc",
                std::fs::read(format!("/proc/self/root{}", at("secret/file").display())).map(drop),
            ),
            ("read the environment", std::fs::read("/proc/self/environ").map(drop)),
            ("write beside", std::fs::write(at("secret/new"), "")),
            ("write what may be read", std::fs::write(at("read/file"), "changed")),
            ("remove what may be read", std::fs::remove_file(at("read/other"))),
            ("move it", std::fs::rename(at("read/third"), at("write/third"))),
            ("give it a name", std::fs::hard_link(at("read/file"), at("write/name"))),
            ("make a link", symlink("/etc", at("write/new-link"))),
            ("make a FIFO", fifo),
            ("start a program", std::process::Command::new("/bin/true").status().map(drop)),
            ("connect", TcpStream::connect(("127.0.0.1", port)).map(drop)),
            ("listen", TcpListener::bind("127.0.0.1:0").map(drop)),
        ]
    }

    /// A fresh folder, attacked by a thread that has given up what `give_up` says.
    fn attacked(give_up: impl FnOnce(&Path) + Send) -> Vec<(&'static str, Result<(), Error>)> {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for folder in ["read", "write", "secret"] {
            fs_err::create_dir(at(folder)).unwrap();
        }
        for file in ["secret/file", "read/file", "read/other", "read/third"] {
            fs_err::write(at(file), "content").unwrap();
        }
        symlink("../secret/file", at("write/link")).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let attacker = || {
            give_up(dir.path());
            attacks(dir.path(), port)
        };
        std::thread::scope(|scope| scope.spawn(attacker).join().unwrap())
    }

    #[test]
    fn what_is_not_granted_stays_out_of_reach_when_wasmtime_does_not_hold() {
        let mut status = RulesetStatus::NotEnforced;
        let outcomes = attacked(|dir| {
            let folder = |name: &str, writable| Folder {
                host: dir.join(name),
                guest: format!("/{name}"),
                writable,
            };
            status = landlock(&[folder("read", false), folder("write", true)]).unwrap();
            // What is granted is there.
            assert_eq!(std::fs::read(dir.join("read/file")).unwrap(), b"content");
            std::fs::create_dir(dir.join("write/folder")).unwrap();
            std::fs::write(dir.join("write/folder/file"), "own").unwrap();
            std::fs::rename(dir.join("write/folder/file"), dir.join("write/file")).unwrap();
            assert_eq!(std::fs::metadata(dir.join("write/file")).unwrap().size(), 3);
        });
        if status == RulesetStatus::NotEnforced {
            assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "Landlock: absent");
            println!("not run: this kernel has no Landlock");
            return;
        }
        for (attack, outcome) in outcomes {
            let kind = outcome.expect_err(attack).kind();
            // Another folder counts as another file system.
            let expected = [ErrorKind::PermissionDenied, ErrorKind::CrossesDevices];
            assert!(expected.contains(&kind), "{attack}: {kind}");
        }
    }

    #[test]
    fn without_landlock_all_of_it_works() {
        for (attack, outcome) in attacked(|_| {}) {
            outcome.expect(attack);
        }
    }
}
