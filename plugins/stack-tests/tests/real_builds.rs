//! Stacks below the real host, over real builds.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use buildhook_stack_tests::{Setup, host, program};
use serde_json::Value;

/// Writes the files of a project that depends on `dep`, a registry package that lies in the
/// project's folder, so that nothing needs a network.
fn project(dir: &Path, name: &str, code: &str) {
    let files = [
        ("vendor/dep/Cargo.toml", "[package]\nname = \"dep\"\nversion = \"1.0.0\"\n"),
        ("vendor/dep/src/lib.rs", "pub fn dep() -> u32 {\n    41\n}\n"),
        ("vendor/dep/.cargo-checksum.json", "{\"files\":{}}"),
        (
            ".cargo/config.toml",
            "[source.crates-io]\nreplace-with = \"vendored\"\n\
             [source.vendored]\ndirectory = \"vendor\"\n",
        ),
        ("src/main.rs", code),
    ];
    for (path, text) in files {
        let path = dir.join(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }
    let manifest = format!(
        "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\
         [workspace]\n[dependencies]\ndep = \"1\"\n"
    );
    fs_err::write(dir.join("Cargo.toml"), manifest).unwrap();
}

/// Builds `dir` with `hook` and runs the program `name`; returns what it prints.
fn build(setup: &Setup, dir: &Path, hook: &[OsString], name: &str) -> String {
    let quoted: Vec<_> = hook.iter().map(|word| format!("'{}'", word.display())).collect();
    let cargo = PathBuf::from(env!("CARGO"));
    let toolchain = cargo.parent().unwrap().to_owned();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::iter::once(toolchain).chain(std::env::split_paths(&path));
    for folder in ["home", "cache", "tmp"] {
        fs_err::create_dir_all(setup.path(folder)).unwrap();
    }
    // A sandbox that is built without optimisation starts slowly on a busy machine.
    let config = setup.path("config.toml");
    let limits = "[limits]\nhello-ms = 60000\nwant-to-build-ms = 60000\nbuilt-a-thing-ms = 60000\n";
    fs_err::write(&config, limits).unwrap();
    let output = Command::new(host())
        .args(["run", "--"])
        .arg(cargo)
        .args(["build", "--offline"])
        .current_dir(dir)
        .env_clear()
        .env("PATH", std::env::join_paths(path).unwrap())
        .env("HOME", setup.path("home"))
        .env("CARGO_HOME", dir.join("cargo-home"))
        .env("TMPDIR", setup.path("tmp"))
        .env("BUILDHOOK_CACHE_DIR", setup.path("cache"))
        .env("BUILDHOOK_CONFIG", config)
        .env("BUILDHOOK_HOOK", quoted.join(" "))
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let program = Command::new(dir.join("target/debug").join(name)).output().unwrap();
    assert!(program.status.success());
    String::from_utf8(program.stdout).unwrap()
}

/// The exchanges in a log that `buildhook-log` has written, and an end to it: the next call
/// sees only what is new.
fn exchanges(log: &Path) -> Vec<Value> {
    let text = fs_err::read_to_string(log).unwrap();
    fs_err::remove_file(log).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line.get("request").is_some()).collect()
}

/// Whether the outputs of `name` were a hit.
fn was_hit(exchanges: &[Value], name: &str) -> bool {
    exchanges.iter().any(|exchange| {
        exchange["request"]["unit"]["name"] == name
            && exchange["request"].get("purpose").is_none()
            && exchange["answer"]["kind"] == "hit"
    })
}

fn stored(exchanges: &[Value]) -> Vec<&str> {
    let stored = exchanges.iter().filter(|exchange| exchange["answer"]["stored"] == "yes");
    stored.map(|exchange| exchange["request"]["unit"]["name"].as_str().unwrap()).collect()
}

const MAIN: &str = "fn main() {\n    print!(\"{}\", dep::dep() + 1);\n}\n";
const OTHER: &str = "fn main() {\n    print!(\"other {}\", dep::dep());\n}\n";

/// Dependencies are shared, one's own project is not.
#[test]
fn a_new_project_gets_its_dependencies_and_its_own_crates_are_never_stored() {
    let setup = Setup::new();
    let log = setup.path("log.jsonl");
    let below = setup.above("log", &["--to", log.to_str().unwrap()], setup.local_dir());
    let hook = setup.above("only", &["--origin", "registry,git"], below);

    let first = setup.path("first");
    project(&first, "template", MAIN);
    assert_eq!(build(&setup, &first, &hook, "template"), "42");
    let seen = exchanges(&log);
    assert!(stored(&seen).contains(&"dep") && !was_hit(&seen, "dep"));

    let second = setup.path("second");
    project(&second, "mine", OTHER);
    assert_eq!(build(&setup, &second, &hook, "mine"), "other 41");
    let again = exchanges(&log);
    assert!(was_hit(&again, "dep"));
    for exchange in seen.iter().chain(&again) {
        assert_eq!(exchange["request"]["unit"]["origin"], "registry", "{exchange}");
    }
}

