//! Machines share a server: other checkout folders, other `CARGO_HOME`s, empty local caches.
//! Real Cargo, the real host, the real plugin.

use std::path::{Path, PathBuf};
use std::process::Command;

use buildhook_stack_tests::host;
use serde_json::Value;

use super::server::{PROGRAM, Server, VARIABLE, each};

const FILES: &[(&str, &str)] = &[
    ("Cargo.toml", "[workspace]\nresolver = '3'\nmembers = ['base', 'app']\n"),
    ("base/Cargo.toml", "[package]\nname = 'base'\nedition = '2024'\n"),
    ("base/src/lib.rs", "pub fn answer() -> u32 { 42 }\n"),
    (
        "app/Cargo.toml",
        "[package]\nname = 'app'\nedition = '2024'\n[dependencies]\nbase = { path = '../base' }\n",
    ),
    ("app/src/main.rs", "fn main() { println!(\"{}\", base::answer()); }\n"),
];

/// A machine with a checkout of its own builds there; crates, and what became of them.
fn build(root: &Path, server: &Server) -> Vec<(String, String)> {
    let checkout = root.join("some/checkout");
    for (path, text) in FILES {
        let path = checkout.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    // The machine may be slow: what is counted are hits.
    let config = root.join("config.toml");
    let limits = "[limits]\nhello-ms = 60000\nwant-to-build-ms = 60000\nbuilt-a-thing-ms = 60000\n";
    std::fs::write(&config, limits).unwrap();
    let cargo = PathBuf::from(env!("CARGO"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let bin = cargo.parent().unwrap().to_owned();
    let path = std::env::join_paths(std::iter::once(bin).chain(std::env::split_paths(&path)));
    let options = server.options_at(server.address).join(" ");
    let mut command = Command::new(host());
    command
        .args(["run", "--json", "--"])
        .arg(cargo)
        .args(["build", "--offline"])
        .env_clear()
        .env("PATH", path.unwrap())
        .env("HOME", root)
        .env("CARGO_HOME", root.join("cargo"))
        .envs(server.trust())
        .env("BUILDHOOK_CACHE_DIR", root.join("state"))
        .env("BUILDHOOK_CONFIG", config)
        .env("BUILDHOOK_HOOK", format!("'{PROGRAM}' {options} --wait --patience-ms=3600000"))
        .current_dir(&checkout);
    if let Some(password) = server.password() {
        command.env(VARIABLE, password);
    }
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert!(!stderr.contains("planted-password"), "{stderr}");
    let program = Command::new(checkout.join("target/debug/app")).output().unwrap();
    assert_eq!(program.stdout, b"42\n");
    let summary = stderr.trim_end().lines().last().unwrap_or_default();
    let summary: Value = serde_json::from_str(summary).unwrap_or_else(|_| panic!("{stderr}"));
    let reports = summary["reports"].as_array().unwrap().iter();
    let units = reports.flat_map(|report| report["units"].as_array().unwrap());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut units: Vec<_> =
        units.map(|unit| (text(&unit["crate-name"]), text(&unit["outcome"]))).collect();
    units.sort();
    units
}

fn all(outcome: &str) -> Vec<(String, String)> {
    ["app", "base"].map(|name| (name.to_owned(), outcome.to_owned())).to_vec()
}

#[test]
fn what_one_machine_builds_another_gets_and_a_dead_server_stops_nobody() {
    each(|server| {
        let machines = tempfile::tempdir().unwrap();
        let machine = |name: &str| {
            let root = machines.path().join(name);
            std::fs::create_dir(&root).unwrap();
            root
        };
        assert_eq!(build(&machine("first"), server), all("miss"), "{:?}", server.kind);
        assert_eq!(build(&machine("second"), server), all("hit"), "{:?}", server.kind);
        server.kill();
        let third = build(&machine("third"), server);
        assert!(!third.iter().any(|(_, outcome)| outcome == "hit"), "{third:?}");
        for machine in ["first", "second", "third"] {
            assert_no_password(&machines.path().join(machine).join("state"));
        }
    });
}

/// Neither logs nor reports hold the password.
fn assert_no_password(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            assert_no_password(&path);
        } else if path.is_file() {
            let content = std::fs::read(&path).unwrap();
            let text = String::from_utf8_lossy(&content);
            assert!(!text.contains("planted-password"), "{}", path.display());
        }
    }
}
