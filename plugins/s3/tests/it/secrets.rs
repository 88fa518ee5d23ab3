//! Secrets are found nowhere: not in an answer, on standard error, in a log, a report, a bucket
//! or a build, whatever goes wrong and wherever credentials come from.

use std::fs;
use std::path::Path;
use std::process::Command;

use buildhook_sdk::testing::Session;
use buildhook_stack_tests::program;
use buildhook_stack_tests::tls::Authority;

use super::machines::{app, buildhook, cargo_build, hook, outcomes};
use super::proxy::{Link, Proxy};
use super::server::{ACCESS_KEY, PROGRAM, SECRET, Server, TOKEN, noise};

/// How every secret here begins, whoever knows it; and how a signature does.
const SECRETS: [&str; 2] = ["planted-", "Signature="];
const PLENTY_MS: u64 = 30_000;
/// Of no use to the server.
const WRONG: &str = "planted-secret/wrong";

/// Where credentials come from.
#[derive(Debug, Clone, Copy)]
enum Source {
    Environment,
    Profile,
    Process,
    /// Says secrets and fails.
    BrokenProcess,
}

impl Source {
    const ALL: [Self; 4] = [Self::Environment, Self::Profile, Self::Process, Self::BrokenProcess];

    /// Makes `command`, a plugin or a build, take them from there.
    fn give(self, command: &mut Command, home: &Path, secret: &str) {
        let aws = home.join(".aws");
        fs::create_dir_all(&aws).unwrap();
        let process = home.join(format!("{self:?}"));
        let answer = format!(
            r#"{{"Version":1,"AccessKeyId":"{ACCESS_KEY}","SecretAccessKey":"{secret}","SessionToken":"{TOKEN}"}}"#
        );
        command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
        let script = match self {
            Self::Environment => {
                command
                    .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
                    .env("AWS_SECRET_ACCESS_KEY", secret)
                    .env("AWS_SESSION_TOKEN", TOKEN);
                return;
            }
            Self::Profile => {
                let keys = format!(
                    "[p]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {secret}\n\
                     aws_session_token = {TOKEN}\n"
                );
                fs::write(aws.join("credentials"), keys).unwrap();
                command.env("AWS_PROFILE", "p");
                return;
            }
            Self::Process => format!("echo '{answer}'\n"),
            Self::BrokenProcess => format!("echo 'no {answer}'; echo '{answer}' >&2; exit 3\n"),
        };
        fs::write(&process, script).unwrap();
        let config = format!("[profile c]\ncredential_process = /bin/sh {}\n", process.display());
        fs::write(aws.join("config"), config).unwrap();
        command.env("AWS_PROFILE", "c");
    }
}

fn assert_none(seen: &str, what: &str) {
    for secret in SECRETS {
        assert!(!seen.contains(secret), "{secret} is in what {what} says: {seen}");
    }
}

/// All that a session says that stores and asks.
fn session(server: &Server, mut command: Command, deadline_ms: u64) -> String {
    command.env("RUST_LOG", "trace").env("RUST_BACKTRACE", "1");
    let mut session = Session::spawn(command);
    let mut seen = session.hello().to_string();
    let file = server.fixture.file("out/x", &noise(7, 200_000), false);
    let want = || {
        let mut want = server.fixture.want("k");
        want["deadline-ms"] = deadline_ms.into();
        want
    };
    for request in [want(), server.fixture.built("k", &[file]), want()] {
        seen += &session.ask(request).to_string();
    }
    seen + &session.close().1
}

/// Each class of fault, and a word by which it is known to have happened. The answers repeat
/// what was sent, signature and token included.
const FAULTS: [(Link, &str); 15] = [
    (Link::Works, "\"hit\""),
    (Link::Answers(403, "SignatureDoesNotMatch"), "rejects the signature"),
    (Link::Answers(403, "InvalidAccessKeyId"), "does not know the access key"),
    (Link::Answers(403, "RequestTimeTooSkewed"), "set the clock"),
    (Link::Answers(403, "AccessDenied"), "s3:ListBucket"),
    (Link::Answers(400, "ExpiredToken"), "have expired"),
    (Link::Answers(400, "InvalidToken"), "token is not valid"),
    (Link::Answers(401, "Unauthorized"), "wants credentials"),
    (Link::Answers(404, "NoSuchBucket"), "there is no bucket"),
    (Link::Answers(418, "Teapot"), "no answer to this request"),
    (Link::Answers(500, "InternalError"), "answers 500"),
    (Link::Elsewhere("us-west-2"), "does not accept the region"),
    (Link::ResetsAfter(0), "127.0.0.1"),
    (Link::BreaksAfter(100), "127.0.0.1"),
    (Link::Silent, "does not answer"),
];

