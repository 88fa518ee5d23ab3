//! Stacks: what holds for every filter that changes nothing, whichever and however many.

use std::ffi::OsString;

use buildhook_sdk::protocol::FileRecord;
use buildhook_sdk::testing::{Session, contents};
use buildhook_stack_tests::{Setup, session};
use proptest::prelude::*;
use serde_json::{Value, json};

/// A filter that lets everything through, by number.
fn pass_through(setup: &Setup, number: usize, next: Vec<OsString>) -> Vec<OsString> {
    let log = setup.path("log.jsonl");
    let filters: [(&str, &[&str]); PASS_THROUGH] = [
        ("only", &[]),
        ("log", &["--to", log.to_str().unwrap()]),
        ("only", &["--not-crate", "no-such-crate"]),
        ("compress", &[]),
        ("compress", &["--level", "9"]),
    ];
    let (name, arguments) = filters[number];
    setup.above(name, arguments, next)
}

const PASS_THROUGH: usize = 5;

fn stack(setup: &Setup, filters: &[usize]) -> Vec<OsString> {
    filters.iter().fold(setup.local_dir(), |next, number| pass_through(setup, *number, next))
}

#[derive(Debug, Clone)]
enum Step {
    Store { key: u8, files: Vec<(u8, Vec<u8>, bool)>, replace: bool },
    Want { key: u8 },
}

fn step() -> impl Strategy<Value = Step> {
    let content = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..3000),
        (any::<u8>(), 0usize..200_000).prop_map(|(byte, size)| vec![byte; size]),
    ];
    let file = (0u8..6, content, any::<bool>());
    prop_oneof![
        (0u8..3, proptest::collection::vec(file, 1..4), any::<bool>())
            .prop_map(|(key, files, replace)| Step::Store { key, files, replace }),
        (0u8..3).prop_map(|key| Step::Want { key }),
    ]
}

/// The files that a step offers: names are distinct, and some are awkward.
fn offer(setup: &Setup, files: &[(u8, Vec<u8>, bool)]) -> Vec<FileRecord> {
    const NAMES: [&str; 6] =
        ["out/lib.rlib", "out/a b ü", "log/stderr", "@sign/x", "@zstd/out/lib.rlib", "out/d/e/f"];
    let mut offered: Vec<FileRecord> = Vec::new();
    for (name, content, executable) in files {
        let name = NAMES[usize::from(*name)];
        if offered.iter().all(|file| file.name.as_str() != name) {
            offered.push(setup.fixture.file(name, content, *executable));
        }
    }
    offered
}

/// What of an answer must not depend on the stack.
fn essence(answer: &Value) -> Value {
    match answer["kind"].as_str().unwrap() {
        "hit" => json!({"seal": answer["seal"], "files": contents(answer)}),
        "miss" => answer["reason"]["code"].clone(),
        "done" => answer["stored"].clone(),
        other => panic!("{other}: {answer}"),
    }
}

fn run(session: &mut Session, setup: &Setup, step: &Step) -> Value {
    let request = match step {
        Step::Want { key } => setup.fixture.want(&key.to_string()),
        Step::Store { key, files, replace } => {
            let mut request = setup.fixture.built(&key.to_string(), &offer(setup, files));
            request["replace"] = (*replace).into();
            request
        }
    };
    essence(&session.ask(request))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    #[test]
    fn a_stack_of_pass_through_filters_is_as_good_as_none(
        filters in proptest::collection::vec(0..PASS_THROUGH, 1..5),
        steps in proptest::collection::vec(step(), 1..12),
    ) {
        let (above, alone) = (Setup::new(), Setup::new());
        let mut filtered = session(&stack(&above, &filters));
        let mut plain = session(&alone.local_dir());
        for step in &steps {
            prop_assert_eq!(run(&mut filtered, &above, step), run(&mut plain, &alone, step));
        }
        prop_assert!(filtered.close().0.success());
        // In another session too.
        let mut filtered = session(&stack(&above, &filters));
        for key in 0..3 {
            let want = Step::Want { key };
            prop_assert_eq!(run(&mut filtered, &above, &want), run(&mut plain, &alone, &want));
        }
    }
}

