//! Plugins in the sandbox of `buildhook-wasm` do what they do outside of it.

use std::ffi::OsString;

use buildhook_sdk::testing::contents;
use buildhook_stack_tests::wasm::{compress, folder, guest, has_clang};
use buildhook_stack_tests::{Setup, session};
use serde_json::{Value, json};

/// Stores an entry through `command` and gets it back.
fn round_trip(setup: &Setup, command: &[OsString]) {
    let big = b"0123456789".repeat(100_000);
    let fixture = &setup.fixture;
    let mut session = session(command);
    assert_eq!(session.ask(fixture.want("a"))["kind"], "miss");
    let files = [
        fixture.file("out/x", b"content", true),
        fixture.file("out/empty", b"", false),
        fixture.file("out/big", &big, false),
    ];
    let mut request = fixture.built("a", &files);
    request["unknown"] = json!({"member": [1, 2]});
    let answer = session.ask(request.clone());
    assert_eq!(answer["stored"], "yes", "{answer}");
    assert!(answer.get("relocated").is_none(), "{answer}");
    for _ in 0..2 {
        let hit = session.ask(fixture.want("a"));
        let expected = [
            ("out/big".to_owned(), big.clone(), false),
            ("out/empty".to_owned(), Vec::new(), false),
            ("out/x".to_owned(), b"content".to_vec(), true),
        ];
        assert_eq!(contents(&hit), expected);
        assert_eq!(hit["seal"], request["seal"]);
    }
    assert_eq!(session.ask(fixture.want("b"))["kind"], "miss");
    let (status, stderr) = session.close();
    assert!(status.success() && stderr.is_empty(), "{stderr}");
}

#[test]
fn stores_work_in_the_sandbox_and_share_their_folder_with_native_ones() {
    let setup = Setup::new();
    let command = setup.sandboxed_local_dir("store");
    round_trip(&setup, &command);
    // Nobody may link to what a guest can write to.
    let hit = session(&command).ask(setup.fixture.want("a"));
    for file in hit["files"].as_array().unwrap() {
        assert_eq!(file["lease"], "borrowed", "{file}");
    }
    // What the sandboxed store has written, the native one reads.
    let hit = session(&setup.local_dir()).ask(setup.fixture.want("a"));
    assert_eq!(contents(&hit).len(), 3);

    let shelf = setup.path("shelf");
    fs_err::create_dir(&shelf).unwrap();
    let policy = format!("random = \"real\"\n{}", folder(&shelf, "/shelf", "write"));
    round_trip(&setup, &setup.sandboxed(&policy, &guest("shelf"), &["/shelf"]));
}

#[test]
fn an_instance_for_each_call_works_the_same() {
    let setup = Setup::new();
    let store = setup.path("store");
    fs_err::create_dir(&store).unwrap();
    let policy =
        format!("random = \"real\"\ninstance = \"call\"\n{}", folder(&store, "/store", "write"));
    let command = setup.sandboxed(&policy, &guest("local-dir"), &["--dir", "/store"]);
    round_trip(&setup, &command);
}

#[test]
fn sandboxed_filters_and_native_plugins_mix() {
    let setup = Setup::new();
    // Sandboxed above native.
    let only = |below: Vec<OsString>, arguments: &[&str]| {
        let mut command = setup.sandboxed("", &guest("only"), arguments);
        command.push("--".into());
        command.extend(below);
        command
    };
    round_trip(&setup, &only(setup.local_dir_in("first"), &[]));
    let mut refused = session(&only(setup.local_dir_in("first"), &["--origin", "git"]));
    assert_eq!(refused.ask(setup.fixture.want("a"))["reason"]["code"], "policy");

    // Native above sandboxed above native above sandboxed.
    let bottom = setup.sandboxed_local_dir("second");
    let middle = only(setup.above("compress", &[], bottom), &[]);
    round_trip(&setup, &setup.above("only", &[], middle));

    // A filter that changes bytes, with an instance of its own for each call.
    if let Some(compress) = compress() {
        for (policy, store) in [("", "third"), ("instance = \"call\"\n", "fourth")] {
            let policy = format!("random = \"real\"\n{policy}");
            let mut command = setup.sandboxed(&policy, &compress, &[]);
            command.push("--".into());
            command.extend(setup.local_dir_in(store));
            round_trip(&setup, &command);
        }
    }
}

#[test]
fn what_is_wrong_with_a_policy_or_module_is_told_at_once() {
    let setup = Setup::new();
    let no_module = setup.path("no-module.wasm");
    fs_err::write(&no_module, "\x7fELF").unwrap();
    let other =
        "module = \"blake3:0000000000000000000000000000000000000000000000000000000000000000\"\n";
    let module = guest("shelf");
    fs_err::create_dir_all(setup.path("outer/inner")).unwrap();
    let nested = [
        folder(&setup.path("outer"), "/outer", "write"),
        folder(&setup.path("outer/inner"), "/inner", "read"),
    ]
    .concat();
    let cases = [
        (nested.as_str(), module.clone(), "which may be written to whatever is said"),
        ("foldr = 1\n", module.clone(), "1: unknown field `foldr`"),
        (other, module, "the policy allows blake3:0000"),
        ("", no_module, "it is no WebAssembly module"),
    ];
    for (policy, module, expected) in cases {
        let session = session(&setup.sandboxed(policy, &module, &["/shelf"]));
        let told: Value = session.hello()["error"].clone();
        assert_eq!(told["kind"], "config", "{told}");
        assert!(told["message"].as_str().unwrap().contains(expected), "{told}");
        assert_eq!(session.close().0.code(), Some(2));
    }
}

/// The example in C: any language that compiles to WebAssembly will do.
#[test]
fn a_guest_in_c_answers() {
    if !has_clang() {
        return;
    }
    let setup = Setup::new();
    let module = setup.path("never.wasm");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/c/never.c");
    let compiled = std::process::Command::new("clang")
        .args(["--target=wasm32-wasi", "--sysroot=/usr", "-O2", source, "-o"])
        .arg(&module)
        .status()
        .unwrap();
    assert!(compiled.success());
    let mut session = session(&setup.sandboxed("", &module, &[]));
    let mut request = setup.fixture.want("k");
    request["unit"] = json!({"id": 7, "name": "\"id\":8,"});
    for _ in 0..3 {
        assert_eq!(session.ask(request.clone())["reason"]["code"], "not-found");
    }
    assert!(session.close().0.success());
}
