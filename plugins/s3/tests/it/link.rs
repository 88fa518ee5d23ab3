//! Faults of the link and of the server are borne: each is a miss or a no-op, told once, and
//! what it costs is bounded.
//!
//! That a bound holds is shown by what was asked within it, never by a clock: a machine that is
//! slow asks less.

use buildhook_sdk::testing::{Session, contents};
use serde_json::Value;

use super::proxy::{Link, Proxy};
use super::server::{Server, noise};

#[test]
fn passing_faults_are_borne() {
    let server = Server::start();
    let blob = noise(8, 2_200_000);
    server.store("k", &[("out/x", &blob, false)], &[]);
    for faults in [
        [Link::ResetsAfter(0), Link::ResetsAfter(0)],
        [Link::Answers(503, "SlowDown"), Link::ResetsAfter(0)],
        [Link::BreaksAfter(10), Link::BreaksAfter(100_000)],
        [Link::ResetsAfter(10), Link::ResetsAfter(100_000)],
        [Link::ResetsAfter(1_000), Link::ResetsUploadAfter(10)],
        [Link::BreaksAfter(1_000), Link::BreaksAfter(400_000)],
    ] {
        let proxy = Proxy::start(server.address, Link::Works, &faults);
        let mut session = Session::spawn(server.plugin_at(proxy.address, &[]));
        let hit = session.ask(server.fixture.want("k"));
        assert_eq!(contents(&hit), [("out/x".to_owned(), blob.clone(), false)], "{faults:?}");
        assert_eq!(session.close().1, "");
    }
}

#[test]
fn a_body_that_always_breaks_off_is_a_miss() {
    let server = Server::start();
    server.store("k", &[("out/x", &noise(9, 500_000), false)], &[]);
    let proxy = Proxy::start(server.address, Link::BreaksAfter(100_000), &[]);
    let mut session = Session::spawn(server.plugin_at(proxy.address, &[]));
    let miss = session.ask(server.fixture.want("k"));
    assert_eq!(miss["reason"]["code"], "unavailable", "{miss}");
}

#[test]
fn uploads_survive_passing_faults() {
    let server = Server::start();
    let faults = [
        Link::Answers(500, "InternalError"),
        Link::ResetsUploadAfter(100),
        // Whether the content is there, and half of it.
        Link::ResetsUploadAfter(1_000_000),
        // It is there, and nobody is told.
        Link::ResetsAfter(5),
        Link::BreaksAfter(5),
    ];
    let proxy = Proxy::start(server.address, Link::Works, &faults);
    let mut session = Session::spawn(server.plugin_at(proxy.address, &[]));
    let content = noise(10, 2_200_000);
    let file = server.fixture.file("out/x", &content, false);
    assert_eq!(session.ask(server.fixture.built("k", &[file]))["stored"], "later");
    assert_eq!(session.close().1, "");
    let hit = server.session(&[]).ask(server.fixture.want("k"));
    assert_eq!(contents(&hit)[0].1, content);
}

/// A server that only fails costs a few requests and is then left alone.
#[test]
fn storms_end_in_quiet() {
    let server = Server::start();
    for link in
        [Link::Answers(503, "SlowDown"), Link::Answers(429, "TooMany"), Link::ResetsAfter(0)]
    {
        let proxy = Proxy::start(server.address, link, &[]);
        let mut session = Session::spawn(server.plugin_at(proxy.address, &[]));
        for _ in 0..3 {
            let miss = session.ask(server.fixture.want("k"));
            assert_eq!(miss["reason"]["code"], "unavailable", "{miss}");
        }
        let before = proxy.requests();
        assert!(before > 0);
        for _ in 0..20 {
            let miss = session.ask(server.fixture.want("k"));
            assert_eq!(miss["reason"]["code"], "unavailable", "{miss}");
        }
        assert_eq!(proxy.requests(), before, "{link:?}");
        let stderr = session.close().1;
        let told = match link {
            Link::Answers(status, code) => format!("answers {status} ({code})"),
            _ => proxy.address.to_string(),
        };
        assert_eq!((stderr.lines().count(), stderr.matches(&told).count()), (1, 1), "{stderr}");
    }
}

#[test]
fn a_server_that_goes_away_makes_misses() {
    let server = Server::start();
    server.store("k", &[("out/x", &noise(11, 200_000), false)], &[]);
    let proxy = Proxy::start(server.address, Link::Works, &[]);
    let mut session = Session::spawn(server.plugin_at(proxy.address, &[]));
    assert_eq!(session.ask(server.fixture.want("k"))["kind"], "hit");
    proxy.vanish();
    for _ in 0..10 {
        assert_eq!(session.ask(server.fixture.want("k"))["kind"], "miss");
    }
    let stderr = session.close().1;
    let told = format!("buildhook-s3: {}", proxy.address);
    assert!(stderr.starts_with(&told) && stderr.lines().count() == 1, "{stderr}");
}

/// Were more waited for, the uploads would come to their own ends, and be counted as failed.
#[test]
fn what_is_not_uploaded_in_time_is_counted_and_told() {
    let server = Server::start();
    let proxy = Proxy::start(server.address, Link::Silent, &[]);
    let mut session = Session::spawn(server.plugin_at(proxy.address, &["--drain-ms=300"]));
    for key in ["a", "b"] {
        let file = server.fixture.file("out/x", &noise(12, 200_000), false);
        assert_eq!(session.ask(server.fixture.built(key, &[file]))["stored"], "later");
    }
    let (status, stderr) = session.close();
    assert!(status.success(), "{stderr}");
    let told = "2 entries were not uploaded in the time after the build";
    assert_eq!(stderr.matches(told).count(), 1, "{stderr}");
}

