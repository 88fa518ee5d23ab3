//! What people ask of a store: how much is there, is it whole, remove it.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

use buildhook_protocol::{Digest, Purpose};

use crate::blobs::is_sound;
use crate::collect::for_each_file;
use crate::layout::EXECUTABLE_SUFFIX;
use crate::platform;
use crate::store::{Store, read_record};

/// What is in a store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Entries that hold what builds made.
    pub outputs: u64,
    /// Entries that hold what units have read.
    pub inputs: u64,
    /// Files that hold content.
    pub blobs: u64,
    /// What all these take, in bytes.
    pub size_bytes: u64,
    /// Above this many bytes entries are evicted.
    pub max_size_bytes: u64,
}

/// What reading everything found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// Entries that are whole.
    pub entries: u64,
    /// Blobs that are what their name says.
    pub blobs: u64,
    /// Files that were damaged, and entries that needed one of those; all removed.
    pub removed: Vec<PathBuf>,
}

pub(crate) fn stats(store: &Store) -> io::Result<Stats> {
    let mut stats = Stats { max_size_bytes: store.limits.max_size_bytes, ..Default::default() };
    let (mut count, mut size) = (0, 0);
    let mut add = |facts: &platform::Facts| {
        count += 1;
        size += facts.size;
    };
    for_each_file(&store.layout.blobs(), |_, facts| add(facts))?;
    stats.blobs = count;
    for purpose in [Purpose::Outputs, Purpose::Inputs] {
        let mut entries = 0;
        for_each_file(&store.layout.entries(purpose), |_, facts| {
            entries += 1;
            size += facts.size;
        })?;
        match purpose {
            Purpose::Inputs => stats.inputs = entries,
            _ => stats.outputs = entries,
        }
    }
    stats.size_bytes = size;
    Ok(stats)
}

pub(crate) fn clear(store: &Store) -> io::Result<u64> {
    let size = stats(store)?.size_bytes;
    // Under another name first: nobody finds half of it.
    let aside = store.layout.dir().join(format!("removed-{}", buildhook_sdk::files::unique_name()));
    match fs_err::rename(store.layout.root(), &aside) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        other => other?,
    }
    fs_err::remove_dir_all(&aside)?;
    Ok(size)
}

pub(crate) fn verify(store: &Store) -> io::Result<Verified> {
    let mut verified = Verified::default();
    let (mut sound, mut damaged, mut entries) = (HashSet::new(), HashSet::new(), Vec::new());
    for_each_file(&store.layout.blobs(), |path, _| {
        if is_what_it_says(&path) {
            sound.insert(path);
        } else {
            damaged.insert(path);
        }
    })?;
    for purpose in [Purpose::Outputs, Purpose::Inputs] {
        for_each_file(&store.layout.entries(purpose), |path, _| {
            let whole = read_record(&path).ok().flatten().is_some_and(|record| {
                let entry = store.layout.entry(purpose, &record.key);
                let mut files = record.files.iter();
                record.purpose == purpose
                    && entry == path
                    && files.all(|file| {
                        let blob = store.layout.blob(&file.digest, file.executable);
                        // One that was stored since the blobs were listed is in neither set.
                        sound.contains(&blob)
                            || (!damaged.contains(&blob) && is_sound(&blob, file).unwrap_or(false))
                    })
            });
            if whole {
                verified.entries += 1;
            } else {
                entries.push(path);
            }
        })?;
    }
    let removed: Vec<_> = entries.into_iter().chain(damaged).collect();
    for path in &removed {
        match fs_err::remove_file(path) {
            // Evicted meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    verified.blobs = sound.len() as u64;
    verified.removed = removed;
    Ok(verified)
}

/// Whether a blob has the content that its name promises.
fn is_what_it_says(path: &Path) -> bool {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return false };
    let hex = name.strip_suffix(EXECUTABLE_SUFFIX).unwrap_or(name);
    let content = platform::open_no_follow(path).and_then(Digest::of_reader);
    content.is_ok_and(|(digest, _)| Digest::from_hex(hex) == Ok(digest))
}
