//! After a compile: checking what was seen, and offering what was made.

use std::collections::HashSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use buildhook_host::{Ask, Built, DigestCache, Identity, OfferedFile, Outcome};
use buildhook_protocol::{Digest, EntryName, Lease, Purpose};

use crate::dep_info::DepInfo;
use crate::diagnostics;
use crate::env_uses;
use crate::frontend::{Account, Fate, Finished, Frontend, Plan, Ticket};
use crate::inputs::{Input, InputSet, Item, Value};
use crate::lookup::{RECORD_NAME, STDERR_NAME, STDOUT_NAME};
use crate::manifest::Manifest;
use crate::observe::{self, Seen};
use crate::prepare::{Prepared, output_name};
use crate::refusal::Refusal;

/// Stores what `ticket`'s compile made, and says what became of it.
pub(crate) fn after(front: &Frontend, ticket: Ticket, finished: &Finished) -> Account {
    let Ticket { unit, plan, miss } = ticket;
    let cost_ms = u64::try_from(finished.duration.as_millis()).unwrap_or(u64::MAX);
    let mut account = Account {
        unit: unit.unit.clone(),
        fate: Fate::Uncached,
        reason: None,
        key: None,
        files: 0,
        bytes: 0,
        cost_ms: Some(cost_ms),
    };
    if !finished.success {
        account.fate = Fate::Failed;
        return account;
    }
    let result = plan.and_then(|plan| store(front, &unit, &plan, finished, &mut account));
    match result {
        Ok(()) => {
            account.fate = Fate::Miss;
            account.reason = miss;
        }
        Err(refusal) => account.reason = Some(refusal),
    }
    account
}

fn store(
    front: &Frontend,
    unit: &Prepared,
    plan: &Plan,
    finished: &Finished,
    account: &mut Account,
) -> Result<(), Refusal> {
    let stderr = std::str::from_utf8(&finished.stderr)
        .map_err(|_| Refusal::new("diagnostics", "standard error is not UTF-8"))?;
    diagnostics::check_cacheable(stderr).map_err(|line| Refusal::new("diagnostics", line))?;

    let observation = buildhook_recorder::read(&plan.record.0);
    let mut seen = observe::analyse(&observation, unit, &front.blind_spots)?;
    drop(observation);
    let dep_info = read_dep_info(unit, &seen)?;
    add_declared_variables(unit, &dep_info, &mut seen)?;
    let mut files = take_outputs(unit, &mut seen, &front.digests)?;

    let set = seen.set();
    let inputs = unit
        .place(&front.digests)
        .evaluate(&set)
        .ok_or_else(|| Refusal::new("unreadable-input", "an input can no longer be read"))?;
    check_unchanged(unit, plan, &inputs, &seen.absent)?;
    let fresh = unit.action(&front.digests).is_ok_and(|(action, _)| action == plan.action);
    if !fresh {
        return Err(Refusal::new("input-changed", "a dependency changed meanwhile"));
    }
    let manifest = Manifest { action: plan.action.clone(), inputs };
    let key = manifest.key();
    account.key = Some(key);

    let folder = &plan.record.0;
    let stored_stderr = if unit.compile.keep_paths {
        stderr.to_owned()
    } else {
        diagnostics::to_stored(stderr, &unit.roots)
    };
    let dep_name = output_name(&unit.dep_info()).unwrap_or_default();
    files.push(write_text(folder, "dep-info", &dep_name, &dep_info.to_stored(&unit.roots))?);
    files.push(write_text(folder, "stderr", STDERR_NAME, &stored_stderr)?);
    let stdout = String::from_utf8_lossy(&finished.stdout);
    files.push(write_text(folder, "stdout", STDOUT_NAME, &stdout)?);
    account.files = files.len() as u64;
    account.bytes = files.iter().map(|file| file.size).sum();

    let replace = plan.corrupt.contains(&key);
    offer(front, unit, plan, &manifest, &files, account.cost_ms, replace)?;
    // Only an explanation is lost when it cannot be kept.
    let _ = front.index.keep_manifest(&key, &manifest, &seen.readers);
    remember(front, unit, plan, set);
    Ok(())
}

/// rustc's own account of what it read must be part of what was seen: else the
/// recorder missed something.
fn read_dep_info(unit: &Prepared, seen: &Seen) -> Result<DepInfo, Refusal> {
    let path = unit.dep_info();
    let text = fs_err::read_to_string(&path).ok();
    let dep_info = text.as_deref().and_then(DepInfo::parse);
    let dep_info = dep_info.ok_or_else(|| Refusal::new("no-dep-info", path.to_string_lossy()))?;
    let mut real: Option<HashSet<PathBuf>> = None;
    for source in dep_info.sources(&unit.cwd) {
        if seen.opened.contains(&source) {
            continue;
        }
        let real = real.get_or_insert_with(|| {
            seen.opened.iter().filter_map(|path| fs_err::canonicalize(path).ok()).collect()
        });
        let is_seen = fs_err::canonicalize(&source).is_ok_and(|source| real.contains(&source));
        if !is_seen {
            return Err(Refusal::new("unobservable", format!("{} unseen", source.display())));
        }
    }
    Ok(dep_info)
}

