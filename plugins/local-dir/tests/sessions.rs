//! The executable, driven as a host drives it.
#![cfg(unix)]

mod support;

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use buildhook_sdk::protocol::{FileRecord, Lease};
use buildhook_sdk::testing::{Session, contents, record};
use serde_json::{Value, json};
use support::{PROGRAM, Setup};

fn sample(setup: &Setup) -> Vec<FileRecord> {
    vec![
        setup.fixture.file("out/lib x.rlib", b"library", false),
        setup.fixture.file("out/ünï", b"", true),
        setup.fixture.file("log/stderr", b"warning", false),
    ]
}

/// All blobs of the store.
fn blobs(setup: &Setup) -> Vec<PathBuf> {
    let mut blobs = Vec::new();
    for shard in fs_err::read_dir(setup.store().join("v1/blobs")).unwrap() {
        let shard = fs_err::read_dir(shard.unwrap().path()).unwrap();
        blobs.extend(shard.map(|blob| blob.unwrap().path()));
    }
    blobs
}

fn leased(mut file: FileRecord, lease: Lease) -> FileRecord {
    file.lease = lease;
    file
}

#[test]
fn what_was_stored_comes_back_in_another_session() {
    let setup = Setup::new();
    let mut session = setup.session();
    assert_eq!(session.ask(setup.fixture.want("k"))["kind"], "miss");
    let mut request = setup.fixture.built("k", &sample(&setup));
    request["cost-ms"] = 840.into();
    let done = session.ask(request.clone());
    assert_eq!((&done["kind"], &done["stored"]), (&json!("done"), &json!("yes")));
    assert!(session.close().0.success());

    let mut session = setup.session();
    let hit = session.ask(setup.fixture.want("k"));
    assert_eq!(hit["seal"], request["seal"]);
    assert_eq!(hit["cost-ms"], 840);
    assert_eq!(
        contents(&hit),
        [
            ("log/stderr".to_owned(), b"warning".to_vec(), false),
            ("out/lib x.rlib".to_owned(), b"library".to_vec(), false),
            ("out/ünï".to_owned(), b"".to_vec(), true),
        ]
    );
    for file in hit["files"].as_array().unwrap() {
        assert_eq!(file["lease"], "shared");
        let meta = fs_err::symlink_metadata(file["path"].as_str().unwrap()).unwrap();
        let expected = if file["executable"] == true { 0o555 } else { 0o444 };
        assert_eq!(meta.permissions().mode() & 0o777, expected);
    }
    assert_eq!(session.ask(request)["stored"], "already");
    let mut other = setup.fixture.want("k");
    other["purpose"] = "inputs".into();
    assert_eq!(session.ask(other)["kind"], "miss");
    assert_eq!(session.ask(setup.fixture.want("l"))["kind"], "miss");
}

#[test]
fn a_changed_source_does_not_change_the_entry() {
    let setup = Setup::new();
    let mut session = setup.session();
    let file = setup.fixture.file("out/x", b"first", false);
    session.ask(setup.fixture.built("k", std::slice::from_ref(&file)));
    fs_err::write(&file.path, b"later").unwrap();
    assert_eq!(contents(&session.ask(setup.fixture.want("k")))[0].1, b"first");
}

