//! Bytes of a log as operating-system strings.

use std::ffi::OsString;

/// Paths are bytes on Unix; elsewhere nothing writes logs.
pub(crate) fn os_string(bytes: &[u8]) -> OsString {
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        std::ffi::OsStr::from_bytes(bytes).to_owned()
    }
    #[cfg(not(unix))]
    {
        String::from_utf8_lossy(bytes).into_owned().into()
    }
}