/// The last plugin answers each request with itself: whatever the host adds comes back.
#[test]
fn unknown_members_reach_the_last_plugin_and_come_back() {
    let setup = Setup::new();
    let hello = r#"{"v":[1],"plugin":{"name":"echo","version":"1"},"hooks":["want-to-build"]}"#;
    let script = format!(
        "printf '%s\\n' '{hello}'\nwhile IFS= read -r line; do\n\
         printf '%s\\n' \"$line\" | sed 's/\"want-to-build\"/\"miss\"/'\ndone"
    );
    let echo = ["sh", "-c", &script].map(OsString::from).to_vec();
    let command = (0..PASS_THROUGH).fold(echo, |next, number| pass_through(&setup, number, next));
    let mut stack = session(&command);
    for more in [json!(true), json!([{"deep": [[{}]]}]), json!("\u{1}\u{fffd}\u{10ffff}")] {
        let mut request = setup.fixture.want("k");
        request["x-more"] = more.clone();
        request["unit"]["x-more"] = more;
        let mut answer = stack.ask(request.clone());
        let left = answer["deadline-ms"].as_u64().unwrap();
        assert!(left < request["deadline-ms"].as_u64().unwrap());
        // A filter that needs the folder itself gives a folder in it.
        let scratch = answer["scratch"].as_str().unwrap();
        assert!(scratch.starts_with(request["scratch"].as_str().unwrap()));
        for member in ["id", "deadline-ms", "kind", "scratch"] {
            answer[member] = Value::Null;
            request[member] = Value::Null;
        }
        assert_eq!(answer, request);
    }
    assert!(stack.close().0.success());
}

#[test]
fn what_is_wrong_with_a_child_is_told_by_the_whole_stack() {
    let setup = Setup::new();
    let shell = |script: &str| ["sh", "-c", script].map(OsString::from).to_vec();
    let cases = [
        (vec![OsString::from("buildhook-no-such")], "child", "buildhook-no-such"),
        (shell("exit 3"), "child", "exited without a hello"),
        (
            shell(r#"echo '{"v":[9],"plugin":{"name":"c","version":"1"},"hooks":[]}'"#),
            "child",
            "[9]",
        ),
        (vec![setup.local_dir()[0].clone(), "--dri".into()], "config", "--dir"),
    ];
    for (child, kind, expected) in cases {
        let command = [0, 1].iter().fold(child, |next, n| pass_through(&setup, *n, next));
        let stack = session(&command);
        let error = stack.hello()["error"].clone();
        assert_eq!(error["kind"], kind);
        assert!(error["message"].as_str().unwrap().contains(expected), "{error}");
        assert_eq!(stack.close().0.code(), Some(2));
    }
}

#[test]
fn a_stack_that_contains_itself_is_refused() {
    let setup = Setup::new();
    let filter = buildhook_stack_tests::program("only");
    let script = format!("exec '{}' -- sh -c \"$0\" \"$0\"", filter.display());
    let endless = ["sh", "-c", &script, &script].map(OsString::from).to_vec();
    let stack = session(&setup.above("only", &[], endless));
    let error = stack.hello()["error"].clone();
    assert!(error["message"].as_str().unwrap().contains("contain itself"), "{error}");
    assert_eq!(stack.close().0.code(), Some(2));
}

#[test]
fn a_child_that_dies_in_the_middle_costs_misses() {
    let setup = Setup::new();
    let mut stack = session(&stack(&setup, &[0, 1, 2]));
    let files = [setup.fixture.file("out/x", b"content", false)];
    assert_eq!(stack.ask(setup.fixture.built("k", &files))["stored"], "yes");
    kill_last(stack.pid());
    for _ in 0..2 {
        assert_eq!(stack.ask(setup.fixture.want("k"))["error"]["kind"], "child");
    }
    assert!(stack.close().0.success());
    assert_eq!(session(&setup.local_dir()).ask(setup.fixture.want("k"))["kind"], "hit");
}

/// Kills the descendant of `pid` that has no child itself.
fn kill_last(mut pid: u32) {
    loop {
        let children = fs_err::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        match children.split_whitespace().next() {
            Some(child) => pid = child.parse().unwrap(),
            None => break,
        }
    }
    let killed = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status();
    assert!(killed.unwrap().success());
}
