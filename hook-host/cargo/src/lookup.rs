//! Looking a unit up: every input set that is known for its action makes a candidate key.

use buildhook_host::{Ask, Entry};
use buildhook_protocol::{EntryName, Key, Purpose, ReasonCode};

use crate::dep_info::DepInfo;
use crate::frontend::{Account, Fate, Frontend, Hit};
use crate::inputs::{InputRecord, MAX_RECORD_BYTES};
use crate::manifest::{Action, Manifest};
use crate::prepare::Prepared;
use crate::refusal::Refusal;

/// Longest dep-info file, standard output or standard error that is restored.
const MAX_TEXT_BYTES: u64 = 64 * 1024 * 1024;
/// The file of an `inputs` entry.
pub(crate) const RECORD_NAME: &str = "out/inputs.json";
/// What the compiler wrote to standard output and error.
pub(crate) const STDOUT_NAME: &str = "log/stdout";
/// See [`STDOUT_NAME`].
pub(crate) const STDERR_NAME: &str = "log/stderr";

/// Why a filter gives back neither outputs nor a record of inputs, in which case the outputs
/// are never asked for: to be told in place of "first seen".
const VERDICTS: [&str; 6] = [
    ReasonCode::UNSIGNED,
    ReasonCode::EXPIRED,
    ReasonCode::REVOKED,
    ReasonCode::OUT_OF_SCOPE,
    ReasonCode::DISAGREEMENT,
    ReasonCode::POLICY,
];

/// Found or not.
pub(crate) enum Lookup {
    Hit(Box<Hit>),
    Miss {
        action: Box<Action>,
        action_key: Key,
        /// What the hook has under it.
        record: InputRecord,
        corrupt: Vec<Key>,
        reason: Option<Refusal>,
    },
}

struct Search<'a> {
    front: &'a Frontend,
    unit: &'a Prepared,
    tried: Vec<Key>,
    corrupt: Vec<Key>,
    reason: Option<Refusal>,
}

/// Asks for the unit under every key that it may have.
pub(crate) fn look_up(
    front: &Frontend,
    unit: &Prepared,
    mut action: Action,
    action_key: Key,
) -> Result<Lookup, Refusal> {
    let mut search = Search { front, unit, tried: Vec::new(), corrupt: Vec::new(), reason: None };
    let known = front.index.record(&action_key);
    if let Some(hit) = search.try_sets(&known, &mut action) {
        return Ok(Lookup::Hit(hit));
    }
    let remote = search.ask_for_record(action_key, &action);
    if let Some(hit) = search.try_sets(&remote, &mut action) {
        let mut merged = known;
        merged.merge(remote);
        // Only speed is lost when it cannot be written.
        let _ = front.index.set_record(&action_key, &merged);
        return Ok(Lookup::Hit(hit));
    }
    let Search { corrupt, reason, .. } = search;
    let first = || Refusal::new("first-seen", "never built so with these dependencies");
    let reason = Some(reason.unwrap_or_else(first));
    Ok(Lookup::Miss { action: Box::new(action), action_key, record: remote, corrupt, reason })
}

