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

/// A machine with a checkout of its own; builds there, and returns what Cargo said.
fn build(root: &Path, host: &Path, server: &Server, access_key: &str) -> Output {
    // The machine may be slow: what is counted are hits.
    let limits = "[limits]\nhello-ms = 60000\nwant-to-build-ms = 60000\nbuilt-a-thing-ms = 60000\n";
    build_over(root, host, server, (server.address, "--wait"), access_key, limits)
}

/// The same over another `link`, with an option, and with these settings of the host.
fn build_over(
    root: &Path,
    host: &Path,
    server: &Server,
    (address, option): (SocketAddr, &str),
    access_key: &str,
    limits: &str,
) -> Output {
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
    std::fs::write(&config, limits).unwrap();
    let bin = toolchain().join("bin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path =
        std::env::join_paths(std::iter::once(bin.clone()).chain(std::env::split_paths(&path)));
    Command::new(host)
        .args(["run", "--json", "--"])
        .arg(bin.join("cargo"))
        .arg("build")
        .env_clear()
        .env("PATH", path.unwrap())
        .env("HOME", home)
        .env("CARGO_HOME", root.join("cargo"))
        .env("CARGO_NET_OFFLINE", "true")
        .env("BUILDHOOK_CACHE_DIR", root.join("state"))
        .env("BUILDHOOK_CONFIG", config)
        .env(
            "BUILDHOOK_HOOK",
            format!(
                "'{PROGRAM}' --bucket={BUCKET} --prefix={} --endpoint=http://{address} {option}",
                server.prefixed("machines")
            ),
        )
        .env("AWS_ACCESS_KEY_ID", access_key)
        .env("AWS_SECRET_ACCESS_KEY", &server.secret)
        .envs(server.region())
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .current_dir(checkout)
        .output()
        .unwrap()
}

/// Crates and what became of them, sorted.
fn outcomes(output: &Output) -> Vec<(String, String)> {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let summary = stderr.trim_end().lines().last().unwrap_or_default();
    let summary: Value = serde_json::from_str(summary).unwrap_or_else(|_| panic!("{stderr}"));
    let reports = summary["reports"].as_array().unwrap().iter();
    let units = reports.flat_map(|report| report["units"].as_array().unwrap());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut outcomes: Vec<_> =
        units.map(|unit| (text(&unit["crate-name"]), text(&unit["outcome"]))).collect();
    outcomes.sort();
    outcomes
}

fn all(outcome: &str) -> Vec<(String, String)> {
    ["app", "base", "middle"].map(|name| (name.to_owned(), outcome.to_owned())).to_vec()
}

#[test]
fn a_second_machine_builds_nothing() {
    let (server, host) = (Server::start(), host());
    let (first, second, third) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    assert_eq!(outcomes(&build(first.path(), &host, &server, &server.access_key)), all("miss"));
    let deeper = second.path().join("another/place");
    let output = build(&deeper, &host, &server, &server.access_key);
    assert_eq!(outcomes(&output), all("hit"), "{}", String::from_utf8_lossy(&output.stderr));
    let program = Command::new(deeper.join("some/checkout/target/debug/app")).output().unwrap();
    assert_eq!(program.stdout, b"42!\n");

    // A third one has no access: it builds by itself, and no secret is in what it says.
    let output = build(third.path(), &host, &server, "AKIAUNKNOWN");
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
    let (server, host) = (Server::start(), host());
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    outcomes(&build(first.path(), &host, &server, &server.access_key));
    let folders = ["outputs", "inputs", "packs"].map(|folder| format!("machines/v2/{folder}"));
    for object in folders.iter().flat_map(|folder| server.objects(folder)) {
        let mut content = server.objects.read(&object);
        let middle = content.len() / 2;
        content[middle] ^= 1;
        server.objects.write(&object, &content);
    }
    let output = build(second.path(), &host, &server, &server.access_key);
    assert_eq!(outcomes(&output), all("miss"), "{}", String::from_utf8_lossy(&output.stderr));
    let app = second.path().join("some/checkout/target/debug/app");
    assert_eq!(Command::new(app).output().unwrap().stdout, b"42!\n");
    // What is found is stored anew. A pack is found by the one who may read the record before
    // it: the next machine.
    for expected in [None, Some(all("hit"))] {
        let machine = tempfile::tempdir().unwrap();
        let found = outcomes(&build(machine.path(), &host, &server, &server.access_key));
        assert!(expected.is_none_or(|expected| expected == found), "{found:?}");
    }
}

/// With the limits that users get: whatever the link does, the build succeeds, nothing wrong is
/// restored, and it takes little longer.
#[test]
fn a_bad_link_costs_a_build_seconds() {
    /// Of the host: 3 s that may be lost, 1.2 s to end the plugin; and `--drain-ms` below.
    const COST: Duration = Duration::from_millis(3_000 + 1_200 + 1_000);
    /// What three small crates take on a machine that is busy with other things.
    const BUILD: Duration = Duration::from_secs(40);
    let (server, host) = (Server::start(), host());
    let first = tempfile::tempdir().unwrap();
    outcomes(&build(first.path(), &host, &server, &server.access_key));
    let links = [
        Link::Resets,
        Link::BreaksAfter(300),
        Link::BreaksAfter(10_000),
        Link::Trickles,
        Link::Silent,
        Link::VanishesAfter(10_000),
        Link::Answers(500, "InternalError"),
        Link::Answers(503, "SlowDown"),
        Link::Answers(429, "TooManyRequests"),
        Link::Answers(403, "AccessDenied"),
        Link::Answers(400, "ExpiredToken"),
    ];
    // Several at once: most of the time they wait.
    let build_over = |link: &Link| {
        let machine = tempfile::tempdir().unwrap();
        let proxy = Proxy::start(server.address, *link, &[]);
        let through = (proxy.address, "--drain-ms=1000");
        let started = Instant::now();
        let output = build_over(machine.path(), &host, &server, through, &server.access_key, "");
        let took = started.elapsed();
        assert_eq!(outcomes(&output).len(), 3, "{link:?}");
        assert!(took < BUILD + COST, "{link:?}: {took:?}");
        let app = machine.path().join("some/checkout/target/debug/app");
        assert_eq!(Command::new(app).output().unwrap().stdout, b"42!\n", "{link:?}");
    };
    for pair in links.chunks(2) {
        std::thread::scope(|scope| {
            for link in pair {
                scope.spawn(|| build_over(link));
            }
        });
    }
}