#[test]
fn leases_are_taken_at_their_word() {
    let setup = Setup::new();
    let mut session = setup.session();

    let owned = leased(setup.fixture.file("out/x", b"owned", false), Lease::Owned);
    let inode = fs_err::metadata(&owned.path).unwrap().ino();
    let done = session.ask(setup.fixture.built("owned", std::slice::from_ref(&owned)));
    assert!(!owned.path.exists(), "moved, not copied");
    let moved = done["relocated"][0]["path"].as_str().unwrap();
    assert_eq!(fs_err::metadata(moved).unwrap().ino(), inode);
    assert_eq!(done["relocated"][0]["lease"], "shared");

    // A second name could be written through: copied.
    let linked = leased(setup.fixture.file("out/x", b"linked", false), Lease::Owned);
    fs_err::hard_link(&linked.path, setup.root.path().join("other name")).unwrap();
    session.ask(setup.fixture.built("linked", std::slice::from_ref(&linked)));
    assert!(linked.path.exists());

    let shared = leased(setup.fixture.file("out/x", b"shared", false), Lease::Shared);
    let read_only = std::fs::Permissions::from_mode(0o444);
    fs_err::set_permissions(&shared.path, read_only).unwrap();
    let before = fs_err::metadata(&shared.path).unwrap();
    let done = session.ask(setup.fixture.built("shared", std::slice::from_ref(&shared)));
    let after = fs_err::metadata(&shared.path).unwrap();
    assert_eq!((after.nlink(), after.mtime(), after.mode()), (2, before.mtime(), before.mode()));
    let linked = fs_err::metadata(done["relocated"][0]["path"].as_str().unwrap()).unwrap();
    assert_eq!(linked.ino(), before.ino());
    assert_eq!(contents(&session.ask(setup.fixture.want("shared")))[0].1, b"shared");

    // One that may be written, whatever its lease says, is copied.
    let writable = leased(setup.fixture.file("out/x", b"writable", false), Lease::Shared);
    session.ask(setup.fixture.built("writable", std::slice::from_ref(&writable)));
    assert_eq!(fs_err::metadata(&writable.path).unwrap().nlink(), 1);
}

#[test]
fn what_contradicts_its_record_is_not_stored() {
    let setup = Setup::new();
    let mut session = setup.session();
    let path = setup.root.path().join("file");
    fs_err::write(&path, b"content").unwrap();
    let link = setup.root.path().join("link");
    fs_err::os::unix::fs::symlink(&path, &link).unwrap();
    let missing = setup.root.path().join("missing");
    for (path, promised) in [
        (&path, &b"longer than that"[..]),
        (&path, b"CONTENT"),
        (&link, b"content"),
        (&missing, b"content"),
    ] {
        for lease in [Lease::Borrowed, Lease::Shared] {
            let file = record("out/x", path, promised, false, lease);
            let done = session.ask(setup.fixture.built("k", &[file]));
            assert_eq!(done["stored"], "no", "{done}");
        }
    }
    assert_eq!(session.ask(setup.fixture.want("k"))["kind"], "miss");
    assert_eq!(fs_err::read_dir(setup.store().join("v1/tmp")).unwrap().count(), 0);
}

#[test]
fn damage_is_a_miss_and_the_next_store_heals_it() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 5] = [
        ("cut", |blob| fs_err::write(blob, b"co").unwrap()),
        ("changed", |blob| fs_err::write(blob, b"CONTENT").unwrap()),
        ("emptied", |blob| fs_err::write(blob, b"").unwrap()),
        ("removed", |blob| fs_err::remove_file(blob).unwrap()),
        ("replaced by a link", |blob| {
            fs_err::remove_file(blob).unwrap();
            fs_err::os::unix::fs::symlink("/etc/passwd", blob).unwrap();
        }),
    ];
    for (how, damage) in damages {
        let setup = Setup::new();
        let mut session = setup.session();
        let files = [setup.fixture.file("out/x", b"content", false)];
        assert_eq!(session.ask(setup.fixture.built("k", &files))["stored"], "yes");
        let [blob] = &blobs(&setup)[..] else { panic!("one blob") };
        // Whatever a person may do to a cache folder.
        fs_err::set_permissions(blob, std::fs::Permissions::from_mode(0o644)).unwrap();
        damage(blob);

        let miss = session.ask(setup.fixture.want("k"));
        assert_eq!(
            (&miss["kind"], &miss["reason"]["code"]),
            (&json!("miss"), &json!("corrupt")),
            "{how}"
        );
        assert_eq!(session.ask(setup.fixture.built("k", &files))["stored"], "yes", "{how}");
        assert_eq!(contents(&session.ask(setup.fixture.want("k")))[0].1, b"content", "{how}");
    }
}

