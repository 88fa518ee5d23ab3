//! What a guest answers, checked and turned into what the host may be told.
//!
//! A file is opened through its granted folder with no link followed; it must be a regular file with one name. Then
//! - one in the guest's scratch folder is *copied* into the host's, from the descriptor that
//!   was checked: the guest may still have the original open;
//! - one in a granted folder is offered where it is, as `borrowed`, whatever the guest says:
//!   the guest can write there, so nobody may link to it or use it in place. The host digests
//!   what it copies, so that a file changed after this look is found;
//! - one that was staged is the file that it was staged from.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use buildhook_protocol::Message;
use buildhook_sdk::Deadline;
use buildhook_sdk::files::unique_name;
use buildhook_wasm_engine::Folder;
use cap_fs_ext::{DirExt as _, FollowSymlinks, OpenOptionsFollowExt as _};
use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt as _};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use serde_json::Value;

use super::stage::{Stage, copy_open};
use crate::policy::{Output, SCRATCH, plain_segments};

/// What a guest has offered in one call.
#[derive(Debug, Default)]
pub(super) struct Spent {
    files: u64,
    bytes: u64,
}

/// The granted folders, open.
#[derive(Debug)]
pub(super) struct Offers {
    folders: Vec<Granted>,
    bounds: Output,
}

#[derive(Debug)]
struct Granted {
    host: PathBuf,
    guest: Vec<String>,
    dir: Dir,
    is_scratch: bool,
}

impl Offers {
    /// For the folders that a guest sees, with its scratch folder among them.
    pub(super) fn new(folders: &[Folder], bounds: Output) -> std::io::Result<Self> {
        let open = |folder: &Folder| {
            Ok(Granted {
                host: folder.host.clone(),
                guest: owned_segments(&folder.guest),
                dir: Dir::open_ambient_dir(&folder.host, ambient_authority())?,
                is_scratch: folder.guest == SCRATCH,
            })
        };
        let folders = folders.iter().map(open).collect::<std::io::Result<_>>()?;
        Ok(Self { folders, bounds })
    }

    /// Replaces the guest's paths in the list `files` of `message` by the host's. Copies are
    /// made in `scratch`. What is offered is added to `spent`.
    ///
    /// # Errors
    /// A file that may not be offered, or the deadline has passed; in words.
    pub(super) fn translate(
        &self,
        message: &mut Message,
        stage: &Stage,
        scratch: &Path,
        spent: &mut Spent,
        deadline: Deadline,
    ) -> Result<(), String> {
        let Some(Value::Array(records)) = message.members_mut().get_mut("files") else {
            return Ok(());
        };
        spent.files += records.len() as u64;
        if spent.files > self.bounds.files {
            return Err(format!("it named more than {} files", self.bounds.files));
        }
        for record in records {
            let size = record.get("size").and_then(Value::as_u64).unwrap_or(0);
            spent.bytes = spent.bytes.saturating_add(size);
            if size > self.bounds.file_size || spent.bytes > self.bounds.size {
                return Err("it named more bytes than it may".to_owned());
            }
            if deadline.has_passed() {
                return Err("it named more than can be looked at in time".to_owned());
            }
            let guest = record.get("path").and_then(Value::as_str).unwrap_or_default();
            let executable = record.get("executable").and_then(Value::as_bool).unwrap_or(false);
            let (path, lease) = match stage.origin(guest) {
                Some(origin) => origin.clone(),
                None => self.offer(guest, size, executable, scratch)?,
            };
            let Value::Object(members) = record else { continue };
            members.insert("path".to_owned(), path.into());
            members.insert("lease".to_owned(), lease.into());
        }
        Ok(())
    }

    /// The host's path of a file that the guest names, and its lease.
    fn offer(
        &self,
        guest: &str,
        size: u64,
        executable: bool,
        scratch: &Path,
    ) -> Result<(String, String), String> {
        let refused = |why: &str| format!("it named the file `{guest}`, {why}");
        let segments = plain_segments(guest).ok_or_else(|| refused("which is no plain path"))?;
        let (granted, rest) =
            self.find(&segments).ok_or_else(|| refused("which is in none of its folders"))?;
        let file = open_plain(&granted.dir, rest)
            .map_err(|error| refused(&format!("which cannot be opened without a link: {error}")))?;
        let meta = file.metadata().map_err(|error| refused(&error.to_string()))?;
        if !meta.is_file() {
            return Err(refused("which is not a regular file"));
        }
        if meta.nlink() != 1 {
            return Err(refused("which has several names"));
        }
        if meta.len() != size {
            return Err(refused("whose size is another one"));
        }
        let text = |path: &Path| {
            path.to_str().map(str::to_owned).ok_or_else(|| refused("which is not Unicode"))
        };
        if !granted.is_scratch {
            let path = rest.iter().fold(granted.host.clone(), |path, segment| path.join(segment));
            return Ok((text(&path)?, "borrowed".to_owned()));
        }
        let copy = scratch.join(unique_name());
        let mode = if executable { 0o755 } else { 0o644 };
        copy_open(&file, size, &copy, mode)
            .map_err(|error| refused(&format!("which cannot be copied: {error}")))?;
        Ok((text(&copy)?, "owned".to_owned()))
    }

