//! `built-a-thing`: what is sent, what is made of the answer, manifests, relocated files.

mod common;

use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::{Arc, Mutex};

use buildhook_host::{Ask, Hooks, Host, Lookup, OfferedFile, Outcome, SwapError, reason, swap};
use buildhook_protocol::{FileRecord, Lease, Purpose, ReasonCode, Stored, seal};
use common::*;
use serde_json::{Value, json};

/// A host whose plugin answers everything with this, and the requests that it has got.
fn recording(hello: &'static str, answer: Value) -> (Host, Arc<Mutex<Vec<Value>>>) {
    use std::io::{BufRead, Write};
    let requests = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&requests);
    let launch = in_memory(move |lines, mut output| {
        writeln!(output, "{hello}").unwrap();
        for line in lines.lines() {
            let request: Value = serde_json::from_str(&line.unwrap()).unwrap();
            let answer = reply(&request, answer.clone()).remove(0);
            seen.lock().unwrap().push(request);
            writeln!(output, "{answer}").unwrap();
        }
    });
    (Host::new(Hooks::both(launch), patient()), requests)
}

fn done(stored: &str) -> Value {
    json!({"kind": "done", "stored": stored})
}

#[test]
fn an_offer_is_sent_whole() {
    let fixture = Fixture::new();
    let (host, requests) = recording(HELLO, done("yes"));
    let files = [
        fixture.file("a", "out/a", b"a", Lease::Borrowed),
        fixture.file("b", "log/b", b"b", Lease::Shared),
        fixture.file("c", "out/c", b"c", Lease::Owned),
    ];
    let offers = files.each_ref().map(offered);
    let stored = fixture.built(&host, "a", &offers, true);
    assert_eq!(stored, Outcome::Stored { stored: Stored::Yes, relocated: Vec::new() });
    let report = host.close();
    assert_eq!((report.built_a_thing.stored, report.built_a_thing.stored_bytes), (1, 3));
    let request = requests.lock().unwrap().remove(0);
    assert_eq!(request["v"], 1);
    assert_eq!(request["kind"], "built-a-thing");
    assert_eq!(request["key"], json!(key("a")));
    assert_eq!(request["seal"], json!(seal(&key("a"), &files)));
    assert_eq!(request["replace"], true);
    assert_eq!(request["cost-ms"], 7);
    assert_eq!(request["unit"], json!({"name": "fixture"}));
    assert!(request.get("manifest").is_none() && request.get("purpose").is_none());
    let deadline_ms = request["deadline-ms"].as_u64().unwrap();
    assert!((1..=60_000).contains(&deadline_ms), "{deadline_ms}");
    let leases: Vec<_> =
        request["files"].as_array().unwrap().iter().map(|f| f["lease"].clone()).collect();
    assert_eq!(leases, ["borrowed", "shared", "borrowed"], "nothing outside scratch is owned");
}

#[test]
fn answers_become_outcomes() {
    let fixture = Fixture::new();
    let reasoned = json!({"kind": "done", "stored": "no",
        "reason": {"code": "policy", "message": "read-only"}});
    let cases: Vec<(Value, Result<Stored, &str>)> = vec![
        (done("yes"), Ok(Stored::Yes)),
        (done("already"), Ok(Stored::Already)),
        (done("later"), Ok(Stored::Later)),
        (done("no"), Err(ReasonCode::OTHER)),
        (reasoned, Err(ReasonCode::POLICY)),
        (json!({"kind": "miss"}), Err(ReasonCode::UNAVAILABLE)),
        (done("perhaps"), Err(ReasonCode::UNAVAILABLE)),
    ];
    for (answer, expected) in cases {
        let (host, _) = recording(HELLO, answer.clone());
        match (fixture.built(&host, "a", &fixture.some_file(), false), expected) {
            (Outcome::Stored { stored, .. }, Ok(expected)) => assert_eq!(stored, expected),
            (Outcome::NotStored(reason), Err(code)) => assert_eq!(reason.code, code, "{answer}"),
            (outcome, _) => panic!("{answer}: {outcome:?}"),
        }
    }
}

#[test]
fn what_the_protocol_cannot_say_is_not_sent() {
    let fixture = Fixture::new();
    let (host, requests) = recording(HELLO, done("yes"));
    let file = offered(&fixture.file("a", "out/a", b"a", Lease::Borrowed));
    let outside = OfferedFile { name: name("other/a"), ..file.clone() };
    for files in [&[][..], &[file.clone(), file.clone()], &[outside]] {
        assert_eq!(not_stored(fixture.built(&host, "a", files, false)).code, reason::UNFIT);
    }
    let path = std::ffi::OsString::from_vec(b"/tmp/\xff".to_vec()).into();
    let not_unicode = OfferedFile { path, ..file.clone() };
    let reason = not_stored(fixture.built(&host, "a", &[not_unicode], false));
    assert!(reason.message.unwrap().contains("cannot be written"));
    assert!(matches!(
        fixture.built(&host, "a", &[file], false),
        Outcome::Stored { stored: Stored::Yes, .. }
    ));
    host.close();
    assert_eq!(requests.lock().unwrap().len(), 1);
}

