//! The folders that buildhook writes to.

use std::io;
use std::path::Path;

use fs_err as fs;

use super::Check;
use crate::config::{Config, Hooks};
use crate::report::render::Bytes;

/// With less free space than this, a build may fill the disk. 1 GB: a debug build of a
/// middle-sized project.
const LITTLE_BYTES: u64 = 1_000_000_000;

/// Checks of the cache folder and of the store.
pub(super) fn checks(config: &Config) -> Vec<Check> {
    let mut checks = vec![writable("cache folder", &config.folders.host())];
    if let Hooks::Embedded { dir, .. } = &config.hooks {
        checks.push(writable("store", &dir.value));
        checks.extend(space(&dir.value));
        checks.extend(reflinks(&dir.value));
    }
    checks
}

fn writable(name: &'static str, dir: &Path) -> Check {
    match probe(dir, |_| Ok(())) {
        Ok(()) => Check::ok(name, format!("{} can be written to", dir.display())),
        Err(error) => Check::wrong(name, format!("nothing is kept: {error}")),
    }
}

fn space(dir: &Path) -> Option<Check> {
    const NAME: &str = "free space";
    #[cfg(unix)]
    {
        let file_system = rustix::fs::statvfs(dir).ok()?;
        let free = Bytes(file_system.f_bavail.saturating_mul(file_system.f_frsize));
        Some(if free.0 < LITTLE_BYTES {
            Check::note(NAME, format!("{free} only; remove something, or set store.max-size lower"))
        } else {
            Check::ok(NAME, format!("{free}"))
        })
    }
    #[cfg(not(unix))]
    {
        let _ = (dir, LITTLE_BYTES, NAME);
        None
    }
}

/// Whether restoring can share blocks with the store instead of copying.
fn reflinks(dir: &Path) -> Option<Check> {
    const NAME: &str = "reflinks";
    #[cfg(target_os = "linux")]
    {
        let cloned = probe(dir, |path| {
            let from = fs::File::open(path)?;
            let to_path = path.with_extension("clone");
            let to = fs::File::create(&to_path)?;
            let cloned = rustix::fs::ioctl_ficlone(to.file(), from.file());
            fs::remove_file(&to_path)?;
            Ok(cloned.is_ok())
        });
        Some(match cloned.ok()? {
            true => Check::ok(NAME, "files restored share their blocks with the store"),
            false => Check::ok(NAME, "not on this file system; files are copied"),
        })
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = dir;
        None
    }
}

/// Lets `look` at a small new file in `dir`, and removes it again.
fn probe<T>(dir: &Path, look: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    fs::create_dir_all(dir)?;
    let path = dir.join(format!("doctor-{}.tmp", std::process::id()));
    let result = fs::write(&path, [0; 4096]).and_then(|()| look(&path));
    // After a failed write there may be nothing to remove.
    let removed = fs::remove_file(&path);
    let seen = result?;
    removed?;
    Ok(seen)
}
