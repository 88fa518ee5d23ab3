//! Putting the library in place and switching it on.
//!
//! The library lies in a folder named by its digest, so that two versions of this
//! crate never meet, and is replaced whole by a rename, so that a program that
//! starts meanwhile loads the old file or the new one.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use fs_err as fs;

use crate::PRELOAD;

/// Names the folder of the logs to the preloaded library.
pub const FOLDER_VARIABLE: &str = "BUILDHOOK_RECORD_DIR";

/// Names the libraries to load before a program's own.
pub const PRELOAD_VARIABLE: &str =
    if cfg!(target_os = "macos") { "DYLD_INSERT_LIBRARIES" } else { "LD_PRELOAD" };

const LIBRARY_NAME: &str = if cfg!(target_os = "macos") {
    "libbuildhook_recorder.dylib"
} else {
    "libbuildhook_recorder.so"
};

/// Hex digits of the digest in the folder's name: enough to tell versions apart.
const DIGEST_DIGITS: usize = 16;

/// Why the recorder cannot be switched on.
#[derive(Debug, thiserror::Error)]
pub enum EnvironmentError {
    /// The loader splits its list at colons and blanks and expands `$`.
    #[error(
        "the loader cannot take {0:?}: a preloaded library's path must be absolute and hold no colon, blank or `$`"
    )]
    Library(PathBuf),
    /// The library ignores a folder that is not absolute.
    #[error("the folder of logs must be absolute: {0:?}")]
    Folder(PathBuf),
}

/// Writes the library below `folder`, unless it is there, and returns its path.
///
/// `folder` must be private to the user: what lies in it is loaded into every
/// program of a compile.
///
/// # Errors
///
/// Fails with [`io::ErrorKind::Unsupported`] where [`PRELOAD`] is `None`, and when
/// the folder cannot be written.
pub fn install(folder: &Path) -> io::Result<PathBuf> {
    let bytes = PRELOAD.ok_or(io::ErrorKind::Unsupported)?;
    let digest = blake3::hash(bytes).to_hex();
    let folder = folder.join(&digest[..DIGEST_DIGITS]);
    let library = folder.join(LIBRARY_NAME);
    if fs::read(&library).is_ok_and(|present| present == bytes) {
        return Ok(library);
    }
    fs::create_dir_all(&folder)?;
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let unique = COUNTER.fetch_add(1, Ordering::Relaxed);
    let temporary = folder.join(format!(".{}.{unique}", std::process::id()));
    let written = fs::File::create(&temporary)
        .and_then(|mut file| file.write_all(bytes))
        .and_then(|()| fs::rename(&temporary, &library));
    if let Err(error) = written {
        // The first error is the one to report.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    Ok(library)
}

/// The value of [`PRELOAD_VARIABLE`] that loads `library` before what a person
/// already has there.
///
/// # Errors
///
/// Fails when the loader could not find `library` by that value.
pub fn preload_value(
    existing: Option<&OsStr>,
    library: &Path,
) -> Result<OsString, EnvironmentError> {
    let bytes = library.as_os_str().as_encoded_bytes();
    let splits = |byte: &u8| byte.is_ascii_whitespace() || b":;$".contains(byte);
    if !library.is_absolute() || bytes.iter().any(splits) {
        return Err(EnvironmentError::Library(library.to_owned()));
    }
    let mut value = library.as_os_str().to_owned();
    if let Some(existing) = existing.filter(|existing| !existing.is_empty()) {
        value.push(":");
        value.push(existing);
    }
    Ok(value)
}

/// The variables that have a child, and what it starts, write logs into `logs`:
/// an existing, empty folder of one observation. `existing_preload` is the
/// child's own value of [`PRELOAD_VARIABLE`], if any.
///
/// # Errors
///
/// Fails when a path cannot be handed over by these variables.
pub fn environment(
    library: &Path,
    logs: &Path,
    existing_preload: Option<&OsStr>,
) -> Result<[(&'static str, OsString); 2], EnvironmentError> {
    if !logs.is_absolute() {
        return Err(EnvironmentError::Folder(logs.to_owned()));
    }
    Ok([
        (PRELOAD_VARIABLE, preload_value(existing_preload, library)?),
        (FOLDER_VARIABLE, logs.as_os_str().to_owned()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_comes_first_and_keeps_the_persons_own() {
        let library = Path::new("/cache/librecorder.so");
        let value = |existing: &str| preload_value(Some(OsStr::new(existing)), library).unwrap();
        assert_eq!(value("/a.so:/b.so"), "/cache/librecorder.so:/a.so:/b.so");
        assert_eq!(value(""), "/cache/librecorder.so");
        assert_eq!(preload_value(None, library).unwrap(), "/cache/librecorder.so");
    }

    #[test]
    fn paths_that_the_loader_would_split_are_refused() {
        for path in ["/a b/l.so", "/a:b/l.so", "/$LIB/l.so", "l.so", "/a\tb/l.so"] {
            assert!(preload_value(None, Path::new(path)).is_err(), "{path}");
        }
        assert!(environment(Path::new("/l.so"), Path::new("logs"), None).is_err());
    }

    #[test]
    fn installing_again_repairs_a_damaged_library() {
        let folder = tempfile::tempdir().unwrap();
        let Ok(library) = install(folder.path()) else {
            assert!(PRELOAD.is_none());
            return;
        };
        fs::write(&library, "not a library").unwrap();
        assert_eq!(install(folder.path()).unwrap(), library);
        assert_eq!(Some(fs::read(&library).unwrap().as_slice()), PRELOAD);
        assert_eq!(fs::read_dir(library.parent().unwrap()).unwrap().count(), 1);
    }
}
