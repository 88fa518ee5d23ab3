//! Hits: what is claimed, what is there, and what ends up at the destinations.

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use buildhook_host::{Entry, FaultKind, Hooks, Host, Lookup, RestoreError};
use buildhook_protocol::{Digest, FileRecord, Lease, ReasonCode};
use common::*;
use proptest::prelude::*;
use serde_json::{Value, json};

/// A host whose plugin answers every request with this.
fn always(answer: Value) -> Host {
    Host::new(Hooks::both(answering(move |request| reply(request, answer.clone()))), patient())
}

/// A hit for the key `a` with these files.
fn hit_of(fixture: &Fixture, files: &[FileRecord]) -> (Host, Entry) {
    let host = always(hit("a", files));
    let entry = entry(fixture.want(&host, "a"));
    (host, entry)
}

fn plan(fixture: &Fixture, files: &[FileRecord]) -> Vec<(buildhook_protocol::EntryName, PathBuf)> {
    fs::create_dir_all(fixture.path("target")).unwrap();
    let place = |file: &FileRecord| {
        let at = file.name.as_str().rsplit('/').next().unwrap();
        (file.name.clone(), fixture.path("target").join(at))
    };
    files.iter().map(place).collect()
}

fn listing(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn all_kinds_of_files_survive() {
    let fixture = Fixture::new();
    let large: Vec<u8> = (0..3_000_000u32).flat_map(u32::to_le_bytes).collect();
    let mut files = vec![
        fixture.file("s/1", "out/empty", b"", Lease::Shared),
        fixture.file("s/2", "out/a b ü", b"name", Lease::Borrowed),
        fixture.file("s/3", "out/large", &large, Lease::Shared),
        fixture.file("s/4", "out/program", b"#!/bin/sh", Lease::Shared),
        fixture.file("s/5", "log/stderr", b"warning", Lease::Shared),
    ];
    files[3].executable = true;
    let (_host, entry) = hit_of(&fixture, &files);
    let before = SystemTime::now() - Duration::from_secs(1);
    let plan = plan(&fixture, &files);
    let restored = entry.restore(&plan).unwrap();
    for (file, restored) in files.iter().zip(&restored) {
        assert_eq!(fs::read(&restored.path).unwrap(), fs::read(&file.path).unwrap());
        let metadata = fs::metadata(&restored.path).unwrap();
        // Under whatever umask the tests run.
        let mode = metadata.permissions().mode();
        assert_eq!(mode & 0o700, if file.executable { 0o700 } else { 0o600 });
        assert_eq!(mode & 0o022, 0);
        assert_eq!(metadata.nlink(), 1, "an inode of its own");
        assert_ne!(metadata.ino(), fs::metadata(&file.path).unwrap().ino());
        assert!(metadata.modified().unwrap() > before, "a fresh time");
        assert_eq!(restored.identity, buildhook_host::Identity::of(&metadata));
        assert_eq!(restored.digest, file.digest);
        assert_eq!(restored.name, file.name);
    }
    let times: Vec<_> = restored.iter().map(|r| r.identity.mtime_ns).collect();
    assert!(times.is_sorted(), "in the order of the plan: {times:?}");
    assert_eq!(entry.read("log/stderr", 100).unwrap(), b"warning");
}

#[test]
fn what_is_at_the_destination_is_replaced_and_never_written_through() {
    let fixture = Fixture::new();
    let files = [
        fixture.file("s/1", "out/over-link", b"new", Lease::Shared),
        fixture.file("s/2", "out/over-symlink", b"new", Lease::Shared),
        fixture.file("s/3", "out/over-read-only", b"new", Lease::Shared),
    ];
    let (_host, entry) = hit_of(&fixture, &files);
    let plan = plan(&fixture, &files);
    let precious = fixture.path("precious");
    fs::write(&precious, "precious").unwrap();
    fs::hard_link(&precious, &plan[0].1).unwrap();
    symlink(&precious, &plan[1].1).unwrap();
    fs::write(&plan[2].1, "old").unwrap();
    fs::set_permissions(&plan[2].1, fs::Permissions::from_mode(0o444)).unwrap();
    entry.restore(&plan).unwrap();
    for (_, destination) in &plan {
        assert_eq!(fs::read(destination).unwrap(), b"new");
        assert!(fs::symlink_metadata(destination).unwrap().is_file());
    }
    assert_eq!(fs::read(&precious).unwrap(), b"precious");
    assert_eq!(fs::metadata(&precious).unwrap().nlink(), 1);
}

#[test]
fn owned_files_are_moved_and_their_folder_is_swept() {
    let fixture = Fixture::new();
    let elsewhere = fixture.path("elsewhere");
    fs::write(&elsewhere, "linked").unwrap();
    let host = host(answering({
        let elsewhere = elsewhere.clone();
        move |request| {
            let scratch = Path::new(request["scratch"].as_str().unwrap());
            assert!(fs::read_dir(scratch).unwrap().next().is_none(), "empty");
            fs::write(scratch.join("1"), "moved").unwrap();
            fs::set_permissions(scratch.join("1"), fs::Permissions::from_mode(0o600)).unwrap();
            fs::hard_link(&elsewhere, scratch.join("2")).unwrap();
            let record = |named: &str, at: &str, content: &[u8]| FileRecord {
                name: name(named),
                path: scratch.join(at),
                size: content.len() as u64,
                digest: Digest::of(content),
                executable: false,
                lease: Lease::Owned,
            };
            let files = [record("out/1", "1", b"moved"), record("out/2", "2", b"linked")];
            reply(request, hit("a", &files))
        }
    }));
    let entry = entry(fixture.want(&host, "a"));
    assert_eq!(fixture.scratch_left().len(), 2);
    let inodes: Vec<_> =
        entry.files().iter().map(|file| fs::metadata(&file.path).unwrap().ino()).collect();
    let restored = entry.restore(&plan(&fixture, entry.files())).unwrap();
    assert_eq!(restored[0].identity.inode, inodes[0], "moved");
    assert_ne!(restored[1].identity.inode, inodes[1], "linked elsewhere: copied");
    assert_eq!(fs::metadata(&restored[0].path).unwrap().mode() & 0o644, 0o644);
    drop(entry);
    assert_eq!(fixture.scratch_left(), Vec::<PathBuf>::new());
    assert_eq!(fs::read(&elsewhere).unwrap(), b"linked");
}

/// Content that contradicts its digest is only found while it is read: nothing of the entry
/// is then at its place, and what was there before still is.
#[test]
fn a_damaged_file_leaves_all_destinations_as_they_were() {
    type Damage = fn(&Path);
    let cases: &[(&str, Damage, FaultKind)] = &[
        ("other content", |path| fs::write(path, "XXXX").unwrap(), FaultKind::Corrupt),
        ("shorter", |path| fs::write(path, "XXX").unwrap(), FaultKind::Corrupt),
        ("longer", |path| fs::write(path, "XXXXX").unwrap(), FaultKind::Corrupt),
        ("gone", |path| fs::remove_file(path).unwrap(), FaultKind::Corrupt),
        (
            "a link",
            |path| {
                fs::rename(path, path.with_extension("moved")).unwrap();
                symlink(path.with_extension("moved"), path).unwrap();
            },
            FaultKind::Corrupt,
        ),
        (
            "a folder",
            |path| {
                fs::remove_file(path).unwrap();
                fs::create_dir(path).unwrap();
            },
            FaultKind::Corrupt,
        ),
        (
            "a FIFO",
            |path| {
                fs::remove_file(path).unwrap();
                assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
            },
            FaultKind::Corrupt,
        ),
    ];
    for (what, damage, kind) in cases {
        let fixture = Fixture::new();
        let files = [
            fixture.file("s/1", "out/first", b"good", Lease::Shared),
            fixture.file("s/2", "out/second", b"good", Lease::Shared),
        ];
        let (host, entry) = hit_of(&fixture, &files);
        let plan = plan(&fixture, &files);
        fs::write(&plan[0].1, "before").unwrap();
        damage(&files[1].path);
        let error = entry.restore(&plan).unwrap_err();
        assert!(error.is_damage(), "{what}: {error}");
        assert!(entry.read("out/second", 100).unwrap_err().is_damage(), "{what}");
        assert_eq!(listing(&fixture.path("target")), ["first"], "{what}");
        assert_eq!(fs::read(&plan[0].1).unwrap(), b"before", "{what}");
        let report = host.close();
        assert_eq!(report.plugins[0].fault_count(*kind), 2, "{what}");
        assert_eq!(report.want_to_build.damaged, 2, "{what}");
        assert_eq!(report.plugins[0].switched_off, Vec::<String>::new(), "{what}");
    }
}

#[test]
fn a_plugin_that_always_lies_is_left_alone_in_the_end() {
    let fixture = Fixture::new();
    let record = fixture.file("s/1", "out/a", b"good", Lease::Shared);
    let host = always(hit("a", std::slice::from_ref(&record)));
    fs::write(&record.path, "evil").unwrap();
    let mut damaged = 0;
    while let Lookup::Hit(entry) = fixture.want(&host, "a") {
        assert!(matches!(entry.read("out/a", 4), Err(RestoreError::Corrupt { .. })));
        damaged += 1;
    }
    assert_eq!(damaged, patient().corrupt_until_off);
    assert_eq!(host.close().plugins[0].switched_off.len(), 1);
}

#[test]
fn faults_of_destinations_are_not_the_entrys() {
    let fixture = Fixture::new();
    let files = [
        fixture.file("s/1", "out/first", b"1", Lease::Shared),
        fixture.file("s/2", "out/second", b"2", Lease::Shared),
    ];
    let (host, entry) = hit_of(&fixture, &files);
    let mut plan = plan(&fixture, &files);

    let second = std::mem::replace(&mut plan[1].1, fixture.path("no/such/folder"));
    let error = entry.restore(&plan).unwrap_err();
    assert!(matches!(error, RestoreError::Destination { .. }), "{error}");
    assert_eq!(listing(&fixture.path("target")), Vec::<String>::new());

    // Found only when the first file is in its place already.
    plan[1].1 = second;
    fs::create_dir_all(plan[1].1.join("in the way")).unwrap();
    let error = entry.restore(&plan).unwrap_err();
    assert!(matches!(error, RestoreError::Destination { .. }), "{error}");
    assert_eq!(listing(&fixture.path("target")), ["second"], "no part of the entry");

    plan[1].0 = name("out/third");
    assert!(matches!(entry.restore(&plan), Err(RestoreError::NotInEntry(_))));
    assert!(matches!(entry.read("out/first", 0), Err(RestoreError::TooLarge { .. })));
    let report = host.close();
    assert_eq!(report.plugins[0].faults, []);
    assert_eq!(report.want_to_build.damaged, 0);
}

/// What a hit claims is checked before anyone sees it.
#[test]
fn hits_with_false_claims_are_misses() {
    let fixture = Fixture::new();
    let good = fixture.file("s/1", "out/a", b"good", Lease::Shared);
    let filters = fixture.file("s/2", "@zstd/out/a", b"packed", Lease::Shared);
    let link = fixture.path("link");
    symlink(&good.path, &link).unwrap();
    let changed = |change: &dyn Fn(&mut FileRecord)| {
        let mut record = good.clone();
        change(&mut record);
        hit("a", &[record])
    };
    let mut moved_seal = hit("a", std::slice::from_ref(&good));
    moved_seal["files"][0]["name"] = json!("out/b");
    let cases: &[(&str, Value)] = &[
        ("another key's entry", hit("b", std::slice::from_ref(&good))),
        ("another name than sealed", moved_seal),
        ("another size", changed(&|r| r.size += 1)),
        ("not there", changed(&|r| r.path = fixture.path("nowhere"))),
        ("a symbolic link", changed(&|r| r.path.clone_from(&link))),
        ("a folder", changed(&|r| r.path = fixture.dir.path().to_owned())),
        ("a device", changed(&|r| r.path = "/dev/zero".into())),
        ("owned but outside scratch", changed(&|r| r.lease = Lease::Owned)),
        ("nothing but a filter's file", hit("a", std::slice::from_ref(&filters))),
    ];
    for (what, answer) in cases {
        let host = always(answer.clone());
        assert_eq!(miss(fixture.want(&host, "a")).code, ReasonCode::CORRUPT, "{what}");
        let report = host.close();
        assert_eq!(report.plugins[0].fault_count(FaultKind::Corrupt), 1, "{what}");
        assert_eq!(report.want_to_build.misses[ReasonCode::CORRUPT], 1, "{what}");
    }
}

#[test]
fn owned_files_behind_a_symbolic_link_in_scratch_are_refused() {
    let fixture = Fixture::new();
    let outside = fixture.file("outside/secret", "out/a", b"secret", Lease::Owned);
    let host = host(answering({
        let folder = fixture.path("outside");
        move |request| {
            let scratch = Path::new(request["scratch"].as_str().unwrap());
            symlink(&folder, scratch.join("in")).unwrap();
            let path = scratch.join("in/secret");
            reply(request, hit("a", &[FileRecord { path, ..outside.clone() }]))
        }
    }));
    assert_eq!(miss(fixture.want(&host, "a")).code, ReasonCode::CORRUPT);
    assert_eq!(fs::read(fixture.path("outside/secret")).unwrap(), b"secret");
}

/// A tmpfs of 64 KiB in a mount namespace of its own, reached through its process.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_nothing_of_the_entry() {
    let mut namespace = Command::new("unshare")
        .args(["-Urm", "sh", "-c"])
        .arg("mount -t tmpfs -o size=64k tmpfs /mnt && echo ready && read -r end")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("unshare, of util-linux");
    let mut line = String::new();
    let mut output = std::io::BufReader::new(namespace.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut output, &mut line).unwrap();
    if line.is_empty() {
        namespace.wait().unwrap();
        assert!(std::env::var_os("CI").is_none(), "user namespaces are not allowed here");
        eprintln!("not run: user namespaces are not allowed here");
        return;
    }
    let full = PathBuf::from(format!("/proc/{}/root/mnt", namespace.id()));
    let fixture = Fixture::new();
    let files = [
        fixture.file("s/1", "out/small", &[1; 1000], Lease::Shared),
        fixture.file("s/2", "out/large", &[2; 100_000], Lease::Shared),
    ];
    let (host, entry) = hit_of(&fixture, &files);
    let plan: Vec<_> =
        files.iter().zip(["small", "large"]).map(|(f, n)| (f.name.clone(), full.join(n))).collect();
    let error = entry.restore(&plan).unwrap_err();
    let RestoreError::Destination { source, .. } = &error else { panic!("{error}") };
    assert_eq!(source.kind(), std::io::ErrorKind::StorageFull);
    assert_eq!(listing(&full), Vec::<String>::new());
    assert_eq!(host.close().plugins[0].faults, [], "no fault of the plugin");
    drop(namespace.stdin.take());
    namespace.wait().unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever single claim of a hit is altered, it is not restored as another content.
    #[test]
    fn no_altered_claim_is_ever_restored(
        contents in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..100), 1..4),
        of in any::<prop::sample::Index>(),
        what in 0..6,
    ) {
        let fixture = Fixture::new();
        let mut files: Vec<_> = contents
            .iter()
            .enumerate()
            .map(|(i, content)| {
                fixture.file(&format!("s/{i}"), &format!("out/{i}"), content, Lease::Shared)
            })
            .collect();
        let mut answer = hit("a", &files);
        let index = of.index(files.len());
        let altered = &mut answer["files"][index];
        match what {
            0 => altered["executable"] = json!(true),
            1 => altered["name"] = json!("out/other"),
            2 => altered["digest"] = json!(Digest::of(b"other than up to 100 bytes")),
            3 => altered["size"] = json!(files[index].size + 1),
            4 => drop(answer["files"].as_array_mut().unwrap().remove(index)),
            _ => {
                // Content and claims agree, but are not what was sealed.
                let other = fixture.file("s/x", "out/x", b"other, well over the length", Lease::Shared);
                files[index].path.clone_from(&other.path);
                altered["path"] = json!(other.path);
                altered["size"] = json!(other.size);
                altered["digest"] = json!(other.digest);
            }
        }
        let host = always(answer);
        let lookup = fixture.want(&host, "a");
        prop_assert!(matches!(lookup, Lookup::Miss(_)));
    }
}
