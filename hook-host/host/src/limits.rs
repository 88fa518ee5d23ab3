//! Every bound of the host, by name, with the reason for its default.

use std::time::Duration;

/// What the host waits for and keeps, at most.
///
/// The defaults hold one promise together: a plugin that hangs, wherever it does, costs a
/// whole build less than five seconds: 4.2 s, which is `lost` + `exit` + `terminate`, and
/// what its hello asks for as `drain-ms`, unless it has hung before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Wait for the hello. 3 s: all that may be lost, because an interpreter has to start
    /// while a build keeps every core busy.
    pub hello: Duration,
    /// Wait for the answer to `want-to-build`. 2 s: many units are built in less, so a
    /// longer wait would not pay even for a hit.
    pub want: Duration,
    /// Wait for the answer to `built-a-thing`. 3 s: all that may be lost; a store that needs
    /// longer answers `later`.
    pub built: Duration,
    /// Longest wait for a plugin to finish after its input has closed, whatever its hello
    /// asks for; nothing when all that may be lost is lost. 60 s: a store at the other end of a
    /// link of 100 Mbit/s uploads 750 MB in it, and most hellos ask for none. Whoever builds need
    /// not wait for it.
    pub drain: Duration,
    /// Added to what the hello asks for, as the spec grants it (BH-END-001).
    pub exit: Duration,
    /// Between SIGTERM and SIGKILL. 200 ms: enough to remove a temporary file.
    pub terminate: Duration,
    /// Time spent waiting in vain during the whole build (requests that ran out of time,
    /// together and counted once when they overlap), after which the plugin is left alone.
    /// 3 s: see above.
    pub lost: Duration,
    /// Bytes of standard error kept, the last ones. 64 KiB: about 800 lines.
    pub stderr_bytes: usize,
    /// Faults after which a hook of a plugin is left alone. 5: one or two can be the network.
    pub faults_until_off: u32,
    /// Damaged entries after which a plugin is left alone. 32: more than faults, because
    /// each is repaired by storing it again; yet a plugin that always lies comes to an end.
    pub corrupt_until_off: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            hello: Duration::from_secs(3),
            want: Duration::from_secs(2),
            built: Duration::from_secs(3),
            drain: Duration::from_secs(60),
            exit: Duration::from_secs(1),
            terminate: Duration::from_millis(200),
            lost: Duration::from_secs(3),
            stderr_bytes: 64 * 1024,
            faults_until_off: 5,
            corrupt_until_off: 32,
        }
    }
}
