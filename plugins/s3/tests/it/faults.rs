//! Faults of configuration are told apart, once, with what to change.

use buildhook_sdk::testing::Session;
use serde_json::Value;

use super::proxy::{Link, Proxy};
use super::server::Server;

/// What a plugin that was told something wrong answers, and what it says once.
fn refused(mut session: Session, server: &Server) -> (Value, Value, String) {
    let want = session.ask(server.fixture.want("k"));
    let file = server.fixture.file("out/x", b"content", false);
    let built = session.ask(server.fixture.built("k", &[file]));
    let (status, stderr) = session.close();
    assert!(status.success());
    (want, built, stderr)
}

#[test]
fn wrong_credentials_are_told_and_end_the_session() {
    let server = Server::start();
    if server.is_other {
        // Servers differ in what they say of them: at least that is told, and nothing stored.
        let mut command = server.plugin(&[]);
        command.env("AWS_SECRET_ACCESS_KEY", "wrong");
        let (want, _, stderr) = refused(Session::spawn(command), &server);
        assert_ne!(want["kind"], "hit");
        assert!(stderr.contains("buildhook-s3: "), "{stderr}");
        assert_eq!(server.objects("v2"), [""; 0]);
        return;
    }
    for (name, value, words) in [
        ("AWS_SECRET_ACCESS_KEY", "wrong", "the secret access key is wrong"),
        ("AWS_ACCESS_KEY_ID", "AKIAUNKNOWN", "does not know the access key"),
    ] {
        let mut command = server.plugin(&[]);
        command.env(name, value);
        let (want, built, stderr) = refused(Session::spawn(command), &server);
        for answer in [&want, &built] {
            assert_eq!(answer["error"]["kind"], "auth", "{answer}");
            assert_eq!(answer["error"]["scope"], "session");
        }
        assert_eq!(stderr.matches(words).count(), 1, "{stderr}");
    }
}

#[test]
fn no_credentials_at_all_are_told() {
    let server = Server::start();
    let mut command = server.plugin(&[]);
    command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
    let (want, _, stderr) = refused(Session::spawn(command), &server);
    assert_eq!(want["error"]["kind"], "auth", "{want}");
    assert_eq!(stderr.matches("no valid credentials were found").count(), 1, "{stderr}");
}

#[test]
fn anonymous_requests_that_are_denied_are_told() {
    let server = Server::start();
    let mut command = server.plugin(&["--anonymous"]);
    command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
    let (want, _, stderr) = refused(Session::spawn(command), &server);
    assert_eq!(want["kind"], "miss", "{want}");
    if server.is_other {
        // What they say differs; moto falls over.
        return assert!(stderr.contains("buildhook-s3: "), "{stderr}");
    }
    assert_eq!(stderr.matches("leave `anonymous` out").count(), 2, "reads and writes: {stderr}");
}

#[test]
fn answers_of_other_servers_are_told_apart() {
    let server = Server::start();
    for (status, code, kind, words) in [
        (404, "NoSuchBucket", "config", "there is no bucket `cache`"),
        (403, "RequestTimeTooSkewed", "auth", "set the clock"),
        (400, "ExpiredToken", "auth", "sign in again"),
        (301, "PermanentRedirect", "config", "which region it is in"),
    ] {
        let proxy = Proxy::start(server.address, Link::Answers(status, code), &[]);
        let session = Session::spawn(server.plugin_at(proxy.address, &[]));
        let (want, _, stderr) = refused(session, &server);
        assert_eq!(want["error"]["kind"], kind, "{code}: {want}");
        assert_eq!(stderr.matches(words).count(), 1, "{code}: {stderr}");
    }
}

#[test]
fn denied_reads_are_misses_and_denied_writes_end_writing_only() {
    let server = Server::start();
    let proxy = Proxy::start(server.address, Link::Answers(403, "AccessDenied"), &[]);
    let mut session = Session::spawn(server.plugin_at(proxy.address, &[]));
    for _ in 0..3 {
        let miss = session.ask(server.fixture.want("k"));
        assert_eq!(miss["reason"]["code"], "unavailable", "{miss}");
    }
    let file = server.fixture.file("out/x", b"content", false);
    let request = server.fixture.built("k", &[file]);
    assert_eq!(session.ask(request.clone())["stored"], "later");
    // Answered when the upload has ended.
    session.ask(server.fixture.want("k"));
    assert_eq!(session.ask(request)["stored"], "no");
    let stderr = session.close().1;
    assert_eq!(stderr.matches("s3:ListBucket").count(), 2, "{stderr}");
    assert_eq!(stderr.matches("nothing is stored").count(), 1, "{stderr}");
}

