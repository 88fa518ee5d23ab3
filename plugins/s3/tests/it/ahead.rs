//! What a workspace wanted is fetched before it is asked for.

use std::time::{Duration, Instant};

use buildhook_sdk::testing::{Session, contents};
use serde_json::Value;

use super::server::{Server, noise};

/// Longer than anything takes on a machine under load; reached only when a test fails.
const LIMIT: Duration = Duration::from_secs(60);

const POLL: Duration = Duration::from_millis(5);
const ENTRIES: u64 = 40;
/// Each tenth entry has a pack.
const EACH: u64 = 10;
/// The list, the records and the packs.
const ALL: u64 = 1 + ENTRIES + ENTRIES / EACH;

fn content(entry: u64) -> Vec<u8> {
    noise(100 + entry, if entry.is_multiple_of(EACH) { 2_200_000 } else { 150_000 })
}

fn of_workspace(mut request: Value) -> Value {
    request["unit"]["workspace"] = "w".into();
    request
}

fn want(server: &Server, entry: u64) -> Value {
    of_workspace(server.fixture.want(&format!("entry {entry}")))
}

/// A session that stores all entries, as one that asked for them in vain does.
fn fill(server: &Server) {
    let mut session = server.session(&[]);
    for entry in 0..ENTRIES {
        assert_eq!(session.ask(want(server, entry))["kind"], "miss");
        let file = server.fixture.file("out/x", &content(entry), false);
        let built = server.fixture.built(&format!("entry {entry}"), &[file]);
        assert_eq!(session.ask(of_workspace(built))["stored"], "later");
    }
    assert_eq!(session.close().1, "");
    assert_eq!(server.objects("v2/lists").len(), 1);
}

#[test]
fn a_new_machine_reads_ahead_of_its_questions() {
    let server = Server::start();
    fill(&server);
    let before = server.requests();
    let mut session = server.session(&[]);
    let mut asked = 0;
    let mut hits = |session: &mut Session, entries: u64| {
        for _ in 0..entries {
            let hit = session.ask(want(&server, asked));
            assert_eq!(contents(&hit), [("out/x".to_owned(), content(asked), false)], "{asked}");
            asked += 1;
        }
    };
    hits(&mut session, 8);
    // Another server does not say what it is asked.
    let started = Instant::now();
    while !server.is_other && server.requests() < before + ALL {
        assert!(started.elapsed() < LIMIT, "it reads ahead");
        std::thread::sleep(POLL);
    }
    hits(&mut session, ENTRIES - 8);
    assert_eq!(session.close().1, "");
    if !server.is_other {
        assert_eq!(server.requests(), before + ALL, "nothing is asked for twice");
    }
}

#[test]
fn a_session_that_asks_for_little_reads_little_ahead() {
    let server = Server::start();
    fill(&server);
    let mut session = server.session(&["--summary"]);
    // Not in the list, as after an edit: nothing that is listed is missed here.
    for name in ["a", "b", "c"] {
        assert_eq!(session.ask(of_workspace(server.fixture.want(name)))["kind"], "miss");
    }
    let said = session.close().1;
    assert!(said.contains("4 requests, "), "three and the list: {said}");
    assert!(said.contains(" 0 bytes fetched ahead in vain"), "{said}");
}

#[test]
fn a_list_that_is_damaged_or_lies_costs_nothing_but_speed() {
    let server = Server::start();
    fill(&server);
    let list = server.objects("v2/lists").remove(0);
    let whole = server.objects.read(&list);
    let mut wrong = whole.clone();
    wrong[100] ^= 1;
    for content in [&b""[..], &wrong, &whole] {
        server.objects.write(&list, content);
        // What is listed may be damaged or gone.
        let name = server.objects("v2/packs").remove(0);
        server.objects.write(&name, b"wrong");
        let mut session = server.session(&[]);
        let answers: Vec<_> = (0..ENTRIES).map(|entry| session.ask(want(&server, entry))).collect();
        let hits = answers.iter().filter(|answer| answer["kind"] == "hit").count();
        assert_eq!(hits as u64, ENTRIES - 1);
        for answer in answers.iter().filter(|answer| answer["kind"] != "hit") {
            assert_eq!(answer["reason"]["code"], "corrupt", "{answer}");
        }
        assert!(session.close().0.success());
    }
}
