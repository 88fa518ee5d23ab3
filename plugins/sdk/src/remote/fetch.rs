//! A hit: one request for the record and what stands behind it, and another one for the pack
//! of a large entry. All of it is verified on its way into the scratch folder.

use std::io;
use std::path::PathBuf;

use buildhook_protocol::{FileRecord, Lease};

use super::content::{extract, is_bounded};
use super::{Fault, Names, Remote};
use crate::entry::{Record, StoredFile};
use crate::files::unique_name;
use crate::{Call, Deadline, Hit};

/// The entry that `call` asks for, with its files in the scratch folder.
pub(super) fn entry(
    remote: &impl Remote,
    names: &Names,
    call: &Call,
    deadline: Deadline,
) -> Result<Hit, Fault> {
    let object = remote.get(&names.record(&call.key, call.purpose), deadline)?;
    let (record, mut behind) = Record::decode_from(&object)
        .ok_or_else(|| Fault::Corrupt("the entry's record is damaged".to_owned()))?;
    if !record.answers(call) {
        return Err(Fault::Corrupt("the record is that of another entry".to_owned()));
    }
    if !is_bounded(record.files.iter()) {
        return Err(Fault::Corrupt("it says that it holds more than an entry may".to_owned()));
    }
    let path = || call.scratch.join(unique_name());
    let files: Vec<_> = record.files.iter().map(|file| (file, path())).collect();
    let in_pack = record.pack.map_or(0, |pack| pack.files);
    let (first, last) = files.split_at(files.len() - in_pack);
    extract(&mut behind, record.encoding, first, deadline)?;
    if let Some(pack) = &record.pack {
        let mut take = |body: &mut dyn io::Read| extract(body, record.encoding, last, deadline);
        let fetched = remote.get_pack(&names.pack(&pack.digest), pack.size, deadline, &mut take);
        fetched.map_err(|fault| match fault {
            Fault::NotFound => Fault::Gone("its content is no longer in the store".to_owned()),
            other => other,
        })?;
    }
    let files = files.into_iter().map(|(file, path)| deliver(file, path));
    let files = files.collect::<io::Result<_>>().map_err(|error| Fault::local(&error))?;
    Ok(Hit { seal: record.seal, files, cost_ms: record.cost_ms })
}

/// The record of the file that was fetched to `path`, in the scratch folder: from here on the
/// host owns it. Makes a program of it where it is one.
fn deliver(file: &StoredFile, path: PathBuf) -> io::Result<FileRecord> {
    #[cfg(unix)]
    if file.executable {
        use std::os::unix::fs::PermissionsExt as _;
        fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    }
    Ok(file.offer(path, Lease::Owned))
}
