//! The rules that every message of a plugin can be held to without knowing
//! what a check is about.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value};

use super::strict::{Violation, excerpt};
use super::{is_digest, names};

/// Members that SPEC.md defines, per message or object.
const HELLO: &[&str] = &["v", "plugin", "hooks", "features", "max-in-flight", "drain-ms", "error"];
const HIT: &[&str] = &["id", "kind", "seal", "files", "cost-ms"];
const MISS: &[&str] = &["id", "kind", "reason"];
const DONE: &[&str] = &["id", "kind", "stored", "reason", "relocated"];
const ERROR: &[&str] = &["id", "kind", "error"];
const ERROR_BODY: &[&str] = &["kind", "message", "scope", "caused-by"];
const REASON: &[&str] = &["code", "message"];
const FILE: &[&str] = &["name", "path", "size", "digest", "executable", "lease"];
const IDENTITY: &[&str] = &["name", "version"];

/// Collects violations.
struct Lint(Vec<Violation>);

impl Lint {
    fn note(&mut self, requirement: &'static str, text: impl Into<String>) {
        self.0.push(Violation::new(requirement, text));
    }

    fn expect(&mut self, holds: bool, requirement: &'static str, text: &str) {
        if !holds {
            self.note(requirement, text);
        }
    }

    /// Members that are null or that SPEC.md does not define.
    fn members(&mut self, what: &str, object: &Value, known: &[&str]) {
        for (name, value) in object.as_object().unwrap_or(&Map::new()) {
            if value.is_null() {
                self.note("BH-WIRE-014", format!("`{name}` of {what} is null"));
            }
            if !known.contains(&name.as_str()) && !name.starts_with("x-") {
                self.note("BH-WIRE-016", format!("{what} has the unknown member `{name}`"));
            }
        }
    }
}

/// Rules that a hello breaks.
pub(crate) fn hello(hello: &Value) -> Vec<Violation> {
    let mut lint = Lint(Vec::new());
    lint.members("the hello", hello, HELLO);
    lint.members("`plugin`", &hello["plugin"], IDENTITY);
    let versions = hello["v"].as_array();
    lint.expect(
        versions.is_some_and(|v| !v.is_empty() && v.iter().all(Value::is_u64)),
        "BH-HELLO-002",
        "`v` is not an array of at least one integer",
    );
    for name in ["name", "version"] {
        lint.expect(
            hello["plugin"][name].as_str().is_some_and(|text| !text.is_empty()),
            "BH-HELLO-002",
            &format!("`plugin.{name}` is not a non-empty string"),
        );
    }
    let has = |name: &str| !hello[name].is_null();
    lint.expect(
        has("hooks") != has("error"),
        "BH-HELLO-003",
        "the hello has to hold either `hooks` or `error`",
    );
    for name in ["hooks", "features"] {
        let strings = hello[name].as_array().is_some_and(|all| all.iter().all(Value::is_string));
        lint.expect(
            !has(name) || strings,
            "BH-HELLO-003",
            &format!("`{name}` is not an array of strings"),
        );
    }
    let most = &hello["max-in-flight"];
    lint.expect(
        most.is_null() || most.as_u64().is_some_and(|count| (1..=256).contains(&count)),
        "BH-HELLO-002",
        "`max-in-flight` is not an integer from 1 to 256",
    );
    lint.expect(
        !has("drain-ms") || hello["drain-ms"].is_u64(),
        "BH-HELLO-002",
        "`drain-ms` is not an integer",
    );
    if has("error") {
        error_body(&mut lint, &hello["error"]);
    }
    lint.0
}

/// Rules that an answer to `request` breaks, looking also at the files it names.
pub(crate) fn answer(request: &Value, answer: &Value) -> Vec<Violation> {
    let mut lint = Lint(Vec::new());
    let kind = answer["kind"].as_str().unwrap_or_default();
    let asked = request["kind"].as_str().unwrap_or_default();
    match (kind, asked) {
        ("hit", "want-to-build") => hit(&mut lint, request, answer),
        ("miss", "want-to-build") => miss(&mut lint, answer),
        ("done", "built-a-thing") => done(&mut lint, request, answer),
        ("error", _) => {
            lint.members("an error", answer, ERROR);
            error_body(&mut lint, &answer["error"]);
        }
        _ => lint.note("BH-REQ-001", format!("`{kind}` is no answer to `{asked}`")),
    }
    lint.0
}

/// Rules that an error of the session (id 0) breaks.
pub(crate) fn session_error(message: &Value) -> Vec<Violation> {
    let mut lint = Lint(Vec::new());
    lint.members("an error", message, ERROR);
    error_body(&mut lint, &message["error"]);
    lint.0
}

fn error_body(lint: &mut Lint, body: &Value) {
    lint.members("`error`", body, ERROR_BODY);
    lint.expect(
        body["message"].as_str().is_some_and(|text| !text.trim().is_empty()),
        "BH-ERR-003",
        "an error without a `message`",
    );
    let scope = body["scope"].as_str();
    lint.expect(
        body["kind"].is_string() && matches!(scope, Some("request" | "session")),
        "BH-ERR-007",
        "an error needs a `kind` and a `scope` that is `request` or `session`",
    );
}

