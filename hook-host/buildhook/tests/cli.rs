//! The commands as people call them.

mod support;

use std::process::Output;

use fs_err as fs;
use support::{BUILDHOOK, Lab};

/// Exit code, standard output and standard error in one text.
fn shown(lab: &Lab, output: &Output) -> String {
    format!(
        "exit {}\n{}{}",
        output.status.code().unwrap(),
        lab.shown(&output.stdout),
        lab.shown(&output.stderr)
    )
}

#[test]
fn a_mistyped_command_is_refused_with_the_nearest() {
    let lab = Lab::new();
    insta::assert_snapshot!(shown(&lab, &lab.buildhook(&["statz"])));
    assert_eq!(lab.buildhook(&[]).status.code(), Some(2));
    assert_eq!(lab.buildhook(&["run"]).status.code(), Some(2));
    assert_eq!(lab.buildhook(&["--version"]).status.code(), Some(0));
}

#[test]
fn mistakes_in_configuration_are_refused_at_once() {
    let lab = Lab::new();
    let workspace = lab.workspace("ws", &[("buildhook.toml", "[hooks]\nwant-to-bild = 'x'\n")]);
    for args in [&["config"][..], &["stats"], &["clear"], &["allow"], &["run", "--", "true"]] {
        let output = workspace.command(BUILDHOOK).args(args).output().unwrap();
        assert_eq!(
            shown(&lab, &output),
            "exit 2\nbuildhook: error: LAB/ws/buildhook.toml:2: unknown key `want-to-bild` in \
             [hooks]; did you mean `want-to-build`?\n",
            "{args:?}"
        );
    }
    let doctor = workspace.command(BUILDHOOK).arg("doctor").output().unwrap();
    let text = shown(&lab, &doctor);
    assert!(text.starts_with("exit 1\nWRONG  configuration: LAB/ws/buildhook.toml:2"), "{text}");
}

#[test]
fn configuration_is_shown_with_its_sources() {
    let lab = Lab::new();
    let text = "[limits]\nfaults = 2\n[store]\nmax-size = '1GB'\n";
    let workspace = lab.workspace("ws", &[("buildhook.toml", text)]);
    let config = |extra: &[(&str, &str)]| {
        let mut command = workspace.command(BUILDHOOK);
        shown(&lab, &command.arg("config").envs(extra.iter().copied()).output().unwrap())
    };
    insta::assert_snapshot!("config_default", config(&[]));
    let variables = [("BUILDHOOK_HOOK", "plug 'a b'"), ("BUILDHOOK_LOG", "info")];
    insta::assert_snapshot!("config_variables", config(&variables));
    let output = workspace.command(BUILDHOOK).args(["config", "--json"]).output().unwrap();
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let faults = json["settings"].as_array().unwrap().iter().find(|s| s["key"] == "limits.faults");
    let place = &faults.unwrap()["source"]["place"]["file"];
    assert_eq!((&faults.unwrap()["value"], &place["line"]), (&2.into(), &2.into()));
}

#[test]
fn allow_and_deny() {
    let lab = Lab::new();
    let text = "[hooks]\nhook = './plug'\n";
    let workspace = lab.workspace("ws", &[("buildhook.toml", text), ("deep/file", "")]);
    let buildhook = |args: &[&str]| {
        let mut command = workspace.command(BUILDHOOK);
        shown(&lab, &command.args(args).current_dir(workspace.dir.join("deep")).output().unwrap())
    };
    let mut steps = Vec::new();
    let mut step = |args: &[&str]| {
        steps.push(format!("$ buildhook {}\n{}", args.join(" "), buildhook(args)));
    };
    step(&["config"]);
    step(&["allow"]);
    step(&["config"]);
    workspace.write("buildhook.toml", "[hooks]\nhook = './other'\n");
    step(&["config"]);
    step(&["allow", ".."]);
    step(&["deny", "../buildhook.toml"]);
    step(&["deny"]);
    step(&["allow", "file"]);
    step(&["allow", "../nowhere"]);
    insta::assert_snapshot!(steps.join("\n"));
}

