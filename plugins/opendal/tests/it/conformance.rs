//! The plugin against `buildhook-conformance plugin --profile strict`, over each server.

use buildhook_stack_tests::{assert_strict, words};

use super::server::{Kind, each};

#[test]
fn the_suite_finds_nothing() {
    each(|server| {
        // How it is reached makes no difference to the suite.
        if matches!(server.kind, Kind::RedisTls | Kind::MemcachedSasl) {
            return;
        }
        // What follows a `later` cannot be asked for: only one that waits is tested whole.
        for options in [&["--prefix={store}", "--wait"][..], &["--prefix={store}"]] {
            assert_strict(&words(&server.plugin_at(server.address, options)));
        }
    });
}
