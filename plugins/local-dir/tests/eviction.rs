//! Eviction, statistics, verification and removal, through the library.

mod support;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use buildhook_local_dir::{Limits, LocalDir};
use buildhook_sdk::protocol::{FileRecord, Message, frame};
use buildhook_sdk::serve;
use buildhook_sdk::testing::contents;
use proptest::prelude::*;
use serde_json::Value;
use support::Setup;

/// One request over a session of its own, in memory.
fn ask(store: &LocalDir, mut request: Value) -> Value {
    request["id"] = 1.into();
    let mut output = Vec::new();
    serve(store, format!("{request}\n").as_bytes(), &mut output).unwrap();
    let line = output.split(|byte| *byte == b'\n').nth(1).unwrap();
    let answer: Message = frame::parse(line).unwrap();
    Value::Object(answer.members().clone())
}

fn open(setup: &Setup, max_size_bytes: u64, grace: Duration) -> LocalDir {
    let limits = Limits { max_size_bytes, grace, touch_after: Duration::from_secs(3600) };
    LocalDir::open_with(&setup.store(), limits).unwrap()
}

fn put(setup: &Setup, store: &LocalDir, key: &str, files: &[FileRecord]) {
    assert_eq!(ask(store, setup.fixture.built(key, files))["stored"], "yes");
}

fn has(setup: &Setup, store: &LocalDir, key: &str) -> bool {
    ask(store, setup.fixture.want(key))["kind"] == "hit"
}

fn set_used(path: &Path, hours_ago: u64) {
    let time = SystemTime::now() - Duration::from_secs(hours_ago * 3600);
    fs_err::File::open(path).unwrap().file().set_modified(time).unwrap();
}

#[cfg(unix)]
#[test]
fn the_least_recently_used_go_first_and_shared_blobs_stay() {
    let setup = Setup::new();
    let store = open(&setup, u64::MAX, Duration::ZERO);
    let common = setup.fixture.file("out/common", &[9; 50_000], false);
    for number in 0..10u8 {
        let own = setup.fixture.file("out/own", &[number; 100_000], false);
        put(&setup, &store, &format!("k{number}"), &[own, common.clone()]);
        set_used(&setup.entry_file(&format!("k{number}")), 100 - u64::from(number));
    }
    let size = store.stats().unwrap().size_bytes;
    assert!((1_050_000..1_060_000).contains(&size), "{size}");

    // k0 is the oldest, until it is used.
    assert!(has(&setup, &store, "k0"));
    let small = open(&setup, 600_000, Duration::ZERO);
    let collected = small.collect().unwrap().expect("nobody else collects");
    assert!(collected.size_bytes <= 540_000, "{collected:?}");
    assert_eq!(collected.size_bytes, small.stats().unwrap().size_bytes);
    assert_eq!(collected.freed_bytes, size - collected.size_bytes);
    let kept: Vec<_> = (0..10).filter(|n| has(&setup, &small, &format!("k{n}"))).collect();
    assert_eq!(kept, [0, 7, 8, 9]);
    assert_eq!(small.verify().unwrap().removed, Vec::<PathBuf>::new());
}

#[cfg(unix)]
#[test]
fn what_is_fresh_is_not_evicted_and_leftovers_are_when_old() {
    let setup = Setup::new();
    let store = open(&setup, 1, Duration::from_secs(3600));
    let leftover = setup.store().join("v1/tmp/leftover");
    fs_err::write(&leftover, b"of a killed process").unwrap();
    put(&setup, &store, "k", &[setup.fixture.file("out/x", b"content", false)]);
    store.collect().unwrap().unwrap();
    assert!(has(&setup, &store, "k") && leftover.exists());

    let store = open(&setup, 1, Duration::ZERO);
    let collected = store.collect().unwrap().unwrap();
    assert_eq!((collected.entries, collected.blobs, collected.temporaries), (1, 1, 1));
    assert!(!has(&setup, &store, "k") && !leftover.exists());
    assert_eq!(store.stats().unwrap().size_bytes, 0);
}

#[cfg(unix)]
#[test]
fn a_store_that_outgrows_its_bound_shrinks_by_itself() {
    let setup = Setup::new();
    let store = open(&setup, 1_000_000, Duration::ZERO);
    for number in 0..40u8 {
        let file = setup.fixture.file("out/own", &[number; 100_000], false);
        put(&setup, &store, &format!("k{number}"), &[file]);
    }
    let size = store.stats().unwrap().size_bytes;
    assert!(size <= 1_100_000, "{size}");
}

