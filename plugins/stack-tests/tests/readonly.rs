//! `buildhook-readonly` above local-dir.

use buildhook_sdk::testing::contents;
use buildhook_stack_tests::{Setup, session};
use serde_json::json;

#[test]
fn reads_pass_and_writes_are_not_offered() {
    let setup = Setup::new();
    let files = [setup.fixture.file("out/x", b"content", true)];
    let mut store = session(&setup.local_dir());
    assert_eq!(store.ask(setup.fixture.built("k", &files))["stored"], "yes");

    let mut filter = session(&setup.above("readonly", &[], setup.local_dir()));
    assert_eq!(filter.hello()["hooks"], json!(["want-to-build"]));
    let hit = filter.ask(setup.fixture.want("k"));
    assert_eq!(contents(&hit), [("out/x".to_owned(), b"content".to_vec(), true)]);
    // A host that sends it all the same.
    let answer = filter.ask(setup.fixture.built("other", &files));
    assert_eq!(answer["error"]["kind"], "unknown-kind");
    assert!(filter.close().0.success());
    assert_eq!(store.ask(setup.fixture.want("other"))["kind"], "miss");
}
