//! What is stored comes back, and only that.

use buildhook_sdk::testing::{Fixture, Session, contents};

use super::server::{Server, noise};

/// Content that does not stand behind its record, in bytes.
const LONG: usize = 2_200_000;

#[test]
fn what_is_stored_comes_back_whole() {
    let server = Server::start();
    let large = noise(1, 3_000_000);
    let files: &[(&str, &[u8], bool)] = &[
        ("log/stderr", b"", false),
        ("out/a b/\u{fc}.d", b"x: y\n", false),
        ("out/lib.rlib", &large, false),
        ("out/program", &noise(2, 200_000), true),
    ];
    for options in [&["--zstd=0"][..], &["--prefix=team/ci"], &["--prefix=/slashes/"]] {
        server.store("k", files, options);
        let mut session = server.session(options);
        let hit = session.ask(server.fixture.want("k"));
        let expected: Vec<_> =
            files.iter().map(|(n, c, x)| ((*n).to_owned(), c.to_vec(), *x)).collect();
        assert_eq!(contents(&hit), expected);
        for file in hit["files"].as_array().unwrap() {
            assert_eq!(file["lease"], "owned");
            if file["executable"] == true {
                use std::os::unix::fs::PermissionsExt as _;
                let mode = std::fs::metadata(file["path"].as_str().unwrap()).unwrap().permissions();
                assert_eq!(mode.mode() & 0o100, 0o100);
            }
        }
        assert_eq!(session.ask(server.fixture.want("other"))["reason"]["code"], "not-found");
        assert!(session.close().0.success());
    }
    assert_eq!(server.objects("team/ci/v2/outputs").len(), 1);
    assert_eq!(server.objects("team/ci/v2/packs").len(), 1);
}

#[test]
fn a_short_entry_is_one_object_and_a_pack_is_stored_once() {
    let server = Server::start();
    // What counts is how long it is when it is compressed.
    server.store("short", &[("out/x", &[7; 4_000_000], false)], &[]);
    let files: &[(&str, &[u8], bool)] =
        &[("out/y", &noise(20, 300_000), true), ("out/x", b"small", false)];
    server.store("several", files, &[]);
    assert_eq!((server.objects("v2/outputs").len(), server.objects("v2/packs").len()), (2, 0));
    let mut session = server.session(&["--summary"]);
    let hit = session.ask(server.fixture.want("several"));
    let expected: Vec<_> =
        files.iter().rev().map(|(n, c, x)| ((*n).to_owned(), c.to_vec(), *x)).collect();
    assert_eq!(contents(&hit), expected);
    let said = session.close().1;
    assert!(said.contains(": 1 requests, "), "{said}");

    let blob = noise(3, LONG);
    server.store("a", &[("out/x", &blob, false), ("out/same", &blob, false)], &[]);
    assert_eq!(server.objects("v2/packs").len(), 1);
    let mut session = server.session(&["--summary"]);
    let file = server.fixture.file("out/y", &blob, true);
    session.ask(server.fixture.built("b", &[file]));
    let said = session.close().1;
    // Whether it is there, and the record.
    assert!(said.contains(": 2 requests, 0 bytes received, "), "sent again: {said}");
    assert_eq!(server.objects("v2/packs").len(), 1);
    let hit = server.session(&[]).ask(server.fixture.want("b"));
    assert_eq!(contents(&hit), [("out/y".to_owned(), blob, true)]);
}

#[test]
fn a_pack_that_was_cut_short_is_written_anew_for_the_next_entry_with_it() {
    let server = Server::start();
    let files: &[(&str, &[u8], bool)] = &[("out/x", &noise(13, LONG), false)];
    server.store("a", files, &[]);
    let name = &server.objects("v2/packs")[0];
    let whole = server.objects.read(name);
    server.objects.write(name, &whole[..whole.len() - 1]);
    server.store("b", files, &[]);
    assert_eq!(server.objects.read(name), whole);
}

#[test]
fn a_session_finds_what_it_is_still_uploading() {
    let server = Server::start();
    let mut session = server.session(&[]);
    for round in 0..5 {
        let content = noise(round, LONG);
        let file = server.fixture.file("out/x", &content, false);
        let built = server.fixture.built("k", std::slice::from_ref(&file));
        assert_eq!(session.ask(built)["stored"], "later");
        // The lease has ended: whatever happens to the file does not change the entry.
        std::fs::write(&file.path, b"changed").unwrap();
        let hit = session.ask(server.fixture.want("k"));
        assert_eq!(contents(&hit), [("out/x".to_owned(), content, false)]);
    }
}

#[test]
fn a_session_that_waits_says_yes_when_the_entry_is_there() {
    let server = Server::start();
    let mut session = server.session(&["--wait"]);
    let content = noise(12, 400_000);
    let file = server.fixture.file("out/x", &content, false);
    assert_eq!(session.ask(server.fixture.built("k", &[file]))["stored"], "yes");
    let hit = server.session(&[]).ask(server.fixture.want("k"));
    assert_eq!(contents(&hit), [("out/x".to_owned(), content, false)]);
}

