//! What a file system says about a file, by which it is recognised as unchanged.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Clocks of local file systems tick every 1 to 10 ms; twice that is safe.
const FINE_GRAIN: Duration = Duration::from_millis(20);
/// File systems without sub-second times tick every second or two.
const COARSE_GRAIN: Duration = Duration::from_millis(2_500);
const SECOND_NS: i64 = 1_000_000_000;

/// The stat of a file that changes whenever its content does, timestamp granularity aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Identity {
    /// Bytes.
    pub size: u64,
    /// Time of the last change of content, in nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Time of the last change of content or metadata, in nanoseconds since 1970; cannot be
    /// set by programs.
    pub ctime_ns: i64,
    /// Inode number.
    pub inode: u64,
    /// Device number.
    pub device: u64,
}

impl Identity {
    /// Of what `path` names, symbolic links followed.
    ///
    /// # Errors
    /// Those of `stat`.
    pub fn of_path(path: &Path) -> io::Result<Self> {
        std::fs::metadata(path).map(|metadata| Self::of(&metadata))
    }

    /// Of what has this metadata.
    #[must_use]
    pub fn of(metadata: &Metadata) -> Self {
        Self {
            size: metadata.len(),
            mtime_ns: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            ctime_ns: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
            inode: metadata.ino(),
            device: metadata.dev(),
        }
    }

    /// Whether the file was changed so shortly before `now` that another change could leave
    /// the same times: then an equal identity later proves nothing.
    #[must_use]
    pub fn is_racy(&self, now: SystemTime) -> bool {
        let now_ns = now
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX));
        let coarse = self.ctime_ns % SECOND_NS == 0;
        let grain = if coarse { COARSE_GRAIN } else { FINE_GRAIN };
        let grain_ns = i64::try_from(grain.as_nanos()).unwrap_or(i64::MAX);
        let near = |time_ns: i64| time_ns.abs_diff(now_ns) <= grain_ns.unsigned_abs();
        // A change time in the future is a clock that was set: nothing can be told from it.
        near(self.mtime_ns) || near(self.ctime_ns) || self.ctime_ns > now_ns
    }
}

fn nanoseconds(seconds: i64, nanoseconds: i64) -> i64 {
    seconds.saturating_mul(SECOND_NS).saturating_add(nanoseconds)
}