/// Every stack gives the builds of another folder what the first has stored.
#[test]
fn stacks_give_back_what_builds_have_stored() {
    let setup = Setup::new();
    let stack = setup.path("stack.toml");
    for name in ["compress", "log", "only", "tier", "local-dir"] {
        // All lie in one folder, where chain finds them.
        let _ = program(name);
    }
    let log = setup.path("log.jsonl");
    let text = format!(
        "[[filter]]\nplugin = [\"log\", \"--to\", {log:?}]\n\
         [[filter]]\nplugin = [\"compress\"]\n\
         [[cache]]\nname = \"near\"\nplugin = [\"local-dir\", \"--dir\", {:?}]\n\
         read = true\nwrite = true\nback-fill = true\n\
         [[cache]]\nname = \"far\"\nplugin = [\"local-dir\", \"--dir\", {:?}]\n\
         read = true\nwrite = true\nback-fill = false\nbackground = true\n",
        setup.path("near"),
        setup.path("far"),
    );
    fs_err::write(&stack, text).unwrap();
    let hook = vec![program("chain").into_os_string(), stack.into()];

    let first = setup.path("first");
    project(&first, "app", MAIN);
    assert_eq!(build(&setup, &first, &hook, "app"), "42");
    assert!(stored(&exchanges(&log)).contains(&"app"));

    // Elsewhere, and the near cache is lost.
    fs_err::remove_dir_all(setup.path("near")).unwrap();
    let second = setup.path("second");
    project(&second, "app", MAIN);
    assert_eq!(build(&setup, &second, &hook, "app"), "42");
    let seen = exchanges(&log);
    assert!(was_hit(&seen, "dep") && was_hit(&seen, "app"));
    assert_eq!(stored(&seen), Vec::<&str>::new());

    // The near cache has been filled again; it is enough, and nobody writes to it.
    fs_err::remove_dir_all(setup.path("far")).unwrap();
    let near = setup.above("compress", &[], setup.local_dir_in("near"));
    let near = setup.above("readonly", &[], near);
    let near = setup.above("log", &["--to", log.to_str().unwrap()], near);
    let third = setup.path("third");
    project(&third, "app", MAIN);
    assert_eq!(build(&setup, &third, &near, "app"), "42");
    let seen = exchanges(&log);
    assert!(was_hit(&seen, "dep") && was_hit(&seen, "app"));
    project(&third, "app", OTHER);
    assert_eq!(build(&setup, &third, &near, "app"), "other 41");
    assert_eq!(stored(&exchanges(&log)), Vec::<&str>::new());
}

/// A stack that fails in any way costs misses, never the build.
#[test]
fn builds_do_not_fail_with_their_stack() {
    let setup = Setup::new();
    let hello = r#"{"v":[1],"plugin":{"name":"c","version":"1"},"hooks":["want-to-build","built-a-thing"]}"#;
    // A file: the words of a hook are split as a shell splits them.
    let script = setup.path("child");
    let cases = [
        "exit 1".to_owned(),
        format!("echo '{hello}'; read -r line; exit 1"),
        format!("echo '{hello}'; read -r line; echo nonsense; cat >/dev/null"),
        r#"echo '{"v":[9],"plugin":{"name":"c","version":"1"},"hooks":[]}'"#.to_owned(),
    ];
    for (number, case) in cases.iter().enumerate() {
        fs_err::write(&script, case).unwrap();
        let child = vec!["sh".into(), script.clone().into()];
        let hook = setup.above("only", &[], setup.above("compress", &[], child));
        let dir = setup.path(&format!("project-{number}"));
        project(&dir, "app", MAIN);
        assert_eq!(build(&setup, &dir, &hook, "app"), "42", "{case}");
    }
}

/// A sandboxed store has the same hits as a native one, and gives back the same bytes.
#[test]
fn a_sandboxed_store_serves_builds_as_a_native_one_does() {
    let mut seen = Vec::new();
    for name in ["native", "sandboxed"] {
        let setup = Setup::new();
        let store = match name {
            "native" => setup.local_dir(),
            _ => setup.sandboxed_local_dir("store"),
        };
        let log = setup.path("log.jsonl");
        let hook = setup.above("log", &["--to", log.to_str().unwrap()], store);
        let (first, second) = (setup.path("first"), setup.path("second"));
        project(&first, "app", MAIN);
        assert_eq!(build(&setup, &first, &hook, "app"), "42");
        let _ = exchanges(&log);
        project(&second, "app", MAIN);
        assert_eq!(build(&setup, &second, &hook, "app"), "42");
        let again = exchanges(&log);
        assert!(was_hit(&again, "dep") && was_hit(&again, "app"), "{name}");
        assert_eq!(stored(&again), Vec::<&str>::new());
        let answers = again.iter().map(|exchange| {
            let (request, answer) = (&exchange["request"], &exchange["answer"]);
            let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let unit = word(&request["unit"]["name"]);
            (unit, word(&request["purpose"]), word(&answer["kind"]))
        });
        let mut answers: Vec<_> = answers.collect();
        answers.sort();
        let bytes = |dir: &Path| fs_err::read(dir.join("target/debug/app")).unwrap();
        assert_eq!(bytes(&first), bytes(&second), "{name}");
        seen.push((answers, bytes(&second)));
    }
    assert_eq!(seen[0].0, seen[1].0);
    assert_eq!(seen[0].1, seen[1].1);
}
