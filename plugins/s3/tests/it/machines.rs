//! Two machines share a bucket: other checkout folders, other `CARGO_HOME`s, other users'
//! homes, and nothing but the bucket in common. Real Cargo, the real host, the real plugin.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use buildhook_stack_tests::host;
use serde_json::Value;

use super::proxy::{Link, Proxy};
use super::server::{BUCKET, PROGRAM, Server};

const FILES: &[(&str, &str)] = &[
    ("Cargo.toml", "[workspace]\nresolver = '3'\nmembers = ['base', 'middle', 'app']\n"),
    ("base/Cargo.toml", "[package]\nname = 'base'\nedition = '2024'\n"),
    ("base/src/lib.rs", "pub fn answer() -> u32 { 42 }\n"),
    (
        "middle/Cargo.toml",
        "[package]\nname = 'middle'\nedition = '2024'\n[dependencies]\nbase = { path = '../base' }\n",
    ),
    ("middle/src/lib.rs", "pub fn text() -> String { format!(\"{}!\", base::answer()) }\n"),
    (
        "app/Cargo.toml",
        "[package]\nname = 'app'\nedition = '2024'\n[dependencies]\nmiddle = { path = '../middle' }\n",
    ),
    ("app/src/main.rs", "fn main() { println!(\"{}\", middle::text()); }\n"),
];

fn toolchain() -> PathBuf {
    let output = Command::new("rustc").arg("--print=sysroot").output().unwrap();
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim_end())
}

/// Longer than anything takes on a machine under load; reached only when a test fails.
const LIMIT: Duration = Duration::from_secs(60);

/// The machine may be slow: what is counted are hits.
const PATIENT: &str =
    "[limits]\nhello-ms = 60000\nwant-to-build-ms = 60000\nbuilt-a-thing-ms = 60000\n";

/// The plugin as a hook, at `address`.
pub(crate) fn hook(server: &Server, address: SocketAddr, options: &str) -> String {
    let prefix = server.prefixed("machines");
    format!("'{PROGRAM}' --bucket={BUCKET} --prefix={prefix} --endpoint=http://{address} {options}")
}

