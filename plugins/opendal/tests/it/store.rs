//! What is stored comes back, and only that.

use buildhook_sdk::protocol::Digest;
use buildhook_sdk::testing::{Fixture, Session, contents};

use super::server::{Kind, PASSWORD, PROGRAM, VARIABLE, each, noise};

#[test]
fn what_is_stored_comes_back_whole() {
    each(|server| {
        // More than one chunk, whatever the service.
        let large = noise(1, 4_500_000);
        let files: &[(&str, &[u8], bool)] = &[
            ("log/stderr", b"", false),
            ("out/a b/\u{fc}.d", b"x: y\n", false),
            ("out/lib.rlib", &large, false),
            ("out/program", &noise(2, 200_000), true),
        ];
        for more in [&[][..], &["--prefix=team/ci"]] {
            server.store("k", files, more);
            let mut session = server.session(more);
            let hit = session.ask(server.fixture.want("k"));
            let expected: Vec<_> =
                files.iter().map(|(n, c, x)| ((*n).to_owned(), c.to_vec(), *x)).collect();
            assert_eq!(contents(&hit), expected);
            assert!(hit["files"].as_array().unwrap().iter().all(|file| file["lease"] == "owned"));
            assert_eq!(session.ask(server.fixture.want("other"))["reason"]["code"], "not-found");
            assert!(session.close().0.success());
        }
    });
}

#[test]
fn a_session_finds_what_it_is_still_uploading_or_waits_for_it() {
    each(|server| {
        for (more, stored) in [(&[][..], "later"), (&["--wait"], "yes")] {
            let mut session = server.session(more);
            for round in 0..3 {
                let content = noise(round, 2_200_000);
                let file = server.fixture.file("out/x", &content, false);
                let built = server.fixture.built("k", std::slice::from_ref(&file));
                assert_eq!(session.ask(built)["stored"], stored);
                // The lease has ended: whatever becomes of the file does not change the entry.
                std::fs::write(&file.path, b"changed").unwrap();
                let hit = session.ask(server.fixture.want("k"));
                assert_eq!(contents(&hit), [("out/x".to_owned(), content, false)]);
            }
        }
    });
}

const PLAIN: &[&str] = &["--zstd=0"];

#[test]
fn damage_in_the_store_is_a_miss_and_is_repaired() {
    each(|server| {
        // Uncompressed it is the pack; the last chunk of it, and how long that is.
        let blob = noise(4, 2_300_000);
        let (last, length) = match server.kind {
            Kind::Memcached | Kind::MemcachedSasl => (2, 300_000),
            _ => (0, blob.len()),
        };
        let files: &[(&str, &[u8], bool)] = &[("out/x", &blob, false), ("out/small", b"s", false)];
        let hex = Digest::of(&blob).to_hex();
        let chunk = format!("v2/packs/{}/{hex}.{last}", &hex[..2]);
        let hex = Fixture::key("k").0.to_hex();
        let record = format!("v2/outputs/{}/{hex}", &hex[..2]);
        let (same_length, longer) = ("w".repeat(length), "w".repeat(length + 1));
        server.store("k", files, PLAIN);
        for (object, content, code) in [
            (&chunk, Some("short"), "corrupt"),
            (&chunk, Some(longer.as_str()), "corrupt"),
            (&chunk, None, "not-found"),
            (&chunk, Some(same_length.as_str()), "corrupt"),
            (&record, Some("damaged"), "corrupt"),
        ] {
            server.overwrite(object, content);
            let mut session = server.session(PLAIN);
            let miss = session.ask(server.fixture.want("k"));
            assert_eq!(miss["reason"]["code"], code, "{:?} {object} {miss}", server.kind);
            let records: Vec<_> =
                files.iter().map(|(n, c, x)| server.fixture.file(n, c, *x)).collect();
            session.ask(server.fixture.built("k", &records));
            assert_eq!(session.close().1, "");
            let hit = server.session(&[]).ask(server.fixture.want("k"));
            assert_eq!(contents(&hit).len(), 2);
        }
    });
}

#[test]
fn mistakes_are_refused_with_file_line_and_nearest_word() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("o.toml");
    for (text, expected) in [
        ("url = 'redis://h'\nprefixx = 'a'\n", "o.toml:2: unknown field `prefixx`"),
        ("url = 'reddis://h'\n", "did you mean `redis://`?"),
        ("url = 'redis://me:planted-password@h'\n", "must not hold a user or a password"),
    ] {
        std::fs::write(&file, text).unwrap();
        let session = Session::start(PROGRAM, ["--config", file.to_str().unwrap()]);
        let message = session.hello()["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.contains(expected), "{message}");
        let (status, stderr) = session.close();
        assert_eq!(status.code(), Some(2));
        assert!(!(message + &stderr).contains("planted-password"));
    }
}

/// The file says the same as the command line, the password's file the same as the variable.
#[test]
fn everything_may_stand_in_files() {
    each(|server| {
        server.store("k", &[("out/x", b"content", false)], &[]);
        let words = server.options_at(server.address);
        let line = |word: &String| word.trim_start_matches("--").replacen('=', " = '", 1) + "'\n";
        let mut text: String = words.iter().map(line).collect();
        if let Some(password) = server.password() {
            let file = server.path("password");
            std::fs::write(&file, format!("{password}\n")).unwrap();
            text += &format!("password-file = '{}'\n", file.display());
        }
        let config = server.path("o.toml");
        std::fs::write(&config, text).unwrap();
        let mut command = std::process::Command::new(PROGRAM);
        command.arg("--config").arg(config).envs(server.trust());
        let mut session = Session::spawn(command);
        assert_eq!(session.ask(server.fixture.want("k"))["kind"], "hit");
    });
}

/// Whatever happens, the password is in no answer and not on standard error.
#[test]
fn passwords_are_found_nowhere() {
    each(|server| {
        let mut seen = String::new();
        for password in [PASSWORD, "planted-password-wrong"] {
            let mut command = server.plugin_at(server.address, &[]);
            if server.password().is_some() {
                command.env(VARIABLE, password);
            }
            command.env("RUST_LOG", "trace").env("RUST_BACKTRACE", "1");
            let mut session = Session::spawn(command);
            seen += &session.hello().to_string();
            let file = server.fixture.file("out/x", &noise(7, 200_000), false);
            let (want, built) = (server.fixture.want("k"), server.fixture.built("k", &[file]));
            for request in [built, want] {
                seen += &session.ask(request).to_string();
            }
            seen += &session.close().1;
        }
        assert!(seen.contains("\"hit\""), "one of them worked");
        // The latter is how Basic authentication begins for this user.
        for secret in ["planted-password", "YnVpbGRlcjpw"] {
            assert!(!seen.contains(secret), "{:?}: {seen}", server.kind);
        }
    });
}
