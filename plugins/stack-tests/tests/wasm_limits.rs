//! A hostile plugin in the sandbox of `buildhook-wasm`: what it may not use up, and what it may
//! not say. It costs a miss with the reason, and the next call has a new guest.
//!
//! That a test can fail is shown beside it, by a wider bound or by none.

use std::path::{Path, PathBuf};
use std::time::Duration;

use buildhook_sdk::files::unique_name;
use buildhook_sdk::protocol::Digest;
use buildhook_stack_tests::hostile::{PATIENT, Scene, both_kernels, message};
use buildhook_stack_tests::session;
use buildhook_stack_tests::wasm::folder;
use serde_json::{Value, json};

#[test]
fn loops_sleeps_and_fifos_end_at_the_deadline_and_the_next_call_has_a_new_guest() {
    let scene = Scene::new();
    scene.fifo("read/fifo");
    let read = folder(&scene.setup.path("read"), "/read", "read");
    let policy = format!("clock = \"real\"\ntime-ms = 300\n{read}");
    let cases: &[(&[&str], &str)] = &[
        (&["loop"], "took longer than 300 ms"),
        (&["storm"], "took longer than 300 ms"),
        (&["sleep", "3600"], "did not answer in time and was killed"),
        (&["read", "/read/fifo"], "did not answer in time and was killed"),
    ];
    for (attack, expected) in cases {
        for command in both_kernels(scene.sandboxed(&policy, attack)) {
            let mut session = session(&command);
            for _ in 0..2 {
                let outcome = message(&session.ask(scene.setup.fixture.want("k")));
                // An interrupt that comes late on a loaded machine is a kill.
                let killed = outcome.contains("was killed");
                assert!(outcome.contains(expected) || killed, "{attack:?}: {outcome}");
            }
            assert!(session.close().0.success());
        }
    }
    // The host's own deadline holds as well.
    let patient = format!("clock = \"real\"\n{PATIENT}");
    let mut impatient = scene.setup.fixture.want("k");
    impatient["deadline-ms"] = 200.into();
    let outcome = session(&scene.sandboxed(&patient, &["sleep", "3600"])).ask(impatient);
    assert!(message(&outcome).contains("was killed"), "{outcome}");
    // With more time a sleep ends by itself.
    assert_eq!(scene.attack(&patient, &["sleep", "1"]), "done: ");
}

#[test]
fn memory_stack_files_and_lines_are_bounded() {
    let scene = Scene::new();
    let policy = scene.policy();
    let small = format!("memory = \"32MiB\"\n{policy}");
    let limits = "[output]\nfiles = 20\nfile-size = \"1MiB\"\nsize = \"3MiB\"\n";
    let tight = format!("{policy}{limits}");
    let hasty = policy.replace(PATIENT, "time-ms = 300\n");
    let devices = format!("{small}{}", folder(Path::new("/dev"), "/dev", "read"));
    let mib = |count: u64| (count << 20).to_string();
    let cases: &[(&str, &[&str], &str)] = &[
        (&small, &["memory", &mib(64)], "trapped"),
        // Its own stack, in its own memory, ends before the engine's.
        (&policy, &["recursion", "100000000"], "trapped"),
        (&policy, &["flood"], "line longer than"),
        (&policy, &["descriptors", "/read/file"], "denied: after 1"),
        (&tight, &["sparse", "/write/sparse"], "denied: "),
        (&tight, &["fill", "/write/big", &mib(2)], "denied: after 1048576"),
        (&tight, &["pour", "/write", "4"], "denied: file 3: after 0"),
        (&tight, &["files", "/write", "1000"], "denied: after 20"),
        (&tight, &["folders", "/scratch", "1000"], "denied: after 20"),
        (&policy, &["panic"], "trapped"),
        (&policy, &["exit", "0"], "ended before its input did"),
        (&policy, &["exit", "1"], "exited with code 1"),
        (&policy, &["exit", "126"], "outside of [0..126)"),
        // What follows goes into a file, and is no answer.
        (&hasty, &["replace-stdout", "/write/out"], "did not answer in time and was killed"),
        (&devices, &["read", "/dev/zero"], "denied: "),
    ];
    for (policy, attack, expected) in cases {
        scene.assert_says(policy, attack, expected);
    }
    fs_err::write(scene.setup.path("read/mib"), vec![0; 1 << 20]).unwrap();
    let record = |size: u64| {
        let digest = Digest::of(b"x");
        json!({
            "name": format!("out/{}", unique_name()), "path": "/read/mib", "size": size,
            "executable": false, "lease": "shared", "digest": digest,
        })
    };
    let hit = |records: Vec<Value>| {
        json!({"id": 1, "kind": "hit", "seal": "x", "files": records}).to_string()
    };
    for (records, expected) in [
        ((0..21).map(|_| record(1)).collect(), "named more than 20 files"),
        (vec![record((1 << 20) + 1)], "named more bytes than it may"),
        ((0..4).map(|_| record(1 << 20)).collect(), "named more bytes"),
    ] {
        scene.assert_says(&tight, &["answer", &hit(records)], expected);
    }
    let answer = session(&scene.sandboxed(&tight, &["answer", &hit(vec![record(1 << 20)])]))
        .ask(scene.setup.fixture.want("k"));
    assert_eq!(answer["kind"], "hit", "{answer}");
    // A file in the place of standard output is a file.
    let hasty = format!("{hasty}{limits}").replace("1MiB", "1GiB");
    let arguments = ["replace-stdout", "/write/out", &mib(8)];
    assert!(scene.attack(&hasty, &arguments).contains("did not answer in time"));
    let written = fs_err::metadata(scene.setup.path("write/out")).unwrap().len();
    assert!((3 << 20..=(3 << 20) + (64 << 10)).contains(&written), "{written}");
    // With higher bounds, or without a sandbox, the same is done.
    assert_eq!(scene.attack(&policy, &["pour", "/write", "4"]), "done: 4");
    let file = scene.host("read/file");
    assert_eq!(scene.natively(&["descriptors", &file]), "done: 1000");
    assert_eq!(scene.natively(&["sparse", &scene.host("write/sparse")]), "done: ");
    fs_err::remove_file(scene.setup.path("write/sparse")).unwrap();
    assert_eq!(scene.attack(&policy, &["memory", &mib(64)]), format!("done: {}", mib(64)));
    assert_eq!(scene.attack(&policy, &["files", "/write", "100"]), "done: 100");
    assert_eq!(
        scene.attack(&policy, &["fill", "/write/big", &mib(4)]),
        format!("done: {}", mib(4))
    );
    assert_eq!(scene.attack(&policy, &["recursion", "100"]), "done: 100");
    assert!(scene.attack(&policy, &["buffer", "/read/file", &mib(200)]).starts_with("denied: "));
    // One read of more than there is, and a flood of standard error, hurt nobody.
    assert_eq!(scene.attack(&policy, &["buffer", "/read/file", &mib(64)]), "done: 4");
    let mut loud = session(&scene.sandboxed(&policy, &["stderr", &mib(4)]));
    assert_eq!(message(&loud.ask(scene.setup.fixture.want("k"))), "done: ");
    assert_eq!(loud.close().1.len(), 64 << 10);
}

