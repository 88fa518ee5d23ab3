//! The tester is tested: the right things pass, and each broken one dies on what it is made
//! for and on all else that the kill matrix says, no more and no less.

use std::path::Path;
use std::process::Command;

/// To accept a change: `buildhook-conformance self-test --matrix conformance-tests/kill-matrix.txt
/// --accept`, once the rows that changed are taken out of the file.
#[test]
fn every_broken_thing_dies_as_the_kill_matrix_says() {
    let matrix = Path::new(env!("CARGO_MANIFEST_DIR")).join("kill-matrix.txt");
    assert!(matrix.exists(), "{}", matrix.display());
    let output = Command::new(env!("CARGO_BIN_EXE_buildhook-conformance"))
        .args(["self-test", "--time-factor", "2", "--matrix"])
        .arg(matrix)
        .output()
        .unwrap();
    let (text, stderr) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let wrong: Vec<&str> = text.lines().filter(|line| line.starts_with("wrong: ")).collect();
    assert_eq!(output.status.code(), Some(0), "{wrong:#?}\n{text}\n{stderr}");
}
