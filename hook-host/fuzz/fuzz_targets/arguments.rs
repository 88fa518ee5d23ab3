//! Any words as a compiler's command line.
#![no_main]

use buildhook_cargo::args::{Parsed, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let words: Vec<String> = text.lines().map(str::to_owned).collect();
    let read = |_: &std::path::Path| Some(text.to_owned());
    if let Parsed::Compile(compile) = parse(&words, read) {
        assert!(!compile.launcher.is_empty());
        assert!(!compile.crate_name.is_empty());
        let _ = (compile.links(), compile.stem());
    }
});
