//! `sdk::filter` over children that behave and children that do not; the children are
//! shell scripts.
#![cfg(unix)]

use std::ffi::OsString;
use std::fs::File;
use std::io::{PipeWriter, Read as _, Write as _, pipe};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use buildhook_sdk::filter::{self, Depth, Filter, Next};
use buildhook_sdk::protocol::{Hook, Reason};
use buildhook_sdk::{About, Built, Call, Done, Error, Plugin, Served, StartError, Want, serve};
use serde_json::{Value, json};

const HELLO: &str =
    r#"{"v":[1],"plugin":{"name":"c","version":"1"},"hooks":["want-to-build","built-a-thing"]}"#;
/// Answers each request with itself, as a miss.
const ECHO: &str = r#"while IFS= read -r line; do
    printf '%s\n' "$line" | sed 's/want-to-build/miss/'
done"#;

/// The pass-through filter, on many threads.
struct Pass(Next);

impl Plugin for Pass {
    fn about(&self) -> About {
        self.0.about("pass", "1", &[Hook::WantToBuild, Hook::BuiltAThing])
    }
    fn want_to_build(&self, call: &Call) -> Result<Want, Error> {
        self.0.want(call)
    }
    fn built_a_thing(&self, call: &Call, _: &Built) -> Result<Done, Error> {
        self.0.done(call)
    }
    fn drain(&self) {
        self.0.close();
    }
}

/// The pass-through filter, on one thread.
struct Pipe;

impl Filter for Pipe {
    fn about(&self, next: &Next) -> About {
        next.about("pass", "1", &[Hook::WantToBuild, Hook::BuiltAThing])
    }
    fn refuse(&mut self, call: &Call, _: Option<&Built>) -> Option<Reason> {
        assert_ne!(call.unit.name.as_deref(), Some("panic"), "as asked");
        (call.unit.name.as_deref() == Some("refuse")).then(|| Reason::new("policy", "as asked"))
    }
}

fn shell(script: &str) -> Vec<OsString> {
    ["sh", "-c", script].map(OsString::from).to_vec()
}

fn start(hello: &str, script: &str) -> Result<Next, StartError> {
    let script = format!("printf '%s\\n' '{hello}'\n{script}");
    Next::start(&shell(&script), Depth::new(None).unwrap())
}

fn want(id: u64, deadline_ms: u64) -> Value {
    json!({
        "v": 1, "id": id, "kind": "want-to-build", "unit": {"x-more": [1]}, "scratch": "/s",
        "key": format!("blake3:{}", "0".repeat(64)), "deadline-ms": deadline_ms,
    })
}

/// The messages that each kind of filter over this child gives for `requests`, the hello first.
fn sessions(hello: &str, script: &str, requests: &[Value]) -> [Vec<Value>; 2] {
    let input: String = requests.iter().map(|request| format!("{request}\n")).collect();
    let filter = Pass(start(hello, script).unwrap());
    let mut output = Vec::new();
    serve(&filter, input.as_bytes(), &mut output).unwrap();
    let messages = |output: &[u8]| {
        let lines = output.split_inclusive(|byte| *byte == b'\n');
        lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
    };
    [messages(&output), messages(&piped(start(hello, script).unwrap(), input.as_bytes()).1)]
}

/// What a filter on one thread makes of `input`.
fn piped(next: Next, input: &[u8]) -> (Served, Vec<u8>) {
    let (reader, mut requests) = pipe().unwrap();
    let (mut answers, writer) = pipe().unwrap();
    let file = |end: OwnedFd| File::from(end);
    std::thread::scope(|scope| {
        let write = move || write_all(&mut requests, input);
        scope.spawn(write);
        let serve = || filter::serve(Pipe, &next, file(reader.into()), file(writer.into()));
        let serving = scope.spawn(serve);
        let mut output = Vec::new();
        answers.read_to_end(&mut output).unwrap();
        (serving.join().unwrap().unwrap(), output)
    })
}

/// A filter that has ended does not read the rest.
fn write_all(requests: &mut PipeWriter, input: &[u8]) {
    let _ = requests.write_all(input);
}

#[test]
fn members_that_nobody_knows_pass_in_both_directions() {
    let mut request = want(7, 60_000);
    request["x-null"] = Value::Null;
    request["x-deep"] = json!({"a": [{"b": "ü\u{1}"}], "n": 9_007_199_254_740_991u64});
    let sessions = sessions(HELLO, ECHO, &[request.clone(), want(9, 60_000)]);
    request["deadline-ms"] = Value::Null;
    request["kind"] = "miss".into();
    for messages in sessions {
        let mut answer = messages[1].clone();
        let left = answer["deadline-ms"].take().as_u64().unwrap();
        assert!((1..60_000).contains(&left), "{left}");
        assert_eq!(answer, request);
        assert_eq!(messages[2]["id"], 9);
    }
}

