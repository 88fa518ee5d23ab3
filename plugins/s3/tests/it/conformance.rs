//! The plugin against `buildhook-conformance plugin --profile strict`.

use buildhook_stack_tests::{assert_strict, words};

use super::server::Server;

#[test]
fn the_suite_finds_nothing() {
    let server = Server::start();
    if server.is_other {
        // Its own server is as good as any.
        return;
    }
    // What follows a `later` cannot be asked for: only one that waits is tested whole.
    for options in [&["--prefix={store}", "--wait"][..], &["--prefix={store}"]] {
        assert_strict(&words(&server.plugin(options)));
    }
}
