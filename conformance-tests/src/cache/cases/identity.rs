//! What makes two units different although their sources look alike: features,
//! names, externs, profiles, the kind of output.

use crate::cache::case::{CHANGES, Case, Look, RUN, SAME, Script, Step::*};
use crate::cache::template::{manifest, root_manifest, value_is};

const IDENTITY: Case = Case { family: "identity", ..CHANGES };

/// `part` prints what `left` and `right` say.
const TWO_EXTERNS: &[(&str, &str)] = &[
    ("part/src/lib.rs", value_is!("format!(\"{} {}\", left::NAME, right::NAME)")),
    (
        "part/Cargo.toml",
        manifest!("part" "[dependencies]"
            r#"left = { path = "../a", package = "a" }"#
            r#"right = { path = "../b", package = "b" }"#),
    ),
    ("a/Cargo.toml", manifest!("a")),
    ("a/src/lib.rs", "pub const NAME: &str = \"a\";\n"),
    ("b/Cargo.toml", manifest!("b")),
    ("b/src/lib.rs", "pub const NAME: &str = \"b\";\n"),
];

const SAYS_ONE: &str = "pub const NAME: &str = \"one\";\n";
const SAYS_TWO: &str = "pub const NAME: &str = \"two\";\n";

pub(super) const CASES: &[Case] = &[
    Case {
        id: "zoo/features",
        claim: "Two features of one crate make two units.",
        files: &[
            (
                "Cargo.toml",
                root_manifest!("[features]" r#"left = ["part/left"]"# r#"right = ["part/right"]"#),
            ),
            ("part/Cargo.toml", manifest!("part" "[features]" "left = []" "right = []")),
            (
                "part/src/lib.rs",
                value_is!(r#"(if cfg!(feature = "left") { "left" } else { "right" }).to_owned()"#),
            ),
        ],
        cargo: &["build", "--features", "left"],
        script: Script::Change(&[Cargo(&["build", "--features", "right"])]),
        ..IDENTITY
    },
    Case {
        id: "zoo/features-of-dependency",
        claim: "The features that a crate's user asks for are an input of the crate.",
        files: &[
            ("part/Cargo.toml", manifest!("part" "[features]" "left = []" "right = []")),
            (
                "part/src/lib.rs",
                value_is!(r#"(if cfg!(feature = "left") { "left" } else { "right" }).to_owned()"#),
            ),
        ],
        cargo: &["build", "--features", "part/left"],
        script: Script::Change(&[Cargo(&["build", "--features", "part/right"])]),
        ..IDENTITY
    },
    Case {
        id: "zoo/externs-swapped",
        claim: "Two externs with swapped names make another unit.",
        files: TWO_EXTERNS,
        script: Script::Change(&[Write(
            "part/Cargo.toml",
            manifest!("part" "[dependencies]"
                r#"left = { path = "../b", package = "b" }"#
                r#"right = { path = "../a", package = "a" }"#),
        )]),
        ..IDENTITY
    },
    Case {
        id: "zoo/extern-renamed",
        claim: "The names that externs are called by are inputs.",
        files: &[
            ("part/src/lib.rs", value_is!("other::NAME.to_owned()")),
            (
                "part/Cargo.toml",
                manifest!("part" "[dependencies]"
                    r#"other = { path = "../a", package = "a" }"#
                    r#"spare = { path = "../b", package = "b" }"#),
            ),
            ("a/Cargo.toml", manifest!("a")),
            ("a/src/lib.rs", SAYS_ONE),
            ("b/Cargo.toml", manifest!("b")),
            ("b/src/lib.rs", SAYS_TWO),
        ],
        script: Script::Change(&[Write(
            "part/Cargo.toml",
            manifest!("part" "[dependencies]"
                r#"spare = { path = "../a", package = "a" }"#
                r#"other = { path = "../b", package = "b" }"#),
        )]),
        ..IDENTITY
    },
    Case {
        id: "zoo/extern-edited",
        claim: "The content of a dependency is an input of its users.",
        files: &[
            ("part/Cargo.toml", manifest!("part" "[dependencies]" r#"a = { path = "../a" }"#)),
            ("part/src/lib.rs", value_is!("a::NAME.to_owned()")),
            ("a/Cargo.toml", manifest!("a")),
            ("a/src/lib.rs", SAYS_ONE),
        ],
        script: Script::Change(&[Write("a/src/lib.rs", SAYS_TWO)]),
        ..IDENTITY
    },
    Case {
        id: "zoo/extern-body-edited",
        claim: "A change in the body of a function two crates down reaches the program.",
        subject: "app",
        files: &[
            ("part/Cargo.toml", manifest!("part" "[dependencies]" r#"a = { path = "../a" }"#)),
            ("part/src/lib.rs", value_is!("a::name()")),
            ("a/Cargo.toml", manifest!("a")),
            (
                "a/src/lib.rs",
                "#[inline(never)]\npub fn name() -> String {\n    \"one\".to_owned()\n}\n",
            ),
        ],
        script: Script::Change(&[Write(
            "a/src/lib.rs",
            "#[inline(never)]\npub fn name() -> String {\n    \"two\".to_owned()\n}\n",
        )]),
        ..IDENTITY
    },
    Case {
        id: "zoo/dependency-elsewhere",
        claim: "A dependency of the same name and version at another path is another one.",
        files: &[
            ("part/Cargo.toml", manifest!("part" "[dependencies]" r#"a = { path = "../left" }"#)),
            ("part/src/lib.rs", value_is!("a::NAME.to_owned()")),
            ("left/Cargo.toml", manifest!("a")),
            ("left/src/lib.rs", SAYS_ONE),
            ("right/Cargo.toml", manifest!("a")),
            ("right/src/lib.rs", SAYS_TWO),
        ],
        script: Script::Change(&[Write(
            "part/Cargo.toml",
            manifest!("part" "[dependencies]" r#"a = { path = "../right" }"#),
        )]),
        ..IDENTITY
    },
    Case {
        id: "zoo/file-name",
        claim: "The same content under another file name is another unit: `file!()` sees it.",
        files: &[
            ("part/Cargo.toml", manifest!("part" "[lib]" r#"path = "src/one.rs""#)),
            ("part/src/one.rs", value_is!("file!().to_owned()")),
            ("part/src/two.rs", value_is!("file!().to_owned()")),
        ],
        script: Script::Change(&[Write(
            "part/Cargo.toml",
            manifest!("part" "[lib]" r#"path = "src/two.rs""#),
        )]),
        ..IDENTITY
    },
    Case {
        id: "zoo/module-file-name",
        claim: "`inner.rs` and `inner/mod.rs` of the same content are told apart by `file!()`.",
        files: &[
            ("part/src/lib.rs", concat!("mod inner;\n", value_is!("inner::file()"))),
            ("part/src/inner.rs", "pub fn file() -> String {\n    file!().to_owned()\n}\n"),
            ("part/src/inner/keep", ""),
        ],
        script: Script::Change(&[Rename("part/src/inner.rs", "part/src/inner/mod.rs")]),
        ..IDENTITY
    },
    Case {
        id: "zoo/twin-packages",
        claim: "Two packages of the same content are told apart by what Cargo says of them.",
        files: &[
            ("Cargo.toml", root_manifest!("[dependencies.other]" r#"path = "other""#)),
            (
                "src/main.rs",
                "fn main() {\n    println!(\"{} {}\", part::value(), other::value());\n}\n",
            ),
            ("part/src/lib.rs", value_is!(r#"module_path!().to_owned()"#)),
            ("other/Cargo.toml", manifest!("other")),
            ("other/src/lib.rs", value_is!(r#"module_path!().to_owned()"#)),
        ],
        script: Script::Steps(&[Build, Check, Twin, Check]),
        ..IDENTITY
    },
    Case {
        id: "zoo/edition",
        claim: "The edition is an input.",
        files: &[(
            "part/src/lib.rs",
            // By value from 2021 on, by reference before.
            value_is!("std::any::type_name_of_val(&[1u8].into_iter().next()).to_owned()"),
        )],
        script: Script::Change(&[Write(
            "part/Cargo.toml",
            "[package]\nname = \"part\"\nversion = \"0.1.0\"\nedition = \"2018\"\n",
        )]),
        ..IDENTITY
    },
    Case {
        id: "zoo/profile-debug-assertions",
        claim: "The profile's `debug-assertions` is an input.",
        files: &[("part/src/lib.rs", value_is!("cfg!(debug_assertions).to_string()"))],
        script: Script::Change(&[Write(
            "Cargo.toml",
            root_manifest!("[profile.dev]" "debug-assertions = false"),
        )]),
        ..IDENTITY
    },
    Case {
        id: "zoo/profile-overflow-checks",
        claim: "The profile's `overflow-checks` is an input.",
        files: &[(
            "part/src/lib.rs",
            value_is!(
                "std::panic::set_hook(Box::new(|_| {})); let n: u8 = std::env::args().count() as u8 + 254; format!(\"{:?}\", std::panic::catch_unwind(|| n + 1).is_ok())"
            ),
        )],
        script: Script::Change(&[Write(
            "Cargo.toml",
            root_manifest!("[profile.dev]" "overflow-checks = false"),
        )]),
        ..IDENTITY
    },
    Case {
        id: "zoo/profile-panic",
        claim: "The profile's `panic` strategy is an input.",
        files: &[("part/src/lib.rs", value_is!("cfg!(panic = \"abort\").to_string()"))],
        script: Script::Change(&[Write(
            "Cargo.toml",
            root_manifest!("[profile.dev]" "panic = \"abort\""),
        )]),
        ..IDENTITY
    },
    Case {
        id: "zoo/profile-strip",
        claim: "Whether the program is stripped is an input of the link.",
        subject: "app",
        needs: &[crate::cache::case::Need::Tool("readelf")],
        look: Look { sh: Some("readelf -SW $TARGET/debug/app | grep -c symtab"), ..RUN },
        script: Script::Change(&[Write(
            "Cargo.toml",
            root_manifest!("[profile.dev]" "strip = true"),
        )]),
        ..IDENTITY
    },
    Case {
        id: "zoo/release-after-dev",
        claim: "A build in another profile does not get the first one's outputs.",
        files: &[("part/src/lib.rs", value_is!("cfg!(debug_assertions).to_string()"))],
        script: Script::Change(&[Cargo(&["build", "--release"])]),
        ..IDENTITY
    },
    Case {
        id: "zoo/check-then-build",
        claim: "What `cargo check` stored does not serve `cargo build`.",
        cargo: &["check"],
        script: Script::Change(&[Cargo(&["build"])]),
        ..IDENTITY
    },
    Case {
        id: "zoo/build-then-check",
        claim: "What `cargo build` stored serves `cargo check` only if that would do the same.",
        script: Script::Change(&[Cargo(&["check"])]),
        ..IDENTITY
    },
    Case {
        id: "zoo/check-build-mixed",
        claim: "Check, build and test in one target folder do not disturb each other.",
        script: Script::Steps(&[
            Cargo(&["check"]),
            Build,
            Cargo(&["build"]),
            Build,
            Check,
            Empty,
            Cargo(&["build"]),
            Build,
            Cargo(&["check"]),
            Build,
            Fresh,
            Cargo(&["build"]),
            Fresh,
            Cargo(&["test", "--no-run"]),
            Build,
            Check,
        ]),
        ..IDENTITY
    },
    Case {
        id: "zoo/jobs",
        family: "identity",
        claim: "How many jobs Cargo runs is no input.",
        script: Script::Change(&[Cargo(&["build", "-j1"])]),
        ..SAME
    },
    Case {
        id: "zoo/make-jobserver",
        family: "identity",
        claim: "A jobserver that Cargo inherits is no input.",
        script: Script::Change(&[Env("MAKEFLAGS", "-k --no-print-directory")]),
        ..SAME
    },
    Case {
        id: "zoo/other-shell",
        family: "identity",
        claim: "The terminal, the user's name and the shell's own variables are no inputs.",
        env: &[("TERM", "dumb"), ("USER", "one"), ("SHLVL", "1")],
        script: Script::Change(&[
            Env("TERM", "xterm-256color"),
            Env("USER", "two"),
            Env("SHLVL", "3"),
            Env("OLDPWD", "/"),
        ]),
        ..SAME
    },
];
