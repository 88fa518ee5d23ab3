//! Writing a file so that readers see the old one, the new one, or none.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Writes `content` to a file of another name beside `path` and renames it.
///
/// # Errors
/// Those of the file system; then `path` is as it was.
pub fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.{}-{count}.tmp", std::process::id()));
    let write = || {
        if let Err(error) = fs_err::write(&temporary, content) {
            let folder = path.parent().filter(|_| error.kind() == io::ErrorKind::NotFound);
            fs_err::create_dir_all(folder.ok_or(error)?)?;
            fs_err::write(&temporary, content)?;
        }
        fs_err::rename(&temporary, path)
    };
    write().inspect_err(|_| {
        // What is left behind is only our own temporary file.
        let _ = fs_err::remove_file(&temporary);
    })
}
