//! Any text as a dep-info file: what is stored must be restored with the same rules.
#![no_main]

use std::path::Path;

use buildhook_cargo::Environment;
use buildhook_cargo::dep_info::DepInfo;
use buildhook_cargo::roots::Roots;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Some(info) = DepInfo::parse(text) else { return };
    let roots = Roots::new(
        Path::new("/ws"),
        Path::new("/home/u/.cargo"),
        Path::new("/ws/target/debug/deps"),
        Path::new("/opt/rust"),
    );
    let stored = info.to_stored(&roots);
    // What cannot be read again is a miss, never another file's rules.
    if let Some(again) = DepInfo::parse(&stored) {
        let _ = again.to_restored(&roots, &Environment::default());
    }
    let _ = info.sources(Path::new("/ws"));
    let tokens = roots.tokenise_text(text);
    let _ = roots.resolve_text(&tokens, str::to_owned);
});
