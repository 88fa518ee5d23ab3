//! Someone who can write to the store against machines that verify signatures: whatever is
//! done to the store, the build is correct and nothing of it is used.
//!
//! Each attack first has to work on a machine that does not verify, where it can: an attack
//! that nobody falls for proves nothing.

#[path = "../support/mod.rs"]
mod support;

mod store;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use buildhook_protocol::Key;
use buildhook_sign::{Moment, PrivateKey, Statement};
use buildhook_stack_tests::program;
use fs_err as fs;
use serde_json::Value;

use store::{Entry, Store};
use support::{Build, Lab, Workspace};

const HONEST: &str = "honest word";
/// As long as [`HONEST`], so that it can take its place in any file.
const POISON: &str = "poison word";
const SIGNATURE: &str = "@sign/ci";

/// A macro that reads a file which rustc knows nothing of, a library, and a program.
const SOURCES: &[(&str, &str)] = &[
    ("Cargo.toml", "[workspace]\nresolver = '3'\nmembers = ['macros', 'words', 'app']\n"),
    (
        "macros/Cargo.toml",
        "[package]\nname = 'macros'\nedition = '2024'\n[lib]\nproc-macro = true\n",
    ),
    (
        "macros/src/lib.rs",
        "#[proc_macro]\n\
         pub fn hidden(_: proc_macro::TokenStream) -> proc_macro::TokenStream {\n    \
             let text = std::fs::read_to_string(\"hidden.txt\").unwrap();\n    \
             format!(\"{text:?}\").parse().unwrap()\n}\n",
    ),
    ("words/Cargo.toml", "[package]\nname = 'words'\nedition = '2024'\n"),
    ("words/src/lib.rs", "pub fn word() -> &'static str {\n    \"honest word\"\n}\n"),
    (
        "app/Cargo.toml",
        "[package]\nname = 'app'\nedition = '2024'\n\
         [dependencies]\nmacros = { path = '../macros' }\nwords = { path = '../words' }\n",
    ),
    (
        "app/src/main.rs",
        "fn main() {\n    println!(\"{}, {}\", words::word(), macros::hidden!());\n}\n",
    ),
    ("hidden.txt", "first"),
];
const CRATES: [&str; 3] = ["app", "macros", "words"];

/// A signer who has built once, and what is left in the store.
struct Scene<'l> {
    lab: &'l Lab,
    origin: Workspace<'l>,
    entries: Vec<Entry>,
}

impl<'l> Scene<'l> {
    fn new(lab: &'l Lab) -> Self {
        let keygen = Command::new(program("sign"))
            .args(["keygen", "--name", "ci", "--operator", "example.org"])
            .arg(lab.path("ci.key"))
            .output()
            .unwrap();
        assert!(keygen.status.success(), "{keygen:?}");
        fs::write(lab.path("trust.toml"), keygen.stdout).unwrap();

        let store = Store::new(lab.path("store"));
        let sign = format!(
            "{} --key-file {} --trust {} -- {}",
            program("sign").display(),
            lab.path("ci.key").display(),
            lab.path("trust.toml").display(),
            store.command()
        );
        let origin = lab.workspace("origin", SOURCES).set("BUILDHOOK_HOOK", sign);
        let build = origin.cargo(&["build"]);
        assert_eq!(build.misses(), CRATES, "{:#}", build.summary);
        let entries = store.read();
        assert!(entries.iter().all(|entry| entry.files.contains_key(SIGNATURE)));
        assert_eq!(entries.len(), 2 * CRATES.len());
        Self { lab, origin, entries }
    }

    /// A store of its own with these entries.
    fn store(&self, name: &str, entries: &[Entry], reseal: bool) -> Store {
        let store = Store::new(self.lab.path(&format!("store-{name}")));
        store.write(entries, reseal);
        store
    }

