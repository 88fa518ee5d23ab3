//! Takes the standard streams away from the plugin's code.
//!
//! On Unix the protocol gets private duplicates, closed on exec; then descriptor 0 becomes
//! `/dev/null` and descriptor 1 a copy of standard error, so that neither the plugin's code
//! nor a process that it starts can read a request or break the framing. Elsewhere the
//! streams are used as they are.

use std::io;

/// What requests are read from.
#[cfg(unix)]
pub(crate) type Input = std::fs::File;
/// What answers are written to.
#[cfg(unix)]
pub(crate) type Output = std::fs::File;
#[cfg(not(unix))]
pub(crate) type Input = io::Stdin;
#[cfg(not(unix))]
pub(crate) type Output = io::Stdout;

#[cfg(unix)]
pub(crate) fn take() -> io::Result<(Input, Output)> {
    use rustix::io::fcntl_dupfd_cloexec;
    use rustix::stdio;

    /// Above the standard streams, so that a closed one is not mistaken for ours.
    const FIRST_PRIVATE: i32 = 3;
    let reader = fcntl_dupfd_cloexec(stdio::stdin(), FIRST_PRIVATE)?;
    let writer = fcntl_dupfd_cloexec(stdio::stdout(), FIRST_PRIVATE)?;
    let nothing = fs_err::File::open("/dev/null")?;
    stdio::dup2_stdin(nothing.file())?;
    stdio::dup2_stdout(stdio::stderr())?;
    Ok((reader.into(), writer.into()))
}

#[cfg(not(unix))]
pub(crate) fn take() -> io::Result<(Input, Output)> {
    Ok((io::stdin(), io::stdout()))
}
