//! Why a unit was not restored: its manifest against the nearest one that is known.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::inputs::{Input, Item, Value};
use crate::manifest::{Action, ActionExtern, Manifest};

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Explanation {
    /// The manifest compared to, by the hex digits of its key; `None` when there is no other.
    pub nearest: Option<String>,
    /// What differs from it.
    pub differences: Vec<Difference>,
    /// What the unit read, and who did.
    pub reads: Vec<Read>,
}

/// One thing that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Difference {
    /// `file`, `folder`, `link`, `variable`, `program`, `place`, `argument`, `dependency`, `compiler`, ….
    pub kind: &'static str,
    /// Which one.
    pub name: String,
    /// As it was in the nearest manifest; `None` when it was not part of it.
    pub was: Option<String>,
    /// As it is now; `None` when it no longer takes part.
    pub now: Option<String>,
}

/// One thing that was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Read {
    /// As in [`Difference`].
    pub kind: String,
    /// Which one.
    pub name: String,
    /// Programs and macros that read it.
    pub readers: Vec<String>,
}

/// Explains the unit whose manifest is `<key_hex>.json` in `folder`, which holds the manifests
/// of one crate name. `None` when that one is not known.
#[must_use]
pub fn explain(folder: &Path, key_hex: &str) -> Option<Explanation> {
    let mine = read_manifest(&folder.join(format!("{key_hex}.json")))?;
    let facts = facts(&mine);
    let mut best: Option<(String, Vec<Difference>)> = None;
    for entry in fs_err::read_dir(folder).ok()?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(hex) = name.strip_suffix(".json").filter(|hex| *hex != key_hex) else { continue };
        let Some(other) = read_manifest(&entry.path()) else { continue };
        if !is_comparable(&mine.action, &other.action) {
            continue;
        }
        let differences = differences(&self::facts(&other), &facts);
        if best.as_ref().is_none_or(|(_, known)| differences.len() < known.len()) {
            best = Some((hex.to_owned(), differences));
        }
    }
    let (nearest, differences) = best.map_or((None, Vec::new()), |(hex, d)| (Some(hex), d));
    let readers = fs_err::read(readers_path(folder, key_hex)).unwrap_or_default();
    let reads = serde_json::from_slice(&readers).unwrap_or_default();
    Some(Explanation { nearest, differences, reads })
}

/// Where the readers of a manifest's inputs are written.
#[must_use]
pub fn readers_path(folder: &Path, key_hex: &str) -> std::path::PathBuf {
    folder.join(format!("{key_hex}.readers"))
}

/// The form in which readers are kept.
#[must_use]
pub fn reads(readers: &BTreeMap<Item, std::collections::BTreeSet<String>>) -> Vec<Read> {
    let read = |(item, readers): (&Item, &std::collections::BTreeSet<String>)| {
        let (kind, name) = describe(item);
        Read { kind: kind.to_owned(), name, readers: readers.iter().cloned().collect() }
    };
    readers.iter().map(read).collect()
}

fn read_manifest(path: &Path) -> Option<Manifest> {
    serde_json::from_slice(&fs_err::read(path).ok()?).ok()
}

/// A library's build is no neighbour of its test's, nor a check of a build.
fn is_comparable(a: &Action, b: &Action) -> bool {
    let is_test = |action: &Action| action.arguments.iter().any(|word| word == "--test");
    (&a.crate_name, &a.crate_types, &a.emit, is_test(a))
        == (&b.crate_name, &b.crate_types, &b.emit, is_test(b))
}

