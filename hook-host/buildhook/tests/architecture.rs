//! The structure that ARCHITECTURE.md promises, held against the manifests and sources of
//! the whole workspace.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use serde_json::Value;

/// A file longer than this is to be split.
const MAX_LINES: usize = 600;

/// Reaches a network or runs guests; to be found in plugins only.
const HEAVY: &[&str] = &[
    "aws-",
    "curl",
    "hyper",
    "object_store",
    "opendal",
    "reqwest",
    "rustls",
    "rusty-s3",
    "tokio",
    "ureq",
    "wasmtime",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Folder in the workspace, and folders or outside names that it depends on.
type Arrows = BTreeMap<String, BTreeSet<String>>;

fn arrows() -> Arrows {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .env_remove("RUSTC_WRAPPER")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    packages.iter().map(|package| (folder(&package["manifest_path"]), targets(package))).collect()
}

/// The folder of a package, relative to the root, with `/`.
fn folder(manifest: &Value) -> String {
    let manifest = Path::new(manifest.as_str().unwrap());
    let folder = manifest.parent().unwrap().canonicalize().unwrap();
    let folder = folder.strip_prefix(root()).unwrap().to_str().unwrap();
    folder.replace('\\', "/")
}

fn targets(package: &Value) -> BTreeSet<String> {
    let own = folder(&package["manifest_path"]);
    let dependencies = package["dependencies"].as_array().unwrap().iter();
    let names = dependencies.map(|dependency| match dependency["path"].as_str() {
        Some(path) => folder(&Value::from(format!("{path}/Cargo.toml"))),
        None => dependency["name"].as_str().unwrap().to_owned(),
    });
    // A package may turn on its own features for its tests.
    names.filter(|name| *name != own).collect()
}

/// All that `from` reaches through packages of the workspace.
fn reach(arrows: &Arrows, from: &str) -> BTreeSet<String> {
    let mut reached = BTreeSet::new();
    let mut next = vec![from.to_owned()];
    while let Some(folder) = next.pop() {
        for target in arrows.get(&folder).into_iter().flatten() {
            if reached.insert(target.clone()) {
                next.push(target.clone());
            }
        }
    }
    reached
}

fn is_plugin(folder: &str) -> bool {
    // What only finds executables for tests is no plugin.
    let is_other = ["plugins/sdk", "plugins/stack-tests"].contains(&folder);
    folder.starts_with("plugins/") && !is_other
}

fn is_heavy(name: &str) -> bool {
    HEAVY.iter().any(|heavy| name.starts_with(heavy))
}

/// Runs guests: to be found in the one plugin that does.
fn is_of_wasm(name: &str) -> bool {
    ["wasmtime", "wiggle", "cranelift"].iter().any(|part| name.starts_with(part))
}

/// `plugins/wasm/engine` is a part of `plugins/wasm`.
fn is_part_of(from: &str, to: &str) -> bool {
    let plugin = |folder: &str| folder.split('/').take(2).collect::<Vec<_>>().join("/");
    plugin(from) == plugin(to)
}

/// Whether a package in the folder `from` may come to depend on `to`.
fn is_allowed(arrows: &Arrows, from: &str, to: &str) -> bool {
    let ours = arrows.contains_key(to);
    if is_of_wasm(to) {
        return from == "plugins/wasm" || from.starts_with("plugins/wasm/");
    }
    match from {
        "protocol-spec" => !ours && !is_heavy(to),
        "hook-host/host" | "plugins/sdk" => (!ours || to == "protocol-spec") && !is_heavy(to),
        "hook-host/recorder" => !ours && !is_heavy(to),
        "hook-host/cargo" => !is_plugin(to) && to != "plugins/sdk" && !is_heavy(to),
        // They judge the rest: a shared type would hide a shared bug.
        "conformance-tests" | "hook-host/bench" => !ours,
        _ if is_plugin(from) => {
            (!is_plugin(to) || is_part_of(from, to)) && !to.starts_with("hook-host/")
        }
        _ => true,
    }
}

#[test]
fn forbidden_dependencies_do_not_exist() {
    let arrows = arrows();
    for known in ["protocol-spec", "hook-host/host", "hook-host/cargo", "plugins/sdk"] {
        assert!(arrows.contains_key(known), "{known} has moved: adapt this test");
    }
    for from in arrows.keys() {
        for to in reach(&arrows, from) {
            assert!(is_allowed(&arrows, from, &to), "{from} must not depend on {to}");
        }
    }
}

/// All Rust files below `folder`, with their paths relative to the root.
fn sources(folder: &str) -> Vec<(String, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                walk(&path, found);
            } else if name.ends_with(".rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join(folder), &mut found);
    found.sort();
    let relative = |path: PathBuf| {
        let name = path.strip_prefix(root()).unwrap().to_str().unwrap().replace('\\', "/");
        (name, fs::read_to_string(path).unwrap())
    };
    found.into_iter().map(relative).collect()
}

/// Calls `see` with each run of tokens in `source` that is on one level, tests left out.
fn each_level(name: &str, source: &str, see: &mut dyn FnMut(&[TokenTree])) {
    fn walk(tokens: TokenStream, see: &mut dyn FnMut(&[TokenTree])) {
        let mut tokens: Vec<TokenTree> = tokens.into_iter().collect();
        while let Some(start) = test_module(&tokens) {
            tokens.drain(start..start + 5);
        }
        see(&tokens);
        for token in tokens {
            if let TokenTree::Group(group) = token {
                walk(group.stream(), see);
            }
        }
    }
    let tokens = source.parse().unwrap_or_else(|error| panic!("{name}: {error}"));
    walk(tokens, see);
}

/// Where `#[cfg(test)] mod name { … }` begins.
fn test_module(tokens: &[TokenTree]) -> Option<usize> {
    tokens.windows(5).position(|window| {
        let text: Vec<String> = window.iter().take(3).map(ToString::to_string).collect();
        let attribute: String = text[1].split_whitespace().collect();
        text[0] == "#"
            && attribute == "[cfg(test)]"
            && text[2] == "mod"
            && matches!(&window[4], TokenTree::Group(g) if g.delimiter() == Delimiter::Brace)
    })
}

/// Where a process begins, and what has its own rules: builds, tests.
fn is_test_or_main(name: &str) -> bool {
    ["/main.rs", "/build.rs"].iter().any(|end| name.ends_with(end))
        || ["/tests/", "/examples/", "/stack-tests/"].iter().any(|folder| name.contains(folder))
}

#[test]
fn the_environment_is_read_in_main_only() {
    for (name, source) in sources("").into_iter().filter(|(name, _)| !is_test_or_main(name)) {
        each_level(&name, &source, &mut |tokens| {
            for window in tokens.windows(4) {
                let text: Vec<String> = window.iter().map(ToString::to_string).collect();
                let reads = text[..3] == ["env", ":", ":"] && text[3].contains("var");
                assert!(!reads, "{name} reads or sets variables: main.rs passes values down");
            }
        });
    }
}

#[test]
fn no_test_is_ignored() {
    for (name, source) in sources("") {
        let mut tokens = Vec::new();
        collect(source.parse().unwrap(), &mut tokens);
        let ignored = tokens.windows(2).any(|pair| {
            pair[0] == "#" && (pair[1] == "[ignore]" || pair[1].starts_with("[ignore="))
        });
        assert!(!ignored, "{name} ignores a test");
    }
}

/// Every token of `stream`, groups also as a whole, without blanks.
fn collect(stream: TokenStream, into: &mut Vec<String>) {
    for token in stream {
        into.push(token.to_string().split_whitespace().collect());
        if let TokenTree::Group(group) = token {
            collect(group.stream(), into);
        }
    }
}

#[test]
fn only_the_front_end_knows_the_compiler() {
    for folder in ["protocol-spec/src", "hook-host/host/src", "plugins/sdk/src"] {
        for (name, source) in sources(folder) {
            for (number, line) in (1..).zip(source.lines()) {
                // What the compiler tells a crate about itself is no knowledge of builds.
                let line = line.replace("env!(\"CARGO_", "").to_lowercase();
                let knows = line.contains("rustc") || line.contains("cargo");
                assert!(!knows, "{name}:{number} speaks of the compiler or its driver");
            }
        }
    }
}

#[test]
fn files_are_short() {
    for (name, source) in sources("") {
        let lines = source.lines().count();
        assert!(lines <= MAX_LINES, "{name} has {lines} lines, more than {MAX_LINES}");
    }
}
