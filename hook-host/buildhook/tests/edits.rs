//! What is built after an edit, and whether it is right.

mod support;

use support::fixtures::{CHAIN, CHAIN_OUTPUT};
use support::{Lab, Workspace};

const LINE: (&str, &str) = ("    1\n", "    2\n");

fn chain<'l>(lab: &'l Lab, incremental: &str) -> Workspace<'l> {
    lab.workspace("here", CHAIN).set("CARGO_INCREMENTAL", incremental)
}

#[test]
fn another_checkout_compiles_nothing() {
    let lab = Lab::new();
    for incremental in ["0", "1"] {
        let here = lab.workspace(&format!("here-{incremental}"), CHAIN);
        let here = here.set("CARGO_INCREMENTAL", incremental);
        let first = here.cargo(&["build"]);
        assert_eq!(first.refusals(), [], "{:#}", first.summary);
        let there = here.checkout(&format!("there-{incremental}"));
        there.cargo(&["build"]).assert_all_hits();
        assert_eq!(there.output_of("app"), CHAIN_OUTPUT);
        for workspace in [&here, &there] {
            let again = workspace.cargo(&["build"]);
            assert_eq!((again.units().count(), again.compiled.len()), (0, 0));
            assert!(again.stderr.contains("Finished"), "{}", again.stderr);
        }
    }
}

#[test]
fn the_depth_of_a_checkout_does_not_matter() {
    let lab = Lab::new();
    // The script that counts and the folder for temporary files lie above both.
    let here = chain(&lab, "0");
    here.cargo(&["build"]);
    let there = here.checkout("some/where/much/deeper");
    there.cargo(&["build"]).assert_all_hits();
    assert_eq!(there.output_of("app"), CHAIN_OUTPUT);
}

#[test]
fn a_compiler_script_may_keep_a_log() {
    let lab = Lab::new();
    let (script, log) = (lab.path("logging-rustc"), lab.path("rustc.log"));
    let real = support::toolchain().join("bin/rustc");
    let text = format!(
        "#!/bin/sh\necho \"$*\" >> '{}'\nexec '{}' \"$@\"\n",
        log.display(),
        real.display()
    );
    support::write_script(&script, &text);
    let here = chain(&lab, "0").set("RUSTC", &script);
    let compiles = || {
        let log = fs_err::read_to_string(&log).unwrap_or_default();
        log.lines().filter(|line| line.contains("--out-dir")).count()
    };
    here.cargo(&["build"]);
    assert_eq!(compiles(), 4);
    let there = here.checkout("there");
    there.cargo(&["build"]);
    assert_eq!(compiles(), 4);
    assert_eq!(there.output_of("app"), CHAIN_OUTPUT);
}

#[test]
fn one_line_changed_compiles_what_depends_on_it() {
    let lab = Lab::new();
    for incremental in ["0", "1"] {
        let here = lab.workspace(&format!("here-{incremental}"), CHAIN);
        let here = here.set("CARGO_INCREMENTAL", incremental);
        here.cargo(&["build"]);
        here.edit("leaf/src/lib.rs", LINE.0, LINE.1);
        assert_eq!(here.cargo(&["build"]).compiled_sorted(), ["app", "leaf", "mid"]);
        assert_eq!(here.output_of("app"), "112\n");
        here.edit("leaf/src/lib.rs", LINE.1, LINE.0);
        here.cargo(&["build"]).assert_all_hits();
        assert_eq!(here.output_of("app"), CHAIN_OUTPUT);
    }
}

#[test]
fn a_changed_set_of_inputs_is_another_entry_and_both_stay() {
    let lab = Lab::new();
    let here = chain(&lab, "0");
    here.cargo(&["build"]);
    here.write("leaf/src/extra.rs", "pub fn extra() -> usize { include_str!(\"text\").len() }\n");
    here.write("leaf/src/text", "four");
    let with = "mod extra;\npub fn leaf() -> u32 {\n    extra::extra() as u32\n}\n";
    here.write("leaf/src/lib.rs", with);
    assert_eq!(here.cargo(&["build"]).compiled_sorted(), ["app", "leaf", "mid"]);
    assert_eq!(here.output_of("app"), "114\n");

    here.write("leaf/src/lib.rs", CHAIN[2].1);
    here.cargo(&["build"]).assert_all_hits();
    assert_eq!(here.output_of("app"), CHAIN_OUTPUT);

    here.write("leaf/src/lib.rs", with);
    here.cargo(&["build"]).assert_all_hits();
    assert_eq!(here.output_of("app"), "114\n");

    // The module is the same, what it includes is not.
    here.write("leaf/src/text", "seven..");
    assert_eq!(here.cargo(&["build"]).compiled_sorted(), ["app", "leaf", "mid"]);
    assert_eq!(here.output_of("app"), "117\n");
}

#[test]
fn a_hit_never_makes_the_next_incremental_build_wrong() {
    let lab = Lab::new();
    let here = chain(&lab, "1");
    let versions = ["    1\n", "    2\n", "    3\n", "    1\n", "    4\n", "    2\n", "    5\n"];
    let mut now = versions[0];
    for next in versions {
        here.edit("leaf/src/lib.rs", now, next);
        now = next;
        let number: u32 = next.trim().parse().unwrap();
        here.cargo(&["check"]);
        here.cargo(&["build"]);
        assert_eq!(here.output_of("app"), format!("{}\n", number + 110));
        // Now and then Cargo comes without a cache.
        here.plain_cargo(&["build"]);
        assert_eq!(here.output_of("app"), format!("{}\n", number + 110));
    }
    // From an empty target folder, where hits leave no incremental folder behind.
    here.clean();
    here.cargo(&["build"]);
    here.edit("leaf/src/lib.rs", now, "    6\n");
    here.cargo(&["build"]);
    assert_eq!(here.output_of("app"), "116\n");
}

#[test]
fn warnings_are_said_again_byte_for_byte() {
    let lab = Lab::new();
    let here = chain(&lab, "0");
    here.edit("leaf/src/lib.rs", "pub fn leaf", "fn unused() {}\npub fn leaf");
    let said = here.cargo(&["check"]).stderr;
    assert!(said.contains("function `unused` is never used"), "{said}");
    let there = here.checkout("there");
    let build = there.cargo(&["check"]);
    build.assert_all_hits();
    let warning = |text: &str| {
        let from = text.find("warning:").unwrap();
        text[from..text.find("warning: `leaf`").unwrap()].to_owned()
    };
    assert_eq!(warning(&build.stderr), warning(&said));
}