fn reason(lint: &mut Lint, reason: &Value) {
    lint.members("`reason`", reason, REASON);
}

fn miss(lint: &mut Lint, answer: &Value) {
    lint.members("a miss", answer, MISS);
    lint.expect(
        answer["reason"]["code"].as_str().is_some_and(|code| !code.is_empty()),
        "BH-WANT-009",
        "a miss without `reason.code`",
    );
    reason(lint, &answer["reason"]);
}

fn hit(lint: &mut Lint, request: &Value, answer: &Value) {
    lint.members("a hit", answer, HIT);
    lint.expect(answer["seal"].is_string(), "BH-WANT-001", "a hit without `seal`");
    let Some(files) = answer["files"].as_array() else {
        lint.note("BH-WANT-001", "a hit without an array `files`");
        return;
    };
    lint.expect(!files.is_empty(), "BH-WANT-001", "a hit without files");
    let scratch = request["scratch"].as_str().map(Path::new);
    for record in files {
        file(lint, record, scratch);
    }
    let all = files.iter().filter_map(|record| record["name"].as_str());
    if let Some(name) = names::clash(all) {
        lint.note("BH-FILE-002", format!("the name {name:?} clashes with another"));
    }
}

fn done(lint: &mut Lint, request: &Value, answer: &Value) {
    lint.members("`done`", answer, DONE);
    reason(lint, &answer["reason"]);
    lint.expect(
        matches!(answer["stored"].as_str(), Some("yes" | "already" | "later" | "no")),
        "BH-BUILT-014",
        "`stored` is not `yes`, `already`, `later` or `no`",
    );
    let relocated = answer["relocated"].as_array().map(Vec::as_slice).unwrap_or_default();
    let sent = request["files"].as_array().into_iter().flatten();
    let sent: std::collections::BTreeMap<&str, &Value> =
        sent.filter_map(|file| Some((file["name"].as_str()?, file))).collect();
    for record in relocated {
        file_members(lint, record);
        lint.expect(
            record["lease"] == "shared",
            "BH-BUILT-010",
            "a relocated file whose lease is not `shared`",
        );
        let same = |original: &&&Value| {
            ["size", "digest", "executable"].iter().all(|name| original[*name] == record[*name])
        };
        let original = sent.get(record["name"].as_str().unwrap_or_default()).filter(same);
        lint.expect(
            original.is_some_and(|original| original["path"] != record["path"]),
            "BH-BUILT-010",
            "a relocated file that was not in the request, or that did not move",
        );
        let path = Path::new(record["path"].as_str().unwrap_or_default());
        if path.is_absolute()
            && super::digest_file(path).ok().as_deref() != record["digest"].as_str()
        {
            lint.note("BH-BUILT-010", format!("{} does not hold what it should", path.display()));
        }
    }
}

fn file_members(lint: &mut Lint, record: &Value) {
    lint.members("a file record", record, FILE);
    let name = record["name"].as_str().unwrap_or_default();
    if let Some(fault) = names::fault(name) {
        lint.note("BH-FILE-001", format!("the name {:?}: {fault}", excerpt(name, 80)));
    }
    let digest = record["digest"].as_str().is_some_and(is_digest);
    let complete = digest && record["executable"].is_boolean() && record["size"].is_u64();
    lint.expect(
        complete && matches!(record["lease"].as_str(), Some("borrowed" | "shared" | "owned")),
        "BH-WANT-001",
        "a file record that lacks `size`, `digest`, `executable` or `lease`, or has a wrong one",
    );
}

fn file(lint: &mut Lint, record: &Value, scratch: Option<&Path>) {
    file_members(lint, record);
    let path = Path::new(record["path"].as_str().unwrap_or_default());
    if !path.is_absolute() {
        lint.note("BH-FILE-003", format!("the path {} is not absolute", path.display()));
        return;
    }
    match fs::symlink_metadata(path) {
        Err(error) => {
            lint.note("BH-WANT-003", format!("{} is not there: {error}", path.display()));
        }
        Ok(metadata) if !metadata.is_file() => {
            lint.note("BH-FILE-003", format!("{} is not a regular file", path.display()));
        }
        Ok(metadata) if record["size"].as_u64().is_some_and(|size| size != metadata.len()) => {
            let text =
                format!("{} has {} bytes, not {}", path.display(), metadata.len(), record["size"]);
            lint.note("BH-WANT-003", text);
        }
        Ok(_) => {}
    }
    let inside = scratch.is_some_and(|scratch| {
        path.starts_with(scratch) && !path.components().any(|part| part.as_os_str() == "..")
    });
    if record["lease"] == "owned" && !inside {
        lint.note("BH-FILE-009", format!("{} is `owned` but not in `scratch`", path.display()));
    }
}
