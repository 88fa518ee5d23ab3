//! Packages of a registry. Cargo takes their sources for immutable; on disk
//! they are files like any other.

use crate::cache::case::{CHANGES, Case, Need, SAME, Script, Step, Step::*};
use crate::cache::template::{manifest, value_is};

const REGISTRY: Case = Case {
    family: "registry",
    subject: "dep",
    needs: &[Need::Tool("tar"), Need::Tool("sha256sum")],
    setup: &[PUBLISH],
    ..CHANGES
};

/// As [`REGISTRY`], of what must be a hit.
const REUSED: Case = Case { effect: SAME.effect, accept: SAME.accept, ..REGISTRY };

/// Publishes `dep` to a local registry, from where Cargo unpacks it below
/// CARGO_HOME.
const PUBLISH: Step = Sh(
    "cd @CASE@; tar -czf registry/dep-0.1.0.crate dep-0.1.0; mkdir -p registry/index/3/d; \
     sum=$(sha256sum <registry/dep-0.1.0.crate); \
     printf '{\"name\":\"dep\",\"vers\":\"0.1.0\",\"deps\":[],\"cksum\":\"%s\",\"features\":{},\"yanked\":false}\\n' \
         \"${sum%% *}\" >registry/index/3/d/dep",
);

const CONFIG: (&str, &str) = (
    "../cargo-home/config.toml",
    "[source.crates-io]\nreplace-with = \"local\"\n[source.local]\nlocal-registry = \"@CASE@/registry\"\n",
);

const USER: (&str, &str) =
    ("part/Cargo.toml", manifest!("part" "[dependencies]" "dep = \"0.1.0\""));

/// `dep` without anything particular, and its user.
const PLAIN: &[(&str, &str)] = &[
    CONFIG,
    USER,
    ("../registry/keep", ""),
    ("../dep-0.1.0/Cargo.toml", manifest!("dep")),
    ("../dep-0.1.0/src/lib.rs", value_is!("\"one\".to_owned()")),
    ("part/src/lib.rs", value_is!("dep::value()")),
];

/// Edits a file of the unpacked package in place.
macro_rules! edit_unpacked {
    ($file:literal) => {
        Sh(concat!("sed -i s/one/two/ @CASE@/cargo-home/registry/src/*/dep-0.1.0/", $file))
    };
}

pub(super) const CASES: &[Case] = &[
    Case {
        id: "zoo/registry-source-edited",
        claim: "The source of a registry package that was edited in place is an input.",
        files: PLAIN,
        script: Script::Change(&[edit_unpacked!("src/lib.rs")]),
        ..REGISTRY
    },
    Case {
        id: "zoo/registry-module-edited",
        claim: "A module deep inside a registry package that was edited in place is an input.",
        files: &[
            CONFIG,
            USER,
            ("../registry/keep", ""),
            ("../dep-0.1.0/Cargo.toml", manifest!("dep")),
            (
                "../dep-0.1.0/src/lib.rs",
                concat!("mod a {\n    pub mod b;\n}\n", value_is!("a::b::TEXT.to_owned()")),
            ),
            ("../dep-0.1.0/src/a/b.rs", "pub const TEXT: &str = \"one\";\n"),
            ("part/src/lib.rs", value_is!("dep::value()")),
        ],
        script: Script::Change(&[edit_unpacked!("src/a/b.rs")]),
        ..REGISTRY
    },
    Case {
        id: "zoo/registry-data-edited",
        claim: "A file that a registry package includes is an input.",
        files: &[
            CONFIG,
            USER,
            ("../registry/keep", ""),
            ("../dep-0.1.0/Cargo.toml", manifest!("dep")),
            ("../dep-0.1.0/src/lib.rs", value_is!("include_str!(\"../text.txt\").to_owned()")),
            ("../dep-0.1.0/text.txt", "one"),
            ("part/src/lib.rs", value_is!("dep::value()")),
        ],
        script: Script::Change(&[edit_unpacked!("text.txt")]),
        ..REGISTRY
    },
    Case {
        id: "zoo/registry-macro-reads-user",
        claim: "A macro from a registry has inputs in the package that uses it.",
        subject: "part",
        files: &[
            CONFIG,
            USER,
            ("../registry/keep", ""),
            ("../dep-0.1.0/Cargo.toml", manifest!("dep" "[lib]" "proc-macro = true")),
            (
                "../dep-0.1.0/src/lib.rs",
                crate::cache::template::expands_to!(
                    r#"std::fs::read_to_string(package() + "/hidden.txt").unwrap()"#
                ),
            ),
            ("part/src/lib.rs", value_is!("dep::value!().to_owned()")),
            ("part/hidden.txt", "one"),
        ],
        script: Script::Change(&[Write("part/hidden.txt", "two")]),
        ..REGISTRY
    },
    Case {
        id: "zoo/registry-other-workspace",
        claim: "A registry package is a hit in another workspace.",
        files: PLAIN,
        script: Script::Change(&[Copy("../ws", "../other/place"), In("../other/place")]),
        ..REUSED
    },
    Case {
        id: "zoo/registry-linked",
        claim: "A registry package is a hit where a link in CARGO_HOME leads to its registry.",
        files: PLAIN,
        script: Script::Change(&[
            Copy("../cargo-home", "../other-home"),
            Sh(
                "cd @CASE@; rm -rf other-home/registry; mkdir far; ln -s ../far other-home/registry",
            ),
            Env("CARGO_HOME", "@CASE@/other-home"),
        ]),
        ..REUSED
    },
    Case {
        id: "zoo/registry-other-home",
        claim: "`file!()` in a registry package names this CARGO_HOME.",
        files: &[
            CONFIG,
            USER,
            ("../registry/keep", ""),
            ("../dep-0.1.0/Cargo.toml", manifest!("dep")),
            ("../dep-0.1.0/src/lib.rs", value_is!("file!().to_owned()")),
            ("part/src/lib.rs", value_is!("dep::value()")),
        ],
        script: Script::Change(&[
            Copy("../cargo-home", "../other-home"),
            Env("CARGO_HOME", "@CASE@/other-home"),
        ]),
        ..REGISTRY
    },
    Case {
        id: "zoo/registry-warnings-capped",
        claim: "Warnings of a registry package stay unsaid after a hit.",
        files: &[
            CONFIG,
            USER,
            ("../registry/keep", ""),
            ("../dep-0.1.0/Cargo.toml", manifest!("dep")),
            (
                "../dep-0.1.0/src/lib.rs",
                concat!("fn unused() {}\n", value_is!("\"one\".to_owned()")),
            ),
            ("part/src/lib.rs", value_is!("dep::value()")),
        ],
        script: Script::Change(&[]),
        ..REUSED
    },
];