#[test]
fn the_hello_is_what_both_can_do() {
    let hello = r#"{"v":[3,1],"plugin":{"name":"c","version":"1"},"hooks":["want-to-build","new"],
        "features":["manifest","prefetch"],"max-in-flight":3,"drain-ms":100}"#
        .replace('\n', "");
    for messages in sessions(&hello, ECHO, &[]) {
        assert_eq!(
            messages,
            [json!({
                "v": [1], "plugin": {"name": "pass", "version": "1"}, "hooks": ["want-to-build"],
                "features": ["manifest"], "max-in-flight": 3, "drain-ms": 600,
            })]
        );
    }
}

#[test]
fn answers_in_any_order_find_their_requests() {
    let hello = HELLO.replace(r#""hooks""#, r#""max-in-flight":3,"hooks""#);
    let script = r#"while read -r a && read -r b && read -r c; do
        for line in "$c" "$a" "$b"; do printf '%s\n' "$line" | sed 's/want-to-build/miss/'; done
    done"#;
    let requests: Vec<_> = (1..=9)
        .map(|id| {
            let mut request = want(id * 10, 60_000);
            request["x-number"] = id.into();
            request
        })
        .collect();
    for messages in sessions(&hello, script, &requests) {
        assert_eq!(messages.len(), 10);
        for message in &messages[1..] {
            assert_eq!(message["id"].as_u64().unwrap(), message["x-number"].as_u64().unwrap() * 10);
        }
    }
}

#[test]
fn a_child_that_fails_costs_an_error_for_each_request() {
    let cases = [
        ("exit 1", "child"),
        ("read -r line; exit 0", "child"),
        ("read -r line; echo nonsense; cat >/dev/null", "child"),
        (r#"read -r line; echo '{"id":99,"kind":"miss"}'; cat >/dev/null"#, "child"),
        (r#"read -r line; printf '{"id":1,'; exit 0"#, "child"),
    ];
    for (script, kind) in cases {
        for messages in sessions(HELLO, script, &[want(1, 60_000), want(2, 60_000)]) {
            for (message, id) in messages[1..].iter().zip(1..) {
                assert_eq!(message["id"], id, "{script}");
                assert_eq!(message["error"]["kind"], kind, "{script}: {message}");
                assert_eq!(message["error"]["scope"], "request", "{script}");
            }
            assert_eq!(messages.len(), 3, "{script}");
        }
    }
}

#[test]
fn an_error_of_session_scope_is_passed_on_and_ends_the_child() {
    let script = r#"read -r line
        echo '{"id":1,"kind":"error","error":{"kind":"auth","message":"no","scope":"session"}}'
        cat >/dev/null"#;
    for messages in sessions(HELLO, script, &[want(1, 60_000), want(2, 60_000)]) {
        assert_eq!(messages[1]["error"]["kind"], "auth");
        assert_eq!(messages[2]["error"]["kind"], "child");
        assert!(messages[2]["error"]["message"].as_str().unwrap().contains("no"));
    }
}

#[test]
fn a_child_that_hangs_costs_the_deadline_and_a_late_answer_is_dropped() {
    // Answers the first request only when the second has come.
    let script = r#"read -r first; read -r second
        for line in "$first" "$second"; do printf '%s\n' "$line" | sed 's/want-to-build/miss/'; done
        cat >/dev/null"#;
    let hello = HELLO.replace(r#""hooks""#, r#""max-in-flight":2,"hooks""#);
    for mut messages in sessions(&hello, script, &[want(1, 50), want(2, 60_000)]) {
        messages.remove(0);
        messages.sort_by_key(|message| message["id"].as_u64());
        assert_eq!(messages[1]["kind"], "miss", "{messages:?}");
        assert!(messages[0]["kind"] == "miss" || messages[0]["error"]["kind"] == "timeout");
    }

    let started = Instant::now();
    for messages in sessions(HELLO, "cat >/dev/null", &[want(1, 50), want(2, 50)]) {
        assert_eq!(messages[1]["error"]["kind"], "timeout");
        assert_eq!(messages[2]["error"]["kind"], "timeout", "the only place is still taken");
    }
    // Both filters answer a little before each deadline.
    assert!(started.elapsed() >= Duration::from_millis(120));
}

#[test]
fn a_child_that_does_not_read_costs_the_deadline() {
    let mut request = want(1, 100);
    request["x-long"] = "x".repeat(1 << 20).into();
    for messages in sessions(HELLO, "exec sleep 600", &[request]) {
        assert_eq!(messages[1]["error"]["kind"], "child", "{}", messages[1]);
    }
}

#[test]
fn what_a_filter_refuses_goes_no_further() {
    let mut refused = want(1, 60_000);
    refused["unit"]["name"] = "refuse".into();
    let mut panic = want(2, 60_000);
    panic["unit"]["name"] = "panic".into();
    let mut strange = want(3, 60_000);
    strange["kind"] = "prefetch".into();
    let [_, messages] = sessions(HELLO, ECHO, &[refused, panic, strange, want(4, 60_000)]);
    let reason = json!({"code": "policy", "message": "as asked"});
    assert_eq!(messages[1], json!({"id": 1, "kind": "miss", "reason": reason}));
    assert!(messages[2]["error"]["message"].as_str().unwrap().contains("as asked"));
    assert_eq!(messages[3]["error"]["kind"], "unknown-kind");
    assert_eq!(messages[4]["kind"], "miss");
}

#[test]
fn a_line_that_is_no_message_ends_a_filter() {
    let input = format!("{}\nnonsense\n{}\n", want(1, 60_000), want(2, 60_000));
    let (served, output) = piped(start(HELLO, ECHO).unwrap(), input.as_bytes());
    assert_eq!(served, Served::OutOfStep);
    let text = String::from_utf8(output).unwrap();
    let messages: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [_, miss, error] = &messages[..] else { panic!("{text}") };
    assert_eq!((&miss["id"], &miss["kind"]), (&json!(1), &json!("miss")), "it was asked before");
    assert_eq!((&error["id"], &error["error"]["scope"]), (&json!(0), &json!("session")));
}

/// More than pipes hold in both directions, before anything is read.
#[test]
fn a_host_that_writes_much_before_it_reads_is_served() {
    let hello = HELLO.replace(r#""hooks""#, r#""max-in-flight":8,"hooks""#);
    let next = start(&hello, ECHO).unwrap();
    let (reader, mut requests) = pipe().unwrap();
    let (answers, writer) = pipe().unwrap();
    let file = |end: OwnedFd| File::from(end);
    std::thread::scope(|scope| {
        scope.spawn(|| filter::serve(Pipe, &next, file(reader.into()), file(writer.into())));
        for id in 1..=8 {
            let mut request = want(id, 60_000);
            request["x-long"] = "x".repeat(1 << 18).into();
            requests.write_all(format!("{request}\n").as_bytes()).unwrap();
        }
        drop(requests);
        let text = std::io::read_to_string(answers).unwrap();
        assert_eq!(text.lines().count(), 9);
    });
}

#[test]
fn a_child_that_does_not_start_is_told_in_words() {
    let cases = [
        ("exit 0", "exited without a hello"),
        ("echo banner", "does not speak the buildhook protocol"),
        (r#"echo '{"hello":1}'"#, "hello that is none"),
        (
            r#"echo '{"v":[2],"plugin":{"name":"c","version":"1"},"hooks":[]}'"#,
            "speaks the protocol versions [2], not 1",
        ),
        (
            r#"echo '{"v":[1],"plugin":{"name":"c","version":"1"},
                "error":{"kind":"config","message":"no bucket","scope":"session"}}' | tr -d '\n'; echo"#,
            "cannot work: no bucket",
        ),
    ];
    for (script, expected) in cases {
        let error = refused(Next::start(&shell(script), Depth::new(None).unwrap()));
        let is_config = expected.contains("no bucket");
        assert_eq!(matches!(error, StartError::Config(_)), is_config, "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
    let missing = [OsString::from("buildhook-no-such-plugin")];
    let error = refused(Next::start(&missing, Depth::new(None).unwrap()));
    assert!(error.to_string().contains("buildhook-no-such-plugin"), "{error}");
    let error = refused(Next::start(&[], Depth::new(None).unwrap()));
    assert!(matches!(error, StartError::Config(_)), "{error}");
}

fn refused(outcome: Result<Next, StartError>) -> StartError {
    outcome.err().expect("it must not start")
}

#[test]
fn a_stack_that_contains_itself_ends() {
    let deepest = Depth::MAX - 1;
    assert!(Depth::new(Some(deepest.to_string().into())).is_ok());
    let error = Depth::new(Some(Depth::MAX.to_string().into())).unwrap_err();
    assert!(matches!(error, StartError::Child(_)), "{error}");
    assert!(Depth::new(Some("x".into())).is_err());
}

#[test]
fn a_child_that_ignores_the_end_is_ended() {
    let started = Instant::now();
    let next = start(HELLO, "trap '' TERM; exec sleep 600").unwrap();
    next.close();
    assert!(started.elapsed() < Duration::from_secs(30));
}
