//! A store that was damaged from outside.
//!
//! The suite knows nothing of how a store is laid out: it damages every file
//! that holds the content of an entry, or, when none does (it may be
//! compressed), every file of some size.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::bench::Bench;
use super::entry::Entry;
use super::{Check, Need, Run};
use crate::evidence::walk;
use crate::session::short;
use crate::verdict::{Outcome, Stop, require};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "truncated-store",
        requirement: "BH-WANT-003",
        title: "no hit with a file of another size after files of the store were cut",
        needs: &[Need::Built, Need::Want, Need::Store],
        run: Run::Active(truncated),
    },
    Check {
        id: "emptied-store",
        requirement: "BH-WANT-003",
        title: "no hit with a file that is gone after files of the store were deleted",
        needs: &[Need::Built, Need::Want, Need::Store],
        run: Run::Active(deleted),
    },
    Check {
        id: "flipped-bytes",
        requirement: "BH-WANT-004",
        title: "no hit with other content after bytes of the store were flipped",
        needs: &[Need::Built, Need::Want, Need::Store],
        run: Run::Active(flipped),
    },
    Check {
        id: "damage-is-named",
        requirement: "BH-WANT-005",
        title: "the miss after damage has the code `corrupt`",
        needs: &[Need::Built, Need::Want, Need::Store],
        run: Run::Active(named),
    },
    Check {
        id: "damage-is-repaired",
        requirement: "BH-BUILT-001",
        title: "after damage the entry can be stored again, with `replace`",
        needs: &[Need::Built, Need::Want, Need::Store],
        run: Run::Active(repaired),
    },
];

/// Smallest file that is damaged when no file holds the content as it is.
const WORTH_DAMAGING_BYTES: u64 = 1_024;

/// The files below `store` that hold `entry`.
fn holders(store: &Path, entry: &Entry) -> Outcome<Vec<PathBuf>> {
    let (mut exact, mut others) = (Vec::new(), Vec::new());
    walk(store, &mut |path, metadata| {
        if !metadata.is_file() {
            return;
        }
        let digest = crate::wire::digest_file(path).unwrap_or_default();
        if entry.pieces.iter().any(|piece| piece.digest == digest) {
            exact.push(path.to_owned());
        } else if metadata.len() >= WORTH_DAMAGING_BYTES {
            others.push(path.to_owned());
        }
    });
    let found = if exact.is_empty() { others } else { exact };
    if found.is_empty() {
        return Err(Stop::NotApplicable("no file of the store holds the content".to_owned()));
    }
    Ok(found)
}

/// Stores an entry, damages the store, and asks in a new session.
fn damage(
    bench: &mut Bench<'_>,
    hurt: fn(&Path) -> std::io::Result<()>,
) -> Outcome<(Entry, Value)> {
    let mut session = bench.session()?;
    let entry = bench.entry("damaged")?;
    bench.store(&mut session, &entry)?;
    bench.expect_hit(&mut session, &entry)?;
    session.close()?;
    for path in holders(&bench.store_folder(), &entry)? {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644))?;
        hurt(&path)?;
    }
    let mut session = bench.session()?;
    let answer = bench.ask(&mut session, &entry)?;
    // Judged before the session ends: what was lent may vanish then.
    let difference = entry.difference(&answer);
    session.close()?;
    if let (true, Some(difference)) = (answer["kind"] == "hit", difference) {
        return Err(Stop::Fail(format!("a hit from a damaged store: {difference}")));
    }
    Ok((entry, answer))
}

fn cut(path: &Path) -> std::io::Result<()> {
    let file = fs::File::options().write(true).open(path)?;
    file.set_len(file.metadata()?.len() / 2)
}

fn flip(path: &Path) -> std::io::Result<()> {
    let mut content = fs::read(path)?;
    let middle = content.len() / 2;
    if let Some(byte) = content.get_mut(middle) {
        *byte ^= 0x55;
    }
    fs::write(path, content)
}

fn truncated(bench: &mut Bench<'_>) -> Outcome {
    damage(bench, cut).map(|_| ())
}

fn deleted(bench: &mut Bench<'_>) -> Outcome {
    damage(bench, |path| fs::remove_file(path)).map(|_| ())
}

fn flipped(bench: &mut Bench<'_>) -> Outcome {
    damage(bench, flip).map(|_| ())
}

fn named(bench: &mut Bench<'_>) -> Outcome {
    let (_, answer) = damage(bench, cut)?;
    if answer["kind"] == "hit" {
        return Err(Stop::NotApplicable("the plugin found the content elsewhere".to_owned()));
    }
    require!(
        answer["kind"] == "miss" && answer["reason"]["code"] == "corrupt",
        "a damaged entry was answered: {}",
        short(&answer)
    );
    Ok(())
}

fn repaired(bench: &mut Bench<'_>) -> Outcome {
    let (entry, _) = damage(bench, flip)?;
    let mut session = bench.session()?;
    let mut request = bench.built(&entry)?;
    request["replace"] = true.into();
    let answer = bench.tell_as(&mut session, &entry, request)?;
    if super::bench::says_stored(&answer) {
        bench.expect_hit(&mut session, &entry)?;
    }
    session.close().map(|_| ())
}
