//! What the builds of one workspace have wanted, in the order in which they wanted it: a
//! small object in the bucket, one for each workspace, toolchain and profile.
//!
//! A list is a hint. One that is damaged, stale or another's costs speed and nothing else:
//! every object that it leads to is verified when it is used. Two sessions that write a list
//! at once leave one of the two.

use std::collections::HashSet;
use std::fmt::Write as _;

use buildhook_protocol::{Digest, Unit};

/// Longest list that is read or written, in objects: several times what a workspace of 500
/// crates takes, and less than 1 MiB.
const MAX_OBJECTS: usize = 8_192;
/// Longest list in bytes: [`MAX_OBJECTS`] lines of the longest kind.
pub(super) const MAX_BYTES: u64 = 128 * MAX_OBJECTS as u64;
/// A build that asks for most of a list but not for an object counts against the object;
/// after so many it is forgotten.
const MAX_SKIPPED: u8 = 3;
const HEADER: &str = "buildhook-s3-list-v1";

/// An object below the prefix, and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    /// Its name without the prefix, `packs/ab/abc…`.
    pub(super) name: String,
    pub(super) size: u64,
    skipped: u8,
}

impl Listed {
    pub(super) fn new(name: String, size: u64) -> Self {
        Self { name, size, skipped: 0 }
    }
}

/// What names the list of the build that `unit` belongs to; `None` when the host does not say
/// which workspace it is.
pub(super) fn id(unit: &Unit) -> Option<Digest> {
    let workspace = unit.workspace.as_ref()?;
    // Quoted, so that no two of them run into one another.
    let text = format!("{HEADER}\n{workspace:?}\n{:?}\n{:?}\n", unit.toolchain, unit.profile);
    Some(Digest::of(text.as_bytes()))
}

/// The content of the object.
pub(super) fn encode(list: &[Listed]) -> Vec<u8> {
    let mut text = format!("{HEADER}\n");
    for Listed { name, size, skipped } in list.iter().take(MAX_OBJECTS) {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name} {size} {skipped}");
    }
    let digest = Digest::of(text.as_bytes());
    let _ = writeln!(text, "{digest}");
    text.into_bytes()
}

/// What `content` says, when it is whole.
pub(super) fn decode(content: &[u8]) -> Option<Vec<Listed>> {
    let text = std::str::from_utf8(content).ok()?;
    let end = text.strip_suffix('\n')?.rfind('\n')? + 1;
    let (lines, digest) = text.split_at(end);
    if digest.trim_end().parse() != Ok(Digest::of(lines.as_bytes())) {
        return None;
    }
    let lines = lines.strip_prefix(HEADER)?.strip_prefix('\n')?.lines();
    lines.take(MAX_OBJECTS).map(parse).collect()
}

fn parse(line: &str) -> Option<Listed> {
    let mut words = line.split(' ');
    let (name, size, skipped) = (words.next()?, words.next()?, words.next()?);
    let listed =
        Listed { name: name.to_owned(), size: size.parse().ok()?, skipped: skipped.parse().ok()? };
    (words.next().is_none() && is_name(name)).then_some(listed)
}

/// Whether it is the name of a record or a pack: no list leads anywhere else.
fn is_name(name: &str) -> bool {
    let mut parts = name.split('/');
    let (folder, two, hex) = (parts.next(), parts.next(), parts.next().unwrap_or_default());
    let is_hex = |c: u8| matches!(c, b'0'..=b'9' | b'a'..=b'f');
    matches!(folder, Some("outputs" | "inputs" | "packs"))
        && parts.next().is_none()
        && hex.len() == 64
        && hex.bytes().all(is_hex)
        && two == hex.get(..2)
}

/// The list after a session that found `old` and wanted `wanted`; `None` when it would say
/// nothing new.
pub(super) fn merge(old: &[Listed], wanted: &[Listed]) -> Option<Vec<Listed>> {
    let known: HashSet<&str> = old.iter().map(|listed| listed.name.as_str()).collect();
    let again = wanted.iter().filter(|listed| known.contains(listed.name.as_str())).count();
    if again == wanted.len() {
        return None;
    }
    // A session behind a local store that has most of it asks for little, which says nothing
    // about the rest.
    let is_whole = again * 2 >= old.len();
    let wanted_names: HashSet<&str> = wanted.iter().map(|listed| listed.name.as_str()).collect();
    let others = old.iter().filter(|listed| !wanted_names.contains(listed.name.as_str()));
    let others = others.cloned().map(|listed| Listed {
        skipped: listed.skipped.saturating_add(u8::from(is_whole)),
        ..listed
    });
    let kept = others.filter(|listed| listed.skipped < MAX_SKIPPED);
    Some(wanted.iter().cloned().chain(kept).take(MAX_OBJECTS).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(folder: &str, content: &str) -> Listed {
        let hex = Digest::of(content.as_bytes()).to_hex();
        Listed::new(format!("{folder}/{}/{hex}", &hex[..2]), content.len() as u64)
    }

    #[test]
    fn any_changed_or_missing_byte_is_found() {
        let list = [listed("outputs", "a"), listed("packs", "bc")];
        let whole = encode(&list);
        assert_eq!(decode(&whole).as_deref(), Some(&list[..]));
        assert_eq!(decode(&encode(&[])), Some(Vec::new()));
        for at in 0..whole.len() {
            assert_eq!(decode(&whole[..at]), None, "cut at {at}");
            let mut changed = whole.clone();
            changed[at] ^= 1;
            assert_eq!(decode(&changed), None, "changed at {at}");
        }
    }

    #[test]
    fn only_records_and_packs_are_named() {
        let good = listed("packs", "a").name;
        assert!(is_name(&good), "{good}");
        for name in ["", "lists/x", "../secret", &good[1..], &format!("{good}/x")] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn what_whole_builds_skip_is_forgotten() {
        let (a, b, c) = (listed("packs", "a"), listed("packs", "b"), listed("packs", "c"));
        let names = |list: &[Listed]| list.iter().map(|l| l.name.clone()).collect::<Vec<_>>();
        assert_eq!(merge(&[a.clone(), b.clone()], std::slice::from_ref(&b)), None);

        let mut list = vec![a.clone(), b.clone()];
        for round in 0..MAX_SKIPPED {
            let new = listed("outputs", &round.to_string());
            // Each build asks for all that is listed but `a`.
            let mut wanted: Vec<_> = list.iter().filter(|l| l.name != a.name).cloned().collect();
            wanted.push(new);
            list = merge(&list, &wanted).unwrap();
            let is_there = names(&list).contains(&a.name);
            assert_eq!(is_there, round + 1 < MAX_SKIPPED, "{round}");
        }
        // One that asks for little says nothing of the rest.
        let long: Vec<_> = (0..9).map(|n| listed("inputs", &n.to_string())).collect();
        let merged = merge(&long, std::slice::from_ref(&c)).unwrap();
        assert_eq!(merged[0], c);
        assert_eq!(&merged[1..], long);
    }
}
