//! What the process gives up before the guest begins: limits of the kernel's, which hold also
//! when wasmtime does not.
//!
//! Landlock is used where the kernel has it (Linux 5.13 and later): then even a way out of
//! wasmtime's folders ends at the folders that were granted, and nothing connects to a
//! network. Elsewhere the rest has to do.

use nix::sys::signal::{SigSet, Signal};
use rustix::process::{Resource, Rlimit, setrlimit};

use super::spec::Spec;

/// Descriptors: the granted folders, and what a plugin may reasonably have open.
const MAX_OPEN_FILES: u64 = 128;
/// What the process itself needs beside the guest's memory: code, stacks, buffers, a line of
/// 16 MiB on its way.
const OWN_MEMORY_BYTES: u64 = 192 << 20;

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
    landlock(spec).map_err(|error| format!("Landlock: {error}"))?;
    Ok(())
}

#[cfg(target_os = "linux")]
fn landlock(spec: &Spec) -> Result<(), landlock::RulesetError> {
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
    for folder in &spec.folders {
        // A folder that has gone since is refused when it is opened for the guest.
        if let Ok(fd) = PathFd::new(&folder.host) {
            let rights = if folder.writable { write } else { read };
            ruleset = ruleset.add_rule(PathBeneath::new(fd, rights))?;
        }
    }
    ruleset.restrict_self()?;
    Ok(())
}
