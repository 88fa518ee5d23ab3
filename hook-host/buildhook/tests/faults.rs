//! Plugins that do something wrong: the build succeeds, is right, loses a bounded time, and
//! is told once.

mod support;

use std::time::{Duration, Instant};

use support::fixtures::{CHAIN, CHAIN_OUTPUT};
use support::{Build, Lab, Workspace, write_script};

/// What a plugin may cost a build, whatever it does.
const COST_LIMIT_MS: u64 = 5_000;
/// Far from the ten minutes that some of the plugins here would take.
const PATIENCE: Duration = Duration::from_secs(120);

const HELLO: &str =
    r#"{"v":[1],"plugin":{"name":"fake","version":"1"},"hooks":["want-to-build","built-a-thing"]}"#;

/// Builds with this plugin. What it cost is taken from the host's own clock: how long the
/// build takes beside that depends on what else the machine does.
fn build_with(lab: &Lab, plugin: &str) -> Build {
    let here = lab.workspace("here", CHAIN).set("BUILDHOOK_HOOK", plugin);
    let started = Instant::now();
    let build = here.cargo(&["build"]);
    assert!(started.elapsed() < PATIENCE, "{:?}", started.elapsed());
    let plugins = build.summary["reports"][0]["hook"]["plugins"].as_array().unwrap();
    let lost_ms: u64 = plugins.iter().map(|plugin| plugin["lost-ms"].as_u64().unwrap()).sum();
    assert!(lost_ms < COST_LIMIT_MS, "{lost_ms} ms: {plugins:#?}");
    assert_eq!(here.output_of("app"), CHAIN_OUTPUT);
    assert!(!build.stderr.contains("plugin"), "Cargo keeps what is said here: {}", build.stderr);
    assert_told_once(lab, &build);
    build
}

/// In the summary of the run, in `stats` and in `doctor`.
fn assert_told_once(lab: &Lab, build: &Build) {
    let told = build.told();
    assert!(!told.is_empty(), "nothing was told: {:#}", build.summary);
    for line in &told {
        assert_eq!(told.iter().filter(|other| *other == line).count(), 1, "{told:?}");
    }
    for command in ["stats", "doctor"] {
        let text = lab.shown(&lab.buildhook(&[command]).stdout);
        let line = lab.shown(told[0].as_bytes());
        assert!(text.contains(&line), "{command} does not tell {line}: {text}");
    }
}

fn script(lab: &Lab, body: &str) -> String {
    let path = lab.path("fake-plugin");
    write_script(&path, &format!("#!/bin/sh\n{body}\n"));
    path.display().to_string()
}

macro_rules! faulty {
    ($($name:ident: $body:expr;)*) => {$(
        #[test]
        fn $name() {
            let lab = Lab::new();
            let body: String = $body.into();
            build_with(&lab, &script(&lab, &body));
        }
    )*};
}

faulty! {
    exits_at_once: "exit 3";
    hangs_before_its_hello: "exec sleep 600";
    hangs_after_its_hello: format!("echo '{HELLO}'; exec sleep 600");
    prints_garbage: "echo garbage; exec cat";
    prints_garbage_after_its_hello: format!("echo '{HELLO}'; exec cat");
    prints_without_end: "exec yes";
    floods_standard_error_and_hangs: "yes >&2";
    says_that_it_cannot_work: r#"echo '{"v":[1],"plugin":{"name":"fake","version":"1"},"error":{"kind":"config","message":"no bucket","scope":"session"}}'; exit 2"#;
    answers_twice: format!("echo '{HELLO}'; while read line; do echo '{{\"id\":1,\"kind\":\"miss\"}}'; done");
}

#[test]
fn is_missing() {
    let lab = Lab::new();
    let build = build_with(&lab, "no-such-plugin");
    assert!(build.told()[0].contains("no-such-plugin"), "{:?}", build.told());
}

#[test]
fn floods_standard_error_and_works() {
    let lab = Lab::new();
    let plugin = lab.plugin("entries", "none");
    let flood = format!("yes flood | head -c 2000000 >&2; exec {plugin}");
    let here = lab.workspace("here", CHAIN).set("BUILDHOOK_HOOK", script(&lab, &flood));
    here.cargo(&["build"]);
    let there = here.checkout("there");
    there.cargo(&["build"]).assert_all_hits();
    assert_eq!(there.output_of("app"), CHAIN_OUTPUT);
}