#[test]
fn run_passes_on_how_its_command_ended() {
    let lab = Lab::new();
    let run = |command: &[&str]| {
        lab.command(BUILDHOOK).args(["run", "--"]).args(command).output().unwrap()
    };
    let output = run(&["sh", "-c", "echo out; echo err >&2; exit 7"]);
    insta::assert_snapshot!(shown(&lab, &output), @r"
    exit 7
    out
    err
    buildhook: the compiler was not called: all was fresh, or nothing was built
    ");
    use std::os::unix::process::ExitStatusExt as _;
    assert_eq!(run(&["sh", "-c", "kill -TERM $$"]).status.signal(), Some(15));
    insta::assert_snapshot!(shown(&lab, &run(&["no-such-program"])), @r"
    exit 127
    buildhook: error: cannot start `no-such-program`: No such file or directory (os error 2)
    ");
    assert_eq!(run(&["/"]).status.code(), Some(126));
    assert!(!lab.cache().join("host/runs").exists());
}

#[test]
fn run_passes_signals_on_to_its_command() {
    use std::io::{BufRead as _, BufReader};
    let lab = Lab::new();
    // The shell says when it is ready, then waits for the signal; it ends when its input
    // does, so that it cannot outlive a test that fails.
    let script = "trap 'echo caught; exit 3' TERM; echo ready; read line";
    let mut child = lab
        .command(BUILDHOOK)
        .args(["run", "--", "sh", "-c", script])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "caught");
    assert_eq!(child.wait().unwrap().code(), Some(3));
}

#[test]
fn run_refuses_a_second_wrapper() {
    let lab = Lab::new();
    let run = |name: &str, value: &str| {
        lab.command(BUILDHOOK).args(["run", "--", "true"]).env(name, value).output().unwrap()
    };
    insta::assert_snapshot!(shown(&lab, &run("RUSTC_WRAPPER", "sccache")), @r"
    exit 2
    buildhook: error: RUSTC_WRAPPER is set to `sccache`, and Cargo takes one wrapper only: unset it to use buildhook
    ");
    assert_eq!(run("CARGO_BUILD_RUSTC_WRAPPER", "/usr/bin/sccache").status.code(), Some(2));
    assert_eq!(run("RUSTC_WRAPPER", BUILDHOOK).status.code(), Some(0));
    assert_eq!(run("RUSTC_WRAPPER", "").status.code(), Some(0));
}

/// A plugin that says hello and answers nothing, as a script.
const MUTE_PLUGIN: &str = r#"#!/bin/sh
echo '{"v":[1],"plugin":{"name":"mute","version":"3"},"hooks":["want-to-build","built-a-thing"]}'
cat > /dev/null
"#;

#[test]
fn doctor_starts_the_hooks_and_says_what_is_wrong_with_them() {
    let lab = Lab::new();
    let plugin = lab.path("plugin");
    support::write_script(&plugin, MUTE_PLUGIN);
    let doctor = |variables: &[(&str, &str)]| {
        let mut command = lab.command(BUILDHOOK);
        command.arg("doctor").env("RUSTC_WRAPPER", BUILDHOOK).envs(variables.iter().copied());
        let text = shown(&lab, &command.output().unwrap());
        let is_about_hooks = |line: &&str| line.starts_with("exit") || line.contains("  hook:");
        text.lines().filter(is_about_hooks).collect::<Vec<_>>().join("\n")
    };
    let plugin = plugin.to_str().unwrap();
    let cases = [
        doctor(&[]),
        doctor(&[("BUILDHOOK_HOOK", plugin)]),
        doctor(&[("BUILDHOOK_WANT_TO_BUILD", plugin)]),
        doctor(&[("BUILDHOOK_HOOK", "no-such-plugin")]),
        doctor(&[("BUILDHOOK_HOOK", "sh -c 'exit 3'")]),
        doctor(&[("BUILDHOOK_HOOK", "echo hello")]),
    ];
    insta::assert_snapshot!(cases.join("\n\n"));
}

#[test]
fn doctor_names_a_cache_that_cannot_be_written_and_a_compiler_that_does_not_start() {
    let lab = Lab::new();
    fs::write(lab.path("file"), "").unwrap();
    let mut command = lab.command(BUILDHOOK);
    command
        .args(["doctor", "--json"])
        .env("BUILDHOOK_CACHE_DIR", lab.path("file/cache"))
        .env("RUSTC", "no-such-compiler");
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let wrong = json["checks"].as_array().unwrap().iter().filter(|c| c["state"] == "wrong");
    let wrong: Vec<_> = wrong.map(|check| check["name"].as_str().unwrap()).collect();
    assert_eq!(wrong, ["compiler", "cache folder", "store", "recorder"]);
}

#[test]
fn clear_removes_what_can_be_made_again_and_nothing_else() {
    let lab = Lab::new();
    let cache = lab.cache();
    for dir in ["store/v1/tmp", "store/mine", "host/reports", "host/recorder", "other"] {
        fs::create_dir_all(cache.join(dir)).unwrap();
    }
    fs::write(cache.join("host/reports/a"), [0; 1500]).unwrap();
    insta::assert_snapshot!(shown(&lab, &lab.buildhook(&["clear"])), @r"
    exit 0
    removed 1.5 kB
    ");
    for (dir, is_kept) in [
        ("store/mine", true),
        ("other", true),
        ("host/recorder", true),
        ("host/reports", false),
        ("store/v1", false),
    ] {
        assert_eq!(cache.join(dir).exists(), is_kept, "{dir}");
    }
}

#[test]
fn json_is_one_object_on_one_line() {
    let lab = Lab::new();
    for args in [&["stats", "--json"][..], &["doctor", "--json"], &["clear", "--json"]] {
        assert!(lab.buildhook_json(args).is_object(), "{args:?}");
    }
}

#[test]
fn completions_are_made_for_each_shell() {
    let lab = Lab::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = lab.buildhook(&["completions", shell]);
        assert!(lab.shown(&output.stdout).contains("explain"), "{shell}");
    }
}

#[test]
fn without_a_home_the_variables_to_set_are_named() {
    let lab = Lab::new();
    let mut command = lab.command(BUILDHOOK);
    let output = command.arg("stats").env_remove("HOME").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let error = lab.shown(&output.stderr);
    assert!(error.contains("no place for the configuration: set BUILDHOOK_CONFIG"), "{error}");
}
