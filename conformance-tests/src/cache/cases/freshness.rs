//! Time: modification times, what Cargo thinks of restored outputs, edits
//! during a compilation, incremental compilation.

use crate::cache::case::{CHANGES, Case, SAME, Script, Step::*, When};
use crate::cache::template::{manifest, value_is};

const FRESH: Case = Case { family: "freshness", ..SAME };

const TIMES: Case = Case { family: "times", ..CHANGES };

/// Where most people have it from: the profile, which is so by default.
const PROFILE: &str = "CARGO_PROFILE_DEV_INCREMENTAL";

const INCREMENTAL: Case = Case { family: "incremental", env: &[(PROFILE, "true")], ..SAME };

const ONE: &str = value_is!("\"one\".to_owned()");
const TWO: &str = value_is!("\"two\".to_owned()");
const SIX: &str = value_is!("\"six\".to_owned()");

/// The same, telling one from another by a warning.
const WARNS_ONE: &str = concat!("fn one() {}\n", value_is!("\"one\".to_owned()"));
const WARNS_TWO: &str = concat!("fn two() {}\n", value_is!("\"two\".to_owned()"));
const WARNS_SIX: &str = concat!("fn six() {}\n", value_is!("\"six\".to_owned()"));

const WITH_BUILD_SCRIPT: &[(&str, &str)] = &[
    (
        "part/build.rs",
        r#"fn main() {
    println!("cargo:rerun-if-changed=input.txt");
    println!("cargo:rustc-env=ZOO_SET={}", std::fs::read_to_string("input.txt").unwrap());
}
"#,
    ),
    ("part/input.txt", "one"),
    ("part/src/lib.rs", value_is!(r#"env!("ZOO_SET").to_owned()"#)),
    ("deep/Cargo.toml", manifest!("deep")),
    ("deep/build.rs", "fn main() {\n    println!(\"cargo:rerun-if-changed=build.rs\");\n}\n"),
    ("deep/src/lib.rs", "pub fn depth() -> u8 {\n    1\n}\n"),
    (
        "part/Cargo.toml",
        manifest!("part" "[dependencies]" r#"deep = { path = "../deep" }"# "[build-dependencies]" r#"deep = { path = "../deep" }"#),
    ),
];

pub(super) const CASES: &[Case] = &[
    Case {
        id: "zoo/fresh-after-hit",
        claim: "After a build from the cache, with build scripts, a further build has nothing to do.",
        files: WITH_BUILD_SCRIPT,
        script: Script::Steps(&[Build, Fresh, Twin, Fresh, Check]),
        ..FRESH
    },
    Case {
        id: "zoo/fresh-after-edit-and-back",
        claim: "Edit, build, take the edit back, build: then there is nothing to do, each time.",
        files: WITH_BUILD_SCRIPT,
        script: Script::Steps(&[
            Build,
            Write("part/input.txt", "two"),
            Build,
            Fresh,
            Check,
            Write("part/input.txt", "one"),
            Build,
            Fresh,
            Check,
        ]),
        ..FRESH
    },
    Case {
        id: "zoo/fresh-after-check",
        claim: "`cargo check` and `cargo build` in turns leave each other's outputs fresh.",
        files: WITH_BUILD_SCRIPT,
        script: Script::Steps(&[
            Build,
            Twin,
            Cargo(&["check"]),
            Build,
            Fresh,
            Cargo(&["build"]),
            Fresh,
            Cargo(&["check"]),
            Fresh,
        ]),
        ..FRESH
    },
    Case {
        id: "zoo/other-checkout-stays-fresh",
        claim: "Building in one checkout does not make another one dirty.",
        files: WITH_BUILD_SCRIPT,
        script: Script::Steps(&[
            Copy("../ws", "../other"),
            Build,
            In("../other"),
            Build,
            Fresh,
            In("../ws"),
            Empty,
            Build,
            Cargo(&["check"]),
            Build,
            Cargo(&["build"]),
            Sh("touch part/src/lib.rs deep/src/lib.rs"),
            Build,
            Empty,
            Run(&["build", "-p", "deep"]),
            In("../other"),
            Fresh,
            Check,
        ]),
        ..FRESH
    },
    Case {
        id: "zoo/other-target-stays-fresh",
        claim: "Restoring into one target folder does not make another one dirty.",
        files: WITH_BUILD_SCRIPT,
        script: Script::Steps(&[
            Target("../first"),
            Build,
            Target("../second"),
            Build,
            Fresh,
            Sh("touch part/src/lib.rs"),
            Build,
            Target("../first"),
            Build,
            Fresh,
            Empty,
            Run(&["build", "-p", "deep"]),
            Target("../second"),
            Fresh,
            Empty,
            Build,
            Check,
        ]),
        ..FRESH
    },
    Case {
        id: "zoo/clean-one-package",
        claim: "After `cargo clean -p`, the package is restored or built, and then all is fresh.",
        files: WITH_BUILD_SCRIPT,
        script: Script::Steps(&[
            Build,
            Run(&["clean", "-p", "deep"]),
            Build,
            Fresh,
            Run(&["clean", "-p", "part"]),
            Build,
            Fresh,
            Check,
        ]),
        ..FRESH
    },
    Case {
        id: "zoo/clean-other-profile",
        claim: "After `cargo clean --release`, what was built for development is fresh.",
        files: WITH_BUILD_SCRIPT,
        script: Script::Steps(&[
            Build,
            Twin,
            Run(&["build", "--release"]),
            Run(&["clean", "--release"]),
            Fresh,
            Run(&["build", "--release"]),
            Fresh,
            Check,
        ]),
        ..FRESH
    },
    Case {
        id: "zoo/touched-sources",
        claim: "Sources that were only touched are a hit.",
        script: Script::Change(&[Sh("touch src/main.rs part/src/lib.rs part/Cargo.toml")]),
        ..FRESH
    },
    Case {
        id: "zoo/old-sources",
        claim: "Sources with old times, as an archive unpacks them, are a hit.",
        script: Script::Change(&[Sh(
            "touch -d 2001-01-01 src/main.rs part/src/lib.rs part/Cargo.toml Cargo.toml Cargo.lock",
        )]),
        ..FRESH
    },
    Case {
        id: "zoo/future-sources",
        claim: "Sources with times in the future do what they do without a cache.",
        script: Script::Change(&[Sh("touch -d 2040-01-01 src/main.rs part/src/lib.rs")]),
        ..FRESH
    },
    Case {
        id: "zoo/edit-keeps-time-and-size",
        claim: "An edit that keeps size and modification time is an edit.",
        script: Script::Change(&[Forge("part/src/lib.rs", TWO)]),
        ..TIMES
    },
    Case {
        id: "zoo/edit-by-rename",
        claim: "A file that was renamed over the source, with its size and time, is an edit.",
        files: &[("../tmp/spare.rs", TWO)],
        script: Script::Change(&[
            Sh("touch -r part/src/lib.rs ../tmp/spare.rs"),
            Rename("../tmp/spare.rs", "part/src/lib.rs"),
        ]),
        ..TIMES
    },
    Case {
        id: "zoo/edits-in-a-row",
        claim: "Edits of the same size in quick succession are all seen.",
        script: Script::Steps(&[
            Write("part/src/lib.rs", ONE),
            Build,
            Empty,
            Write("part/src/lib.rs", TWO),
            Build,
            Check,
            Empty,
            Write("part/src/lib.rs", SIX),
            Build,
            Check,
            Empty,
            Write("part/src/lib.rs", ONE),
            Build,
            Check,
        ]),
        ..TIMES
    },
    Case {
        id: "zoo/edit-before-compiler-reads",
        claim: "An edit after the cache looked and before the compiler reads is not stored under the old content.",
        script: Script::Steps(&[
            Hook(When::Before, "part", "sed -i s/one/two/ @CASE@/ws/part/src/lib.rs"),
            Build,
            Write("part/src/lib.rs", ONE),
            Empty,
            Build,
            Check,
        ]),
        ..TIMES
    },
    Case {
        id: "zoo/edit-after-compiler-read",
        claim: "An edit after the compiler read and before it ends is not taken for what was compiled.",
        script: Script::Steps(&[
            Hook(When::After, "part", "sed -i s/one/two/ @CASE@/ws/part/src/lib.rs"),
            Build,
            Empty,
            Build,
            Check,
            Write("part/src/lib.rs", ONE),
            Empty,
            Build,
            Check,
        ]),
        ..TIMES
    },
    Case {
        id: "zoo/edit-and-back-during-compilation",
        claim: "An edit that is taken back before the compiler ends is noticed all the same.",
        script: Script::Steps(&[
            Hook(When::Before, "part", "sed -i s/one/two/ @CASE@/ws/part/src/lib.rs"),
            Hook(When::After, "part", "sed -i s/two/one/ @CASE@/ws/part/src/lib.rs"),
            Build,
            Empty,
            Build,
            Check,
        ]),
        ..TIMES
    },
    Case {
        id: "zoo/included-edited-during-compilation",
        claim: "An included file that changes during the compilation is an input as it was read.",
        files: &[
            ("part/src/lib.rs", value_is!(r#"include_str!("../text.txt").to_owned()"#)),
            ("part/text.txt", "one"),
        ],
        script: Script::Steps(&[
            Hook(When::Before, "part", "printf two >@CASE@/ws/part/text.txt"),
            Build,
            Write("part/text.txt", "one"),
            Empty,
            Build,
            Check,
        ]),
        ..TIMES
    },
    Case {
        id: "zoo/incremental-twin",
        claim: "With incremental compilation an unchanged library is right in an empty target folder.",
        script: Script::Steps(&[Build, Twin, Fresh, Check]),
        ..INCREMENTAL
    },
    Case {
        id: "zoo/incremental-by-variable",
        claim: "Incremental compilation that CARGO_INCREMENTAL asks for succeeds and is right.",
        env: &[("CARGO_INCREMENTAL", "1")],
        script: Script::Steps(&[Build, Twin, Fresh, Check]),
        ..INCREMENTAL
    },
    Case {
        id: "zoo/incremental-edits",
        claim: "With incremental compilation, edits after a hit are compiled right.",
        script: Script::Steps(&[
            Build,
            Twin,
            Write("part/src/lib.rs", TWO),
            Build,
            Check,
            Write("part/src/lib.rs", ONE),
            Build,
            Fresh,
            Check,
            Write("part/src/lib.rs", SIX),
            Build,
            Fresh,
            Check,
        ]),
        ..INCREMENTAL
    },
    Case {
        id: "zoo/incremental-check",
        claim: "Metadata that is linked into the incremental folder is not written over by a hit.",
        cargo: &["check"],
        script: Script::Steps(&[
            Build,
            Write("part/src/lib.rs", WARNS_TWO),
            Build,
            Write("part/src/lib.rs", WARNS_ONE),
            Build,
            Write("part/src/lib.rs", WARNS_SIX),
            Build,
            Write("part/src/lib.rs", WARNS_TWO),
            Build,
            Fresh,
            Check,
        ]),
        ..INCREMENTAL
    },
    Case {
        id: "zoo/incremental-switched-off",
        claim: "Outputs made with and without incremental compilation do not mix.",
        script: Script::Change(&[Env(PROFILE, "false")]),
        ..INCREMENTAL
    },
    Case {
        id: "zoo/incremental-switched-on",
        claim: "Incremental compilation that is switched on later compiles right.",
        env: &[(PROFILE, "false")],
        script: Script::Steps(&[
            Build,
            Twin,
            Env(PROFILE, "true"),
            Build,
            Write("part/src/lib.rs", TWO),
            Build,
            Fresh,
            Check,
            Env(PROFILE, "false"),
            Build,
            Fresh,
            Check,
        ]),
        ..INCREMENTAL
    },
];