/// A link that trickles would bring the entry in the end; one that is silent brings nothing for
/// as long as a read may take.
#[test]
fn deadlines_are_kept_whatever_the_server_does() {
    let server = Server::start();
    server.store("k", &[("out/x", b"content", false)], &[]);
    for link in [Link::Silent, Link::Trickles] {
        let proxy = Proxy::start(server.address, link, &[]);
        let options = ["--read-timeout-ms=3600000", "--drain-ms=0"];
        let mut session = Session::spawn(server.plugin_at(proxy.address, &options));
        let miss = session.ask(within(400, server.fixture.want("k")));
        assert_eq!(miss["kind"], "miss", "{link:?}: {miss}");
        let stderr = session.close().1;
        assert_eq!(stderr.matches("does not answer in time").count(), 1, "{stderr}");
    }
}

/// A link that works and then hangs is waited for until the patience is over, and never again.
#[test]
fn a_link_that_hangs_is_asked_no_more_when_the_patience_is_over() {
    let server = Server::start();
    server.store("k", &[("out/x", b"content", false)], &[]);
    let proxy = Proxy::start(server.address, Link::Works, &[]);
    let options = ["--patience-ms=100", "--read-timeout-ms=3600000", "--drain-ms=0"];
    let mut session = Session::spawn(server.plugin_at(proxy.address, &options));
    assert_eq!(session.ask(server.fixture.want("k"))["kind"], "hit");
    proxy.hang();
    let before = proxy.requests();
    // The first one is waited for by its deadline, which is longer than the patience.
    let first = session.ask(within(400, server.fixture.want("k")));
    assert_eq!(first["kind"], "miss", "{first}");
    for _ in 0..20 {
        let miss = session.ask(within(400, server.fixture.want("k")));
        assert_eq!(miss["reason"]["code"], "unavailable", "{miss}");
    }
    assert_eq!(proxy.requests(), before + 1);
    let stderr = session.close().1;
    assert_eq!(stderr.matches("is not asked any more").count(), 1, "{stderr}");
}

/// Each answer is a tenth of a second late, and none of them fails: what is waited for in vain is
/// bounded all the same, and what the bucket has to give is fetched.
#[test]
fn a_slow_link_is_waited_for_as_long_as_it_is_worth() {
    let server = Server::start();
    let mut filling = server.session(&[]);
    for entry in 0..8 {
        let file = server.fixture.file("out/x", b"content", false);
        let mut built = server.fixture.built(&format!("there {entry}"), &[file]);
        built["cost-ms"] = 60_000.into();
        filling.ask(built);
    }
    assert_eq!(filling.close().1, "");
    for (name, is_there) in [("absent", false), ("there", true)] {
        let proxy = Proxy::start(server.address, Link::Late(100), &[]);
        let mut session = Session::spawn(server.plugin_at(proxy.address, &["--patience-ms=250"]));
        for entry in 0..8 {
            let answer = session.ask(server.fixture.want(&format!("{name} {entry}")));
            assert_eq!(answer["kind"] == "hit", is_there, "{answer}");
        }
        let stderr = session.close().1;
        if is_there {
            assert_eq!(stderr, "");
        } else {
            // On a slow machine they are even later.
            assert!((1..=3).contains(&proxy.requests()), "{}", proxy.requests());
            assert_eq!(stderr.matches("is not asked any more").count(), 1, "{stderr}");
        }
    }
}

/// With the patience at its end a session that was told to wait for its uploads does not.
#[test]
fn uploads_over_a_link_that_hangs_are_not_waited_for_again() {
    let server = Server::start();
    let proxy = Proxy::start(server.address, Link::Silent, &[]);
    let options = ["--wait", "--patience-ms=100", "--read-timeout-ms=3600000", "--drain-ms=0"];
    let mut session = Session::spawn(server.plugin_at(proxy.address, &options));
    for stored in ["no", "later", "later"] {
        let file = server.fixture.file("out/x", b"content", false);
        let done = session.ask(within(400, server.fixture.built("k", &[file])));
        assert_eq!(done["stored"], stored, "{done}");
    }
}

fn within(deadline_ms: u64, mut request: Value) -> Value {
    request["deadline-ms"] = deadline_ms.into();
    request
}

/// What was right in the middle of a session is not any more.
#[test]
fn access_that_ends_in_the_middle_is_told_once() {
    let server = Server::start();
    server.store("k", &[("out/x", b"content", false)], &[]);
    for (code, status, words, kind) in [
        ("AccessDenied", 403, "s3:ListBucket", "miss"),
        ("ExpiredToken", 400, "sign in again", "error"),
    ] {
        let proxy =
            Proxy::start(server.address, Link::Answers(status, code), &[Link::BreaksAfter(2_000)]);
        let mut session = Session::spawn(server.plugin_at(proxy.address, &[]));
        let kinds: Vec<_> = (0..8)
            .map(|_| session.ask(server.fixture.want("k"))["kind"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!((kinds[0].as_str(), kinds[7].as_str()), ("hit", kind), "{code}: {kinds:?}");
        let stderr = session.close().1;
        assert_eq!((stderr.lines().count(), stderr.matches(words).count()), (1, 1), "{stderr}");
    }
}
