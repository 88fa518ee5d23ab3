//! A hostile plugin in the sandbox of `buildhook-wasm`: what it may not see and change. Every
//! attack is refused, for the right reason, on a kernel with `openat2` and on one without.
//!
//! That a test can fail is shown beside it: the same program run natively does what it was
//! refused, or the sandbox with another policy lets it.

use std::ffi::OsString;
use std::os::unix::fs::symlink;
use std::path::Path;

use buildhook_sdk::testing::Session;
use buildhook_stack_tests::hostile::{PATIENT, Scene, message};
use buildhook_stack_tests::wasm::{folder, without_openat2};
use buildhook_stack_tests::{program, session};
use serde_json::json;

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
    for path in &paths {
        scene.assert_says(&scene.policy(), &["read", path], "denied: ");
    }
    // What was granted can be read all the same.
    scene.assert_says(&scene.policy(), &["read", "/read/file"], "done: read");
    for name in ["absolute", "relative", "folder/file", "up/secret/file", "../secret/file"] {
        let path = format!("{}/{name}", scene.host("read"));
        assert_eq!(scene.natively(&["read", &path]), "done: secret", "{name}");
    }
}

#[test]
fn no_planted_link_leads_a_change_out_of_the_granted_folders() {
    let scene = Scene::new();
    plant(&scene.setup.path("write"), &scene.setup.path("secret"));
    fs_err::write(scene.setup.path("write/own"), "own").unwrap();
    fs_err::create_dir(scene.setup.path("secret/empty")).unwrap();
    let attacks: &[&[&str]] = &[
        &["write", "/write/absolute"],
        &["write", "/write/relative"],
        &["truncate", "/write/absolute"],
        &["truncate", "/write/absolute/"],
        &["touch", "/write/relative"],
        &["list", "/write/folder"],
        &["list", "/write/folder/"],
        &["list", "/write/relative-folder/"],
        &["list", "/write/up"],
        &["write", "/write/folder/new"],
        &["write", "/write/relative-folder/new"],
        &["mkdir", "/write/folder/new"],
        &["rmdir", "/write/folder/empty"],
        &["remove", "/write/folder/file"],
        &["remove", "/write/up/secret/file"],
        &["rename", "/write/own", "/write/folder/new"],
        &["rename", "/write/folder/file", "/write/mine"],
        &["rename", "/write/own", "/write/../secret/new"],
        &["link", "/write/absolute", "/write/mine"],
        &["link", "/write/folder/file", "/write/mine"],
    ];
    for attack in attacks {
        scene.assert_says(&scene.policy(), attack, "denied: ");
    }
    let secrets = fs_err::read_dir(scene.setup.path("secret")).unwrap();
    let mut secrets: Vec<_> = secrets.map(|item| item.unwrap().file_name()).collect();
    secrets.sort();
    assert_eq!(secrets, ["empty", "file"]);
    assert_eq!(fs_err::read(scene.setup.path("secret/file")).unwrap(), b"secret");

    // Natively every one of them works, but for a file with a slash behind it.
    let here = |path: &str| scene.host(path.trim_start_matches('/').trim_end_matches('/'));
    for attack in attacks {
        fs_err::write(scene.setup.path("secret/file"), "secret").unwrap();
        fs_err::write(scene.setup.path("write/own"), "own").unwrap();
        for made in ["secret/new", "write/mine"] {
            let made = scene.setup.path(made);
            let _ = fs_err::remove_file(&made).or_else(|_| fs_err::remove_dir(&made));
        }
        let mut arguments = vec![attack[0].to_owned()];
        arguments.extend(attack[1..].iter().map(|path| here(path)));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let outcome = scene.natively(&arguments);
        assert!(outcome.starts_with("done: "), "{attack:?}: {outcome}");
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
        &["touch", "/read/file"],
        &["mkdir", "/read/folder"],
        &["rename", "/write/own", "/read/new"],
    ];
    fs_err::write(scene.setup.path("write/own"), "own").unwrap();
    for attack in attacks {
        scene.assert_says(&scene.policy(), attack, "denied: ");
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
    // What is no regular file is not staged, whatever a request says.
    scene.fifo("fifo");
    symlink(scene.host("secret/file"), scene.setup.path("link")).unwrap();
    for path in [scene.host("fifo"), scene.host("link"), "/dev/zero".to_owned()] {
        want["files"][0]["path"] = path.clone().into();
        let told =
            message(&session(&scene.sandboxed(PATIENT, &["read-request"])).ask(want.clone()));
        assert!(told.starts_with("denied: "), "{path}: {told}");
    }
}

#[test]
fn the_host_is_offered_plain_files_of_granted_folders_only() {
    let scene = Scene::new();
    plant(&scene.setup.path("write"), &scene.setup.path("secret"));
    fs_err::write(scene.setup.path("secret/abc"), "abc").unwrap();
    fs_err::hard_link(scene.setup.path("secret/abc"), scene.setup.path("write/second")).unwrap();
    fs_err::write(scene.setup.path("write/good"), "abc").unwrap();
    scene.fifo("write/fifo");
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
    for (path, expected) in cases {
        scene.assert_says(&scene.policy(), &["hit", path], expected);
    }
    // A device, where somebody grants a folder with some.
    let devices = format!("{PATIENT}{}", folder(Path::new("/dev"), "/dev", "read"));
    scene.assert_says(&devices, &["hit", "/dev/null"], "not a regular file");
    let good = session(&scene.sandboxed(&scene.policy(), &["hit", "/write/good"]))
        .ask(scene.setup.fixture.want("k"));
    assert_eq!(good["files"][0]["path"], scene.host("write/good"), "{good}");
    assert_eq!(good["files"][0]["lease"], "borrowed");
    // Outside of the sandbox the secret is offered.
    let mut native = Session::start(program("wasm-hostile"), ["hit", &secret]);
    assert_eq!(native.ask(scene.setup.fixture.want("k"))["files"][0]["path"], secret);
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
