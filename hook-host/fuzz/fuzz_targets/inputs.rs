//! Any bytes as a record of inputs: accepted ones come out as they went in.
#![no_main]

use buildhook_cargo::inputs::{InputRecord, MAX_SETS};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some(record) = InputRecord::parse(bytes) {
        assert!(record.sets.len() <= MAX_SETS);
        assert_eq!(InputRecord::parse(&record.to_bytes()), Some(record));
    }
});
