//! The one place that knows the operating system: what a file is, modes, reflinks.

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use fs_err::File;

/// When every blob claims to have been written, in seconds after 1970: 2001-09-09 01:46:40
/// UTC, a number that any file system can hold and that no program arrives at by chance.
const PUBLISHED_S: u64 = 1_000_000_000;

/// The modification time of every blob that this store has made and nobody has written to
/// since.
pub(crate) fn published() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(PUBLISHED_S)
}

/// What one look at a path tells, symbolic links not followed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    pub(crate) is_file: bool,
    pub(crate) size: u64,
    /// Content or data were last changed.
    pub(crate) modified: SystemTime,
    /// Anything about the file was last changed: written, linked, touched. `None` where the
    /// system does not say.
    pub(crate) changed: Option<SystemTime>,
    /// Whether the owner may execute it; `None` where there is no such thing.
    pub(crate) executable: Option<bool>,
    /// Whether anybody may write to it.
    pub(crate) writable: bool,
    /// Names that the file has.
    pub(crate) links: u64,
}

impl Facts {
    /// Nobody has written to the blob since it was verified and published.
    pub(crate) fn is_pristine(&self) -> bool {
        self.modified == published()
    }
}

/// Looks at `path`.
pub(crate) fn look(path: &Path) -> io::Result<Facts> {
    facts(&fs_err::symlink_metadata(path)?)
}

#[cfg(unix)]
fn facts(meta: &std::fs::Metadata) -> io::Result<Facts> {
    use std::os::unix::fs::MetadataExt as _;
    let ctime = Duration::new(
        u64::try_from(meta.ctime()).unwrap_or(0),
        u32::try_from(meta.ctime_nsec()).unwrap_or(0),
    );
    Ok(Facts {
        is_file: meta.is_file(),
        size: meta.len(),
        modified: meta.modified()?,
        changed: SystemTime::UNIX_EPOCH.checked_add(ctime),
        executable: Some(meta.mode() & 0o100 != 0),
        writable: meta.mode() & 0o222 != 0,
        links: meta.nlink(),
    })
}

#[cfg(not(unix))]
fn facts(meta: &std::fs::Metadata) -> io::Result<Facts> {
    Ok(Facts {
        is_file: meta.is_file(),
        size: meta.len(),
        modified: meta.modified()?,
        changed: None,
        executable: None,
        writable: !meta.permissions().readonly(),
        links: 1,
    })
}

/// Opens `path` for reading; a symbolic link is an error.
pub(crate) fn open_no_follow(path: &Path) -> io::Result<File> {
    let mut options = fs_err::OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use fs_err::os::unix::fs::OpenOptionsExt as _;
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        options.custom_flags(flags.bits() as i32);
    }
    options.open(path)
}

/// Makes a private, verified file what a blob is: read-only, with the time of a blob.
pub(crate) fn publishable(file: &File, executable: bool) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = if executable { 0o555 } else { 0o444 };
        file.set_permissions(std::fs::Permissions::from_mode(mode))?;
    }
    #[cfg(not(unix))]
    let _ = executable;
    mark_published(file)
}

/// Sets the time of a blob; thereby the time of the last change becomes now.
pub(crate) fn mark_published(file: &File) -> io::Result<()> {
    file.file().set_modified(published())
}

/// What came of an attempt to share content between files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(
    not(any(target_os = "linux", target_os = "android")),
    expect(dead_code, reason = "there only one of them happens")
)]
pub(crate) enum Reflink {
    /// The target has the source's content.
    Done,
    /// Not between these two, which lie on different file systems; the target is still empty.
    Elsewhere,
    /// Not on this file system or machine at all; the target is still empty.
    Unsupported,
}

/// Makes `target`, an empty file, share the content of `source`.
pub(crate) fn reflink(source: &File, target: &File) -> Reflink {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        match rustix::fs::ioctl_ficlone(target.file(), source.file()) {
            Ok(()) => Reflink::Done,
            Err(rustix::io::Errno::XDEV) => Reflink::Elsewhere,
            Err(_) => Reflink::Unsupported,
        }
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    {
        let _ = (source, target);
        Reflink::Unsupported
    }
}
