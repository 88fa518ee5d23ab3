//! A token in the environment is found nowhere.

mod support;

use std::path::{Path, PathBuf};

use fs_err as fs;
use support::Lab;

const TOKEN: &str = "planted-token-7f3a9c";

const FILES: &[(&str, &str)] = &[
    ("Cargo.toml", "[workspace]\nresolver = '3'\nmembers = ['asks', 'app']\n"),
    ("asks/Cargo.toml", "[package]\nname = 'asks'\nedition = '2024'\n[lib]\nproc-macro = true\n"),
    (
        "asks/src/lib.rs",
        r#"
use proc_macro::TokenStream;

/// How long the variable is that the argument names; 0 when it is not set.
#[proc_macro]
pub fn length_of(name: TokenStream) -> TokenStream {
    let length = std::env::var(name.to_string()).map_or(0, |value| value.len());
    format!("{length}usize").parse().unwrap()
}
"#,
    ),
    (
        "app/Cargo.toml",
        "[package]\nname = 'app'\nedition = '2024'\n[dependencies]\nasks = { path = '../asks' }\n",
    ),
    (
        "app/build.rs",
        "fn main() { println!(\"cargo::rustc-env=SEEN={}\", std::env::var(\"MY_SECRET\").unwrap().len()); }\n",
    ),
    (
        "app/src/main.rs",
        "fn main() { println!(\"{} {} {}\", asks::length_of!(MY_SECRET), asks::length_of!(MY_API_TOKEN), env!(\"SEEN\")); }\n",
    ),
];

/// Files below `dir` that hold the token.
fn holding_token(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(holding_token(&path));
        } else if path.is_file() {
            let content = fs::read(&path).unwrap();
            if content.windows(TOKEN.len()).any(|window| window == TOKEN.as_bytes()) {
                found.push(path);
            }
        }
    }
    found
}

#[test]
fn a_planted_token_is_found_nowhere() {
    let lab = Lab::new();
    let mut here = lab.workspace("here", FILES).set("BUILDHOOK_LOG", lab.path("cache/all.log"));
    // By name a credential, and not.
    let names =
        ["MY_SECRET", "MY_API_TOKEN", "AWS_SECRET_ACCESS_KEY", "CARGO_REGISTRY_TOKEN", "PLAIN"];
    for name in names {
        here = here.set(name, TOKEN);
    }
    here.cargo(&["build"]);
    assert_eq!(here.output_of("app"), "20 20 20\n");
    here.clean();
    // Once through the store of the program, once over a wire that keeps what it carries.
    let here = here.set("BUILDHOOK_HOOK", lab.plugin("cache/entries", "none"));
    here.cargo(&["build"]);
    assert!(lab.path("cache/entries/wire").exists() && lab.path("cache/all.log").exists());
    here.clean();
    here.cargo(&["build"]);

    assert_eq!(holding_token(&lab.cache()), [""; 0].map(PathBuf::from));
    let commands: [&[&str]; 7] = [
        &["stats"],
        &["stats", "--json"],
        &["explain"],
        &["explain", "app", "--json"],
        &["explain", "app", "--reads"],
        &["doctor", "--json"],
        &["config", "--json"],
    ];
    for args in commands {
        let output = here.command(support::BUILDHOOK).args(args).output().unwrap();
        let text = lab.shown(&output.stdout) + &lab.shown(&output.stderr);
        assert!(!text.contains(TOKEN), "buildhook {args:?}: {text}");
    }
}
