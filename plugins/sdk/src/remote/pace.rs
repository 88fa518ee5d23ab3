//! How long an upload may take, and how long builds may wait in vain.

use std::time::{Duration, Instant};

use crate::Deadline;

/// Two answers that do not come in the 2 s that hosts give; the third is on its way by then, and
/// after three the server is left alone.
const DEFAULT_PATIENCE: Duration = Duration::from_secs(4);
/// What any upload may take, and for each byte the time at 64 KiB a second.
const BASE_TIME: Duration = Duration::from_secs(30);
const SLOWEST_BYTES_PER_SECOND: u64 = 64 * 1024;

/// What a person's `patience-ms` comes to.
#[must_use]
pub fn patience(written_ms: Option<u64>) -> Duration {
    written_ms.map_or(DEFAULT_PATIENCE, Duration::from_millis)
}

/// When an upload of `size` bytes has to be done, at the latest `until`.
pub(super) fn upload_deadline(size: u64, until: Option<Deadline>) -> Deadline {
    let time = BASE_TIME + Duration::from_secs(size / SLOWEST_BYTES_PER_SECOND);
    let own = Deadline::after(Instant::now(), time);
    until.map_or(own, |until| own.min(until))
}
