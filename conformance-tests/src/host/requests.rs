//! The rules that every request of a host can be held to.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value};

use crate::wire::strict::Violation;
use crate::wire::{digest_file, is_digest, names, seal};

const WANT: &[&str] =
    &["v", "id", "kind", "key", "purpose", "unit", "scratch", "deadline-ms", "manifest"];
const BUILT: &[&str] = &["seal", "files", "cost-ms", "replace"];
/// Longest name that leaves filters room for segments of their own, in bytes.
const ROOMY_BYTES: usize = 900;
/// Most segments of such a name.
const ROOMY_SEGMENTS: usize = 12;
const FILE: &[&str] = &["name", "path", "size", "digest", "executable", "lease"];

/// Rules that a request breaks, looking also at its files and its scratch folder.
pub(super) fn lint(request: &Value) -> Vec<Violation> {
    let mut found = Vec::new();
    let built = request["kind"] == "built-a-thing";
    let mut note = |requirement, text: String| found.push(Violation::new(requirement, text));
    for (name, value) in request.as_object().unwrap_or(&Map::new()) {
        if value.is_null() {
            note("BH-WIRE-014", format!("`{name}` is null"));
        }
        let known = WANT.contains(&name.as_str()) || built && BUILT.contains(&name.as_str());
        if !known && !name.starts_with("x-") {
            note("BH-WIRE-016", format!("the unknown member `{name}`"));
        }
    }
    if request["v"] != 1 {
        note("BH-HELLO-007", format!("`v` is {}, chosen was 1", request["v"]));
    }
    if !request["key"].as_str().is_some_and(is_digest) {
        note(
            "BH-REQ-010",
            format!("the key {} is not `blake3:` and 64 hex digits", request["key"]),
        );
    }
    let complete = request["unit"].is_object() && request["deadline-ms"].is_u64();
    if !complete || request["id"].as_u64().is_none_or(|id| id == 0) {
        note("BH-REQ-010", "`id`, `unit` or `deadline-ms` is missing or wrong".to_owned());
    }
    let scratch = Path::new(request["scratch"].as_str().unwrap_or_default());
    let empty = fs::read_dir(scratch).is_ok_and(|mut entries| entries.next().is_none());
    let holds_owned = files(request).any(|file| file["lease"] == "owned");
    if !scratch.is_absolute() || !(empty || holds_owned) {
        note("BH-REQ-010", format!("`scratch` {} is not an empty folder", scratch.display()));
    }
    files(request).chain(manifest(request)).for_each(|file| found.extend(lint_file(file, scratch)));
    if built {
        found.extend(lint_entry(request));
    }
    found
}

fn files(request: &Value) -> impl Iterator<Item = &Value> {
    request["files"].as_array().into_iter().flatten()
}

fn manifest(request: &Value) -> Option<&Value> {
    request.get("manifest").filter(|manifest| !manifest.is_null())
}

fn lint_entry(request: &Value) -> Vec<Violation> {
    let mut found = Vec::new();
    let records: Vec<Value> = files(request).cloned().collect();
    if records.is_empty() {
        found.push(Violation::new("BH-REQ-010", "built-a-thing without files"));
    }
    if let Some(name) = names::clash(records.iter().filter_map(|file| file["name"].as_str())) {
        found
            .push(Violation::new("BH-FILE-002", format!("the name {name:?} clashes with another")));
    }
    let expected = seal(request["key"].as_str().unwrap_or_default(), &records);
    if request["seal"] != expected {
        found.push(Violation::new(
            "BH-SEAL-001",
            format!("the seal is {}, not {expected}", request["seal"]),
        ));
    }
    found
}

fn lint_file(file: &Value, scratch: &Path) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut note = |requirement, text: String| found.push(Violation::new(requirement, text));
    for name in file.as_object().unwrap_or(&Map::new()).keys() {
        if !FILE.contains(&name.as_str()) && !name.starts_with("x-") {
            note("BH-WIRE-016", format!("a file record with the unknown member `{name}`"));
        }
    }
    let name = file["name"].as_str().unwrap_or_default();
    if let Some(fault) = names::fault(name) {
        note("BH-FILE-001", format!("the name {name:?}: {fault}"));
    }
    let segments = name.split('/').count();
    if name.len() > ROOMY_BYTES || segments > ROOMY_SEGMENTS {
        let size = name.len();
        note("BH-FILE-015", format!("a name of {size} bytes and {segments} segments"));
    }
    let path = Path::new(file["path"].as_str().unwrap_or_default());
    let regular = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file());
    if !path.is_absolute() || !regular {
        note(
            "BH-FILE-003",
            format!("{} is not the absolute path of a regular file", path.display()),
        );
    } else {
        let size = fs::metadata(path).map_or(0, |metadata| metadata.len());
        let same =
            file["size"] == size && digest_file(path).ok().as_deref() == file["digest"].as_str();
        if !same {
            note("BH-FILE-010", format!("{} is not what its record says", path.display()));
        }
    }
    match file["lease"].as_str() {
        Some("owned") if !path.starts_with(scratch) => {
            note("BH-FILE-009", format!("{} is `owned` but not in `scratch`", path.display()));
        }
        Some("owned" | "shared" | "borrowed") => {}
        _ => note("BH-REQ-010", format!("the lease {}", file["lease"])),
    }
    found
}

/// A file of the request that is not what its record says.
pub(super) fn changed(request: &Value) -> Option<String> {
    files(request).find_map(|file| {
        let path = Path::new(file["path"].as_str().unwrap_or_default());
        let same = digest_file(path).ok().as_deref() == file["digest"].as_str();
        (!same).then(|| format!("{} changed while the request was in flight", path.display()))
    })
}
