//! Any text as a name within an entry.
#![no_main]

use std::path::{Component, Path};

use buildhook_protocol::{EntryName, name::check_unique};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let names: Vec<_> = text.lines().filter_map(|line| EntryName::new(line).ok()).collect();
    for name in &names {
        let path = Path::new(name.as_str());
        assert!(path.components().all(|part| matches!(part, Component::Normal(_))));
        assert_eq!(path.components().count(), name.as_str().split('/').count());
        assert_eq!(EntryName::new(name.as_str()).as_ref(), Ok(name));
    }
    if check_unique(&names).is_ok() {
        // Files of these names fit into one folder.
        for (index, one) in names.iter().enumerate() {
            for other in &names[index + 1..] {
                let (one, other) = (one.as_str().to_lowercase(), other.as_str().to_lowercase());
                let ascii = one.is_ascii() && other.is_ascii();
                assert!(!ascii || !Path::new(&one).starts_with(&other));
                assert!(!ascii || !Path::new(&other).starts_with(&one));
            }
        }
    }
});
