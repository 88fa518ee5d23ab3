//! `buildhook-log` above local-dir.

use buildhook_stack_tests::{Setup, session};
use serde_json::{Value, json};

#[test]
fn every_exchange_is_written_down_whole() {
    let setup = Setup::new();
    let to = setup.path("log.jsonl");
    let arguments = ["--to", to.to_str().unwrap()];
    let mut filter = session(&setup.above("log", &arguments, setup.local_dir()));
    let mut want = setup.fixture.want("k");
    want["x-extra"] = json!({"a": 1});
    let miss = filter.ask(want.clone());
    let built = setup.fixture.built("k", &[setup.fixture.file("out/x", b"content", false)]);
    let done = filter.ask(built);
    filter.ask(setup.fixture.want("k"));
    assert!(filter.close().0.success());

    let text = fs_err::read_to_string(&to).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 5);
    assert_eq!(lines[0]["hello"]["plugin"]["name"], "local-dir");
    want["id"] = 1.into();
    assert_eq!(lines[1]["request"], want);
    // The filter's own hop has its own numbers, which happen to be the same here.
    assert_eq!(lines[1]["answer"], miss);
    assert_eq!(lines[2]["answer"], done);
    assert!(lines[3]["took-us"].as_u64().unwrap() > 0);
    assert!(lines[3]["at-ms"].as_u64().unwrap() > 1_700_000_000_000);
    let answers = &lines[4]["summary"]["answers"];
    assert_eq!(*answers, json!({"hit": 1, "miss not-found": 1, "done yes": 1}));
}

#[test]
fn a_log_that_cannot_be_opened_is_refused_and_one_that_fills_up_is_not() {
    let setup = Setup::new();
    let filter = session(&setup.above("log", &["--to", "/no/such/folder/x"], setup.local_dir()));
    assert_eq!(filter.hello()["error"]["kind"], "config");
    assert_eq!(filter.close().0.code(), Some(2));

    let mut filter = session(&setup.above("log", &["--to", "/dev/full"], setup.local_dir()));
    for _ in 0..3 {
        assert_eq!(filter.ask(setup.fixture.want("k"))["kind"], "miss");
    }
    let (status, stderr) = filter.close();
    assert!(status.success());
    assert_eq!(stderr.matches("nothing more is written down").count(), 1, "{stderr}");
}
