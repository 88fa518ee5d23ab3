//! Any bytes as the log of a process.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(folder) = tempfile::tempdir() else { return };
    if std::fs::write(folder.path().join("1.0"), bytes).is_ok() {
        let observation = buildhook_recorder::read(folder.path());
        let _ = observation.inputs().count();
        let _ = observation.is_complete();
    }
});
