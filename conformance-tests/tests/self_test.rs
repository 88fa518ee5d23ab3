//! The tester is tested: the right things pass, and each broken one dies on what it is made
//! for and on all else that the kill matrix says, no more and no less.

use std::path::Path;
use std::process::Command;

/// Cells of one run that may go as on no machine before: races that its speed decides. They are
/// told, to be moved to the last column. What a thing is made for is never one of them.
const UNSEEN_CELLS_MAX: usize = 6;

/// What even a machine for continuous integration may be too small for. All else that is needed
/// (user namespaces) has to be there.
const UNTRIED_IN_CI: &str = "untried: more-than-4-gib: ";

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
    let is_cell = |line: &&str| line.contains(" survives BH-") || line.contains(" dies on BH-");
    let (cells, worse): (Vec<&str>, Vec<&str>) =
        wrong.into_iter().partition(|line| is_cell(line) && !line.contains("nothing broken"));
    println!("unlike the kill matrix: {cells:#?}");
    let untried = text.lines().filter(|line| line.starts_with("untried: "));
    let is_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
    for line in untried {
        println!("not run: {line}");
        assert!(!is_ci || line.starts_with(UNTRIED_IN_CI), "{line}");
    }
    assert!(worse.is_empty() && cells.len() <= UNSEEN_CELLS_MAX, "{worse:#?}\n{text}\n{stderr}");
    assert!(matches!(output.status.code(), Some(0 | 1)), "{text}\n{stderr}");
    assert!(text.lines().filter(|line| line.starts_with("ok ")).count() > 150, "{text}\n{stderr}");
}
