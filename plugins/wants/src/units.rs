//! The units of one session, and which of them go into the file.

use std::collections::HashMap;

use buildhook_sdk::Call;
use buildhook_sdk::files::read_verified;
use buildhook_sdk::protocol::FileRecord;
use serde_json::{Map, Value, json};

/// Largest manifest that is read, in bytes: far above what a unit with ten thousand inputs has.
const MAX_MANIFEST_BYTES: u64 = 64 * 1024 * 1024;
/// Units that are remembered: ten times the dependencies of a large program. Of those beyond,
/// misses are still written down.
const MAX_UNITS: usize = 16_384;
/// Where a package comes from when another machine can get it.
const FETCHABLE: [&str; 2] = ["registry", "git"];

/// See the module.
#[derive(Default)]
pub(crate) struct Units {
    /// By [`Identity::stem`].
    known: HashMap<String, Known>,
    /// The stems of a package's build scripts.
    build_scripts: HashMap<Package, Vec<String>>,
}

/// Name and version.
type Package = (Option<String>, Option<String>);

struct Known {
    /// What would be written down; `None` once it is.
    line: Option<Map<String, Value>>,
    needs: Vec<String>,
    package: Package,
}

/// What an action says of the place of its unit among others. The rest of it is for whoever
/// builds the unit.
struct Identity {
    /// The name of its outputs without prefix and extension, such as `serde-1a2b`.
    stem: String,
    /// The stems of its dependencies.
    needs: Vec<String>,
    is_build_script: bool,
}

impl Units {
    /// The lines to be written after `call` was answered; `reason` says why it was a miss.
    pub(crate) fn take(&mut self, call: &Call, reason: Option<Value>) -> Vec<String> {
        let mut line = describe(call);
        let is_miss = reason.is_some();
        if let Some(reason) = reason {
            line.insert("reason".to_owned(), reason);
        }
        let fetchable = call.unit.origin.as_deref().is_some_and(|o| FETCHABLE.contains(&o));
        let action = call.manifest.as_ref().filter(|_| fetchable).and_then(action);
        let identity = action.as_ref().and_then(identity);
        let (Some(action), Some(identity)) = (action, identity) else {
            return if is_miss { vec![text(line, "miss")] } else { Vec::new() };
        };
        line.insert("action".to_owned(), action);
        let stem = identity.stem.clone();
        let package = (call.unit.package.clone(), call.unit.version.clone());
        self.remember(identity, package, line.clone());
        if !is_miss {
            return Vec::new();
        }
        let Some(known) = self.known.get_mut(&stem) else { return vec![text(line, "miss")] };
        let first = known.line.take().map(|_| text(line, "miss"));
        let mut lines: Vec<_> = first.into_iter().collect();
        self.write_needs(&stem, &mut lines);
        lines
    }

    fn remember(&mut self, identity: Identity, package: Package, line: Map<String, Value>) {
        if self.known.len() >= MAX_UNITS || self.known.contains_key(&identity.stem) {
            return;
        }
        let Identity { stem, needs, is_build_script } = identity;
        if is_build_script {
            self.build_scripts.entry(package.clone()).or_default().push(stem.clone());
        }
        self.known.insert(stem, Known { line: Some(line), needs, package });
    }

    /// Everything that `stem` depends on and that is not written down yet.
    fn write_needs(&mut self, stem: &str, lines: &mut Vec<String>) {
        let mut next = vec![stem.to_owned()];
        let mut seen = std::collections::HashSet::new();
        while let Some(stem) = next.pop() {
            if !seen.insert(stem.clone()) {
                continue;
            }
            let Some(known) = self.known.get_mut(&stem) else { continue };
            lines.extend(known.line.take().map(|line| text(line, "dependency")));
            next.extend(known.needs.iter().cloned());
            next.extend(self.build_scripts.get(&known.package).into_iter().flatten().cloned());
        }
    }
}

fn describe(call: &Call) -> Map<String, Value> {
    let at_ms = std::time::SystemTime::now()
        .duration_since(std::time::SystemTime::UNIX_EPOCH)
        // A clock before 1970 is not worth an error.
        .map_or(0, |since| since.as_millis() as u64);
    let described = json!({
        "v": 1, "at-ms": at_ms, "key": call.key, "purpose": call.purpose, "unit": call.unit,
    });
    match described {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

fn text(mut line: Map<String, Value>, why: &str) -> String {
    line.insert("why".to_owned(), why.into());
    Value::Object(line).to_string()
}

/// The action of a manifest: under that name, or, in a record of inputs, the whole of it.
fn action(manifest: &FileRecord) -> Option<Value> {
    if manifest.size > MAX_MANIFEST_BYTES {
        return None;
    }
    let mut content = Vec::new();
    read_verified(manifest, &mut content).ok()?;
    let mut manifest: Value = serde_json::from_slice(&content).ok()?;
    Some(match manifest.get_mut("action") {
        Some(action) => action.take(),
        None => manifest,
    })
}

/// `None` when the action is not one of buildhook's own host.
fn identity(action: &Value) -> Option<Identity> {
    let name = action["crate-name"].as_str()?;
    let arguments = action["arguments"].as_array()?.iter().filter_map(Value::as_str);
    let extra = arguments.filter_map(|word| word.strip_prefix("-C extra-filename=")).next()?;
    let externs = action["externs"].as_array()?.iter();
    Some(Identity {
        stem: format!("{name}{extra}"),
        needs: externs.filter_map(|e| stem_of_file(e["file"].as_str()?)).collect(),
        is_build_script: name.starts_with("build_script_"),
    })
}

/// `serde-1a2b` for `libserde-1a2b.rmeta`.
fn stem_of_file(file: &str) -> Option<String> {
    let (stem, _) = file.rsplit_once('.')?;
    Some(stem.strip_prefix("lib").unwrap_or(stem).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(name: &str, needs: &[&str]) -> (Identity, Map<String, Value>) {
        let identity = Identity {
            stem: format!("{name}-1"),
            needs: needs.iter().map(|need| format!("{need}-1")).collect(),
            is_build_script: name.starts_with("build_script_"),
        };
        (identity, Map::from_iter([("name".to_owned(), name.into())]))
    }

    #[test]
    fn hits_are_written_down_when_a_miss_needs_them() {
        let mut units = Units::default();
        for (name, needs, package) in [
            ("leaf", &[][..], "leaf"),
            ("cc", &[], "cc"),
            ("build_script_build", &["cc"], "mid"),
            ("mid", &["leaf"], "mid"),
            ("other", &[], "other"),
            ("top", &["mid"], "top"),
        ] {
            let (identity, line) = unit(name, needs);
            units.remember(identity, (Some(package.to_owned()), None), line);
        }
        let mut lines = Vec::new();
        units.write_needs("top-1", &mut lines);
        let mut names: Vec<Value> = lines
            .iter()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["name"].clone())
            .collect();
        names.sort_by_key(Value::to_string);
        assert_eq!(names, ["build_script_build", "cc", "leaf", "mid", "top"]);
        lines.clear();
        units.write_needs("top-1", &mut lines);
        assert_eq!(lines, [""; 0]);
    }

    #[test]
    fn an_action_tells_its_place() {
        let action = json!({
            "crate-name": "serde","arguments": ["-C metadata=1", "-C extra-filename=-1a2b"],
            "externs": [{"file": "libserde_core-3c4d.rmeta"}, {"file": ""}],
        });
        let identity = identity(&action).unwrap();
        assert_eq!(identity.stem, "serde-1a2b");
        assert_eq!(identity.needs, ["serde_core-3c4d"]);
    }
}