#[test]
fn manifests_go_to_those_who_ask() {
    const ASKS: &str = r#"{"v":[1],"plugin":{"name":"f","version":"1"},"hooks":["want-to-build","built-a-thing"],"features":["manifest","x"]}"#;
    let fixture = Fixture::new();
    let path = fixture.path("m.json");
    fs::write(&path, "{}").unwrap();
    let root = fixture.scratch_root();
    let ask = Ask {
        key: key("{}"),
        purpose: Purpose::Inputs,
        unit: &fixture.unit,
        scratch_root: &root,
        manifest: Some(&path),
    };

    let (host, requests) = recording(ASKS, json!({"kind": "miss"}));
    assert!(host.wants_manifest());
    assert!(matches!(host.want_to_build(&ask), Lookup::Miss(_)));
    let request = requests.lock().unwrap().remove(0);
    assert_eq!(request["manifest"]["path"], json!(path));
    assert_eq!(request["manifest"]["digest"], request["key"]);
    assert_eq!(request["manifest"]["size"], 2);
    assert_eq!(request["manifest"]["lease"], "borrowed");
    assert_eq!(request["purpose"], "inputs");
    // A filter that decides by the manifest is not bypassed by leaving it out.
    let without = Ask { manifest: None, ..ask.clone() };
    assert!(miss(host.want_to_build(&without)).message.unwrap().contains("manifest"));
    assert_eq!(requests.lock().unwrap().len(), 0);

    let (host, requests) = recording(HELLO, json!({"kind": "miss"}));
    assert!(!host.wants_manifest());
    assert!(matches!(host.want_to_build(&ask), Lookup::Miss(_)));
    assert!(requests.lock().unwrap()[0].get("manifest").is_none());
}

/// A file that was built, and the store's copy of it.
fn pair(fixture: &Fixture) -> (OfferedFile, FileRecord) {
    let mine = offered(&fixture.file("target/a", "out/a", b"content", Lease::Borrowed));
    (mine, fixture.file("store/a", "out/a", b"content", Lease::Shared))
}

#[test]
fn a_relocated_file_is_swapped_in() {
    let fixture = Fixture::new();
    let (mine, theirs) = pair(&fixture);
    let other = fixture.file("store/b", "out/b", b"content", Lease::Shared);
    let mut answer = done("yes");
    answer["relocated"] = json!([theirs, other]);
    let (host, _) = recording(HELLO, answer);
    let Outcome::Stored { relocated, .. } =
        fixture.built(&host, "a", std::slice::from_ref(&mine), false)
    else {
        panic!("not stored")
    };
    assert_eq!(relocated, std::slice::from_ref(&theirs), "only what fits the offer");

    // As stores keep their files.
    fs::set_permissions(&theirs.path, fs::Permissions::from_mode(0o444)).unwrap();
    let identity = swap(&relocated[0], &mine).unwrap();
    assert_eq!(identity.inode, fs::metadata(&theirs.path).unwrap().ino());
    assert_eq!(identity.inode, fs::metadata(&mine.path).unwrap().ino());
    assert_eq!(fs::read_dir(fixture.path("target")).unwrap().count(), 1);
    swap(&relocated[0], &mine).expect("twice is harmless");
}

#[test]
fn a_relocated_file_that_is_not_the_same_is_refused() {
    type Change = fn(&mut OfferedFile, &mut FileRecord);
    let cases: &[(&str, Change)] = &[
        ("name", |_, theirs| theirs.name = name("out/b")),
        ("lease", |_, theirs| theirs.lease = Lease::Owned),
        ("size", |_, theirs| theirs.size += 1),
        ("content", |_, theirs| fs::write(&theirs.path, "CONTENT").unwrap()),
        ("length", |_, theirs| fs::write(&theirs.path, "longer content").unwrap()),
        ("gone", |_, theirs| fs::remove_file(&theirs.path).unwrap()),
        ("not executable", |mine, theirs| {
            mine.executable = true;
            theirs.executable = true;
        }),
        ("other file system", |_, theirs| theirs.path = "/proc/self/status".into()),
        ("mine has changed", |mine, _| fs::write(&mine.path, "rebuilt since").unwrap()),
        ("mine is a link", |mine, _| {
            fs::rename(&mine.path, mine.path.with_extension("x")).unwrap();
            std::os::unix::fs::symlink(mine.path.with_extension("x"), &mine.path).unwrap();
        }),
    ];
    for (what, change) in cases {
        let fixture = Fixture::new();
        let (mut mine, mut theirs) = pair(&fixture);
        change(&mut mine, &mut theirs);
        let before = fs::read(&mine.path).unwrap();
        let inode = fs::symlink_metadata(&mine.path).unwrap().ino();
        let result: Result<_, SwapError> = swap(&theirs, &mine);
        assert!(result.is_err(), "{what}");
        assert_eq!(fs::read(&mine.path).unwrap(), before, "{what}");
        assert_eq!(fs::symlink_metadata(&mine.path).unwrap().ino(), inode, "{what}");
    }
}
