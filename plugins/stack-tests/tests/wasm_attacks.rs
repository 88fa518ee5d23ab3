//! A hostile plugin in the sandbox of `buildhook-wasm`: every attack is refused, for the
//! right reason, on a kernel with `openat2` and on one without.
//!
//! That a test can fail is shown beside it: the same program run natively does what it was
//! refused, or the sandbox with another policy lets it.

use std::ffi::OsString;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use buildhook_sdk::testing::Session;
use buildhook_stack_tests::wasm::{cache, folder, guest, without_openat2};
use buildhook_stack_tests::{Setup, program, session};
use serde_json::{Value, json};

/// What a sandboxed plugin may take in most of these tests, in milliseconds: longer than any
/// of them needs on a slow machine.
const PATIENT: &str = "time-ms = 30000\n";

/// A folder with a secret beside the folders that are granted.
struct Scene {
    setup: Setup,
}

impl Scene {
    fn new() -> Self {
        let setup = Setup::new();
        for name in ["read", "write", "secret"] {
            fs_err::create_dir(setup.path(name)).unwrap();
        }
        fs_err::write(setup.path("secret/file"), "secret").unwrap();
        fs_err::write(setup.path("read/file"), "read").unwrap();
        Self { setup }
    }

    fn policy(&self) -> String {
        let folder = |name: &str| folder(&self.setup.path(name), &format!("/{name}"), name);
        format!("{PATIENT}{}{}", folder("read"), folder("write"))
    }

    fn sandboxed(&self, policy: &str, arguments: &[&str]) -> Vec<OsString> {
        self.setup.sandboxed(policy, &guest("wasm-hostile"), arguments)
    }

    /// What came of an attack in the sandbox.
    fn attack(&self, policy: &str, arguments: &[&str]) -> String {
        self.outcome(&self.sandboxed(policy, arguments))
    }

    /// What comes of it where there is no sandbox.
    fn natively(&self, arguments: &[&str]) -> String {
        let mut command = vec![program("wasm-hostile").into_os_string()];
        command.extend(arguments.iter().map(OsString::from));
        self.outcome(&command)
    }

    fn outcome(&self, command: &[OsString]) -> String {
        let answer = session(command).ask(self.setup.fixture.want("k"));
        message(&answer)
    }

    fn host(&self, name: &str) -> String {
        self.setup.path(name).to_str().unwrap().to_owned()
    }
}

fn message(answer: &Value) -> String {
    assert_eq!(answer["kind"], "miss", "{answer}");
    answer["reason"]["message"].as_str().unwrap_or_default().to_owned()
}

/// Plants links in a granted folder that lead out of it.
fn plant(dir: &Path, secret: &Path) {
    symlink(secret.join("file"), dir.join("absolute")).unwrap();
    symlink("../secret/file", dir.join("relative")).unwrap();
    symlink(secret, dir.join("folder")).unwrap();
    symlink("../secret", dir.join("relative-folder")).unwrap();
    symlink("..", dir.join("up")).unwrap();
    symlink("/proc/self/root", dir.join("root")).unwrap();
    symlink("/proc/self/cwd", dir.join("cwd")).unwrap();
}

#[test]
fn no_path_leads_out_of_the_granted_folders() {
    let scene = Scene::new();
    for dir in ["read", "write"] {
        plant(&scene.setup.path(dir), &scene.setup.path("secret"));
    }
    let secret = scene.host("secret/file");
    let inner = secret.trim_start_matches('/');
    let mut paths = vec![secret.clone(), "/etc/passwd".to_owned(), "/proc/self/environ".to_owned()];
    for dir in ["read", "write"] {
        let names = [
            "absolute",
            "absolute/",
            "relative",
            "relative/",
            "folder/file",
            "folder/file/",
            "relative-folder/file",
            "up/secret/file",
            "../secret/file",
            "./../secret/file",
            "file/../../secret/file",
        ];
        paths.extend(names.iter().map(|name| format!("/{dir}/{name}")));
        paths.push(format!("/{dir}/root/{inner}"));
        paths.push(format!("/{dir}/cwd/{inner}"));
    }
    for launcher in [None, Some(without_openat2())] {
        for path in &paths {
            let mut command: Vec<OsString> = launcher.iter().map(OsString::from).collect();
            command.extend(scene.sandboxed(&scene.policy(), &["read", path]));
            let outcome = scene.outcome(&command);
            assert!(outcome.starts_with("denied: "), "{path}: {outcome}");
        }
        // What was granted can be read all the same.
        let mut command: Vec<OsString> = launcher.iter().map(OsString::from).collect();
        command.extend(scene.sandboxed(&scene.policy(), &["read", "/read/file"]));
        assert_eq!(scene.outcome(&command), "done: read");
    }
    for name in ["absolute", "relative", "folder/file", "up/secret/file", "../secret/file"] {
        let path = format!("{}/{name}", scene.host("read"));
        assert_eq!(scene.natively(&["read", &path]), "done: secret", "{name}");
    }
}

