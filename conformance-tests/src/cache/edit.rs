//! Steps that change files.

use std::fs::{self, File, FileTimes};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Component, Path, PathBuf};

use super::case::{Damage, Step};
use super::sandbox::Sandbox;

/// Files of this size are taken for what is cached. A smaller one may be an
/// index, and harm done to that would hide what is done to the rest.
const CONTENT_BYTES_MIN: usize = 2048;

/// One byte of so many is inverted: enough that no program would still work.
const FLIP_BYTES: usize = 256;

/// How often a folder is removed that is being written to.
const REMOVALS_MAX: usize = 100;

/// Reports list this many files of a tree.
const TREE_LIMIT: usize = 400;

/// Applies a step that only changes files below or beside `folder`.
pub(super) fn apply(step: &Step, folder: &Path, sandbox: &Sandbox) -> io::Result<()> {
    let at = |path: &str| join(folder, path);
    match step {
        Step::Write(path, content) => sandbox.write(&at(path), content),
        Step::Forge(path, content) => forge(&at(path), &sandbox.fill(content)),
        Step::Remove(path) => remove(&at(path)),
        Step::Rename(from, to) => fs::rename(at(from), at(to)),
        Step::Copy(from, to) => copy(&at(from), &at(to)),
        Step::Link { at: link, to } => {
            let link = at(link);
            match fs::symlink_metadata(&link).is_ok_and(|m| m.is_symlink()) {
                true => fs::remove_file(&link)?,
                false => remove(&link)?,
            }
            symlink(sandbox.fill(to), link)
        }
        _ => Err(io::Error::other("not a step that changes files")),
    }
}

/// Joins and resolves `..` by name, so that paths in logs are plain.
pub(super) fn join(folder: &Path, path: &str) -> PathBuf {
    let mut joined = PathBuf::new();
    for component in folder.join(path).components() {
        match component {
            Component::ParentDir => {
                joined.pop();
            }
            Component::CurDir => {}
            other => joined.push(other),
        }
    }
    joined
}

/// Removes a file, a link or a tree; what is absent already is no error. A
/// link to a folder is kept and the folder behind it emptied.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    let kind = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if kind.is_dir() {
        remove_folder(path)
    } else if kind.is_symlink() && path.is_dir() && path.ends_with("target") {
        let real = path.canonicalize()?;
        remove_folder(&real)?;
        fs::create_dir_all(real)
    } else {
        fs::remove_file(path)
    }
}

/// Removes a folder that a process which a cache has left may still write to.
fn remove_folder(path: &Path) -> io::Result<()> {
    for _ in 1..REMOVALS_MAX {
        match fs::remove_dir_all(path) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
            done => return done,
        }
    }
    fs::remove_dir_all(path)
}

fn forge(path: &Path, content: &str) -> io::Result<()> {
    let before = fs::metadata(path)?;
    if before.len() != content.len() as u64 {
        return Err(io::Error::other(format!("{}: a forged file keeps its size", path.display())));
    }
    fs::write(path, content)?;
    File::options()
        .write(true)
        .open(path)?
        .set_times(FileTimes::new().set_modified(before.modified()?))
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, copy) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_symlink() {
            symlink(fs::read_link(&source)?, &copy)?;
        } else if kind.is_dir() {
            if !source.join("CACHEDIR.TAG").exists() {
                self::copy(&source, &copy)?;
            }
        } else {
            fs::copy(&source, &copy)?;
            let modified = entry.metadata()?.modified()?;
            File::options()
                .write(true)
                .open(&copy)?
                .set_times(FileTimes::new().set_modified(modified))?;
        }
    }
    Ok(())
}

/// Harms every file of the cache under test.
pub(super) fn damage(root: &Path, damage: Damage) -> io::Result<()> {
    let cache = root.join("cache");
    if damage == Damage::Unusable {
        remove(&cache)?;
        return fs::write(cache, "not a folder\n");
    }
    let mut files = Vec::new();
    regular_files(&cache, &mut files)?;
    regular_files(&root.join("home"), &mut files)?;
    files.sort();
    for (i, path) in files.iter().enumerate() {
        let mut bytes = fs::read(path)?;
        let whole = matches!(damage, Damage::Blank | Damage::Thin);
        if !whole && bytes.len() < CONTENT_BYTES_MIN {
            continue;
        }
        let middle = bytes.len() / 2;
        match damage {
            Damage::Flip => {
                for byte in bytes.iter_mut().skip(FLIP_BYTES / 2).step_by(FLIP_BYTES) {
                    *byte ^= 0xff;
                }
            }
            Damage::Truncate => bytes.truncate(middle),
            Damage::Blank => bytes.clear(),
            Damage::Thin if i % 2 == 0 => {
                fs::remove_file(path)?;
                continue;
            }
            Damage::Thin | Damage::Unusable => continue,
        }
        // A store may keep its files read-only, or share them with a target
        // folder by hard links: what is harmed is the store's copy.
        let harmed = path.with_extension("harmed");
        fs::write(&harmed, bytes)?;
        fs::set_permissions(&harmed, fs::metadata(path)?.permissions())?;
        fs::rename(harmed, path)?;
    }
    Ok(())
}

fn regular_files(folder: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            regular_files(&entry.path(), found)?;
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
    Ok(())
}

/// The files below a folder with their sizes, for reports.
pub(super) fn tree(folder: &Path) -> Vec<String> {
    let mut files = Vec::new();
    // A folder that cannot be listed is shown as empty: reports are for people.
    if regular_files(folder, &mut files).is_err() {
        return Vec::new();
    }
    files.sort();
    files
        .iter()
        .take(TREE_LIMIT)
        .map(|path| {
            let size = fs::metadata(path).map_or(0, |m| m.len());
            let name = path.strip_prefix(folder).unwrap_or(path).display();
            format!("{name} {size}")
        })
        .collect()
}