/// Variables named in dep-info: `env!` and `option_env!`.
fn add_declared_variables(
    unit: &Prepared,
    dep_info: &DepInfo,
    seen: &mut Seen,
) -> Result<(), Refusal> {
    for (name, _) in &dep_info.variables {
        if observe::is_credential(name) && unit.env.get(name).is_some() {
            return Err(Refusal::new("reads-credential", name));
        }
        let value = unit.env.get(name).unwrap_or_default();
        let holds_folder = !unit.roots.mentioned_in(value.as_encoded_bytes()).is_empty();
        let literal =
            holds_folder && !env_uses::only_locates_includes(name, &dep_info.sources(&unit.cwd));
        let item = if literal { Item::LiteralVariable } else { Item::Variable };
        seen.add(item(name.clone()), "env!");
    }
    Ok(())
}

/// The outputs with their digests. An output that holds a folder's name depends on it.
fn take_outputs(
    unit: &Prepared,
    seen: &mut Seen,
    digests: &DigestCache,
) -> Result<Vec<OfferedFile>, Refusal> {
    let mut files = Vec::new();
    if unit.compile.keep_paths {
        for root in unit.roots.iter() {
            seen.add(Item::Place(root.token.to_owned()), "debug information or coverage");
        }
    }
    let dep_info = unit.dep_info();
    for path in seen.outputs.clone().iter().filter(|path| **path != dep_info) {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if !unit.is_own_output(name) {
            return Err(Refusal::new("odd-output", name));
        }
        let unreadable = |e: std::io::Error| Refusal::new("unreadable-output", e.to_string());
        let before = Identity::of_path(path).map_err(unreadable)?;
        let scan = scan(path, unit).map_err(unreadable)?;
        // The units above this one need its digest next.
        if Identity::of_path(path).map_err(unreadable)? == before {
            digests.remember(path, before, scan.digest);
        }
        for token in &scan.tokens {
            seen.add(Item::Place((*token).to_owned()), &format!("found in {name}"));
        }
        let name = output_name(path).and_then(|name| EntryName::new(name).ok());
        files.push(OfferedFile {
            name: name.ok_or_else(|| Refusal::new("odd-output", path.to_string_lossy()))?,
            path: path.clone(),
            size: scan.size,
            digest: scan.digest,
            executable: scan.executable,
            lease: Lease::Borrowed,
        });
    }
    check_expected(unit, &files)?;
    Ok(files)
}

/// What `--emit` asks for must be there.
fn check_expected(unit: &Prepared, files: &[OfferedFile]) -> Result<(), Refusal> {
    let metadata = unit.compile.emit.iter().any(|kind| kind == "metadata");
    let has_metadata = files.iter().any(|file| file.name.as_str().ends_with(".rmeta"));
    let link = unit.compile.emit.iter().any(|kind| kind == "link");
    let has_link = files.iter().any(|file| !file.name.as_str().ends_with(".rmeta"));
    if (metadata && !has_metadata) || (link && !has_link) {
        return Err(Refusal::new("missing-output", &unit.compile.crate_name));
    }
    Ok(())
}

struct Scan {
    digest: Digest,
    size: u64,
    executable: bool,
    tokens: Vec<&'static str>,
}

/// Reads a file once: for its digest and for names of folders in it.
fn scan(path: &Path, unit: &Prepared) -> std::io::Result<Scan> {
    use std::os::unix::fs::PermissionsExt;
    const CHUNK_BYTES: usize = 1 << 20;
    /// Longer than any folder's name that matters.
    const OVERLAP_BYTES: usize = 4096;
    let mut file = fs_err::File::open(path)?;
    let executable = file.metadata()?.permissions().mode() & 0o100 != 0;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; OVERLAP_BYTES + CHUNK_BYTES];
    let (mut kept, mut size) = (0, 0);
    let mut tokens = Vec::new();
    loop {
        let read = file.read(&mut buffer[kept..])?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[kept..kept + read]);
        size += read as u64;
        let end = kept + read;
        for token in unit.roots.mentioned_in(&buffer[..end]) {
            if !tokens.contains(&token) {
                tokens.push(token);
            }
        }
        kept = end.min(OVERLAP_BYTES);
        buffer.copy_within(end - kept..end, 0);
    }
    let digest = Digest::from_bytes(*hasher.finalize().as_bytes());
    Ok(Scan { digest, size, executable, tokens })
}

