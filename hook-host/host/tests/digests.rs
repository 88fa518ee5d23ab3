//! Remembered digests: when they are given, when not, and how they are kept.

use std::fs;
use std::io::{Seek, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

use buildhook_host::{DigestCache, Identity, digests};
use buildhook_protocol::Digest;
use proptest::prelude::*;

/// The identity of a file that nobody has touched for an hour.
fn settled(path: &Path) -> Identity {
    let identity = Identity::of_path(path).unwrap();
    let hour_ns = 3_600_000_000_000;
    Identity {
        mtime_ns: identity.mtime_ns - hour_ns,
        ctime_ns: identity.ctime_ns - hour_ns,
        ..identity
    }
}

#[test]
fn a_fresh_file_is_not_remembered_and_a_settled_one_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    fs::write(&path, "content").unwrap();
    let cache = DigestCache::new();
    let (digest, identity) = cache.digest(&path).unwrap();
    assert_eq!(digest, Digest::of(b"content"));
    let late = UNIX_NANOS(identity.ctime_ns) + Duration::from_secs(1);
    assert!(identity.is_racy(UNIX_NANOS(identity.ctime_ns)));
    assert!(!identity.is_racy(late), "{identity:?}");
    // Wait, not for a race, but until the file is as old as remembering it asks for.
    while identity.is_racy(SystemTime::now()) {
        std::thread::yield_now();
    }
    cache.digest(&path).unwrap();
    assert_eq!(cache.known(&path, &identity), Some(digest));

    fs::write(&path, "CONTENT").unwrap();
    let (changed, _) = cache.digest(&path).unwrap();
    assert_eq!(changed, Digest::of(b"CONTENT"));
    assert_eq!(cache.known(&path, &identity), Some(digest), "of the file as it was");
}

#[expect(non_snake_case, reason = "reads as the unit that it makes")]
fn UNIX_NANOS(nanoseconds: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(nanoseconds.unsigned_abs())
}

#[test]
fn any_difference_of_the_stat_is_another_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    fs::write(&path, "content").unwrap();
    let cache = DigestCache::new();
    let same = settled(&path);
    cache.remember(&path, same, Digest::of(b"content"));
    assert!(cache.known(&path, &same).is_some());
    for other in [
        Identity { size: same.size + 1, ..same },
        Identity { mtime_ns: same.mtime_ns + 1, ..same },
        Identity { ctime_ns: same.ctime_ns + 1, ..same },
        Identity { inode: same.inode + 1, ..same },
        Identity { device: same.device + 1, ..same },
    ] {
        assert_eq!(cache.known(&path, &other), None);
    }
    assert_eq!(cache.known(&dir.path().join("b"), &same), None);
    // Same content and mtime, as `touch -r` or `cp -p` leave it: ctime and inode tell.
    let mtime = fs::metadata(&path).unwrap().modified().unwrap();
    cache.remember(&path, Identity::of_path(&path).unwrap(), Digest::of(b"content"));
    fs::write(dir.path().join("new"), "CONTENT").unwrap();
    fs::rename(dir.path().join("new"), &path).unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_modified(mtime).unwrap();
    assert_eq!(cache.digest(&path).unwrap().0, Digest::of(b"CONTENT"));
}

#[test]
fn coarse_clocks_and_clocks_that_were_set_are_not_trusted() {
    let now = SystemTime::now();
    let now_ns =
        i64::try_from(now.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos()).unwrap();
    let at = |mtime_ns: i64, ctime_ns: i64| Identity {
        size: 1,
        mtime_ns,
        ctime_ns,
        inode: 1,
        device: 1,
    };
    let second = 1_000_000_000;
    let fine = now_ns - second + 7;
    assert!(!at(fine, fine).is_racy(now));
    assert!(at(now_ns, fine).is_racy(now));
    assert!(at(fine, now_ns).is_racy(now));
    let whole = (now_ns / second - 1) * second;
    assert!(at(whole, whole).is_racy(now), "one second is not enough where times have no parts");
    assert!(!at(whole - 3 * second, whole - 3 * second).is_racy(now));
    assert!(at(fine, now_ns + 60 * second).is_racy(now), "changed in the future");
    assert!(!at(now_ns + 3600 * second, fine).is_racy(now), "an mtime can be anything");
}