#[test]
fn nonsense_is_a_miss() {
    let scene = Scene::new();
    let deep = format!(r#"{{"id":ID,"kind":"miss","x":{}{}}}"#, "[".repeat(40), "]".repeat(40));
    let lines = [
        "",
        "nonsense",
        "[]",
        "{}",
        r#"{"id":ID}"#,
        r#"{"id":99,"kind":"miss"}"#,
        r#"{"id":ID,"kind":"done","stored":"yes"}"#,
        r#"{"id":ID,"kind":"miss","kind":"hit"}"#,
        r#"{"id":ID,"kind":"hit"}"#,
        r#"{"id":ID,"kind":"hit","seal":"x","files":{}}"#,
        r#"{"hop":"next","id":1,"kind":"want-to-build"}"#,
        r#"{"id":1.5,"kind":"miss"}"#,
        r#"{"id":ID,"kind":"hit","seal":"x","files":[{"name":"../x"}]}"#,
        &deep,
    ];
    for line in lines {
        for command in both_kernels(scene.sandboxed(PATIENT, &["answer", line])) {
            let mut session = session(&command);
            for _ in 0..2 {
                let answer = session.ask(scene.setup.fixture.want("k"));
                assert_eq!(answer["reason"]["code"], "sandbox", "{line}: {answer}");
            }
        }
    }
    // What makes sense is passed on, and so is what nobody knows.
    let sense =
        format!(r#"{{"id":ID,"kind":"miss","reason":{{"code":"{}"}}}}"#, "x".repeat(90_000));
    let answer =
        session(&scene.sandboxed(PATIENT, &["answer", &sense])).ask(scene.setup.fixture.want("k"));
    assert_eq!(answer["reason"]["code"].as_str().map(str::len), Some(90_000));
}

/// A killed supervisor leaves no guest behind, not even one that sleeps.
#[test]
fn a_guest_ends_with_its_supervisor() {
    let scene = Scene::new();
    let policy = format!("clock = \"real\"\n{PATIENT}");
    let policy = format!("{policy}{}", folder(&scene.setup.path("write"), "/write", "write"));
    let mut session = session(&scene.sandboxed(&policy, &["sleep", "3600", "/write/asleep"]));
    let pid = session.pid();
    let children = fs_err::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let runner = PathBuf::from(format!("/proc/{}", children.trim()));
    let mut request = scene.setup.fixture.want("k");
    request["id"] = 1.into();
    session.send(&request);
    let state = || {
        let status = std::fs::read_to_string(runner.join("stat")).unwrap_or_default();
        let state = status.rsplit(')').next().unwrap_or_default().trim_start().chars().next();
        state.filter(|state| *state != 'Z')
    };
    let asleep = scene.setup.path("write/asleep");
    while !asleep.exists() {
        assert!(state().is_some(), "{children}");
        std::thread::sleep(Duration::from_millis(5));
    }
    session.kill();
    // Whoever inherits it may take a while to reap it.
    while state().is_some() {
        std::thread::sleep(Duration::from_millis(5));
    }
}
