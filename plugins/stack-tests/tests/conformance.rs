//! The plugins of this repository against `buildhook-conformance plugin --profile strict`, each
//! in the place that it has in a stack: local-dir as a store, filters above the suite's own
//! child. Those in other languages are in `languages.rs`.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use buildhook_stack_tests::{Setup, assert_strict, program, wasm};

fn filter(name: &str, arguments: &[&str]) {
    let mut command = vec![program(name).into_os_string()];
    command.extend(arguments.iter().map(OsString::from));
    command.extend(["--", "{child}"].map(OsString::from));
    assert_strict(&command);
}

#[test]
fn local_dir() {
    assert_strict(&[program("local-dir").into(), "--dir".into(), "{store}".into()]);
}

/// The policy names the store, whose folder the suite makes up: a script writes the policy
/// beside the granted folder. Several sessions of one store may begin at once: each sees a
/// whole policy.
#[test]
fn local_dir_in_the_sandbox() {
    let setup = Setup::new();
    let script = setup.path("sandboxed.sh");
    let text = r#"mkdir -p "$3/store"
printf 'clock = "real"\nrandom = "real"\ntime-ms = 60000\n[[folder]]\npath = "%s/store"\n' "$3" > "$3/policy.$$"
printf 'guest = "/store"\naccess = "write"\n' >> "$3/policy.$$"
mv "$3/policy.$$" "$3/policy"
wasm=$1 cache=$2 store=$3 module=$4
shift 4
exec "$wasm" --policy "$store/policy" --cache-dir "$cache" "$module" --dir /store "$@"
"#;
    fs_err::write(&script, text).unwrap();
    let mut command: Vec<OsString> = vec!["sh".into(), script.into()];
    command.extend([wasm::sandbox().into(), wasm::cache().into()]);
    command.extend(["{store}".into(), wasm::guest("local-dir").into()]);
    assert_strict(&command);
}

fn filter_in_the_sandbox(module: &Path, arguments: &[&str]) {
    let setup = Setup::new();
    // A quick guest that an unoptimised runtime runs beside other tests.
    let mut command = setup.sandboxed("time-ms = 60000\n", module, arguments);
    command.extend(["--", "{child}"].map(OsString::from));
    assert_strict(&command);
}

#[test]
fn only_in_the_sandbox() {
    filter_in_the_sandbox(&wasm::guest("only"), &["--not-crate", "mine"]);
}

#[test]
fn compress_in_the_sandbox() {
    if let Some(module) = wasm::compress() {
        filter_in_the_sandbox(&module, &[]);
    }
}

#[test]
fn compress() {
    filter("compress", &[]);
}

#[test]
fn log() {
    let setup = Setup::new();
    filter("log", &["--to", setup.path("log").to_str().unwrap()]);
}

#[test]
fn only() {
    filter("only", &["--not-crate", "mine"]);
}

#[test]
fn readonly() {
    filter("readonly", &[]);
}

/// Above a store of its own, which outlives each check: nobody can be told where the suite's is.
#[test]
fn chain() {
    for plugin in ["compress", "local-dir"] {
        // All lie in one folder, where chain finds them.
        let _ = program(plugin);
    }
    let setup = Setup::new();
    let file = setup.path("stack.toml");
    let text = format!(
        "[[filter]]\nplugin = [\"compress\"]\n\
         [[cache]]\nplugin = [\"local-dir\", \"--dir\", {:?}]\n",
        setup.path("store")
    );
    fs_err::write(&file, text).unwrap();
    assert_strict(&[program("chain").into(), file.into()]);
}

/// The key and the trust file that `sign` and `verify` need.
fn trust(setup: &Setup) -> (String, String) {
    let (key, trust) = (setup.path("key"), setup.path("trust.toml"));
    let output = Command::new(program("sign"))
        .args(["keygen", "--name", "key", "--operator", "test"])
        .arg(&key)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    fs_err::write(&trust, output.stdout).unwrap();
    (key.display().to_string(), trust.display().to_string())
}

#[test]
fn sign() {
    let setup = Setup::new();
    let (key, trust) = trust(&setup);
    filter("sign", &["--key-file", &key, "--trust", &trust]);
}

#[test]
fn wants() {
    let setup = Setup::new();
    filter("wants", &["--to", setup.path("wants.jsonl").to_str().unwrap()]);
}

#[test]
fn tier() {
    let setup = Setup::new();
    let store = program("local-dir");
    let tier = format!(
        "{{name='a', plugin=[{:?}, '--dir', '{{store}}'], read=true, write=true, back-fill=true}}",
        store.to_str().unwrap()
    );
    let mut command = vec![program("tier").into_os_string()];
    let spool = setup.path("spool");
    command.extend(["--spool", spool.to_str().unwrap(), "--tier", &tier].map(OsString::from));
    assert_strict(&command);
}

/// Nothing of what the suite's child stores is signed, so it has only misses to give.
#[test]
fn verify() {
    let setup = Setup::new();
    let (_, trust) = trust(&setup);
    let words = ["--trust", &trust, "--", "{child}"].map(OsString::from);
    assert_strict(&[&[verifier()][..], &words].concat());
}

/// Above a signer it has hits, too.
#[test]
fn verify_over_sign() {
    let setup = Setup::new();
    let (key, trust) = trust(&setup);
    let mut command = vec![verifier()];
    command.extend(["--trust", &trust, "--"].map(OsString::from));
    command.push(program("sign").into());
    command.extend(["--key-file", &key, "--trust", &trust, "--", "{child}"].map(OsString::from));
    assert_strict(&command);
}

fn verifier() -> OsString {
    program("sign").with_file_name("buildhook-verify").into()
}