/// Refuses when an input may have changed since the compile began.
///
/// The record folder was made just before; a file's ctime cannot be set, so one before the
/// folder's proves that the file has not been touched since. One equal to it may be either.
fn check_unchanged(
    unit: &Prepared,
    plan: &Plan,
    inputs: &[Input],
    absent: &HashSet<PathBuf>,
) -> Result<(), Refusal> {
    let changed = |path: &Path| Refusal::new("input-changed", path.display().to_string());
    let began = changed_at(&plan.record.0).ok_or_else(|| changed(&plan.record.0))?;
    for input in inputs {
        let (Item::Path(token) | Item::Listing(token)) = &input.item else { continue };
        let is_absent = input.value == Value::Absent;
        if matches!(input.item, Item::Path(_)) && absent.contains(token) != is_absent {
            return Err(changed(token));
        }
        if is_absent || input.value == Value::Folder {
            continue;
        }
        let path = unit.roots.resolve(token).ok_or_else(|| changed(token))?;
        match changed_at(&path) {
            Some(at) if at < began => {}
            _ => return Err(changed(token)),
        }
    }
    Ok(())
}

fn changed_at(path: &Path) -> Option<SystemTime> {
    use std::os::unix::fs::MetadataExt;
    let metadata = fs_err::metadata(path).ok()?;
    let since = std::time::Duration::new(
        u64::try_from(metadata.ctime()).ok()?,
        u32::try_from(metadata.ctime_nsec()).ok()?,
    );
    Some(SystemTime::UNIX_EPOCH + since)
}

fn write_text(folder: &Path, file: &str, name: &str, text: &str) -> Result<OfferedFile, Refusal> {
    let path = folder.join(file);
    fs_err::write(&path, text).map_err(|error| Refusal::new("no-scratch", error.to_string()))?;
    let name = EntryName::new(name).map_err(|_| Refusal::new("odd-output", name))?;
    Ok(OfferedFile {
        name,
        path,
        size: text.len() as u64,
        digest: Digest::of(text.as_bytes()),
        executable: false,
        lease: Lease::Borrowed,
    })
}

fn offer(
    front: &Frontend,
    unit: &Prepared,
    plan: &Plan,
    manifest: &Manifest,
    files: &[OfferedFile],
    cost_ms: Option<u64>,
    replace: bool,
) -> Result<(), Refusal> {
    let manifest_path = write_manifest(front, plan, || manifest.to_bytes())
        .map_err(|error| Refusal::new("no-scratch", error.to_string()))?;
    let ask = Ask {
        key: manifest.key(),
        purpose: Purpose::Outputs,
        unit: &unit.unit,
        scratch_root: &unit.scratch_root(),
        manifest: manifest_path.as_deref(),
    };
    match front.host.built_a_thing(&ask, &Built { files, cost_ms, replace }) {
        Outcome::Stored { .. } => Ok(()),
        // A cache that is only read from. The unit was a miss, for a reason of its own.
        Outcome::NotStored(reason) if reason.code == buildhook_host::reason::NOT_OFFERED => Ok(()),
        Outcome::NotStored(reason) => Err(Refusal {
            code: crate::codes::intern(&reason.code),
            detail: reason.message.unwrap_or_default(),
        }),
    }
}

/// The file that a plugin which asks for manifests gets, for one request after the other.
fn write_manifest(
    front: &Frontend,
    plan: &Plan,
    manifest: impl FnOnce() -> Vec<u8>,
) -> std::io::Result<Option<PathBuf>> {
    if !front.host.wants_manifest() {
        return Ok(None);
    }
    let path = plan.record.0.join("manifest.json");
    fs_err::write(&path, manifest())?;
    Ok(Some(path))
}

/// Remembers what the unit read, here and in the store. Only later hits are lost when that
/// fails.
fn remember(front: &Frontend, unit: &Prepared, plan: &Plan, set: InputSet) {
    let mut record = front.index.record(&plan.action_key);
    // The hook may be another one than this machine has remembered its sets beside.
    let is_known = plan.known.sets.contains(&set);
    record.add(set);
    // What other machines have put there stays.
    record.merge(plan.known.clone());
    let _ = front.index.set_record(&plan.action_key, &record);
    if is_known {
        return;
    }
    let text = String::from_utf8(record.to_bytes()).unwrap_or_default();
    let Ok(file) = write_text(&plan.record.0, "inputs.json", RECORD_NAME, &text) else { return };
    let Ok(manifest) = write_manifest(front, plan, || plan.action.to_bytes()) else { return };
    let ask = Ask {
        key: plan.action_key,
        purpose: Purpose::Inputs,
        unit: &unit.unit,
        scratch_root: &unit.scratch_root(),
        manifest: manifest.as_deref(),
    };
    let built = Built { files: &[file], cost_ms: None, replace: true };
    // The outcome is counted by the host.
    let _ = front.host.built_a_thing(&ask, &built);
}