#[test]
fn nothing_is_sent_before_the_first_request() {
    // Nobody listens there.
    let server = Server::start();
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let session = Session::spawn(server.plugin_at(address, &[]));
    assert_eq!(session.hello()["hooks"].as_array().unwrap().len(), 2);
    let (status, stderr) = session.close();
    assert!(status.success());
    assert_eq!(stderr, "");
}

#[test]
fn damage_in_the_bucket_is_a_miss_and_is_repaired() {
    let server = Server::start();
    let blob = noise(4, LONG);
    let files: &[(&str, &[u8], bool)] = &[("out/x", &blob, false), ("out/small", b"s", false)];
    let damages: [(&dyn Fn(), &str); 5] = [
        (
            &|| {
                let name = &server.objects("v2/packs")[0];
                let mut wrong = server.objects.read(name);
                wrong[1000] ^= 1;
                server.objects.write(name, &wrong);
            },
            "corrupt",
        ),
        (&|| server.objects.write(&server.objects("v2/packs")[0], b"short"), "corrupt"),
        (&|| server.objects.remove(&server.objects("v2/packs")[0]), "not-found"),
        (
            &|| {
                let name = &server.objects("v2/outputs")[0];
                let mut wrong = server.objects.read(name);
                let at = wrong.windows(5).position(|text| text == b"out/x").unwrap();
                wrong[at + 4] = b'y';
                server.objects.write(name, &wrong);
            },
            "corrupt",
        ),
        (
            &|| {
                // What stands behind the record.
                let name = &server.objects("v2/outputs")[0];
                let mut short = server.objects.read(name);
                short.pop();
                server.objects.write(name, &short);
            },
            "corrupt",
        ),
    ];
    server.store("k", files, &[]);
    for (damage, code) in damages {
        damage();
        let mut session = server.session(&[]);
        let miss = session.ask(server.fixture.want("k"));
        assert_eq!(miss["reason"]["code"], code, "{miss}");
        let records: Vec<_> = files.iter().map(|(n, c, x)| server.fixture.file(n, c, *x)).collect();
        session.ask(server.fixture.built("k", &records));
        assert_eq!(session.close().1, "");
        let hit = server.session(&[]).ask(server.fixture.want("k"));
        assert_eq!(contents(&hit).len(), 2);
    }
}

#[test]
fn a_record_of_another_entry_is_no_hit() {
    let server = Server::start();
    server.store("k", &[("out/x", b"content", false)], &[]);
    let hex = Fixture::key("other").0.to_hex();
    let record = server.objects.read(&server.objects("v2/outputs")[0]);
    server.objects.write(&format!("v2/outputs/{}/{hex}", &hex[..2]), &record);
    let miss = server.session(&[]).ask(server.fixture.want("other"));
    assert_eq!(miss["reason"]["code"], "corrupt");
}

#[test]
fn a_file_that_contradicts_its_record_is_not_stored() {
    let server = Server::start();
    let mut session = server.session(&[]);
    for size in [10, 300_000] {
        let file = server.fixture.file("out/x", &noise(5, size), false);
        std::fs::write(&file.path, noise(6, size)).unwrap();
        assert_eq!(session.ask(server.fixture.built("k", &[file]))["stored"], "no");
    }
    session.close();
    assert_eq!(server.objects("v2"), [""; 0]);
}

#[test]
fn the_file_says_the_same_as_the_command_line() {
    let server = Server::start();
    server.store("k", &[("out/x", b"content", false)], &["--prefix=p"]);
    let file = server.home().join("s3.toml");
    let (prefix, address) = (server.prefixed("p"), server.address);
    let text = format!("bucket = 'cache'\nprefix = '{prefix}'\nendpoint = 'http://{address}'\n");
    std::fs::write(&file, &text).unwrap();
    let arguments = ["--config", file.to_str().unwrap()];
    let mut command = std::process::Command::new(super::server::PROGRAM);
    command
        .env_clear()
        .env("AWS_ACCESS_KEY_ID", &server.access_key)
        .env("AWS_SECRET_ACCESS_KEY", &server.secret)
        .envs(server.region())
        .args(arguments);
    assert_eq!(Session::spawn(command).ask(server.fixture.want("k"))["kind"], "hit");

    std::fs::write(&file, text + "buckets = 3\n").unwrap();
    let session = Session::start(super::server::PROGRAM, arguments);
    let message = session.hello()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("s3.toml:4: unknown field `buckets`"), "{message}");
    assert!(message.contains("did you mean `bucket`?"), "{message}");
    assert_eq!(session.close().0.code(), Some(2));
}
