//! `buildhook-chain`: a stack from a file is the same as one by hand.

use std::ffi::OsString;

use buildhook_sdk::testing::{Session, contents};
use buildhook_stack_tests::{Setup, program, session};

/// Starts the stack of `text`; the plugins it names have been built.
fn start(setup: &Setup, text: &str) -> Session {
    let file = setup.path("stack.toml");
    fs_err::write(&file, text).unwrap();
    session(&[program("chain").into_os_string(), OsString::from(file)])
}

fn build(names: &[&str]) {
    for name in names {
        // All lie in one folder, where chain finds them.
        let _ = program(name);
    }
}

#[test]
fn filters_above_one_cache() {
    build(&["only", "compress", "local-dir"]);
    let setup = Setup::new();
    let mut stack = start(
        &setup,
        &format!(
            "[[filter]]\nplugin = [\"only\", \"--not-crate\", \"mine\"]\n\
             [[filter]]\nplugin = [\"buildhook-compress\"]\n\
             [[cache]]\nplugin = [\"local-dir\", \"--dir\", {:?}]\n",
            setup.path("store")
        ),
    );
    assert_eq!(stack.hello()["plugin"]["name"], "only");
    let files = [setup.fixture.file("out/x", &[5; 10_000], false)];
    assert_eq!(stack.ask(setup.fixture.built("theirs", &files))["stored"], "yes");
    assert_eq!(stack.ask(setup.fixture.built("mine", &files))["stored"], "no");
    assert_eq!(contents(&stack.ask(setup.fixture.want("theirs")))[0].1, [5; 10_000]);
    assert!(stack.close().0.success());
    let below = session(&setup.local_dir()).ask(setup.fixture.want("theirs"));
    assert_eq!(below["files"][0]["name"], "@zstd/out/x");
}

#[test]
fn filters_above_several_caches() {
    build(&["only", "tier", "local-dir"]);
    let setup = Setup::new();
    let cache = |name: &str, flags: &str| {
        format!(
            "[[cache]]\nname = \"{name}\"\nplugin = [\"local-dir\", \"--dir\", {:?}]\n{flags}\n",
            setup.path(name)
        )
    };
    let first = cache("a", "read = true\nwrite = true\nback-fill = true");
    let second = cache("b", "read = true\nwrite = true\nback-fill = false\nbackground = true");
    let mut stack = start(&setup, &format!("[[filter]]\nplugin = [\"only\"]\n{first}{second}"));
    let files = [setup.fixture.file("out/x", b"content", true)];
    assert_eq!(stack.ask(setup.fixture.built("k", &files))["stored"], "yes");
    assert!(stack.close().0.success());
    for store in ["a", "b"] {
        let hit = session(&setup.local_dir_in(store)).ask(setup.fixture.want("k"));
        assert_eq!(contents(&hit)[0], ("out/x".to_owned(), b"content".to_vec(), true));
    }
}

#[test]
fn a_wrong_file_is_told_with_its_line() {
    build(&["only", "local-dir"]);
    let setup = Setup::new();
    let stack = start(&setup, "[[cache]]\nplugin = [\"local-dri\", \"--dir\", \"x\"]\n");
    let error = stack.hello()["error"].clone();
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("stack.toml:1:") && message.contains("`local-dir`?"), "{error}");
    let (status, stderr) = stack.close();
    assert_eq!(status.code(), Some(2));
    assert!(stderr.contains("stack.toml:1:"), "{stderr}");
}

#[test]
fn a_stack_that_contains_itself_is_refused() {
    build(&["only", "chain"]);
    let setup = Setup::new();
    let itself = setup.path("stack.toml");
    let text =
        format!("[[filter]]\nplugin = [\"only\"]\n[[cache]]\nplugin = [\"chain\", {itself:?}]\n");
    let stack = start(&setup, &text);
    let error = stack.hello()["error"].clone();
    assert!(error["message"].as_str().unwrap().contains("contain itself"), "{error}");
    assert_eq!(stack.close().0.code(), Some(2));
}