#[test]
fn what_may_be_read_cannot_be_changed() {
    let scene = Scene::new();
    let attacks: &[&[&str]] = &[
        &["write", "/read/file"],
        &["write", "/read/new"],
        &["truncate", "/read/file"],
        &["remove", "/read/file"],
        &["rename", "/read/file", "/write/file"],
        &["rename", "/read/file", "/read/other"],
        &["link", "/read/file", "/write/link"],
        &["symlink", "/etc/passwd", "/write/link"],
        &["symlink", "../secret/file", "/write/link"],
        &["link", "/write/own", "/write/link"],
        &["sparse", "/read/file"],
    ];
    fs_err::write(scene.setup.path("write/own"), "own").unwrap();
    for attack in attacks {
        let outcome = scene.attack(&scene.policy(), attack);
        assert!(outcome.starts_with("denied: "), "{attack:?}: {outcome}");
    }
    assert_eq!(fs_err::read(scene.setup.path("read/file")).unwrap(), b"read");
    assert!(fs_err::symlink_metadata(scene.setup.path("write/link")).is_err());
    // With the access that they lack here they work, but for links.
    let write = folder(&scene.setup.path("read"), "/read", "write");
    assert_eq!(scene.attack(&format!("{PATIENT}{write}"), &["truncate", "/read/file"]), "done: ");
    let link = scene.host("write/link");
    for attack in [["link", &scene.host("write/own"), &link], ["symlink", "/etc/passwd", &link]] {
        assert_eq!(scene.natively(&attack), "done: ");
        fs_err::remove_file(&link).unwrap();
    }
}