#[test]
fn replace_writes_even_what_looks_whole() {
    let setup = Setup::new();
    let mut session = setup.session();
    let files = [setup.fixture.file("out/x", b"content", false)];
    session.ask(setup.fixture.built("k", &files));
    let [blob] = &blobs(&setup)[..] else { panic!("one blob") };
    // A failing disk: other content, and no program has written it.
    let time = fs_err::metadata(blob).unwrap().modified().unwrap();
    fs_err::set_permissions(blob, std::fs::Permissions::from_mode(0o644)).unwrap();
    fs_err::write(blob, b"CONTENT").unwrap();
    std::fs::File::open(blob).unwrap().set_modified(time).unwrap();
    fs_err::set_permissions(blob, std::fs::Permissions::from_mode(0o444)).unwrap();

    let mut request = setup.fixture.built("k", &files);
    request["replace"] = true.into();
    assert_eq!(session.ask(request)["stored"], "yes");
    assert_eq!(contents(&session.ask(setup.fixture.want("k")))[0].1, b"content");
}

#[test]
fn a_damaged_entry_file_is_a_miss() {
    let setup = Setup::new();
    let mut session = setup.session();
    let files = [setup.fixture.file("out/x", b"content", false)];
    session.ask(setup.fixture.built("k", &files));
    let entry = setup.entry_file("k");
    let whole = fs_err::read(&entry).unwrap();
    session.ask(setup.fixture.built("other", &files));
    let misfiled = fs_err::read(setup.entry_file("other")).unwrap();
    for content in [&b""[..], &whole[..whole.len() / 2], b"{}", &misfiled] {
        fs_err::write(&entry, content).unwrap();
        let miss = session.ask(setup.fixture.want("k"));
        assert_eq!(miss["reason"]["code"], "corrupt", "{miss}");
    }
    assert_eq!(session.ask(setup.fixture.built("k", &files))["stored"], "yes");
    assert_eq!(session.ask(setup.fixture.want("k"))["kind"], "hit");
}

#[test]
fn eight_writers_of_one_key_leave_one_entry_whole() {
    let setup = Setup::new();
    let contents_of = |writer: u8, file: u8| vec![writer * 16 + file; 300_000];
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let setup = &setup;
            scope.spawn(move || {
                let mut session = setup.session();
                for round in 0..6 {
                    let files: Vec<_> = (0..3)
                        .map(|file| {
                            let name = format!("out/{file}");
                            setup.fixture.file(&name, &contents_of(writer, file), false)
                        })
                        .collect();
                    let mut request = setup.fixture.built("k", &files);
                    request["replace"] = (round % 2 == 0).into();
                    let done = session.ask(request);
                    assert!(done["stored"] == "yes" || done["stored"] == "already", "{done}");
                    assert_whole(&session.ask(setup.fixture.want("k")));
                }
            });
        }
    });
    assert_whole(&setup.session().ask(setup.fixture.want("k")));

    fn assert_whole(hit: &Value) {
        let files = contents(hit);
        let writer = files[0].1[0] / 16;
        for (number, (_, content, _)) in files.iter().enumerate() {
            assert_eq!(content[0], writer * 16 + number as u8, "a mixture of two entries");
        }
    }
}

#[test]
fn wrong_arguments_are_told_twice() {
    let setup = Setup::new();
    let file = setup.root.path().join("a file");
    fs_err::write(&file, b"").unwrap();
    let cases: [(&[&std::ffi::OsStr], &str); 4] = [
        (&["--dri".as_ref(), "x".as_ref()], "--dir"),
        (&[], "--dir"),
        (&["--dir".as_ref(), "x".as_ref(), "--max-size".as_ref(), "1X".as_ref()], "no size"),
        (&["--dir".as_ref(), file.as_ref()], "a file"),
    ];
    for (arguments, expected) in cases {
        let session = Session::start(PROGRAM, arguments);
        let error = session.hello()["error"].clone();
        assert_eq!(error["kind"], "config");
        assert!(error["message"].as_str().unwrap().contains(expected), "{error}");
        let (status, stderr) = session.close();
        assert_eq!(status.code(), Some(2));
        assert!(stderr.contains(expected), "{stderr}");
    }
}