/// The executable `buildhook` on a machine below `root`, with this hook and these settings, in a
/// checkout of its own. Credentials are still to be given.
pub(crate) fn buildhook(root: &Path, server: &Server, hook: &str, settings: &str) -> Command {
    let (checkout, home) = (root.join("some/checkout"), root.join("home"));
    for (path, text) in FILES {
        let path = checkout.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    for folder in ["home", "cargo"] {
        std::fs::create_dir_all(root.join(folder)).unwrap();
    }
    let config = root.join("config.toml");
    std::fs::write(&config, settings).unwrap();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::iter::once(toolchain().join("bin")).chain(std::env::split_paths(&path));
    let mut command = Command::new(host());
    command
        .env_clear()
        .env("PATH", std::env::join_paths(path).unwrap())
        .env("HOME", home)
        .env("CARGO_HOME", root.join("cargo"))
        .env("CARGO_NET_OFFLINE", "true")
        .env("BUILDHOOK_CACHE_DIR", root.join("state"))
        .env("BUILDHOOK_CONFIG", config)
        .env("BUILDHOOK_HOOK", hook)
        .envs(server.region())
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .current_dir(checkout);
    command
}

/// Builds, and returns what was said.
pub(crate) fn cargo_build(command: &mut Command) -> Output {
    let cargo = toolchain().join("bin/cargo");
    command.args(["run", "--json", "--"]).arg(cargo).arg("build").output().unwrap()
}

/// A machine with a checkout of its own; builds there with all the time that it takes.
fn build(root: &Path, server: &Server, access_key: &str) -> Output {
    let hook = hook(server, server.address, "--wait --patience-ms=3600000");
    let mut command = buildhook(root, server, &hook, PATIENT);
    command.env("AWS_ACCESS_KEY_ID", access_key).env("AWS_SECRET_ACCESS_KEY", &server.secret);
    cargo_build(&mut command)
}

/// What the program says that was built there.
pub(crate) fn app(root: &Path) -> Vec<u8> {
    Command::new(root.join("some/checkout/target/debug/app")).output().unwrap().stdout
}

/// What was done, from the summary at the end.
pub(crate) fn reports(output: &Output) -> Vec<Value> {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let summary = stderr.trim_end().lines().last().unwrap_or_default();
    let summary: Value = serde_json::from_str(summary).unwrap_or_else(|_| panic!("{stderr}"));
    summary["reports"].as_array().unwrap().clone()
}

/// Crates and what became of them, sorted.
pub(crate) fn outcomes(output: &Output) -> Vec<(String, String)> {
    let reports = reports(output);
    let units = reports.iter().flat_map(|report| report["units"].as_array().unwrap());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut outcomes: Vec<_> =
        units.map(|unit| (text(&unit["crate-name"]), text(&unit["outcome"]))).collect();
    outcomes.sort();
    outcomes
}

pub(crate) fn all(outcome: &str) -> Vec<(String, String)> {
    ["app", "base", "middle"].map(|name| (name.to_owned(), outcome.to_owned())).to_vec()
}

#[test]
fn a_second_machine_builds_nothing() {
    let server = Server::start();
    let (first, second, third) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    assert_eq!(outcomes(&build(first.path(), &server, &server.access_key)), all("miss"));
    let deeper = second.path().join("another/place");
    let output = build(&deeper, &server, &server.access_key);
    assert_eq!(outcomes(&output), all("hit"), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(app(&deeper), b"42!\n");

    // A third one has no access: it builds by itself, and no secret is in what it says.
    let output = build(third.path(), &server, "AKIAUNKNOWN");
    assert!(!outcomes(&output).iter().any(|(_, outcome)| outcome == "hit"));
    let said = format!("{output:?}");
    assert!(
        said.contains("correct AWS_ACCESS_KEY_ID") || server.is_other,
        "people are told: {said}"
    );
    assert!(!said.contains(&server.secret), "{said}");
}

/// Whoever can write to the bucket, or a bad disk, costs compilations and nothing else.
#[test]
fn what_was_changed_in_the_bucket_is_built_again() {
    let server = Server::start();
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    outcomes(&build(first.path(), &server, &server.access_key));
    let folders = ["outputs", "inputs", "packs"].map(|folder| format!("machines/v2/{folder}"));
    for object in folders.iter().flat_map(|folder| server.objects(folder)) {
        let mut content = server.objects.read(&object);
        let middle = content.len() / 2;
        content[middle] ^= 1;
        server.objects.write(&object, &content);
    }
    let output = build(second.path(), &server, &server.access_key);
    assert_eq!(outcomes(&output), all("miss"), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(app(second.path()), b"42!\n");
    let asked = &reports(&output)[0]["hook"]["want-to-build"];
    assert!(asked["misses"]["corrupt"].as_u64() > Some(0), "{asked}");
    // What is found is stored anew. A pack is found by the one who may read the record before
    // it: the next machine.
    for expected in [None, Some(all("hit"))] {
        let machine = tempfile::tempdir().unwrap();
        let found = outcomes(&build(machine.path(), &server, &server.access_key));
        assert!(expected.is_none_or(|expected| expected == found), "{found:?}");
    }
}

/// The plugin waits for them, so the host ends it, with what it has started.
#[test]
fn credentials_that_never_come_stop_no_build() {
    let server = Server::start();
    let machine = tempfile::tempdir().unwrap();
    let root = machine.path();
    let (process, started) = (root.join("process"), root.join("started"));
    std::fs::write(&process, format!("echo $$ >>{}; exec sleep 1000\n", started.display()))
        .unwrap();
    let config = root.join("aws");
    let text = format!("[profile p]\ncredential_process = /bin/sh {}\n", process.display());
    std::fs::write(&config, text).unwrap();
    let hook = hook(&server, server.address, "--profile=p");
    let output = cargo_build(buildhook(root, &server, &hook, "").env("AWS_CONFIG_FILE", config));
    assert!(!outcomes(&output).iter().any(|(_, outcome)| outcome == "hit"));
    assert_eq!(app(root), b"42!\n");
    let report = &reports(&output)[0]["hook"]["plugins"][0];
    assert_eq!(report["switched-off"].as_array().unwrap().len(), 1, "{report}");
    let started_at = Instant::now();
    for pid in std::fs::read_to_string(started).unwrap().lines() {
        while is_running(pid) {
            assert!(started_at.elapsed() < LIMIT, "{pid} was left behind");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Whether it has not been killed: who has lost its parent may wait for being reaped.
fn is_running(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

/// With the limits that users get: whatever the link does, the build succeeds, nothing wrong is
/// restored, and each thing is told once. What it costs is for the tests of sessions to show.
#[test]
fn whatever_the_link_does_a_build_is_right() {
    let server = Server::start();
    let first = tempfile::tempdir().unwrap();
    outcomes(&build(first.path(), &server, &server.access_key));
    let denied = Link::Answers(403, "AccessDenied");
    let links = [
        (Link::ResetsAfter(0), None, "buildhook-s3: "),
        (Link::ResetsAfter(300), None, ""),
        (Link::ResetsUploadAfter(100), None, "buildhook-s3: "),
        (Link::BreaksAfter(300), None, ""),
        (Link::BreaksAfter(10_000), None, ""),
        (Link::Trickles, None, "buildhook-s3: "),
        (Link::Silent, None, "buildhook-s3: "),
        (Link::HangsAfter(300), None, "buildhook-s3: "),
        (Link::HangsAfter(3_000), None, "buildhook-s3: "),
        (Link::VanishesAfter(3_000), None, "buildhook-s3: "),
        (Link::Answers(500, "InternalError"), None, "answers 500 (InternalError)"),
        (Link::Answers(503, "SlowDown"), None, "answers 503 (SlowDown)"),
        (Link::Answers(429, "TooManyRequests"), None, "answers 429 (TooManyRequests)"),
        (denied, None, "s3:ListBucket"),
        (denied, Some(Link::BreaksAfter(3_000)), "s3:ListBucket"),
        (Link::Answers(400, "ExpiredToken"), None, "sign in again"),
    ];
    // Several at once: most of the time they wait.
    let build_over = |(link, before, words): &(Link, Option<Link>, &str)| {
        let machine = tempfile::tempdir().unwrap();
        let proxy = Proxy::start(server.address, *link, before.as_slice());
        let hook = hook(&server, proxy.address, "--drain-ms=1000");
        let mut command = buildhook(machine.path(), &server, &hook, "");
        command
            .env("AWS_ACCESS_KEY_ID", &server.access_key)
            .env("AWS_SECRET_ACCESS_KEY", &server.secret);
        let output = cargo_build(&mut command);
        assert_eq!(outcomes(&output).len(), 3, "{link:?}");
        assert_eq!(app(machine.path()), b"42!\n", "{link:?}");
        let report = &reports(&output)[0]["hook"]["plugins"][0];
        let said = report["stderr-tail"].as_str().unwrap();
        assert!(said.contains(words), "{link:?}: {report}");
        let lines: Vec<_> = said.lines().collect();
        let is_once = |line: &&str| lines.iter().filter(|other| *other == line).count() == 1;
        assert!(lines.iter().all(is_once), "{link:?}: {said}");
    };
    for pair in links.chunks(2) {
        std::thread::scope(|scope| {
            for link in pair {
                scope.spawn(|| build_over(link));
            }
        });
    }
}