/// Stores with the honest plugin, then asks the same folder with one that lies.
fn with_liar(lie: &str, check: impl Fn(&Lab, &Workspace<'_>, &Build)) {
    let lab = Lab::new();
    let here = lab.workspace("here", CHAIN).set("BUILDHOOK_HOOK", lab.plugin("entries", "none"));
    here.cargo(&["build"]);
    let honest = here.checkout("honest");
    honest.cargo(&["build"]).assert_all_hits();
    assert_eq!(honest.output_of("app"), CHAIN_OUTPUT);
    let there = here.checkout("there").set("BUILDHOOK_HOOK", lab.plugin("entries", lie));
    let build = there.cargo(&["build"]);
    assert_eq!(there.output_of("app"), CHAIN_OUTPUT);
    check(&lab, &there, &build);
}

#[test]
fn entries_that_contradict_themselves_are_misses() {
    for lie in ["digest", "seal", "missing-file", "extra-file", "content", "other-entry"] {
        with_liar(lie, |lab, _, build| {
            assert_eq!(build.hits(), [""; 0], "{lie}: {:#}", build.summary);
            assert_eq!(build.compiled_sorted(), ["app", "leaf", "mid", "other"], "{lie}");
            assert_told_once(lab, build);
        });
    }
}

#[test]
fn a_corrupt_entry_is_repaired() {
    with_liar("content", |lab, there, _| {
        // The liar was told of each entry again; honest eyes see whole ones.
        let after = there.checkout("after").set("BUILDHOOK_HOOK", lab.plugin("entries", "none"));
        after.cargo(&["build"]).assert_all_hits();
        assert_eq!(after.output_of("app"), CHAIN_OUTPUT);
    });
}

#[test]
fn one_plugin_process_serves_a_whole_build() {
    let lab = Lab::new();
    let plugin = lab.plugin("entries", "none");
    let starts = lab.path("starts");
    let counted = script(&lab, &format!("echo x >> '{}'; exec {plugin}", starts.display()));
    lab.workspace("here", CHAIN).set("BUILDHOOK_HOOK", counted).cargo(&["build"]);
    assert_eq!(fs_err::read_to_string(starts).unwrap(), "x\n");
}

#[test]
fn two_plugins_one_for_each_hook() {
    let lab = Lab::new();
    let plugin = lab.plugin("entries", "none");
    let here = lab.workspace("here", CHAIN);
    let writer = here.checkout("writer").set("BUILDHOOK_BUILT_A_THING", &plugin);
    assert_eq!(writer.cargo(&["build"]).compiled.len(), 4);
    assert_eq!(writer.checkout("writer-again").cargo(&["build"]).compiled.len(), 4);
    let reader = here.checkout("reader").set("BUILDHOOK_WANT_TO_BUILD", &plugin);
    reader.cargo(&["build"]).assert_all_hits();
}

#[test]
fn a_workspace_cannot_choose_a_program_unasked() {
    let lab = Lab::new();
    let proof = lab.path("proof");
    let plugin = script(&lab, &format!("echo ran > '{}'", proof.display()));
    let here = lab.workspace("here", CHAIN);
    here.write("buildhook.toml", &format!("[hooks]\nhook = [\"{plugin}\"]\n"));
    let build = here.cargo(&["build"]);
    assert!(!proof.exists());
    assert!(build.told()[0].contains("buildhook allow"), "{:?}", build.told());
    assert_eq!(here.checkout("there").cargo(&["build"]).compiled, [""; 0]);

    here.command(support::BUILDHOOK).arg("allow").output().unwrap();
    here.clean();
    here.cargo(&["build"]);
    assert!(proof.exists());
}

#[test]
fn wrong_configuration_fails_no_build() {
    let lab = Lab::new();
    let here = lab.workspace("here", CHAIN);
    here.write("buildhook.toml", "[hooks]\nwant-to-bild = 'x'\n");
    // As Cargo calls it, with no `run` that refuses to begin.
    let mut cargo = here.command(support::toolchain().join("bin/cargo"));
    let output = cargo.arg("build").env("RUSTC_WRAPPER", support::BUILDHOOK).output().unwrap();
    assert!(output.status.success(), "{}", lab.shown(&output.stderr));
    assert!(!lab.shown(&output.stderr).contains("want-to-bild"));
    assert_eq!(here.output_of("app"), CHAIN_OUTPUT);
    // Told by `stats` once it can be asked, wherever the mistake was.
    support::wait_until("the session has written its report", || {
        let stats = lab.buildhook_json(&["stats", "--json"]);
        let told: Vec<_> = stats["tell"].as_array().into_iter().flatten().collect();
        told.iter().any(|line| line.as_str().unwrap().contains("want-to-bild"))
    });
}