impl Search<'_> {
    fn try_sets(&mut self, record: &InputRecord, action: &mut Action) -> Option<Box<Hit>> {
        for set in &record.sets {
            let Some(inputs) = self.unit.place(&self.front.digests).evaluate(set) else { continue };
            let manifest = Manifest { action: action.clone(), inputs };
            let key = manifest.key();
            if self.tried.contains(&key) {
                continue;
            }
            self.tried.push(key);
            if let Some(hit) = self.try_key(key, &manifest) {
                return Some(hit);
            }
        }
        None
    }

    /// `manifest` gives the canonical bytes whose digest `key` is.
    fn ask(
        &mut self,
        key: Key,
        purpose: Purpose,
        manifest: impl FnOnce() -> Vec<u8>,
    ) -> Option<Entry> {
        let root = self.unit.scratch_root();
        let file = self.front.host.wants_manifest().then(manifest).and_then(|manifest| {
            let path = root.join(format!("manifest-{}", key.0.to_hex()));
            crate::atomic::write(&path, &manifest).ok().map(|()| path)
        });
        let unit = &self.unit.unit;
        let ask = Ask { key, purpose, unit, scratch_root: &root, manifest: file.as_deref() };
        let answer = self.front.host.want_to_build(&ask);
        if let Some(file) = &file {
            // Lent until the answer only; swept with the folder when it cannot be removed.
            let _ = fs_err::remove_file(file);
        }
        match answer {
            buildhook_host::Lookup::Hit(entry) => Some(entry),
            buildhook_host::Lookup::Miss(reason) => {
                let is_verdict = VERDICTS.contains(&reason.code.as_str());
                if purpose == Purpose::Outputs || is_verdict {
                    if reason.code == ReasonCode::CORRUPT {
                        self.corrupt.push(key);
                    }
                    self.reason = Some(Refusal {
                        code: crate::codes::intern(&reason.code),
                        detail: reason.message.unwrap_or_default(),
                    });
                }
                None
            }
        }
    }

    fn ask_for_record(&mut self, action_key: Key, action: &Action) -> InputRecord {
        let Some(entry) = self.ask(action_key, Purpose::Inputs, || action.to_bytes()) else {
            return InputRecord::default();
        };
        let bytes = entry.read(RECORD_NAME, MAX_RECORD_BYTES).unwrap_or_default();
        InputRecord::parse(&bytes).unwrap_or_default()
    }

    fn try_key(&mut self, key: Key, manifest: &Manifest) -> Option<Box<Hit>> {
        let entry = self.ask(key, Purpose::Outputs, || manifest.to_bytes())?;
        match restore(self.front, self.unit, &entry, key) {
            Ok(hit) => Some(Box::new(hit)),
            Err(refusal) => {
                self.corrupt.push(key);
                self.reason = Some(refusal);
                None
            }
        }
    }
}

/// Puts an entry's files in place.
fn restore(front: &Frontend, unit: &Prepared, entry: &Entry, key: Key) -> Result<Hit, Refusal> {
    let corrupt = |what: String| Refusal::new("corrupt", what);
    let text = |name: &str| {
        let bytes = entry.read(name, MAX_TEXT_BYTES).map_err(|e| corrupt(e.to_string()))?;
        String::from_utf8(bytes).map_err(|_| corrupt(format!("{name} is not UTF-8")))
    };
    let dep_info_path = unit.dep_info();
    let mut dep_info = None;
    let mut plan: Vec<(EntryName, std::path::PathBuf)> = Vec::new();
    let mut bytes = 0;
    for file in entry.files() {
        bytes += file.size;
        let Some(name) = file.name.strip_folder("out") else { continue };
        if !unit.is_own_output(name) {
            return Err(corrupt(format!("it holds {name}, which is not this unit's")));
        }
        let path = unit.compile.out_dir.join(name);
        if path == dep_info_path {
            dep_info = Some(text(file.name.as_str())?);
        } else {
            plan.push((file.name.clone(), path));
        }
    }
    let dep_info = dep_info.as_deref().and_then(DepInfo::parse);
    let dep_info = dep_info.and_then(|info| info.to_restored(&unit.roots, &unit.env));
    let dep_info = dep_info.ok_or_else(|| corrupt("it has no usable dep-info".to_owned()))?;
    if plan.is_empty() {
        return Err(corrupt("it has no outputs".to_owned()));
    }
    let stdout = text(STDOUT_NAME)?;
    let stored = text(STDERR_NAME)?;
    let translation = unit.translation();
    let lines = stored.split_inclusive('\n').map(|line| translation.apply(line));
    let stderr = lines.collect::<String>();

    let restored = entry.restore(&plan).map_err(|error| corrupt(error.to_string()))?;
    // Last: Cargo takes a unit for built when this file is there.
    crate::atomic::write(&dep_info_path, dep_info.as_bytes())
        .map_err(|error| Refusal::new("restore-failed", error.to_string()))?;
    for file in restored {
        front.digests.remember(&file.path, file.identity, file.digest);
    }
    Ok(Hit {
        stdout: stdout.into_bytes(),
        stderr: stderr.into_bytes(),
        account: Account {
            unit: unit.unit.clone(),
            fate: Fate::Hit,
            reason: None,
            key: Some(key),
            files: entry.files().len() as u64,
            bytes,
            cost_ms: entry.cost_ms(),
        },
    })
}