#[test]
fn the_region_that_the_server_names_is_taken() {
    let server = Server::start();
    let region = server.region().map_or("eu-central-1", |(_, own)| own.to_owned().leak());
    server.store("k", &[("out/x", b"content", false)], &[]);
    let proxy = Proxy::start(server.address, Link::Works, &[Link::Elsewhere(region)]);
    let mut session = Session::spawn(server.plugin_at(proxy.address, &["--region=us-west-2"]));
    assert_eq!(session.ask(server.fixture.want("k"))["kind"], "hit");
    assert_eq!(session.close().1, "");

    let proxy = Proxy::start(server.address, Link::Elsewhere("us-west-2"), &[]);
    let session = Session::spawn(server.plugin_at(proxy.address, &["--region=us-west-2"]));
    let (want, _, stderr) = refused(session, &server);
    assert_eq!(want["error"]["kind"], "config", "{want}");
    assert!(stderr.contains("does not accept the region `us-west-2`"), "{stderr}");
}

#[test]
fn expired_credentials_are_looked_for_again() {
    let server = Server::start();
    server.store("k", &[("out/x", b"content", false)], &[]);
    let aws = server.home().join(".aws");
    std::fs::create_dir(&aws).unwrap();
    let (calls, script) = (server.home().join("calls"), server.home().join("process"));
    let text = format!(
        "#!/bin/sh\necho call >>'{}'\ncat <<'END'\n\
         {{\"Version\":1,\"AccessKeyId\":\"{}\",\"SecretAccessKey\":\"{}\"}}\nEND\n",
        calls.display(),
        server.access_key,
        server.secret
    );
    std::fs::write(&script, text).unwrap();
    let config = format!("[profile p]\ncredential_process = /bin/sh {}\n", script.display());
    std::fs::write(aws.join("config"), config).unwrap();

    // The first connection breaks after some answers, in the middle of a session.
    let faults = [Link::BreaksAfter(2_000), Link::Answers(400, "ExpiredToken")];
    let proxy = Proxy::start(server.address, Link::Works, &faults);
    let mut session = Session::spawn(server.plugin_at(proxy.address, &["--profile=p"]));
    for _ in 0..5 {
        assert_eq!(session.ask(server.fixture.want("k"))["kind"], "hit");
    }
    assert_eq!(session.close().1, "");
    assert_eq!(std::fs::read_to_string(calls).unwrap(), "call\ncall\n", "once each");
}

#[test]
fn the_region_of_the_profile_is_used_and_named() {
    let server = Server::start();
    let aws = server.home().join(".aws");
    std::fs::create_dir(&aws).unwrap();
    let keys = "aws_access_key_id = AKIAX\naws_secret_access_key = x\n";
    std::fs::write(aws.join("credentials"), format!("[team]\n{keys}")).unwrap();
    std::fs::write(aws.join("config"), "[profile team]\nregion = mars-north-1\n").unwrap();
    let proxy = Proxy::start(server.address, Link::Answers(301, "PermanentRedirect"), &[]);
    let session = Session::spawn(server.plugin_at(proxy.address, &["--profile=team"]));
    let (_, _, stderr) = refused(session, &server);
    assert!(stderr.contains("does not accept the region `mars-north-1`"), "{stderr}");
}

#[test]
fn a_server_without_tls_is_told() {
    let server = Server::start();
    let mut command = std::process::Command::new(super::server::PROGRAM);
    command
        .env_clear()
        .env("AWS_ACCESS_KEY_ID", "x")
        .env("AWS_SECRET_ACCESS_KEY", "x")
        .args(["--bucket=cache", &format!("--endpoint=https://{}", server.address)]);
    let (want, _, stderr) = refused(Session::spawn(command), &server);
    assert_eq!(want["error"]["kind"], "config", "{want} {stderr}");
    assert_eq!(stderr.matches("no secure connection").count(), 1, "{stderr}");
}
