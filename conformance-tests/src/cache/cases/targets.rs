//! Where outputs go and what they are: other target folders, executable bits,
//! outputs that are empty, several builds at once.

use crate::cache::case::{Base, CHANGES, Case, Look, RUN, SAME, Script, Step::*};
use crate::cache::template::{manifest, root_manifest, value_is};

const TARGETS: Case = Case { family: "targets", ..SAME };

const EDITED: &str = value_is!("\"two\".to_owned()");

/// A library with tests, and a test file.
const TESTED: &[(&str, &str)] = &[
    (
        "part/src/lib.rs",
        concat!(
            value_is!("\"one\".to_owned()"),
            "\n#[test]\nfn inside() {\n    assert_eq!(value(), \"one\");\n}\n"
        ),
    ),
    ("tests/outside.rs", "#[test]\nfn outside() {\n    assert_eq!(part::value(), \"one\");\n}\n"),
    ("examples/shown.rs", "fn main() {\n    println!(\"{}\", part::value());\n}\n"),
];

pub(super) const CASES: &[Case] = &[
    Case {
        id: "zoo/target-outside",
        claim: "A target folder outside the tree gets the same outputs.",
        script: Script::Change(&[Target("../elsewhere/out")]),
        ..TARGETS
    },
    Case {
        id: "zoo/target-behind-link",
        claim: "A target folder behind a symbolic link gets the same outputs.",
        script: Script::Change(&[
            Empty,
            Sh("mkdir -p ../elsewhere/out"),
            Link { at: "target", to: "@CASE@/elsewhere/out" },
        ]),
        ..TARGETS
    },
    Case {
        id: "zoo/target-with-blanks",
        claim: "A target folder whose name has blanks and letters beyond ASCII gets the same outputs.",
        script: Script::Change(&[Target("../elsewhere/büild $x (1)")]),
        ..TARGETS
    },
    Case {
        id: "zoo/target-generated-elsewhere",
        claim: "Generated code is found in this target folder, not in the first one.",
        files: &[
            (
                "part/build.rs",
                r#"fn main() {
    println!("cargo:rerun-if-changed=input.txt");
    let out = std::env::var("OUT_DIR").unwrap() + "/generated.rs";
    let text = std::fs::read_to_string("input.txt").unwrap();
    std::fs::write(out, format!("pub const TEXT: &str = {text:?};")).unwrap();
}
"#,
            ),
            ("part/input.txt", "one"),
            (
                "part/src/lib.rs",
                concat!(
                    "include!(concat!(env!(\"OUT_DIR\"), \"/generated.rs\"));\n",
                    value_is!("TEXT.to_owned()")
                ),
            ),
        ],
        script: Script::Steps(&[
            Build,
            Target("../elsewhere/out"),
            Build,
            Fresh,
            Write("part/input.txt", "two"),
            Build,
            Fresh,
            Check,
        ]),
        ..TARGETS
    },
    Case {
        id: "zoo/test-programs-executable",
        claim: "Test programs, examples and build scripts from the cache can be executed.",
        subject: "outside",
        files: TESTED,
        cargo: &["test", "--no-run", "--workspace"],
        look: Look { run: true, ..RUN },
        script: Script::Change(&[]),
        ..TARGETS
    },
    Case {
        id: "zoo/build-script-executable",
        claim: "A build script from the cache can be executed.",
        subject: "build_script_build",
        files: &[
            ("part/build.rs", "fn main() {\n    println!(\"cargo:rustc-env=ZOO_SET=one\");\n}\n"),
            ("part/src/lib.rs", value_is!(r#"env!("ZOO_SET").to_owned()"#)),
        ],
        script: Script::Change(&[]),
        ..TARGETS
    },
    Case {
        id: "zoo/test-after-build",
        family: "targets",
        claim: "The library built for tests is not the library.",
        files: &[
            (
                "part/src/lib.rs",
                value_is!("(if cfg!(test) { \"test\" } else { \"one\" }).to_owned()"),
            ),
            ("Cargo.toml", root_manifest!(r#"members = ["part"]"#)),
        ],
        cargo: &["build", "--workspace"],
        script: Script::Change(&[Cargo(&["test", "--no-run", "--workspace"])]),
        ..CHANGES
    },
    Case {
        id: "zoo/check-all-targets",
        claim: "`cargo check --all-targets`, with metadata that is empty, is a hit and then fresh.",
        files: TESTED,
        cargo: &["check", "--all-targets"],
        look: Look { run: false, files: &[".rmeta"], ..RUN },
        script: Script::Change(&[]),
        ..TARGETS
    },
    Case {
        id: "zoo/check-tests",
        claim: "`cargo check --tests`, with metadata that is empty, is a hit and then fresh.",
        files: TESTED,
        cargo: &["check", "--tests"],
        look: Look { run: false, files: &[".rmeta"], ..RUN },
        script: Script::Change(&[]),
        ..TARGETS
    },
    Case {
        id: "zoo/outputs-complete",
        claim: "A hit leaves the files that a compilation leaves, dep-info included.",
        look: Look { files: &[".d", ".rlib", ".rmeta"], ..RUN },
        script: Script::Change(&[]),
        ..TARGETS
    },
    Case {
        id: "zoo/outputs-uplifted",
        claim: "The program that Cargo puts above `deps` is there after a hit, under that name.",
        base: Base::App,
        subject: "app",
        look: Look { files: &["debug/app", "debug/app.d"], ..RUN },
        script: Script::Change(&[]),
        ..TARGETS
    },
    Case {
        id: "zoo/outputs-writable",
        claim: "What was restored can be built over and removed.",
        script: Script::Steps(&[
            Build,
            Twin,
            Write("part/src/lib.rs", EDITED),
            Build,
            Fresh,
            Check,
            Run(&["clean"]),
            Build,
            Check,
        ]),
        ..TARGETS
    },
    Case {
        id: "zoo/sources-read-only",
        claim: "Sources that nobody may write are a hit, and what they make can be built over.",
        script: Script::Steps(&[
            Build,
            Twin,
            Sh("find src part -type f -exec chmod a-w {} +"),
            Empty,
            Build,
            Fresh,
            Check,
            Sh("find src part -type f -exec chmod u+w {} +"),
            Write("part/src/lib.rs", EDITED),
            Build,
            Fresh,
            Check,
        ]),
        ..TARGETS
    },
    Case {
        id: "zoo/outputs-changed-in-place",
        claim: "A tool that writes into restored outputs does not change what is stored.",
        script: Script::Steps(&[
            Build,
            Twin,
            Sh("for f in target/debug/deps/* target/debug/app; do \
                if [ -f $f ]; then chmod u+w $f; printf spoilt >>$f; fi; done"),
            Empty,
            Build,
            Fresh,
            Check,
        ]),
        ..TARGETS
    },
    Case {
        id: "zoo/outputs-stripped-in-place",
        claim: "A program from the cache that is stripped in place does not change what is stored.",
        base: Base::App,
        subject: "app",
        needs: &[
            crate::cache::case::Need::Tool("strip"),
            crate::cache::case::Need::Tool("readelf"),
        ],
        look: Look { sh: Some("readelf -SW $TARGET/debug/app | grep -c symtab"), ..RUN },
        script: Script::Steps(&[Build, Twin, Sh("strip target/debug/app"), Empty, Build, Check]),
        ..TARGETS
    },
    Case {
        id: "zoo/cached-and-plain-mixed",
        claim: "Builds with and without the cache mix in one target folder.",
        files: &[
            ("part/Cargo.toml", manifest!("part" "[dependencies]" r#"a = { path = "../a" }"#)),
            ("part/src/lib.rs", value_is!("a::NAME.to_owned()")),
            ("a/Cargo.toml", manifest!("a")),
            ("a/src/lib.rs", "pub const NAME: &str = \"one\";\n"),
        ],
        script: Script::Steps(&[
            Build,
            Empty,
            Plain,
            Write("part/src/lib.rs", value_is!("a::NAME.to_uppercase()")),
            Build,
            Check,
            Write("a/src/lib.rs", "pub const NAME: &str = \"two\";\n"),
            Plain,
            Write("part/src/lib.rs", value_is!("a::NAME.to_owned()")),
            Build,
            Fresh,
            Check,
        ]),
        ..TARGETS
    },
    Case {
        id: "zoo/two-checkouts-at-once",
        claim: "Two builds of two checkouts at once both succeed and are right.",
        script: Script::Steps(&[
            Copy("../ws", "../other"),
            Together(&["../ws", "../other"]),
            Build,
            Check,
            In("../other"),
            Build,
            Check,
        ]),
        ..TARGETS
    },
    Case {
        id: "zoo/two-checkouts-at-once-warm",
        claim: "Two builds that restore the same entries at once both succeed and are right.",
        script: Script::Steps(&[
            Copy("../ws", "../other"),
            Build,
            Empty,
            Together(&["../ws", "../other"]),
            Build,
            Check,
            In("../other"),
            Build,
            Check,
        ]),
        ..TARGETS
    },
    Case {
        id: "zoo/two-builds-one-target",
        claim: "Two builds that wait for one target folder both succeed.",
        script: Script::Steps(&[
            Together(&["../ws", "../ws"]),
            Build,
            Fresh,
            Check,
            Empty,
            Together(&["../ws", "../ws"]),
            Build,
            Fresh,
            Check,
        ]),
        ..TARGETS
    },
    Case {
        id: "zoo/two-different-at-once",
        claim: "Builds at once of two states of one checkout do not mix.",
        script: Script::Steps(&[
            Copy("../ws", "../other"),
            In("../other"),
            Write("part/src/lib.rs", EDITED),
            Together(&["../ws", "../other"]),
            Build,
            Check,
            Empty,
            Build,
            Check,
            In("../ws"),
            Empty,
            Build,
            Check,
        ]),
        ..TARGETS
    },
];
