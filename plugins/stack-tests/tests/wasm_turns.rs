//! A hostile plugin in the sandbox of `buildhook-wasm` that does not keep to its turn: it does
//! nothing between an answer and the next request, says nothing to which it was not asked, and
//! ends.

use buildhook_stack_tests::hostile::{PATIENT, Scene, both_kernels, message};
use buildhook_stack_tests::wasm::folder;
use buildhook_stack_tests::{program, session};
use serde_json::json;

const FRESH: &str = "instance = \"call\"\n";

#[test]
fn an_instance_for_each_call_remembers_nothing_and_answers_nothing_for_the_next() {
    let scene = Scene::new();
    let call = |policy: &str, attack: &str| {
        let mut session = session(&scene.sandboxed(policy, &[attack]));
        let _ = session.ask(scene.setup.fixture.want("k"));
        let outcome = message(&session.ask(scene.setup.fixture.want("k")));
        assert!(session.close().0.success());
        outcome
    };
    let fresh = format!("{FRESH}{PATIENT}");
    assert_eq!(call(&fresh, "state"), "done: call 1");
    assert_eq!(call(PATIENT, "state"), "done: call 2");
    // What the first one has said ahead nobody has heard; what it wrote at the end is gone.
    assert_eq!(call(&fresh, "ahead"), "done: call 1");
    assert!(call(PATIENT, "ahead").contains("the guest was stopped"));
    assert_eq!(call(&fresh, "behind"), "done: [] ");
    assert!(call(PATIENT, "behind").contains("behind"));
}

/// What it does after its answer, it does when the next call's files are there, not before.
#[test]
fn between_two_calls_a_guest_does_nothing() {
    let scene = Scene::new();
    for command in both_kernels(scene.sandboxed(PATIENT, &["behind"])) {
        let mut session = session(&command);
        let fixture = &scene.setup.fixture;
        for (name, expected) in [
            ("a", "done: [] "),
            ("b", r#"done: ["behind"] ["2"]"#),
            ("c", r#"done: ["behind"] ["3"]"#),
        ] {
            let mut want = fixture.want("k");
            want["manifest"] = json!(fixture.file("manifest", name.as_bytes(), false));
            assert_eq!(message(&session.ask(want)), expected);
        }
        assert!(session.close().0.success());
    }
}

#[test]
fn a_filter_asks_about_its_call_and_not_without_end() {
    let scene = Scene::new();
    let below = |arguments: &[&str]| {
        let sandboxed = scene.sandboxed(PATIENT, arguments);
        both_kernels([&sandboxed[..], &["--".into()], &scene.setup.local_dir()[..]].concat())
    };
    for (arguments, expected) in [
        (&["hops", "2"][..], "done: \"miss\""),
        (&["hops", "3"], "asked its next plugin over and over"),
        (&["other-call"], "about another call than its own"),
    ] {
        for command in below(arguments) {
            let outcome = scene.outcome(&command);
            assert!(outcome.contains(expected), "{arguments:?}: {outcome}");
        }
    }
}

/// It has its time and its quota once more when its input has ended, and then no more.
#[test]
fn a_guest_that_goes_on_at_the_end_is_ended() {
    const TURN_BYTES: u64 = 3 << 20;
    let scene = Scene::new();
    let write = folder(&scene.setup.path("write"), "/write", "write");
    let policy = format!("time-ms = 2000\n{write}[output]\nsize = \"3MiB\"\n");
    for attack in [&["babble"][..], &["pour-at-the-end", "/write/poured"]] {
        let mut session = session(&scene.sandboxed(&policy, attack));
        let _ = session.ask(scene.setup.fixture.want("k"));
        assert!(session.close().0.success());
    }
    let poured = fs_err::metadata(scene.setup.path("write/poured")).unwrap().len();
    assert!(poured > 0 && poured <= TURN_BYTES + (64 << 10), "{poured}");
}

/// So is one that no sandbox is around.
#[test]
fn a_filter_ends_a_child_that_goes_on_at_the_end() {
    let scene = Scene::new();
    let child = vec![program("wasm-hostile").into_os_string(), "babble".into()];
    let mut session = session(&scene.setup.above("readonly", &[], child));
    let _ = session.ask(scene.setup.fixture.want("k"));
    assert!(session.close().0.success());
}
