//! How long an upload may take.

use std::time::{Duration, Instant};

use crate::Deadline;

/// What any upload may take, and for each byte the time at 64 KiB a second.
const BASE_TIME: Duration = Duration::from_secs(30);
const SLOWEST_BYTES_PER_SECOND: u64 = 64 * 1024;

/// When an upload of `size` bytes has to be done, at the latest `until`.
pub(super) fn upload_deadline(size: u64, until: Option<Deadline>) -> Deadline {
    let time = BASE_TIME + Duration::from_secs(size / SLOWEST_BYTES_PER_SECOND);
    let own = Deadline::after(Instant::now(), time);
    until.map_or(own, |until| own.min(until))
}
