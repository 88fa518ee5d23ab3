//! Kills, full disks, folders that cannot be written.
#![cfg(unix)]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use buildhook_local_dir::LocalDir;
use buildhook_sdk::protocol::FileRecord;
use buildhook_sdk::testing::contents;
use support::Setup;

/// The content of a file is a function of the entry's and the file's number.
fn content(entry: u64, file: u64) -> Vec<u8> {
    let mut state = entry * 31 + file + 1;
    let size = 20_000 + state * 7919 % 60_000;
    (0..size)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as u8
        })
        .collect()
}

fn entry(setup: &Setup, number: u64) -> Vec<FileRecord> {
    (0..3)
        .map(|file| setup.fixture.file(&format!("out/{file}"), &content(number, file), false))
        .collect()
}

/// A writer is killed at moments spread over the whole of what it does; whatever it had said
/// to be stored is there, and nothing else is there by half.
#[test]
fn a_kill_at_any_moment_leaves_whole_entries_only() {
    let setup = Setup::new();
    let mut promised = Vec::new();
    for round in 0..40u64 {
        let mut session = setup.session();
        let first = entry(&setup, round * 2);
        if session.ask(setup.fixture.built(&format!("k{}", round * 2), &first))["stored"] == "yes" {
            promised.push(round * 2);
        }
        let second = entry(&setup, round * 2 + 1);
        let mut request = setup.fixture.built(&format!("k{}", round * 2 + 1), &second);
        request["id"] = 1_000.into();
        session.send(&request);
        // Storing takes some hundred microseconds; the kills sweep over that.
        std::thread::sleep(Duration::from_micros(round * 25));
        session.kill();
    }

    let mut session = setup.session();
    let mut half = 0;
    for number in 0..80u64 {
        let answer = session.ask(setup.fixture.want(&format!("k{number}")));
        if answer["kind"] == "hit" {
            for (file, (_, found, _)) in contents(&answer).iter().enumerate() {
                assert_eq!(*found, content(number, file as u64), "entry {number}");
            }
        } else {
            assert!(!promised.contains(&number), "{number} was stored: {answer}");
            half += u32::from(answer["reason"]["code"] != "not-found");
        }
    }
    assert_eq!(half, 0, "an entry was there by half");
    assert!(session.close().0.success());
    let verified = LocalDir::open(&setup.store(), u64::MAX).unwrap().verify().unwrap();
    assert_eq!(verified.removed, Vec::<PathBuf>::new());
}

/// Runs this test's own executable again in a namespace where it may mount. Where the system
/// grants none, the test says so; under `CI=true` that is a failure.
fn in_namespace(test: &str) {
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount"]);
        command
    };
    if !unshare().arg("true").status().is_ok_and(|status| status.success()) {
        let must = std::env::var_os("CI").is_some_and(|value| value == "true");
        assert!(!must, "`unshare --user --map-root-user --mount` does not work here");
        eprintln!("not run: `unshare --user --map-root-user --mount` does not work here");
        return;
    }
    // What is mounted upon cannot be removed inside; the mounts end with the namespace.
    let outside = tempfile::tempdir().unwrap();
    let status = unshare()
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .env("TMPDIR", outside.path())
        .status()
        .unwrap();
    assert!(status.success(), "the test failed inside the namespace");
}

const INSIDE: &str = "BUILDHOOK_TEST_INSIDE_NAMESPACE";

fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

fn mount(arguments: &[&str], at: &Path) {
    let status = Command::new("mount").args(arguments).arg(at).status().unwrap();
    assert!(status.success(), "mount {arguments:?}");
}

#[test]
fn a_full_disk_stops_storing_and_nothing_else() {
    if !is_inside() {
        return in_namespace("a_full_disk_stops_storing_and_nothing_else");
    }
    let setup = Setup::new();
    fs_err::create_dir(setup.store()).unwrap();
    mount(&["-t", "tmpfs", "-o", "size=1m", "none"], &setup.store());

    let mut session = setup.session();
    let (mut stored, mut declined) = (Vec::new(), 0);
    for number in 0..30 {
        let files = entry(&setup, number);
        let done = session.ask(setup.fixture.built(&format!("k{number}"), &files));
        match done["stored"].as_str().unwrap() {
            "yes" => stored.push(number),
            "no" => declined += 1,
            other => panic!("{other}"),
        }
    }
    assert!(!stored.is_empty() && declined > 0);
    for number in stored {
        let hit = session.ask(setup.fixture.want(&format!("k{number}")));
        assert_eq!(contents(&hit)[0].1, content(number, 0));
    }
    assert_eq!(fs_err::read_dir(setup.store().join("v1/tmp")).unwrap().count(), 0);
    let (status, stderr) = session.close();
    assert!(status.success());
    assert_eq!(stderr.matches("nothing more is stored").count(), 1, "{stderr}");
}

#[test]
fn a_store_that_cannot_be_written_is_read() {
    if !is_inside() {
        return in_namespace("a_store_that_cannot_be_written_is_read");
    }
    let setup = Setup::new();
    let mut session = setup.session();
    session.ask(setup.fixture.built("k0", &entry(&setup, 0)));
    session.close();
    let store = setup.store();
    mount(&["--bind", store.to_str().unwrap()], &store);
    mount(&["-o", "remount,bind,ro"], &store);

    let mut session = setup.session();
    for number in 1..4 {
        let files = entry(&setup, number);
        let done = session.ask(setup.fixture.built(&format!("k{number}"), &files));
        assert_eq!(done["stored"], "no");
    }
    let again = entry(&setup, 0);
    assert_eq!(session.ask(setup.fixture.built("k0", &again))["stored"], "already");
    assert_eq!(contents(&session.ask(setup.fixture.want("k0")))[1].1, content(0, 1));
    let (status, stderr) = session.close();
    assert!(status.success());
    assert_eq!(stderr.matches("nothing more is stored").count(), 1, "{stderr}");
}

#[test]
fn a_store_that_vanishes_is_made_again() {
    let setup = Setup::new();
    let mut session = setup.session();
    session.ask(setup.fixture.built("k0", &entry(&setup, 0)));
    fs_err::remove_dir_all(setup.store()).unwrap();
    assert_eq!(session.ask(setup.fixture.want("k0"))["kind"], "miss");
    assert_eq!(session.ask(setup.fixture.built("k0", &entry(&setup, 0)))["stored"], "yes");
    assert_eq!(contents(&session.ask(setup.fixture.want("k0")))[2].1, content(0, 2));
}

#[test]
fn folders_where_files_should_be_are_misses() {
    let setup = Setup::new();
    let mut session = setup.session();
    let path = setup.entry_file("k0");
    fs_err::create_dir_all(path.join("x")).unwrap();
    assert_eq!(session.ask(setup.fixture.want("k0"))["kind"], "miss");
    assert_eq!(session.ask(setup.fixture.built("k0", &entry(&setup, 0)))["stored"], "no");
    assert_eq!(session.ask(setup.fixture.built("k1", &entry(&setup, 1)))["stored"], "yes");
}
