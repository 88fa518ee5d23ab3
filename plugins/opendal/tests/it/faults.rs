//! Servers that refuse, die or fall silent: each a miss or a no-op, in bounded time, told once.
//!
//! That time is bounded is shown by what is answered at all, or asked: never by a clock.

use std::net::TcpListener;

use buildhook_sdk::testing::Session;
use buildhook_stack_tests::tls::Authority;

use super::server::{Kind, VARIABLE, each, noise};

#[test]
fn nothing_is_sent_before_the_first_request() {
    each(|server| {
        server.kill();
        let session = server.session(&[]);
        assert_eq!(session.hello()["hooks"].as_array().unwrap().len(), 2);
        let (status, stderr) = session.close();
        assert!(status.success());
        assert_eq!(stderr, "");
    });
}

#[test]
fn a_wrong_password_ends_the_session_and_says_what_to_change() {
    each(|server| {
        if server.password().is_none() {
            return;
        }
        let mut command = server.plugin_at(server.address, &[]);
        command.env(VARIABLE, "planted-password-wrong");
        let mut session = Session::spawn(command);
        for _ in 0..2 {
            let answer = session.ask(server.fixture.want("k"));
            assert_eq!(answer["error"]["scope"], "session", "{:?}: {answer}", server.kind);
            assert_eq!(answer["error"]["kind"], "auth", "{answer}");
        }
        let stderr = session.close().1;
        assert_eq!(stderr.matches("does not accept the user or the password").count(), 1);
    });
}

#[test]
fn a_certificate_that_is_not_trusted_ends_the_session_and_says_what_to_change() {
    each(|server| {
        if server.kind != Kind::RedisTls {
            return;
        }
        let other = server.path("other.pem");
        std::fs::write(&other, Authority::new("other").pem()).unwrap();
        let mut command = server.plugin_at(server.address, &[]);
        command.env("SSL_CERT_FILE", other);
        let mut session = Session::spawn(command);
        for _ in 0..2 {
            let answer = session.ask(server.fixture.want("k"));
            assert_eq!(answer["error"]["scope"], "session", "{answer}");
            assert_eq!(answer["error"]["kind"], "config", "{answer}");
        }
        let stderr = session.close().1;
        assert_eq!(stderr.matches("is not trusted").count(), 1, "{stderr}");
    });
}

#[test]
fn a_server_that_dies_costs_misses_until_it_is_left_alone() {
    each(|server| {
        server.store("k", &[("out/x", b"content", false)], &[]);
        let mut session = server.session(&["--wait"]);
        assert_eq!(session.ask(server.fixture.want("k"))["kind"], "hit");
        server.kill();
        let mut messages = String::new();
        for _ in 0..4 {
            let mut want = server.fixture.want("k");
            want["deadline-ms"] = 3000.into();
            let answer = session.ask(want);
            // A connection that breaks in use costs some retries.
            let code = answer["reason"]["code"].as_str().unwrap_or_default();
            assert!(["unavailable", "timeout"].contains(&code), "{:?}: {answer}", server.kind);
            messages += &answer.to_string();
        }
        assert!(messages.contains("is left alone for a while"), "{messages}");
        let file = server.fixture.file("out/x", &noise(1, 300_000), false);
        assert_eq!(session.ask(server.fixture.built("l", &[file]))["stored"], "no");
        let (status, stderr) = session.close();
        assert!(status.success());
        assert_eq!(stderr.matches("cannot be reached").count(), 1, "{stderr}");
        assert!(stderr.contains("1 entries were not stored"), "{stderr}");
    });
}

/// An attempt may take an hour: only the deadline brings an answer, and the entry is counted as
/// not uploaded only when it was not waited for.
#[test]
fn a_silent_server_costs_no_more_than_the_deadline() {
    each(|server| {
        // Connections are taken by the system and never answered.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = silent.local_addr().unwrap();
        let mut session = Session::spawn(
            server.plugin_at(address, &["--drain-ms=500", "--attempt-timeout-ms=3600000"]),
        );
        let mut want = server.fixture.want("k");
        want["deadline-ms"] = 700.into();
        let answer = session.ask(want);
        assert_eq!(answer["reason"]["code"], "timeout", "{:?}: {answer}", server.kind);
        let file = server.fixture.file("out/x", b"content", false);
        assert_eq!(session.ask(server.fixture.built("l", &[file]))["stored"], "later");
        let (status, stderr) = session.close();
        assert!(status.success());
        assert!(stderr.contains("1 entries were not uploaded"), "{stderr}");
    });
}
