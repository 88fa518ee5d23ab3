//! `buildhook-only` above local-dir.

use buildhook_sdk::protocol::{Digest, Key};
use buildhook_sdk::testing::record;
use buildhook_stack_tests::{Setup, session};
use serde_json::{Value, json};

/// What a filter with `policy` makes of a unit: `yes`, or the rule that forbids it.
fn verdict(setup: &Setup, policy: &[&str], unit: &Value, cost_ms: Option<u64>) -> String {
    let mut filter = session(&setup.above("only", policy, setup.local_dir()));
    let key = format!("{policy:?} {unit} {cost_ms:?}");
    let mut want = setup.fixture.want(&key);
    want["unit"] = unit.clone();
    let miss = filter.ask(want);

    let files = [setup.fixture.file("out/x", &[1; 5000], false)];
    let mut built = setup.fixture.built(&key, &files);
    built["unit"] = unit.clone();
    if let Some(cost_ms) = cost_ms {
        built["cost-ms"] = cost_ms.into();
    }
    let done = filter.ask(built);
    assert!(filter.close().0.success());

    let stored = session(&setup.local_dir()).ask(setup.fixture.want(&key))["kind"] == "hit";
    assert_eq!(stored, done["stored"] == "yes");
    if stored {
        assert_eq!(miss["reason"]["code"], "not-found");
        return "yes".to_owned();
    }
    assert_eq!(done["reason"]["code"], "policy");
    done["reason"]["message"].as_str().unwrap().to_owned()
}

#[test]
fn a_policy_lets_through_what_it_allows() {
    let setup = Setup::new();
    let unit = json!({
        "name": "serde_json", "origin": "registry", "type": "lib",
        "target": "x86_64-unknown-linux-gnu",
    });
    let own = json!({"name": "app", "origin": "workspace", "type": "bin"});
    let allowed: &[&[&str]] = &[
        &[],
        &["--origin", "registry,git"],
        &["--crate", "serde*,x"],
        &["--not-crate", "app"],
        &["--type", "lib", "--type", "bin"],
        &["--target", "*-linux-*"],
        &["--min-size", "5KB", "--max-size", "5KB"],
        &["--min-cost-ms", "100"],
    ];
    for policy in allowed {
        assert_eq!(verdict(&setup, policy, &unit, Some(100)), "yes", "{policy:?}");
    }
    let forbidden: &[(&[&str], &Value, &str)] = &[
        (&["--origin", "registry,git"], &own, "--origin registry,git: this is workspace"),
        (&["--origin", "registry"], &json!({}), "--origin registry: this is unsaid"),
        (&["--crate", "tokio*"], &unit, "--crate tokio*: this is serde_json"),
        (&["--not-crate", "a*"], &own, "--not-crate a*: this is app"),
        (&["--not-crate", "a*"], &json!({}), "--not-crate: the name is unsaid"),
        (&["--type", "lib"], &own, "--type lib: this is bin"),
        (&["--target", "*-windows-*"], &unit, "this is x86_64-unknown-linux-gnu"),
        (&["--min-size", "6KB"], &unit, "--min-size 6000: the entry has 5000 bytes"),
        (&["--max-size", "4KB"], &unit, "--max-size 4000: the entry has 5000 bytes"),
        (&["--min-cost-ms", "101"], &unit, "--min-cost-ms 101: building took 100 ms"),
        (&["--not-input", "*"], &unit, "--not-input: the host gave no manifest"),
    ];
    for (policy, unit, expected) in forbidden {
        let found = verdict(&setup, policy, unit, Some(100));
        assert!(found.contains(expected), "{policy:?}: {found}");
    }
    let found = verdict(&setup, &["--min-cost-ms", "1"], &unit, None);
    assert!(found.contains("the host did not say"), "{found}");
}

#[test]
fn an_input_of_the_manifest_can_be_forbidden() {
    let setup = Setup::new();
    let manifest = br#"{"files":[{"path":"src/secret.rs"}],"vars":{"TOKEN_DIGEST":"blake3:0"}}"#;
    let path = setup.path("manifest");
    fs_err::write(&path, manifest).unwrap();
    let key = Key(Digest::of(manifest));
    let cases = [("*/secret.rs", true), ("TOKEN*", true), ("*/other.rs", false)];
    for (pattern, forbidden) in cases {
        let mut filter =
            session(&setup.above("only", &["--not-input", pattern], setup.local_dir()));
        assert_eq!(filter.hello()["features"], json!(["manifest"]));
        let mut want = setup.fixture.want("k");
        want["key"] = json!(key);
        let file = record(
            "manifest",
            &path,
            manifest,
            false,
            serde_json::from_value(json!("borrowed")).unwrap(),
        );
        want["manifest"] = json!(file);
        let code = filter.ask(want.clone())["reason"]["code"].clone();
        assert_eq!(code, if forbidden { "policy" } else { "not-found" }, "{pattern}");
        want["manifest"]["digest"] = json!(Digest::of(b"another"));
        assert_eq!(filter.ask(want)["reason"]["code"], "policy", "a lying manifest");
    }
}

#[test]
fn wrong_words_are_refused_with_the_nearest() {
    let setup = Setup::new();
    let cases: [(&[&str], &str); 4] = [
        (&["--origin", "registri"], "registry"),
        (&["--type", "bins"], "bin"),
        (&["--orgin", "git"], "--origin"),
        (&["--crate", "["], "--crate"),
    ];
    for (policy, expected) in cases {
        let filter = session(&setup.above("only", policy, setup.local_dir()));
        let error = filter.hello()["error"].clone();
        assert_eq!(error["kind"], "config");
        assert!(error["message"].as_str().unwrap().contains(expected), "{error}");
        let (status, stderr) = filter.close();
        assert_eq!(status.code(), Some(2));
        assert!(stderr.contains(expected), "{stderr}");
    }
}
