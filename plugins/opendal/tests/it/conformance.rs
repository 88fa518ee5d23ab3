//! The plugin against `buildhook-conformance plugin --profile strict`, over each server.

use buildhook_stack_tests::{assert_strict, words};

use super::server::each;

#[test]
fn the_suite_finds_nothing() {
    each(|server| {
        // What follows a `later` cannot be asked for: only one that waits is tested whole.
        for options in [&["--prefix={store}", "--wait"][..], &["--prefix={store}"]] {
            assert_strict(&words(&server.plugin_at(server.address, options)));
        }
    });
}
