//! What a check saw: messages, standard error, trees of files, and rules that
//! were broken on the way, whatever the check was looking for.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::wire::strict::{Violation, excerpt};

/// Messages kept per check; a check that sends more keeps the first ones.
const MAX_EVENTS: usize = 400;
/// Characters kept of one message.
const MAX_EVENT_CHARS: usize = 4_000;
/// Lines kept of one tree.
const MAX_TREE_LINES: usize = 200;

/// Direction of an [`Event`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) enum Direction {
    /// The suite wrote it.
    Sent,
    /// The thing under test wrote it on standard output.
    Received,
    /// The thing under test wrote it on standard error.
    Stderr,
    /// The suite did something: started, closed, killed.
    Note,
}

/// One line of a transcript.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Event {
    /// Since the check began.
    pub(crate) at_ms: u64,
    /// Which process of the check, from 1.
    pub(crate) session: u32,
    pub(crate) direction: Direction,
    /// Text, shortened; bytes that are not UTF-8 are replaced.
    pub(crate) text: String,
}

/// What is kept of one check.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Evidence {
    pub(crate) events: Vec<Event>,
    /// Events that were not kept.
    pub(crate) events_dropped: u64,
    /// Files before the check began, one line each.
    pub(crate) tree_before: Vec<String>,
    /// Files after it ended.
    pub(crate) tree_after: Vec<String>,
}

/// Collects evidence from all threads of one check.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    inner: Arc<Mutex<Inner>>,
    start: Instant,
}

#[derive(Debug, Default)]
struct Inner {
    evidence: Evidence,
    violations: Vec<Violation>,
    sessions: u32,
}

impl Default for Log {
    fn default() -> Self {
        Self { inner: Arc::default(), start: Instant::now() }
    }
}

impl Log {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of a new session.
    pub(crate) fn new_session(&self) -> u32 {
        let mut inner = self.inner();
        inner.sessions += 1;
        inner.sessions
    }

    /// Notes one line of the transcript.
    pub(crate) fn event(&self, session: u32, direction: Direction, bytes: &[u8]) {
        let at_ms = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let head = &bytes[..bytes.len().min(4 * MAX_EVENT_CHARS)];
        let mut text =
            excerpt(String::from_utf8_lossy(head).trim_end_matches('\n'), MAX_EVENT_CHARS);
        if bytes.len() > head.len() {
            text.push_str(&format!(" [{} bytes in all]", bytes.len()));
        }
        let mut inner = self.inner();
        if inner.evidence.events.len() < MAX_EVENTS {
            inner.evidence.events.push(Event { at_ms, session, direction, text });
        } else {
            inner.evidence.events_dropped += 1;
        }
    }

    /// Notes something the suite did.
    pub(crate) fn note(&self, session: u32, text: &str) {
        self.event(session, Direction::Note, text.as_bytes());
    }

    /// Notes a broken rule; the same text is kept once.
    pub(crate) fn violation(&self, violation: Violation) {
        let mut inner = self.inner();
        if !inner.violations.contains(&violation) {
            inner.violations.push(violation);
        }
    }

    /// Rules broken so far.
    pub(crate) fn violations(&self) -> Vec<Violation> {
        self.inner().violations.clone()
    }

    /// Whether a line of this direction that was kept holds `text`.
    pub(crate) fn holds(&self, direction: Direction, text: &str) -> bool {
        let inner = self.inner();
        let mut lines = inner.evidence.events.iter().filter(|line| line.direction == direction);
        lines.any(|line| line.text.contains(text))
    }

    /// Notes the files below `folder` as they are now.
    pub(crate) fn tree(&self, folder: &Path, after: bool) {
        let lines = tree(folder);
        let mut inner = self.inner();
        if after {
            inner.evidence.tree_after = lines;
        } else {
            inner.evidence.tree_before = lines;
        }
    }

    /// What was collected.
    pub(crate) fn evidence(&self) -> Evidence {
        self.inner().evidence.clone()
    }
}

/// The files below `folder`, one line each, sorted, bounded.
pub(crate) fn tree(folder: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    walk(folder, &mut |path, metadata| {
        let name = path.strip_prefix(folder).unwrap_or(path).display();
        let kind = match metadata {
            _ if metadata.is_dir() => "d",
            _ if metadata.is_symlink() => "l",
            _ if metadata.is_file() => "-",
            _ => "?",
        };
        let size = if metadata.is_file() { metadata.len() } else { 0 };
        lines.push(format!("{kind}{:04o} {size:>10} {name}", metadata.mode() & 0o7777));
    });
    lines.sort_by(|left, right| left[17..].cmp(&right[17..]));
    let more = lines.len().saturating_sub(MAX_TREE_LINES);
    if more > 0 {
        lines.truncate(MAX_TREE_LINES);
        lines.push(format!("… and {more} more"));
    }
    lines
}

/// Calls `visit` for everything below `folder`; what vanishes meanwhile is left out.
pub(crate) fn walk(folder: &Path, visit: &mut dyn FnMut(&Path, &fs::Metadata)) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if let Ok(metadata) = fs::symlink_metadata(&path) {
            visit(&path, &metadata);
            if metadata.is_dir() {
                walk(&path, visit);
            }
        }
    }
}

/// What must not change: identity, size, mode, times and links of files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot(BTreeMap<std::path::PathBuf, Fixed>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Fixed {
    inode: u64,
    size: u64,
    mode: u32,
    modified: (i64, i64),
    links: u64,
    digest: Option<String>,
}

/// Files above this size are compared by size and times only.
const SNAPSHOT_DIGEST_BYTES: u64 = 1 << 20;

impl Snapshot {
    /// Of `paths`, each a file that may be absent.
    pub(crate) fn of<'a>(paths: impl Iterator<Item = &'a Path>) -> Self {
        let fixed = |path: &Path| {
            let metadata = fs::symlink_metadata(path).ok()?;
            let digest = (metadata.is_file() && metadata.len() <= SNAPSHOT_DIGEST_BYTES)
                .then(|| crate::wire::digest_file(path).ok())
                .flatten();
            Some(Fixed {
                inode: metadata.ino(),
                size: metadata.len(),
                mode: metadata.mode(),
                modified: (metadata.mtime(), metadata.mtime_nsec()),
                links: metadata.nlink(),
                digest,
            })
        };
        Self(paths.filter_map(|path| Some((path.to_owned(), fixed(path)?))).collect())
    }

    /// What differs now, in words; links count only when `exclusive`.
    pub(crate) fn changes(&self, exclusive: bool) -> Option<String> {
        let now = Self::of(self.0.keys().map(std::path::PathBuf::as_path));
        self.0.iter().find_map(|(path, before)| {
            let path_text = path.display();
            let Some(after) = now.0.get(path) else {
                return Some(format!("{path_text} is gone"));
            };
            if after.digest != before.digest || after.size != before.size {
                Some(format!("the content of {path_text} changed"))
            } else if after.inode != before.inode {
                Some(format!("{path_text} was replaced by another file"))
            } else if after.mode != before.mode || after.modified != before.modified {
                Some(format!("mode or time of {path_text} changed"))
            } else if exclusive && after.links != before.links {
                Some(format!("{path_text} got a hard link"))
            } else {
                None
            }
        })
    }
}

/// A limit multiplied by the factor that the user gave for a slow machine.
pub(crate) fn scaled(limit: Duration, factor: f64) -> Duration {
    limit.mul_f64(factor)
}
