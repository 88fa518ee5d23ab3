//! Drives the executable as a host does. For all that the protocol asks for:
//! `buildhook-conformance plugin -- target/debug/buildhook-shelf {store}`.

use buildhook_sdk::testing::{Fixture, Session, contents};

#[test]
fn what_is_stored_comes_back() {
    let root = tempfile::tempdir().unwrap();
    let files = root.path().join("files");
    fs_err::create_dir(&files).unwrap();
    let fixture = Fixture::new(&files);
    let program = env!("CARGO_BIN_EXE_buildhook-shelf");
    let mut session = Session::start(program, [root.path().join("store")]);

    assert_eq!(session.ask(fixture.want("key"))["kind"], "miss");
    let request = fixture.built("key", &[fixture.file("out/x", b"content", true)]);
    assert_eq!(session.ask(request.clone())["stored"], "yes");

    let hit = session.ask(fixture.want("key"));
    assert_eq!(hit["seal"], request["seal"]);
    assert_eq!(contents(&hit), [("out/x".to_owned(), b"content".to_vec(), true)]);
    assert!(session.close().0.success());
}