type Facts = BTreeMap<(&'static str, String), String>;

/// A manifest as named values, so that any two can be compared.
fn facts(manifest: &Manifest) -> Facts {
    let mut facts = Facts::new();
    let action = &manifest.action;
    let mut fact = |kind, name: String, value: String| _ = facts.insert((kind, name), value);
    fact("compiler", action.compiler_version.clone(), action.compiler.to_string());
    fact("folder", "working folder".to_owned(), action.cwd.display().to_string());
    fact("argument", "source".to_owned(), action.source.display().to_string());
    fact("argument", "--target".to_owned(), action.target.clone().unwrap_or_default());
    fact("processor", "features".to_owned(), format!("{:?}", action.cpu));
    for argument in action.arguments.iter().chain(&action.search) {
        fact("argument", argument.clone(), String::new());
    }
    for (name, digest) in &action.variables {
        fact("variable", name.clone(), digest.to_string());
    }
    for ActionExtern { digest, file, name, options } in &action.externs {
        let value =
            format!("{options} {file} {}", digest.map(|d| d.to_string()).unwrap_or_default());
        fact("dependency", name.clone(), value.trim().to_owned());
    }
    for Input { item, value } in &manifest.inputs {
        let (kind, name) = describe(item);
        fact(kind, name, show(value));
    }
    facts
}

fn describe(item: &Item) -> (&'static str, String) {
    match item {
        Item::Path(path) => ("file", path.display().to_string()),
        Item::Listing(path) => ("folder", path.display().to_string()),
        Item::Resolved(path) => ("link", path.display().to_string()),
        Item::Metadata(path) => ("metadata", path.display().to_string()),
        Item::Variable(name) | Item::LiteralVariable(name) => ("variable", name.clone()),
        Item::Program(name) => ("program", name.clone()),
        Item::Place(token) => ("place", token.clone()),
        Item::Depth => ("place", "depth".to_owned()),
    }
}

fn show(value: &Value) -> String {
    match value {
        Value::Absent => "absent".to_owned(),
        Value::Folder => "a folder".to_owned(),
        Value::Digest(digest) => digest.to_string(),
        Value::Text(text) => text.clone(),
        Value::Program(path, digest) => format!("{} {digest}", path.display()),
    }
}

fn differences(before: &Facts, now: &Facts) -> Vec<Difference> {
    let names: std::collections::BTreeSet<_> = before.keys().chain(now.keys()).collect();
    let difference = |(kind, name): &(&'static str, String)| {
        let key = (*kind, name.clone());
        let (was, now) = (before.get(&key).cloned(), now.get(&key).cloned());
        (was != now).then(|| Difference { kind, name: name.clone(), was, now })
    };
    names.into_iter().filter_map(difference).collect()
}

#[cfg(test)]
mod tests {
    use buildhook_protocol::Digest;

    use super::*;

    fn manifest(opt: &str, file: &str) -> Manifest {
        let action = Action {
            arguments: vec![format!("-C opt-level={opt}")],
            compiler: Digest::of(b""),
            compiler_version: "rustc 1".to_owned(),
            cpu: None,
            crate_name: "foo".to_owned(),
            crate_types: vec!["lib".to_owned()],
            cwd: "/.buildhook/workspace".into(),
            emit: vec!["link".to_owned()],
            externs: Vec::new(),
            host: "buildhook".to_owned(),
            manifest_version: 1,
            search: Vec::new(),
            source: "src/lib.rs".into(),
            target: None,
            variables: Vec::new(),
        };
        let item = Item::Path("src/lib.rs".into());
        let inputs = vec![Input { item, value: Value::Digest(Digest::of(file.as_bytes())) }];
        Manifest { action, inputs }
    }

    #[test]
    fn names_what_differs_from_the_nearest() {
        let folder = tempfile::tempdir().unwrap();
        let keep = |manifest: &Manifest| {
            let hex = manifest.key().0.to_hex();
            fs_err::write(folder.path().join(format!("{hex}.json")), manifest.to_bytes()).unwrap();
            hex
        };
        keep(&manifest("3", "old"));
        let near = keep(&manifest("0", "old"));
        let mine = keep(&manifest("0", "new"));
        let explanation = explain(folder.path(), &mine).unwrap();
        assert_eq!(explanation.nearest, Some(near));
        let kinds: Vec<_> =
            explanation.differences.iter().map(|d| (d.kind, d.name.as_str())).collect();
        assert_eq!(kinds, [("file", "src/lib.rs")]);
        assert_eq!(explain(folder.path(), "00"), None);
    }
}
