//! The tester is tested: the right things pass, each broken one dies on what it
//! is made for.

use std::process::Command;

/// Rows of the matrix: name, what it is made for, what killed it.
#[test]
fn every_broken_thing_dies_on_what_it_is_made_for() {
    let output = Command::new(env!("CARGO_BIN_EXE_buildhook-conformance"))
        .args(["self-test", "--aimed", "--time-factor", "2"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{text}\n{stderr}");
    // What else a broken thing dies on may depend on the machine's moods; that
    // it dies on its own requirement may not.
    let mut rows: Vec<String> = text
        .lines()
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            format!("{:30} {}", words[1], words[2])
        })
        .collect();
    rows.sort();
    insta::assert_snapshot!(rows.join("\n"));
}