    /// A machine that knows nothing yet, with a hook.
    fn machine(&self, name: &str, hook: String) -> Workspace<'l> {
        let cache = self.lab.path(&format!("cache-{name}"));
        self.origin.checkout(name).set("BUILDHOOK_HOOK", hook).set("BUILDHOOK_CACHE_DIR", cache)
    }

    fn verify(&self, store: &Store) -> String {
        let verify = program("sign").with_file_name("buildhook-verify");
        let trust = self.lab.path("trust.toml");
        format!("{} --trust {} -- {}", verify.display(), trust.display(), store.command())
    }

    /// What a machine that does not verify makes of the store.
    fn fooled(&self, name: &str, store: &Store) -> String {
        let machine = self.machine(&format!("{name}-fooled"), read(store));
        machine.cargo(&["build"]);
        machine.output_of("app")
    }

    /// A machine that verifies uses none of it.
    #[track_caller]
    fn assert_refused(&self, name: &str, store: &Store) -> Build {
        let machine = self.machine(name, self.verify(store));
        let build = machine.cargo(&["build"]);
        assert_eq!(build.hits(), [""; 0], "{name}: {:#}", build.summary);
        assert_eq!(build.compiled_sorted(), CRATES, "{name}");
        assert_eq!(machine.output_of("app"), "honest word, first\n", "{name}");
        build
    }

    fn of(&self, purpose: &str) -> Vec<Entry> {
        self.entries.iter().filter(|entry| entry.purpose == purpose).cloned().collect()
    }
}

/// The command line of a store that stays as its attacker has made it.
fn read(store: &Store) -> String {
    format!("{} -- {}", program("readonly").display(), store.command())
}

/// Misses are told with this reason. A unit whose dependency was built anew, with other bytes,
/// is another one, `first-seen`.
#[track_caller]
fn assert_told(build: &Build, code: &str) {
    let codes: BTreeSet<_> = build.units().map(|unit| unit["reason"]["code"].as_str()).collect();
    let others: Vec<_> = codes.iter().filter(|c| **c != Some(code)).collect();
    assert!(codes.contains(&Some(code)), "{code}: {:#}", build.summary);
    assert!(others.iter().all(|c| **c == Some("first-seen")), "{code}: {:#}", build.summary);
}

/// Puts [`POISON`] in the place of [`HONEST`] wherever it stands. Libraries of macros, where
/// it does not, get a byte more, which is not noticed when they are loaded.
fn poison(entry: &mut Entry) {
    for (name, (content, _)) in &mut entry.files {
        if name.ends_with(".so") {
            content.push(0);
        }
        let places: Vec<usize> = content
            .windows(HONEST.len())
            .enumerate()
            .filter(|(_, window)| *window == HONEST.as_bytes())
            .map(|(at, _)| at)
            .collect();
        for at in places {
            content[at..at + POISON.len()].copy_from_slice(POISON.as_bytes());
        }
    }
}

/// Gives each entry what `take` takes out of the next one.
fn rotate(entries: &mut [Entry], exchange: impl Fn(&mut Entry, &Entry)) {
    let before = entries.to_vec();
    for (at, entry) in entries.iter_mut().enumerate() {
        exchange(entry, &before[(at + 1) % before.len()]);
    }
}

fn add(entry: &mut Entry, name: &str) {
    entry.files.insert(name.to_owned(), (b"evil".to_vec(), false));
}

#[test]
fn what_is_signed_is_used_and_what_was_changed_is_not() {
    let lab = Lab::new();
    let scene = Scene::new(&lab);
    let whole = scene.store("whole", &scene.entries, true);
    let machine = scene.machine("whole", scene.verify(&whole));
    machine.cargo(&["build"]).assert_all_hits();
    assert_eq!(machine.output_of("app"), "honest word, first\n");

    type Attack = fn(&mut Vec<Entry>);
    // Each changes the outputs; `true`: and seals them anew.
    let attacks: [(&str, bool, Attack, &str); 8] = [
        ("bytes", true, |all| all.iter_mut().for_each(poison), "corrupt"),
        ("bytes-old-seal", false, |all| all.iter_mut().for_each(poison), "corrupt"),
        (
            "entries-swapped",
            true,
            |all| rotate(all, |entry, other| entry.files = other.files.clone()),
            "corrupt",
        ),
        (
            "entries-swapped-with-their-seals",
            false,
            |all| {
                rotate(all, |entry, other| {
                    entry.files = other.files.clone();
                    entry.seal = other.seal.clone();
                });
            },
            "corrupt",
        ),
        (
            "signatures-swapped",
            true,
            |all| {
                rotate(all, |entry, other| {
                    entry.files.insert(SIGNATURE.to_owned(), other.files[SIGNATURE].clone());
                });
            },
            "corrupt",
        ),
        (
            "signatures-stripped",
            true,
            |all| all.iter_mut().for_each(|entry| drop(entry.files.remove(SIGNATURE))),
            "unsigned",
        ),
        ("files-added", true, |all| all.iter_mut().for_each(|e| add(e, "out/more")), "corrupt"),
        (
            "filter-files-added",
            true,
            |all| all.iter_mut().for_each(|entry| add(entry, "@zstd/out/more")),
            "corrupt",
        ),
    ];
    for (name, reseal, attack, code) in attacks {
        let mut outputs = scene.of("outputs");
        attack(&mut outputs);
        let store = scene.store(name, &scene.of("inputs"), true);
        store.write(&outputs, reseal);
        if name == "bytes" {
            assert_eq!(scene.fooled(name, &store), "poison word, first\n");
        }
        assert_told(&scene.assert_refused(name, &store), code);
    }
}