#[test]
fn memories_are_saved_merged_and_loaded() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("digests");
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    for path in [&a, &b] {
        fs::write(path, "x").unwrap();
    }
    let (one, two) = (DigestCache::load(&file), DigestCache::load(&file));
    assert!(one.is_empty());
    one.remember(&a, settled(&a), Digest::of(b"1"));
    two.remember(&b, settled(&b), Digest::of(b"2"));
    one.save(&file).unwrap();
    two.save(&file).unwrap();
    let both = DigestCache::load(&file);
    assert_eq!(both.len(), 2);
    assert_eq!(both.known(&a, &settled(&a)), Some(Digest::of(b"1")));
    assert_eq!(both.known(&b, &settled(&b)), Some(Digest::of(b"2")));

    let saved = fs::metadata(&file).unwrap().modified().unwrap();
    both.save(&file).unwrap();
    assert_eq!(fs::metadata(&file).unwrap().modified().unwrap(), saved, "nothing was new");
    let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names.len(), 3, "no temporary file is left: {names:?}");
}

#[test]
fn a_damaged_memory_is_an_empty_one() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("digests");
    fs::write(dir.path().join("a"), "x").unwrap();
    let cache = DigestCache::new();
    for n in 0..20 {
        cache.remember(
            &dir.path().join(n.to_string()),
            settled(&dir.path().join("a")),
            Digest::of(b"1"),
        );
    }
    cache.save(&file).unwrap();
    let good = fs::read(&file).unwrap();
    assert_eq!(DigestCache::load(&file).len(), 20);
    for at in 0..good.len() {
        // Removed first: some file systems flush what replaces the content of a file.
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::remove_file(&file).unwrap();
        fs::write(&file, &bad).unwrap();
        assert!(DigestCache::load(&file).is_empty(), "byte {at}");
        fs::remove_file(&file).unwrap();
        fs::write(&file, &good[..at]).unwrap();
        assert!(DigestCache::load(&file).is_empty(), "cut at {at}");
    }
    fs::write(&file, [&good[..], b"more"].concat()).unwrap();
    assert!(DigestCache::load(&file).is_empty());
    cache.remember(&dir.path().join("a"), settled(&dir.path().join("a")), Digest::of(b"1"));
    cache.save(&file).unwrap();
    assert_eq!(DigestCache::load(&file).len(), 21, "and is replaced by the next");
    // Larger than any that is ever written: not even read.
    let huge = fs::File::create(&file).unwrap();
    huge.set_len(digests::MAX_FILE_BYTES + 1).unwrap();
    assert!(DigestCache::load(&file).is_empty());
}

#[test]
fn a_memory_that_cannot_be_saved_is_an_error_and_still_worth_saving() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    fs::write(&path, "x").unwrap();
    let cache = DigestCache::new();
    cache.remember(&path, settled(&path), Digest::of(b"x"));
    assert!(cache.save(&dir.path().join("no/folder")).is_err());
    cache.save(&dir.path().join("digests")).unwrap();
    assert_eq!(DigestCache::load(&dir.path().join("digests")).len(), 1);
}

/// Writes of equal length within one tick of the clock leave equal stats: what is given
/// after the last of them must still be the digest of what it wrote.
#[test]
fn no_digest_of_an_earlier_content_is_ever_given() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    fs::write(&path, "xxxx").unwrap();
    let cache = DigestCache::new();
    for round in 0..300u32 {
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let mut file = fs::File::options().write(true).open(&path).unwrap();
                for write in 0..20u32 {
                    file.rewind().unwrap();
                    file.write_all(&(round * 20 + write).to_le_bytes()).unwrap();
                }
            });
            while !writer.is_finished() {
                // Of some moment, or an error because the file keeps changing.
                let _ = cache.digest(&path);
            }
        });
        let last = (round * 20 + 19).to_le_bytes();
        assert_eq!(cache.digest(&path).unwrap().0, Digest::of(&last), "round {round}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_bytes_load_as_some_memory(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("digests");
        // With a right checksum, so that the records themselves are hostile.
        let mut content = b"buildhook-digests-v1\n".to_vec();
        content.extend(Digest::of(&bytes).as_bytes());
        content.extend(&bytes);
        fs::write(&file, content).unwrap();
        prop_assert!(DigestCache::load(&file).len() <= bytes.len() / 76);
    }
}