    /// The folder of a path, the innermost if one lies in another, and the path in it.
    fn find<'a, 's>(&'a self, segments: &'a [&'s str]) -> Option<(&'a Granted, &'a [&'s str])> {
        let holds = |granted: &&Granted| {
            segments.len() > granted.guest.len()
                && granted.guest.iter().zip(segments).all(|(own, segment)| own == segment)
        };
        let granted = self.folders.iter().filter(holds).max_by_key(|g| g.guest.len())?;
        Some((granted, &segments[granted.guest.len()..]))
    }
}

fn owned_segments(path: &str) -> Vec<String> {
    plain_segments(path).unwrap_or_default().into_iter().map(str::to_owned).collect()
}

/// Opens a file below `dir` with no link followed at any segment, and without waiting for the
/// other end of a FIFO.
fn open_plain(dir: &Dir, segments: &[&str]) -> std::io::Result<File> {
    let flags = OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOFOLLOW;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let path: PathBuf = segments.iter().collect();
    match openat2(dir, path, flags, Mode::empty(), resolve) {
        // Linux before 5.6, or a sandbox around this one that does not know the call.
        Err(Errno::NOSYS | Errno::PERM) => open_segments(dir, segments),
        opened => Ok(opened?.into()),
    }
}

/// The same, one segment after the other.
fn open_segments(dir: &Dir, segments: &[&str]) -> std::io::Result<File> {
    let Some((name, folders)) = segments.split_last() else {
        return Err(std::io::ErrorKind::IsADirectory.into());
    };
    let mut inner: Option<Dir> = None;
    for folder in folders {
        inner = Some(inner.as_ref().unwrap_or(dir).open_dir_nofollow(folder)?);
    }
    let mut options = OpenOptions::new();
    options.read(true).follow(FollowSymlinks::No);
    options.custom_flags(OFlags::NONBLOCK.bits() as i32);
    Ok(inner.as_ref().unwrap_or(dir).open_with(name, &options)?.into_std())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offers(dir: &Path) -> Offers {
        let folder = |guest: &str, host: &str| Folder {
            host: dir.join(host),
            guest: guest.to_owned(),
            writable: true,
        };
        for host in ["store", "scratch", "host-scratch"] {
            fs_err::create_dir(dir.join(host)).unwrap();
        }
        let folders = [folder("/store", "store"), folder(SCRATCH, "scratch")];
        Offers::new(&folders, Output::default()).unwrap()
    }

    #[test]
    fn what_is_granted_is_offered_and_what_was_made_is_copied() {
        let dir = tempfile::tempdir().unwrap();
        let offers = offers(dir.path());
        let scratch = dir.path().join("host-scratch");
        fs_err::create_dir(dir.path().join("store/a")).unwrap();
        fs_err::write(dir.path().join("store/a/b"), "abc").unwrap();
        let (path, lease) = offers.offer("/store/a/b", 3, false, &scratch).unwrap();
        assert_eq!(path, dir.path().join("store/a/b").to_str().unwrap());
        assert_eq!(lease, "borrowed");

        fs_err::write(dir.path().join("scratch/c"), "abc").unwrap();
        let (path, lease) = offers.offer("/scratch/c", 3, true, &scratch).unwrap();
        assert!(path.starts_with(scratch.to_str().unwrap()));
        assert_eq!((fs_err::read(path).unwrap(), lease.as_str()), (b"abc".to_vec(), "owned"));
    }

    #[test]
    fn everything_else_is_refused() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        let offers = offers(dir.path());
        let scratch = dir.path().join("host-scratch");
        let at = |name: &str| dir.path().join("store").join(name);
        fs_err::write(dir.path().join("secret"), "abc").unwrap();
        fs_err::write(at("file"), "abc").unwrap();
        fs_err::create_dir(at("folder")).unwrap();
        fs_err::write(at("folder/inner"), "abc").unwrap();
        symlink(dir.path().join("secret"), at("absolute")).unwrap();
        symlink("../secret", at("relative")).unwrap();
        symlink("file", at("inside")).unwrap();
        symlink("folder", at("to-folder")).unwrap();
        symlink(format!("/proc/self/cwd{}", dir.path().display()), at("proc")).unwrap();
        fs_err::hard_link(dir.path().join("secret"), at("second-name")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            at("fifo"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        let cases = [
            ("/store/absolute", "without a link"),
            ("/store/relative", "without a link"),
            ("/store/inside", "without a link"),
            ("/store/to-folder/inner", "without a link"),
            ("/store/proc/secret", "without a link"),
            ("/store/absolute/", "plain"),
            ("/store/../secret", "plain"),
            ("/store/./file", "plain"),
            ("store/file", "plain"),
            ("/store/second-name", "several names"),
            ("/store/fifo", "regular file"),
            ("/store/folder", "regular file"),
            ("/store/nothing", "without a link"),
            ("/store", "none of its folders"),
            ("/etc/passwd", "none of its folders"),
            ("/request/1", "none of its folders"),
        ];
        for (path, expected) in cases {
            let why = offers.offer(path, 3, false, &scratch).unwrap_err();
            assert!(why.contains(expected), "{path}: {why}");
            // On a kernel without `openat2`, too.
            if let Some(inside) = path.strip_prefix("/store/").filter(|_| expected.contains("link"))
            {
                let segments: Vec<&str> = inside.split('/').collect();
                assert!(open_segments(&offers.folders[0].dir, &segments).is_err(), "{path}");
            }
        }
        let why = offers.offer("/store/file", 4, false, &scratch).unwrap_err();
        assert!(why.contains("size"), "{why}");
        assert!(offers.offer("/store/file", 3, false, &scratch).is_ok());
    }
}
