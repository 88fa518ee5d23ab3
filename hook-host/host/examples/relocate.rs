//! A host for finished results: offers every file of a folder to a plugin, and replaces those
//! that the plugin also keeps (`relocated`) by links to its copies. It prints what the
//! folder takes before and, of it alone, after.
//!
//!     relocate FOLDER SCRATCH PLUGIN [ARGUMENT…]
//!
//! For folders that nobody writes to again, such as the target folders of old checkouts:
//! linked files share their times and modes with the store. SCRATCH has to be on the file
//! system of FOLDER.

use std::collections::HashSet;
use std::error::Error;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use buildhook_host::{
    Ask, Built, DigestCache, Hooks, Host, Launch, Limits, OfferedFile, Outcome, PluginCommand, swap,
};
use buildhook_protocol::{Digest, Key, Lease, Purpose, Unit};

/// Files of one offer; the protocol allows 16,384.
const BATCH: usize = 1_000;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [folder, scratch, program, plugin_args @ ..] = args.as_slice() else {
        return Err("usage: relocate FOLDER SCRATCH PLUGIN [ARGUMENT…]".into());
    };
    let folder = std::fs::canonicalize(folder)?;
    let paths = files(&folder)?;
    let before = allocated(&paths)?;
    let plugin = PluginCommand::new(program, plugin_args, std::env::vars_os());
    let limits = Limits { built: Duration::from_secs(60), ..Limits::default() };
    let host = Host::new(Hooks::both(Launch::Command(plugin)), limits);

    let mut linked = HashSet::new();
    let digests = DigestCache::new();
    for (number, batch) in paths.chunks(BATCH).enumerate() {
        let files: Vec<_> =
            batch.iter().map(|path| offer(&folder, path, &digests)).collect::<Result<_, _>>()?;
        let ask = Ask {
            key: Key(Digest::of(format!("relocate {} {number}", folder.display()).as_bytes())),
            purpose: Purpose::Outputs,
            unit: &Unit::default(),
            scratch_root: Path::new(scratch),
            manifest: None,
        };
        let built = Built { files: &files, cost_ms: None, replace: false };
        match host.built_a_thing(&ask, &built) {
            Outcome::Stored { relocated, .. } => {
                for theirs in relocated {
                    let mine = files.iter().find(|mine| mine.name == theirs.name);
                    let Some(mine) = mine else { continue };
                    swap(&theirs, mine)?;
                    linked.insert(mine.path.clone());
                }
            }
            other => return Err(format!("not stored: {other:?}").into()),
        }
    }
    for plugin in host.close().plugins {
        for fault in plugin.faults {
            eprintln!("{}", fault.fault.message);
        }
    }
    let own: Vec<_> = paths.iter().filter(|path| !linked.contains(*path)).cloned().collect();
    println!("files: {}, linked: {}", paths.len(), linked.len());
    println!("bytes before: {before}, of its own after: {}", allocated(&own)?);
    Ok(())
}

/// All regular files below `folder`, symbolic links left alone.
fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            found.extend(files(&entry.path())?);
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn offer(folder: &Path, path: &Path, known: &DigestCache) -> Result<OfferedFile, Box<dyn Error>> {
    let (digest, identity) = known.digest(path)?;
    let relative = path.strip_prefix(folder)?;
    // Names in an entry are short and tame; those of files need not be.
    let name = format!("out/{}", Digest::of(relative.as_os_str().as_encoded_bytes()).to_hex());
    let executable = std::fs::metadata(path)?.mode() & 0o100 != 0;
    Ok(OfferedFile {
        name: name.parse()?,
        path: path.to_owned(),
        size: identity.size,
        digest,
        executable,
        lease: Lease::Shared,
    })
}

/// What files take on the disk; one with several names counts once.
fn allocated(paths: &[PathBuf]) -> io::Result<u64> {
    /// What `st_blocks` counts in.
    const BLOCK_BYTES: u64 = 512;
    let mut seen = HashSet::new();
    let mut bytes = 0;
    for path in paths {
        let metadata = std::fs::metadata(path)?;
        if seen.insert((metadata.dev(), metadata.ino())) {
            bytes += metadata.blocks() * BLOCK_BYTES;
        }
    }
    Ok(bytes)
}