#[test]
fn no_fault_tells_a_secret() {
    let server = Server::start();
    if server.is_other {
        // It knows none of these credentials.
        return;
    }
    for source in Source::ALL {
        let check = |(link, word): (Link, &str)| {
            let home = tempfile::tempdir().unwrap();
            let proxy = Proxy::start(server.address, link, &[]);
            let mut command = server.plugin_at(proxy.address, &["--drain-ms=200"]);
            source.give(command.env("HOME", home.path()), home.path(), SECRET);
            // Only the one that is silent is to run into its limit, also on a slow machine.
            let deadline_ms = if matches!(link, Link::Silent) { 500 } else { PLENTY_MS };
            let seen = session(&server, command, deadline_ms);
            let sent = String::from_utf8_lossy(&proxy.sent()).into_owned();
            if matches!(source, Source::BrokenProcess) {
                assert!(seen.contains("no valid credentials were found"), "{source:?}: {seen}");
            } else {
                assert!(seen.contains(word), "{source:?} {link:?}: {seen}");
                assert!(matches!(link, Link::ResetsAfter(_)) || sent.contains(TOKEN), "it is sent");
            }
            assert_none(&seen, &format!("{source:?} over {link:?}"));
            assert!(!sent.contains("planted-secret"), "the secret itself is never sent");
        };
        std::thread::scope(|scope| {
            for fault in FAULTS {
                scope.spawn(move || check(fault));
            }
        });
    }
}

#[test]
fn no_refusal_tells_a_secret() {
    let server = Server::start();
    let encrypted = server.encrypted(&Authority::new("ours").identity("localhost"));
    let no_tls = format!("--endpoint=https://{}", server.address);
    let not_trusted = format!("--endpoint=https://localhost:{}", encrypted.address.port());
    for (option, word) in [
        ("--bucket=absent", "buildhook-s3: "),
        (no_tls.as_str(), "no secure connection"),
        (&not_trusted, "an authority that is not built in"),
    ] {
        let mut command = server.plugin(&[option]);
        command.env("AWS_SECRET_ACCESS_KEY", WRONG).env("AWS_SESSION_TOKEN", TOKEN);
        let seen = session(&server, command, PLENTY_MS);
        assert!(seen.contains(word), "{option}: {seen}");
        assert_none(&seen, option);
        assert!(!seen.contains(&server.secret), "{seen}");
    }

    let config = server.home().join("s3.toml");
    fs::write(&config, format!("bucket = 'b'\nsecret-access-key = '{SECRET}'\n")).unwrap();
    let endpoint = format!("--endpoint=https://ada:{SECRET}@localhost");
    for (arguments, word) in [
        (["--config", config.to_str().unwrap()], "s3.toml:2"),
        (["--bucket=b", &endpoint], "must not hold a user or a password"),
    ] {
        let session = Session::start(PROGRAM, arguments);
        let hello = session.hello().to_string();
        let seen = hello + &session.close().1;
        assert!(seen.contains(word), "{seen}");
        assert_none(&seen, "a refusal");
    }
}

/// Files below `folder` that hold a secret.
fn found_in(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            found.extend(found_in(&path));
        } else if let Ok(content) = fs::read(&path) {
            let text = String::from_utf8_lossy(&content);
            if SECRETS.iter().any(|secret| text.contains(secret)) {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

/// Whole builds, through `buildhook-log`, which writes down all that passes: what Cargo and the
/// host say, logs, reports and statistics, target folder and bucket.
#[test]
fn no_build_leaves_a_secret_behind() {
    let server = Server::start();
    if server.is_other {
        return;
    }
    let log = program("log");
    for (source, secret, outcome) in [
        (Source::Environment, SECRET, "miss"),
        (Source::Profile, SECRET, "hit"),
        (Source::Process, SECRET, "hit"),
        (Source::Process, WRONG, "uncached"),
        (Source::BrokenProcess, SECRET, "uncached"),
    ] {
        let (machine, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let root = machine.path();
        let wire = root.join("wire.jsonl");
        let hook = hook(&server, server.address, "--patience-ms=3600000");
        let hook = format!("'{}' --to '{}' -- {hook}", log.display(), wire.display());
        let settings = "[limits]\nhello-ms = 60000\nwant-to-build-ms = 60000\n";
        let buildhook = || {
            let mut command = buildhook(root, &server, &hook, settings);
            source.give(command.env("HOME", home.path()), home.path(), secret);
            command.env("BUILDHOOK_LOG", root.join("debug.log"));
            command
        };
        let built = cargo_build(&mut buildhook());
        let what = outcomes(&built);
        assert!(what.iter().all(|(_, found)| found == outcome), "{source:?}: {what:?} {built:?}");
        assert_eq!(app(root), b"42!\n");
        let mut seen = format!("{built:?}");
        for words in [&["stats"][..], &["stats", "--json"], &["doctor"], &["explain", "base"]] {
            seen += &format!("{:?}", buildhook().args(words).output().unwrap());
        }
        assert_none(&seen, &format!("a build with {source:?}"));
        assert!(fs::metadata(&wire).unwrap().len() > 0 && root.join("debug.log").is_file());
        assert_eq!(found_in(root), [""; 0], "{source:?}");
        // The search finds what there is.
        let planted = !matches!(source, Source::Environment);
        assert_eq!(!found_in(home.path()).is_empty(), planted);
    }
    let server_folder = server.home().parent().unwrap().to_owned();
    assert_eq!(found_in(&server_folder), [""; 0], "the bucket");
    assert!(!server.objects("machines/v2").is_empty());
}
