//! A debugger finds the sources of a restored program by the means that README names.

mod support;

use std::process::Command;

use support::Lab;
use support::fixtures::CHAIN;

/// Whether gdb is there; its absence is a failure in CI.
fn has_gdb() -> bool {
    let found = Command::new("gdb").arg("--version").output().is_ok();
    assert!(found || !support::is_ci(), "gdb is not installed");
    if !found {
        eprintln!("not run: gdb is not installed");
    }
    found
}

#[test]
fn gdb_shows_the_sources_of_a_restored_program() {
    if !has_gdb() {
        return;
    }
    let lab = Lab::new();
    let here = lab.workspace("here", CHAIN);
    here.cargo(&["build"]);
    let there = here.checkout("there");
    there.cargo(&["build"]).assert_all_hits();
    // Only there, so that it can come from nowhere else.
    there.edit("mid/src/lib.rs", "pub fn mid", "/* only there */ pub fn mid");

    let list = |substitute: &str| {
        let mut gdb = lab.command("gdb");
        gdb.args(["-nx", "-batch", "-ex", substitute, "-ex", "list mid::mid"]);
        let output = gdb.arg(there.dir.join("target/debug/app")).output().unwrap();
        lab.shown(&output.stdout) + &lab.shown(&output.stderr)
    };
    let workspace = there.dir.display();
    let shown = list(&format!("set substitute-path /.buildhook/workspace {workspace}"));
    assert!(shown.contains("only there"), "{shown}");
    let shown = list("set confirm off");
    assert!(!shown.contains("only there"), "the other folder is not known: {shown}");
}
