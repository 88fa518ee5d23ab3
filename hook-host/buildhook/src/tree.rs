//! Folders as wholes: how large they are, and emptying them.

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

/// Removes what is in `dir`, save for `kept`. Each thing is renamed first, so that a build
/// that goes on finds nothing rather than a part. Gives the size of what is gone.
///
/// # Errors
/// Those of the file system. That there is no such folder is none.
pub(crate) fn remove_all_but(dir: &Path, kept: &Path) -> io::Result<u64> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    let gone = dir.with_extension(format!("removed-{}", std::process::id()));
    fs::create_dir(&gone)?;
    for entry in entries {
        let entry = entry?;
        if entry.path() != kept {
            match fs::rename(entry.path(), gone.join(entry.file_name())) {
                // A session that has just ended took it away.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                renamed => renamed?,
            }
        }
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
        fs::create_dir(dir.join("kept")).unwrap();
        fs::write(dir.join("kept/file"), "1").unwrap();
        assert_eq!(size(&dir), 9);
        assert_eq!(remove_all_but(&dir, &dir.join("kept")).unwrap(), 8);
        assert_eq!(size(root.path()), 1);
        let nowhere = root.path().join("nowhere");
        assert_eq!((size(&nowhere), remove_all_but(&nowhere, &dir).unwrap()), (0, 0));
    }
}