#[test]
fn what_has_ended_is_not_used() {
    let lab = Lab::new();
    let scene = Scene::new(&lab);
    let key = PrivateKey::read(&lab.path("ci.key")).unwrap();
    let mut outputs = scene.of("outputs");
    for entry in &mut outputs {
        let (file, _) = entry.files.get_mut(SIGNATURE).unwrap();
        let (statement, _) = Statement::parse(file).unwrap();
        let Moment(now) = statement.created;
        // What the signer made some time ago.
        let old =
            Statement { created: Moment(now - 1000), expires: Moment(now - 500), ..statement };
        *file = key.sign(&old).into_bytes();
    }
    let store = scene.store("expired", &scene.of("inputs"), true);
    store.write(&outputs, true);
    assert_told(&scene.assert_refused("expired", &store), "expired");

    let store = scene.store("revoked", &scene.entries, true);
    let trust = lab.path("trust.toml");
    let text = fs::read_to_string(&trust).unwrap();
    fs::write(&trust, format!("{text}revoked-at = 2020-01-01\n")).unwrap();
    // The records of inputs are refused as well, so no key is even asked for.
    assert_told(&scene.assert_refused("revoked", &store), "revoked");

    fs::write(&trust, format!("{text}scope = {{ origins = [\"registry\"] }}\n")).unwrap();
    assert_told(&scene.assert_refused("out-of-scope", &store), "out-of-scope");
}

/// The macro's file has changed. The attacker takes it out of the record of what `app` reads,
/// finds out under which key a machine then looks for the program, and puts the old one there.
#[test]
fn a_record_that_hides_a_changed_input_is_not_used() {
    let lab = Lab::new();
    let scene = Scene::new(&lab);
    let mut entries = scene.entries.clone();
    let mut hidden = 0;
    for entry in entries.iter_mut().filter(|entry| entry.purpose == "inputs") {
        let (content, _) = entry.files.get_mut("out/inputs.json").unwrap();
        let mut record: Value = serde_json::from_slice(content).unwrap();
        for set in record["sets"].as_array_mut().unwrap() {
            let items = set.as_array_mut().unwrap();
            let before = items.len();
            items.retain(|item| !item.to_string().contains("hidden.txt"));
            hidden += before - items.len();
        }
        *content = serde_json::to_vec(&record).unwrap();
    }
    assert_eq!(hidden, 1, "one unit reads the file");
    let store = scene.store("hidden", &entries, true);

    scene.origin.write("hidden.txt", "second");
    let log = lab.path("log");
    let spy = format!("{} --to {} -- {}", program("log").display(), log.display(), read(&store));
    scene.machine("spy", spy).cargo(&["build"]);
    let program_entry = scene.entries.iter().find(|entry| {
        entry.purpose == "outputs"
            && entry.files.keys().any(|name| name.starts_with("out/app-") && !name.ends_with(".d"))
    });
    let mut old = program_entry.unwrap().clone();
    old.key = missed(&log);
    store.write(&[old], true);

    assert_eq!(scene.fooled("hidden", &store), "honest word, first\n", "of the old file");
    let machine = scene.machine("hidden", scene.verify(&store));
    let build = machine.cargo(&["build"]);
    assert!(build.compiled.contains(&"app".to_owned()), "{:#}", build.summary);
    assert_eq!(machine.output_of("app"), "honest word, second\n");
}

/// The key of outputs that a machine has asked for in vain.
fn missed(log: &PathBuf) -> Key {
    let text = fs::read_to_string(log).unwrap();
    let exchanges = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut missed = exchanges.filter(|exchange| {
        let request = &exchange["request"];
        request["kind"] == "want-to-build"
            && request["purpose"].is_null()
            && exchange["answer"]["kind"] == "miss"
            && request["unit"]["name"] == "app"
    });
    let key = missed.next().expect("a miss")["request"]["key"].clone();
    serde_json::from_value(key).unwrap()
}
