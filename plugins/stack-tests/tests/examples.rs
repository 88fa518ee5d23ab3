//! The SDK's examples do what they say.

use buildhook_sdk::testing::{Fixture, Session, contents};
use buildhook_stack_tests::example;

#[test]
fn shelf_is_a_store() {
    let root = tempfile::tempdir().unwrap();
    let (files, store) = (root.path().join("files"), root.path().join("store"));
    fs_err::create_dir(&files).unwrap();
    let fixture = Fixture::new(&files);
    let entry = |content: &[u8]| {
        [fixture.file("out/x", content, true), fixture.file("log/stderr", b"", false)]
    };

    let mut session = Session::start(example("sdk", "shelf"), [&store]);
    assert_eq!(session.ask(fixture.want("k"))["reason"]["code"], "not-found");
    let request = fixture.built("k", &entry(b"first"));
    assert_eq!(session.ask(request.clone())["stored"], "yes");
    assert!(session.close().0.success());

    let mut session = Session::start(example("sdk", "shelf"), [&store]);
    let hit = session.ask(fixture.want("k"));
    assert_eq!(hit["seal"], request["seal"]);
    assert_eq!(contents(&hit)[1], ("out/x".to_owned(), b"first".to_vec(), true));
    let mut request = fixture.built("k", &entry(b"second"));
    request["replace"] = true.into();
    assert_eq!(session.ask(request)["stored"], "yes");
    let hit = session.ask(fixture.want("k"));
    assert_eq!(contents(&hit)[1].1, b"second");

    fs_err::write(hit["files"][0]["path"].as_str().unwrap(), b"damage").unwrap();
    assert_eq!(session.ask(fixture.want("k"))["reason"]["code"], "corrupt");
    let mut lie = fixture.built("lie", &entry(b"content"));
    lie["files"][0]["size"] = 3.into();
    assert_eq!(session.ask(lie)["kind"], "error");
    assert_eq!(session.ask(fixture.want("lie"))["kind"], "miss");
}
