//! Any entry file in the folder of a local store: a hit names only files of the store that
//! are there, with their sizes, under names that may stand together.
//!
//! The first byte says what to do with the rest: keep it as the file, or add the digest that
//! makes it whole, since no fuzzer would find one by chance. `@` becomes the digest of a file
//! that the store has.
#![no_main]

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use buildhook_local_dir::LocalDir;
use buildhook_protocol::name::check_unique;
use buildhook_protocol::{Answer, Digest, FileRecord, Key, Reader};
use libfuzzer_sys::fuzz_target;
use serde_json::json;

const CONTENT: &[u8] = b"abc";
const MAX_SIZE_BYTES: u64 = 1 << 30;

fuzz_target!(|input: &[u8]| {
    let Some((form, text)) = input.split_first() else { return };
    let root = tempfile::tempdir().expect("a folder");
    let key = Key(Digest::of(b"key"));
    let store = root.path().join("store");
    let opened = LocalDir::open(&store, MAX_SIZE_BYTES).expect("a store");
    put_blob(&store);
    put_entry(&store, &key, &entry(text, *form));

    let scratch = root.path().join("scratch");
    fs::create_dir(&scratch).expect("a folder");
    let request = json!({
        "v": 1, "id": 1, "kind": "want-to-build", "key": key, "unit": {},
        "scratch": scratch, "deadline-ms": 60_000,
    });
    let mut output = Vec::new();
    let requests = format!("{request}\n");
    buildhook_sdk::serve(&opened, requests.as_bytes(), &mut output).expect("it listens");
    let mut answers = Reader::new(output.as_slice());
    answers.next_message().expect("a message").expect("the hello");
    let answer = answers.next_message().expect("a message").expect("an answer");
    match answer.parse::<Answer>().expect("an answer") {
        Answer::Hit { files, .. } => assert_sound(&files, &store),
        Answer::Miss { .. } => {}
        other => panic!("neither a hit nor a miss: {other:?}"),
    }
});

fn assert_sound(files: &[FileRecord], store: &Path) {
    assert!(!files.is_empty());
    check_unique(files.iter().map(|file| &file.name)).expect("names that may stand together");
    for file in files {
        assert!(file.path.starts_with(store));
        let content = fs::read(&file.path).expect("it is there");
        assert_eq!(content.len() as u64, file.size);
        assert_eq!(Digest::of(&content), file.digest);
    }
}

/// A blob as the store keeps it, plain and as a program.
fn put_blob(store: &Path) {
    let hex = Digest::of(CONTENT).to_hex();
    let folder = store.join("v1/blobs").join(&hex[..2]);
    fs::create_dir_all(&folder).expect("a folder");
    for suffix in ["", ".x"] {
        let path = folder.join(format!("{hex}{suffix}"));
        fs::write(&path, CONTENT).expect("a file");
        let published = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let file = File::options().write(true).open(&path).expect("the file");
        file.set_modified(published).expect("its time can be set");
    }
}

fn put_entry(store: &Path, key: &Key, content: &[u8]) {
    let hex = key.0.to_hex();
    let folder = store.join("v1/entries/outputs").join(&hex[..2]);
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join(hex), content).expect("a file");
}

fn entry(text: &[u8], form: u8) -> Vec<u8> {
    let digest = Digest::of(CONTENT).to_string();
    let pieces: Vec<&[u8]> = text.split(|byte| *byte == b'@').collect();
    let mut content = pieces.join(digest.as_bytes());
    if form % 4 != 0 {
        let digest = Digest::of(&content);
        content.extend_from_slice(format!("\n{digest}\n").as_bytes());
    }
    content
}
