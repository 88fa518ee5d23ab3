//! Folders as wholes: how large they are, and taking them away.

use std::io;
use std::path::Path;

use fs_err as fs;

/// The space that the files below `dir` take on disk, as far as they can be read. Links
/// are not followed; a file with several names counts once for each.
pub(crate) fn size(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => size(&entry.path()),
            Ok(metadata) if metadata.is_file() => metadata.len(),
            _ => 0,
        })
        .sum()
}

/// Removes `dir` and all below it, at once as others see it: it is renamed first, so a
/// build that goes on finds nothing rather than a part. Gives the size of what is gone.
///
/// # Errors
/// Those of the file system. That there is no such folder is none.
pub(crate) fn remove(dir: &Path) -> io::Result<u64> {
    let gone = dir.with_extension(format!("removed-{}", std::process::id()));
    match fs::rename(dir, &gone) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    }
    let bytes = size(&gone);
    fs::remove_dir_all(&gone)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_removal() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("a");
        fs::create_dir_all(dir.join("b/c")).unwrap();
        fs::write(dir.join("b/c/file"), "12345").unwrap();
        fs::write(dir.join("file"), "123").unwrap();
        assert_eq!(size(&dir), 8);
        assert_eq!(remove(&dir).unwrap(), 8);
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
        assert_eq!((size(&dir), remove(&dir).unwrap()), (0, 0));
    }
}