#[test]
fn what_is_staged_is_a_copy_that_cannot_be_written() {
    let scene = Scene::new();
    let file = scene.setup.fixture.file("out/x", b"content", false);
    let path = file.path.clone();
    let request = scene.setup.fixture.built("k", std::slice::from_ref(&file));
    let ask = |policy: &str, attack: &str| {
        let answer = session(&scene.sandboxed(policy, &[attack])).ask(request.clone());
        // It answers a `built-a-thing` with a miss: that alone ends it, and says what came.
        answer["reason"]["message"].as_str().unwrap().to_owned()
    };
    assert!(ask(PATIENT, "write-request").contains("answered another question"));
    assert_eq!(fs_err::read(&path).unwrap(), b"content");
    let mut want = scene.setup.fixture.want("k");
    want["files"] = json!([file]);
    want["unknown"] = json!({"a": ["b"]});
    let ask = |policy: &str, attack: &str| {
        message(&session(&scene.sandboxed(policy, &[attack])).ask(want.clone()))
    };
    assert!(ask(PATIENT, "write-request").starts_with("denied: "));
    assert_eq!(ask(PATIENT, "read-request"), "done: content");
    let names_only = format!("contents = false\n{PATIENT}");
    assert!(ask(&names_only, "read-request").starts_with("denied: "));
    // Neither paths of the host nor its scratch folder are told; what is unknown is.
    let told = ask(PATIENT, "request");
    assert!(!told.contains(&scene.host("")) && told.contains("/scratch"), "{told}");
    assert!(told.contains(r#""unknown":{"a":["b"]}"#), "{told}");
    assert_eq!(fs_err::read(&path).unwrap(), b"content");
}

#[test]
fn the_host_is_offered_plain_files_of_granted_folders_only() {
    let scene = Scene::new();
    plant(&scene.setup.path("write"), &scene.setup.path("secret"));
    fs_err::write(scene.setup.path("secret/abc"), "abc").unwrap();
    fs_err::hard_link(scene.setup.path("secret/abc"), scene.setup.path("write/second")).unwrap();
    fs_err::write(scene.setup.path("write/good"), "abc").unwrap();
    fifo(&scene.setup.path("write/fifo"));
    let secret = scene.host("secret/abc");
    let cases = [
        ("/write/absolute", "without a link"),
        ("/write/relative", "without a link"),
        ("/write/folder/abc", "without a link"),
        ("/write/root/etc/passwd", "without a link"),
        ("/write/../secret/abc", "no plain path"),
        ("/write/second", "several names"),
        ("/write/fifo", "not a regular file"),
        ("/write", "in none of its folders"),
        ("/request/1", "without a link"),
        (&secret, "in none of its folders"),
    ];
    for launcher in [None, Some(without_openat2())] {
        for (path, expected) in cases {
            let mut command: Vec<OsString> = launcher.iter().map(OsString::from).collect();
            command.extend(scene.sandboxed(&scene.policy(), &["hit", path]));
            let outcome = scene.outcome(&command);
            assert!(outcome.contains(expected), "{path}: {outcome}");
        }
    }
    let good = session(&scene.sandboxed(&scene.policy(), &["hit", "/write/good"]))
        .ask(scene.setup.fixture.want("k"));
    assert_eq!(good["files"][0]["path"], scene.host("write/good"), "{good}");
    assert_eq!(good["files"][0]["lease"], "borrowed");
    // Outside of the sandbox the secret is offered.
    let mut native = Session::start(program("wasm-hostile"), ["hit", &secret]);
    assert_eq!(native.ask(scene.setup.fixture.want("k"))["files"][0]["path"], secret);
}

#[test]
fn loops_sleeps_and_fifos_end_at_the_deadline_and_the_next_call_has_a_new_guest() {
    let scene = Scene::new();
    fifo(&scene.setup.path("read/fifo"));
    let read = folder(&scene.setup.path("read"), "/read", "read");
    let policy = format!("clock = \"real\"\ntime-ms = 300\n{read}");
    let cases: &[(&[&str], &str)] = &[
        (&["loop"], "took longer than 300 ms"),
        (&["storm"], "took longer than 300 ms"),
        (&["sleep", "60"], "did not answer in time and was killed"),
        (&["read", "/read/fifo"], "did not answer in time and was killed"),
    ];
    for (attack, expected) in cases {
        let mut session = session(&scene.sandboxed(&policy, attack));
        for _ in 0..2 {
            let started = Instant::now();
            let outcome = message(&session.ask(scene.setup.fixture.want("k")));
            // An interrupt that comes late on a loaded machine is a kill.
            let killed = outcome.contains("was killed");
            assert!(outcome.contains(expected) || killed, "{attack:?}: {outcome}");
            assert!(started.elapsed() < Duration::from_secs(20), "{attack:?}");
        }
        assert!(session.close().0.success());
    }
    // The host's own deadline holds as well.
    let patient = format!("clock = \"real\"\n{PATIENT}");
    let mut impatient = scene.setup.fixture.want("k");
    impatient["deadline-ms"] = 200.into();
    let outcome = session(&scene.sandboxed(&patient, &["sleep", "60"])).ask(impatient);
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
    let mib = |count: u64| (count << 20).to_string();
    let cases: &[(&str, &[&str], &str)] = &[
        (&small, &["memory", &mib(64)], "trapped"),
        // Its own stack, in its own memory, ends before the engine's.
        (&policy, &["recursion", "100000000"], "trapped"),
        (&policy, &["flood"], "line longer than"),
        (&policy, &["descriptors", "/read/file"], "denied: after 1"),
        (&tight, &["sparse", "/write/sparse"], "denied: "),
        (&tight, &["fill", "/write/big", &mib(2)], "denied: after 1048576"),
        (&tight, &["files", "/write", "1000"], "denied: after 20"),
        (&tight, &["folders", "/scratch", "1000"], "denied: after 20"),
        (&policy, &["panic"], "trapped"),
        (&policy, &["exit", "0"], "ended before its input did"),
        (&policy, &["exit", "1"], "exited with code 1"),
        (&policy, &["exit", "126"], "outside of [0..126)"),
        (&policy, &["close-stdout"], "the guest"),
    ];
    for (policy, attack, expected) in cases {
        let outcome = scene.attack(policy, attack);
        assert!(outcome.contains(expected), "{attack:?}: {outcome}");
    }
    // With higher bounds the same is done.
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
fn nothing_of_the_world_outside_is_seen_unasked() {
    let scene = Scene::new();
    let with_env = |policy: &str| {
        let command = scene.sandboxed(policy, &["environment", "own"]);
        let mut process = std::process::Command::new(&command[0]);
        process.args(&command[1..]).env("TOKEN", "secret").env("GRANTED", "yes");
        message(&Session::spawn(process).ask(scene.setup.fixture.want("k")))
    };
    assert_eq!(with_env(PATIENT), r#"done: ["environment", "own"] []"#);
    let granted = with_env(&format!("env = [\"GRANTED\", \"ABSENT\"]\n{PATIENT}"));
    assert_eq!(granted, r#"done: ["environment", "own"] [("GRANTED", "yes")]"#);

    for (attack, key) in [("clock", "clock"), ("random", "random")] {
        assert_eq!(scene.attack(PATIENT, &[attack]), scene.attack(PATIENT, &[attack]));
        let real = format!("{key} = \"real\"\n{PATIENT}");
        assert_ne!(scene.attack(&real, &[attack]), scene.attack(&real, &[attack]));
    }
}

#[test]
fn an_instance_for_each_call_remembers_nothing() {
    let scene = Scene::new();
    let second_call = |policy: &str| {
        let mut session = session(&scene.sandboxed(policy, &["state"]));
        let _ = session.ask(scene.setup.fixture.want("k"));
        message(&session.ask(scene.setup.fixture.want("k")))
    };
    assert_eq!(second_call(&format!("instance = \"call\"\n{PATIENT}")), "done: call 1");
    assert_eq!(second_call(PATIENT), "done: call 2");
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
        let mut session = session(&scene.sandboxed(PATIENT, &["answer", line]));
        for _ in 0..2 {
            let answer = session.ask(scene.setup.fixture.want("k"));
            assert_eq!(answer["reason"]["code"], "sandbox", "{line}: {answer}");
        }
    }
}

#[test]
fn modules_that_are_none_or_ask_for_too_much_do_not_start() {
    let scene = Scene::new();
    let start = |name: &str, bytes: &[u8]| {
        let path = scene.setup.path(name);
        fs_err::write(&path, bytes).unwrap();
        let session = session(&scene.setup.sandboxed(PATIENT, &path, &[]));
        session.hello()["error"]["message"].as_str().unwrap().to_owned()
    };
    // (module (type (func)) (import "wasi_snapshot_preview1" "sock_open" (func (type 0))))
    let mut sockets = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x02\x24\x01\x16".to_vec();
    sockets.extend(b"wasi_snapshot_preview1\x09sock_open\0\0");
    assert!(start("sockets.wasm", &sockets).contains("`wasi_snapshot_preview1::sock_open`"));
    assert!(start("empty.wasm", b"\0asm\x01\0\0\0").contains("_start"));
    assert!(start("invalid.wasm", b"\0asm\x01\0\0\0\xff\xff").contains("invalid.wasm"));

    // A compiled form, real or forged, is never taken for a module.
    let _ = scene.attack(PATIENT, &["state"]);
    let compiled: PathBuf = fs_err::read_dir(cache().join("modules"))
        .unwrap()
        .map(|item| item.unwrap().path())
        .find(|path| path.is_file())
        .unwrap();
    let compiled = fs_err::read(compiled).unwrap();
    assert!(start("real.wasm", &compiled).contains("compiled forms are never taken"));
}

fn fifo(path: &Path) {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

/// The launcher of the other tests really takes `openat2` away, and nothing else.
#[test]
fn the_launcher_takes_openat2_away() {
    let scene = Scene::new();
    let file = scene.host("read/file");
    let launched = |attack: &str| {
        let command = [&*without_openat2(), &*program("wasm-hostile")].map(OsString::from);
        let arguments = [attack, &file].map(OsString::from);
        scene.outcome(&[command, arguments].concat())
    };
    assert_eq!(scene.natively(&["openat2", &file]), "done: opened");
    let outcome = launched("openat2");
    assert!(outcome.contains(&rustix::io::Errno::NOSYS.to_string()), "{outcome}");
    assert_eq!(launched("read"), "done: read");
}
