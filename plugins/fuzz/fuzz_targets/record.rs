//! Any bytes as the record of an entry, the one form that all stores keep: nothing that is
//! read breaks a rule of entries, and what is read is written as it was.
#![no_main]

use buildhook_protocol::Digest;
use buildhook_protocol::name::check_unique;
use buildhook_sdk::entry::Record;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    // No fuzzer would find the digest that makes a record whole.
    let mut whole = bytes.to_vec();
    whole.extend_from_slice(format!("\n{}\n", Digest::of(bytes)).as_bytes());
    check(&whole);
});

fn check(content: &[u8]) {
    let Some(record) = Record::decode(content) else { return };
    assert!(!record.files.is_empty());
    check_unique(record.files.iter().map(|file| &file.name)).expect("names of one entry");
    assert_eq!(Record::decode(&record.encode()).as_ref(), Some(&record));
    let packed = record.pack.map_or(0, |pack| pack.files);
    assert!(packed <= record.files.len());
    // As remote stores keep it, with content behind it.
    let longer = [content, content].concat();
    assert_eq!(Record::decode_from(&longer), Some((record, content)));
}
