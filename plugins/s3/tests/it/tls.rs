//! HTTPS: a server whose certificate an authority of one's own has signed.

use buildhook_sdk::testing::Session;
use buildhook_stack_tests::tls::Authority;
use serde_json::Value;

use super::machines::{app, buildhook, cargo_build, outcomes};
use super::server::{BUCKET, Encrypted, PROGRAM, Server};

const NAME: &str = "localhost";

/// Asks and stores over TLS; the answers, and what was said.
fn ask(server: &Server, encrypted: &Encrypted, options: &[&str], trusts: &str) -> (Value, String) {
    let endpoint = format!("--endpoint=https://{NAME}:{}", encrypted.address.port());
    let mut command = server.plugin(&[options, &[&endpoint]].concat());
    command.env("SSL_CERT_FILE", trusts);
    let mut session = Session::spawn(command);
    let want = session.ask(server.fixture.want("k"));
    session.ask(server.fixture.want("k"));
    let (status, stderr) = session.close();
    assert!(status.success(), "{stderr}");
    (want, stderr)
}

#[test]
fn certificates_are_trusted_when_somebody_says_so() {
    let server = Server::start();
    let folder = tempfile::tempdir().unwrap();
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let file = |name: &str, authority: &Authority| {
        let path = folder.path().join(name);
        std::fs::write(&path, authority.pem()).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (ours_file, other_file) = (file("ours.pem", &ours), file("other.pem", &other));
    let absent = folder.path().join("absent.pem");
    server.store("k", &[("out/x", b"content", false)], &[]);
    let system = &["--system-certificates"][..];
    let identities = [ours.identity(NAME), ours.identity("other.example"), ours.expired(NAME)];
    let [good, misnamed, expired] = identities.map(|identity| server.encrypted(&identity));
    for (encrypted, options, trusts, words) in [
        (&good, system, ours_file.as_str(), None),
        (&good, &[], &ours_file, Some("to trust those of this system say `system-certificates`")),
        (&good, system, &other_file, Some("name its file in SSL_CERT_FILE")),
        (&good, system, absent.to_str().unwrap(), Some("no secure connection")),
        (&misnamed, system, &ours_file, Some("its certificate is for another name")),
        (&expired, system, &ours_file, Some("its certificate is not valid today")),
    ] {
        let (want, stderr) = ask(&server, encrypted, options, trusts);
        match words {
            None => assert_eq!((&want["kind"], stderr.as_str()), (&"hit".into(), ""), "{want}"),
            Some(words) => {
                assert_eq!(want["error"]["kind"], "config", "{want} {stderr}");
                assert_eq!(want["error"]["scope"], "session");
                assert_eq!(stderr.lines().count(), 1, "told once: {stderr}");
                assert!(stderr.contains(words), "{stderr}");
            }
        }
    }
}

#[test]
fn a_build_over_a_connection_that_is_not_trusted_is_right_and_over_one_that_is_has_hits() {
    let server = Server::start();
    let authority = Authority::new("ours");
    let encrypted = server.encrypted(&authority.identity(NAME));
    for (option, outcome) in
        [("", "uncached"), ("--system-certificates", "miss"), ("--system-certificates", "hit")]
    {
        let machine = tempfile::tempdir().unwrap();
        let trusted = machine.path().join("authority.pem");
        std::fs::write(&trusted, authority.pem()).unwrap();
        let port = encrypted.address.port();
        let prefix = server.prefixed("machines");
        let hook = format!(
            "'{PROGRAM}' --bucket={BUCKET} --prefix={prefix} --wait --patience-ms=3600000 \
             --endpoint=https://{NAME}:{port} {option}"
        );
        let settings =
            "[limits]\nhello-ms = 60000\nwant-to-build-ms = 60000\nbuilt-a-thing-ms = 60000\n";
        let mut command = buildhook(machine.path(), &server, &hook, settings);
        command
            .env("AWS_ACCESS_KEY_ID", &server.access_key)
            .env("AWS_SECRET_ACCESS_KEY", &server.secret)
            .env("SSL_CERT_FILE", &trusted);
        let output = cargo_build(&mut command);
        let found = outcomes(&output);
        assert!(found.iter().all(|(_, found)| found == outcome), "{option}: {output:?}");
        assert_eq!(app(machine.path()), b"42!\n");
        let said = format!("{output:?}");
        assert_eq!(said.contains("no secure connection"), option.is_empty(), "{said}");
    }
}
