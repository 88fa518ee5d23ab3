//! A hit: one request for the record, then its blobs in parallel, each verified on its way
//! into the scratch folder.

use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use buildhook_sdk::entry::{Encoding, Record, StoredFile};
use buildhook_sdk::files::{Hashed, unique_name};
use buildhook_sdk::remote::{MAX_RECORD_BYTES, deliver, inlined};
use buildhook_sdk::{Call, Deadline, Hit};
use fs_err::File;

use crate::ahead::Ahead;
use crate::client::{Fault, Trouble};
use crate::layout::Layout;

/// Blobs of one entry that are fetched at once. Entries of compilers have two or three.
const MAX_PARALLEL: usize = 8;
/// What is read at a time.
const BUFFER_BYTES: usize = 64 * 1024;

/// The entry that `call` asks for, with its files in the scratch folder.
pub(crate) fn fetch(
    source: &Ahead,
    layout: &Layout,
    call: &Call,
    deadline: Deadline,
) -> Result<Hit, Fault> {
    let record = fetch_record(source, layout, call, deadline)?;
    let paths: Vec<PathBuf> =
        record.files.iter().map(|_| call.scratch.join(unique_name())).collect();
    let mut blobs = Vec::new();
    for (file, path) in record.files.iter().zip(&paths) {
        match inlined(file) {
            Some(Some(content)) => fs_err::write(path, content).map_err(local)?,
            Some(None) => return Err(corrupt(file, "its content is damaged")),
            None => blobs.push((file, path.as_path())),
        }
    }
    fetch_blobs(source, layout, &blobs, deadline)?;
    let files = record.files.iter().zip(paths).map(|(file, path)| deliver(file, path));
    let files = files.collect::<io::Result<_>>().map_err(local)?;
    Ok(Hit { seal: record.seal, files, cost_ms: record.cost_ms })
}

fn fetch_record(
    source: &Ahead,
    layout: &Layout,
    call: &Call,
    deadline: Deadline,
) -> Result<Record, Fault> {
    let content = source.get(&layout.record(&call.key, call.purpose), deadline, |body| {
        let mut content = Vec::new();
        let read = body.take(MAX_RECORD_BYTES + 1).read_to_end(&mut content);
        read.map(|_| content).map_err(|error| Trouble::Content(error.to_string()))
    })?;
    let record = Record::decode(&content)
        .filter(|_| content.len() as u64 <= MAX_RECORD_BYTES)
        .ok_or_else(|| Fault::Corrupt("the entry's record is damaged".to_owned()))?;
    if !record.answers(call) {
        return Err(Fault::Corrupt("the record is that of another entry".to_owned()));
    }
    Ok(record)
}

/// Fetches all blobs, or stops at the first that cannot be had.
fn fetch_blobs(
    source: &Ahead,
    layout: &Layout,
    blobs: &[(&StoredFile, &Path)],
    deadline: Deadline,
) -> Result<(), Fault> {
    let next = AtomicUsize::new(0);
    let failed: Mutex<Option<Fault>> = Mutex::new(None);
    let work = || {
        while let Some((file, path)) = blobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(fault) = fetch_blob(source, layout, file, path, deadline) {
                next.store(blobs.len(), Ordering::Relaxed);
                failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(fault);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..blobs.len().min(MAX_PARALLEL) {
            // Without another thread (a limit of the system) this one does it all.
            if std::thread::Builder::new().spawn_scoped(scope, work).is_err() {
                break;
            }
        }
        work();
    });
    failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

fn fetch_blob(
    source: &Ahead,
    layout: &Layout,
    file: &StoredFile,
    path: &Path,
    deadline: Deadline,
) -> Result<(), Fault> {
    let object = layout.blob(&file.digest, file.encoding);
    let fetched = source.get(&object, deadline, |body| {
        // Cut short again when an earlier attempt has written some of it.
        let sink = File::create(path).map_err(Trouble::Sink)?;
        match file.encoding {
            Encoding::Plain => copy_verified(body, file, sink),
            Encoding::Zstd => match zstd::stream::read::Decoder::new(body) {
                Ok(decoder) => copy_verified(decoder, file, sink),
                Err(error) => Err(Trouble::Content(error.to_string())),
            },
        }
    });
    match fetched {
        Err(Fault::NotFound) => Err(corrupt(file, "its content is not in the bucket")),
        Err(Fault::Corrupt(why)) => Err(corrupt(file, &why)),
        other => other,
    }
}

/// Copies what must be the content of `file`, and no more than one byte beyond its size.
fn copy_verified(source: impl Read, file: &StoredFile, sink: File) -> Result<(), Trouble> {
    let mut source = source.take(file.size.saturating_add(1));
    let mut sink = Hashed::new(sink);
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match source.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => sink.write_all(&buffer[..read]).map_err(Trouble::Sink)?,
            Err(error) => return Err(Trouble::Content(error.to_string())),
        }
    }
    if sink.finish() != (file.digest, file.size) {
        return Err(Trouble::Content("its content is not what was stored".to_owned()));
    }
    Ok(())
}

fn corrupt(file: &StoredFile, why: &str) -> Fault {
    Fault::Corrupt(format!("{}: {why}", file.name))
}

fn local(error: io::Error) -> Fault {
    Fault::Local(error.to_string())
}