/// Many store and use the same contents while one evicts without any grace but the time
/// that storing takes: whatever is a hit is whole, and whatever was just stored is not lost.
#[cfg(unix)]
#[test]
fn eviction_beside_writers_never_breaks_an_entry() {
    let setup = Setup::new();
    let grace = Duration::from_millis(500);
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let evictor = scope.spawn(|| {
            let store = open(&setup, 1, grace);
            let mut evicted = 0;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                evicted += store.collect().unwrap().map_or(0, |c| c.blobs + c.entries);
            }
            evicted
        });
        let writers: Vec<_> = (0..3)
            .map(|writer| {
                let setup = &setup;
                scope.spawn(move || {
                    let store = open(setup, u64::MAX, grace);
                    for round in 0..150u64 {
                        let key = format!("k{writer}-{round}");
                        let files = [
                            setup.fixture.file("out/common", &[1; 30_000], false),
                            setup.fixture.file("out/some", &[(round % 7) as u8; 30_000], false),
                        ];
                        let started = Instant::now();
                        put(setup, &store, &key, &files);
                        let answer = ask(&store, setup.fixture.want(&key));
                        let found = answer["files"][1]["path"].as_str().map(std::fs::read);
                        match found {
                            Some(Ok(found)) => assert_eq!(found, [(round % 7) as u8; 30_000]),
                            // Under load the grace may have run out meanwhile.
                            _ => assert!(started.elapsed() >= grace, "{answer}"),
                        }
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.join().unwrap();
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        evictor.join().unwrap();
    });
}

#[test]
fn verify_removes_what_is_damaged_and_what_needs_it() {
    let setup = Setup::new();
    let store = open(&setup, u64::MAX, Duration::ZERO);
    let common = setup.fixture.file("out/common", b"common", false);
    for key in ["a", "b"] {
        let own = setup.fixture.file("out/own", key.as_bytes(), true);
        put(&setup, &store, key, &[own, common.clone()]);
    }
    assert_eq!(store.verify().unwrap().entries, 2);
    let hex = buildhook_sdk::protocol::Digest::of(b"a").to_hex();
    let blob = setup.store().join("v1/blobs").join(&hex[..2]).join(hex + ".x");
    let time = fs_err::metadata(&blob).unwrap().modified().unwrap();
    fs_err::remove_file(&blob).unwrap();
    fs_err::write(&blob, b"x").unwrap();
    fs_err::File::open(&blob).unwrap().file().set_modified(time).unwrap();

    let verified = store.verify().unwrap();
    assert_eq!((verified.entries, verified.blobs), (1, 2));
    let mut removed = verified.removed;
    removed.sort();
    let mut expected = vec![blob, setup.entry_file("a")];
    expected.sort();
    assert_eq!(removed, expected);
    assert!(!has(&setup, &store, "a") && has(&setup, &store, "b"));
}

#[test]
fn clear_removes_everything_and_the_store_goes_on() {
    let setup = Setup::new();
    let store = open(&setup, u64::MAX, Duration::ZERO);
    let files = [setup.fixture.file("out/x", &[7; 1000], false)];
    put(&setup, &store, "k", &files);
    assert!(store.clear().unwrap() >= 1000);
    assert_eq!(store.stats().unwrap().blobs, 0);
    assert!(!has(&setup, &store, "k"));
    put(&setup, &store, "k", &files);
    assert!(has(&setup, &store, "k"));
    assert_eq!(store.clear().unwrap(), store.clear().unwrap() + 1000 + entry_size(&files));
}

/// What one entry file takes; found by storing one elsewhere.
fn entry_size(files: &[FileRecord]) -> u64 {
    let setup = Setup::new();
    let store = open(&setup, u64::MAX, Duration::ZERO);
    put(&setup, &store, "k", files);
    fs_err::metadata(setup.entry_file("k")).unwrap().len()
}

#[derive(Debug, Clone)]
enum Step {
    Store { key: u8, content: u8, replace: bool },
    Want { key: u8 },
    Reopen,
    Collect,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0u8..4, 0u8..6, any::<bool>()).prop_map(|(key, content, replace)| Step::Store {
            key,
            content,
            replace
        }),
        (0u8..4).prop_map(|key| Step::Want { key }),
        Just(Step::Reopen),
        Just(Step::Collect),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// A store that is large enough is a map in which the first value stays until replaced.
    #[test]
    fn a_store_is_a_map(steps in proptest::collection::vec(step(), 1..30)) {
        let setup = Setup::new();
        let mut store = open(&setup, u64::MAX, Duration::ZERO);
        let mut model: HashMap<u8, u8> = HashMap::new();
        for step in steps {
            match step {
                Step::Store { key, content, replace } => {
                    let own = vec![content; usize::from(content) * 1000];
                    let files = [
                        setup.fixture.file("out/own", &own, content % 2 == 0),
                        setup.fixture.file("log/stderr", b"", false),
                    ];
                    let mut request = setup.fixture.built(&key.to_string(), &files);
                    request["replace"] = replace.into();
                    let stored = ask(&store, request)["stored"].clone();
                    let kept = !replace && model.contains_key(&key);
                    prop_assert_eq!(stored, if kept { "already" } else { "yes" });
                    if !kept {
                        model.insert(key, content);
                    }
                }
                Step::Want { key } => {
                    let answer = ask(&store, setup.fixture.want(&key.to_string()));
                    match model.get(&key) {
                        None => prop_assert_eq!(&answer["kind"], "miss"),
                        Some(&content) => {
                            let files = contents(&answer);
                            let own = vec![content; usize::from(content) * 1000];
                            prop_assert_eq!(&files[1].1, &own);
                            prop_assert_eq!(files[1].2, content % 2 == 0);
                        }
                    }
                }
                Step::Reopen => store = open(&setup, u64::MAX, Duration::ZERO),
                Step::Collect => {
                    store.collect().unwrap();
                }
            }
        }
    }
}
