//! The project that `buildhook new-plugin` writes compiles, and its tests pass.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fs_err as fs;

const BUILDHOOK: &str = env!("CARGO_BIN_EXE_buildhook");

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn new_plugin(dir: &Path, args: &[&str]) -> Output {
    Command::new(BUILDHOOK).arg("new-plugin").args(args).current_dir(dir).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_new_plugin_compiles_and_passes_its_tests() {
    let dir = tempfile::tempdir().unwrap();
    let sdk = root().join("plugins/sdk");
    let made = new_plugin(dir.path(), &["my-store", "--sdk", sdk.to_str().unwrap()]);
    assert!(made.status.success(), "{}", stderr(&made));
    let project = dir.path().join("buildhook-my-store");
    // The versions that are tested here, and that Cargo has already got.
    fs::copy(root().join("Cargo.lock"), project.join("Cargo.lock")).unwrap();

    // target/<profile>/buildhook
    let target = Path::new(BUILDHOOK).parent().and_then(Path::parent).unwrap();
    let mut command = Command::new(env!("CARGO"));
    command
        .args(["test", "--offline", "--target-dir"])
        .arg(target.join("new-plugin"))
        .current_dir(&project);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let touches = ["CARGO_BUILD_", "CARGO_TARGET_", "CARGO_PROFILE_", "BUILDHOOK_", "RUSTC"];
        if text == "RUSTFLAGS" || touches.iter().any(|prefix| text.starts_with(prefix)) {
            command.env_remove(&name);
        }
    }
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", stderr(&output));
    assert!(text.contains("what_is_stored_comes_back ... ok"), "{text}");
}

#[test]
fn nothing_is_written_over_and_names_are_names() {
    let dir = tempfile::tempdir().unwrap();
    let made = new_plugin(dir.path(), &["buildhook-mine"]);
    assert!(made.status.success(), "{}", stderr(&made));
    let main = dir.path().join("buildhook-mine/src/main.rs");
    assert!(fs::read_to_string(&main).unwrap().contains("buildhook_sdk::main(\"mine\""));
    fs::write(&main, "mine").unwrap();

    let again = new_plugin(dir.path(), &["mine"]);
    assert_eq!(again.status.code(), Some(2), "{}", stderr(&again));
    assert_eq!(fs::read_to_string(&main).unwrap(), "mine");
    for bad in ["", "Mine", "../mine", "mine-", "1", "mi ne"] {
        let refused = new_plugin(dir.path(), &[bad]);
        assert_eq!(refused.status.code(), Some(2), "{bad}");
        assert!(stderr(&refused).contains("a plugin's name is made of"), "{}", stderr(&refused));
    }
    let nowhere = new_plugin(dir.path(), &["other", "--sdk", "nowhere"]);
    assert_eq!(nowhere.status.code(), Some(2));
    assert!(!dir.path().join("buildhook-other").exists());
}
