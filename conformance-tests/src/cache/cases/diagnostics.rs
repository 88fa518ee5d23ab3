//! What the compiler says: warnings are replayed as they were, and everything
//! that decides about them is an input.

use crate::cache::case::{CHANGES, Case, Look, Need, RUN, SAME, Script, Step::*, When};
use crate::cache::template::{manifest, value_is};

const SAYS: Case = Case { family: "diagnostics", ..CHANGES };

const WARNS: &str = concat!("fn unused() {}\n", value_is!("\"one\".to_owned()"),);

/// clippy finds the function too complex above a threshold.
const CLIPPY: Case = Case {
    family: "clippy",
    needs: &[Need::Clippy],
    cargo: &["check"],
    files: &[("part/src/lib.rs", MANY_ARGUMENTS)],
    env: &[("RUSTC_WORKSPACE_WRAPPER", "@CASE@/toolchain/bin/clippy-driver"), ("CLIPPY_ARGS", "")],
    ..CHANGES
};

const MANY_ARGUMENTS: &str = concat!(
    "pub fn many(a: u8, b: u8, c: u8) -> u8 {\n    a + b + c\n}\n",
    value_is!("\"one\".to_owned()"),
);

const STRICT: &str = "too-many-arguments-threshold = 2\n";

pub(super) const CASES: &[Case] = &[
    Case {
        id: "zoo/warning-replayed",
        family: "diagnostics",
        claim: "A hit says the warnings again, byte for byte.",
        files: &[("part/src/lib.rs", WARNS)],
        look: Look { stderr: true, ..RUN },
        script: Script::Change(&[]),
        ..SAME
    },
    Case {
        id: "zoo/error-repeated",
        family: "diagnostics",
        claim: "A compile error is reported each time, in the same words.",
        files: &[("part/src/lib.rs", value_is!("missing()"))],
        look: Look { stderr: true, ..RUN },
        script: Script::Steps(&[Build, Build, Empty, Build]),
        ..CHANGES
    },
    Case {
        id: "zoo/quiet",
        family: "diagnostics",
        claim: "A cache writes nothing of its own to stderr: Cargo would store and repeat it.",
        look: Look { stderr: true, ..RUN },
        script: Script::Change(&[]),
        ..SAME
    },
    Case {
        id: "zoo/transient-message",
        family: "diagnostics",
        claim: "What was wrong with the machine during one compilation is not said again by a hit.",
        look: Look { stderr: true, ..RUN },
        script: Script::Steps(&[
            Hook(
                When::Before,
                "part",
                "echo 'warning: failed to connect to jobserver from environment' >&2",
            ),
            Build,
            Empty,
            Build,
            Check,
        ]),
        ..SAME
    },
    Case {
        id: "zoo/transient-failure",
        family: "diagnostics",
        claim: "A compiler that failed once, with no error in the code, is asked again.",
        script: Script::Steps(&[
            Hook(When::Before, "part", "echo 'error: no space left' >&2; exit 1"),
            Broken,
            Build,
            Check,
        ]),
        ..CHANGES
    },
    Case {
        id: "zoo/lint-level-flag",
        claim: "A lint level in RUSTFLAGS is an input.",
        files: &[("part/src/lib.rs", WARNS)],
        script: Script::Change(&[Env("RUSTFLAGS", "-Aunused")]),
        ..SAYS
    },
    Case {
        id: "zoo/lint-level-deny",
        claim: "A lint that became an error fails the build, also after a hit.",
        files: &[("part/src/lib.rs", WARNS)],
        script: Script::Change(&[Env("RUSTFLAGS", "-Dunused")]),
        ..SAYS
    },
    Case {
        id: "zoo/lint-table",
        claim: "The lint levels of a manifest are an input.",
        files: &[("part/src/lib.rs", WARNS)],
        script: Script::Change(&[Write(
            "part/Cargo.toml",
            manifest!("part" "[lints.rust]" "unused = \"allow\""),
        )]),
        ..SAYS
    },
    Case {
        id: "zoo/check-cfg",
        claim: "The names that `--check-cfg` allows are an input.",
        files: &[("part/src/lib.rs", value_is!("cfg!(feature = \"extra\").to_string()"))],
        script: Script::Change(&[Write(
            "part/Cargo.toml",
            manifest!("part" "[features]" "extra = []"),
        )]),
        ..SAYS
    },
    Case {
        id: "zoo/check-cfg-table",
        claim: "The names that the manifest's lints allow are an input.",
        files: &[("part/src/lib.rs", value_is!("cfg!(extra).to_string()"))],
        script: Script::Change(&[Write(
            "part/Cargo.toml",
            manifest!("part" "[lints.rust]"
                r#"unexpected_cfgs = { level = "warn", check-cfg = ["cfg(extra)"] }"#),
        )]),
        ..SAYS
    },
    Case {
        id: "zoo/cap-lints",
        claim: "`--cap-lints` is an input.",
        files: &[("part/src/lib.rs", WARNS)],
        script: Script::Change(&[Env("RUSTFLAGS", "--cap-lints=allow")]),
        ..SAYS
    },
    Case {
        id: "zoo/diagnostic-format",
        claim: "The form in which warnings were asked for is an input.",
        files: &[("part/src/lib.rs", WARNS)],
        look: Look { stderr: true, ..RUN },
        script: Script::Change(&[Cargo(&["build", "--message-format=short"])]),
        ..SAYS
    },
    Case {
        id: "zoo/diagnostic-colour",
        claim: "Whether warnings are coloured is an input, or added on replay.",
        files: &[("part/src/lib.rs", WARNS)],
        script: Script::Change(&[Cargo(&[
            "build",
            "--message-format=json-diagnostic-rendered-ansi",
        ])]),
        ..SAYS
    },
    Case {
        id: "zoo/diagnostic-width",
        claim: "The width that warnings were asked for is an input.",
        files: &[(
            "part/src/lib.rs",
            value_is!(
                "let unused = (1111111111u64, 2222222222u64, 3333333333u64, 4444444444u64, 5555555555u64); \"one\".to_owned()"
            ),
        )],
        script: Script::Change(&[Env("RUSTFLAGS", "--diagnostic-width=40")]),
        ..SAYS
    },
    Case {
        id: "zoo/warning-names-path",
        claim: "A warning names the file where it is, also in a moved checkout.",
        files: &[
            (
                "part/src/lib.rs",
                concat!(
                    "#[path = \"@CASE@/outside/inner.rs\"]\nmod inner;\n",
                    value_is!("\"one\".to_owned()")
                ),
            ),
            ("../outside/inner.rs", "fn unused() {}\n"),
        ],
        script: Script::Change(&[
            Copy("../outside", "../outside-two"),
            Write(
                "part/src/lib.rs",
                concat!(
                    "#[path = \"@CASE@/outside-two/inner.rs\"]\nmod inner;\n",
                    value_is!("\"one\".to_owned()")
                ),
            ),
        ]),
        ..SAYS
    },
    Case {
        id: "zoo/compiler-log",
        family: "diagnostics",
        claim: "What RUSTC_LOG prints belongs to the compiler's run, not to a hit without it.",
        look: Look { stderr: true, ..RUN },
        script: Script::Steps(&[
            Env("RUSTC_LOG", "info"),
            Build,
            Empty,
            Unset("RUSTC_LOG"),
            Build,
            Check,
        ]),
        ..CHANGES
    },
    Case {
        id: "zoo/clippy-after-check",
        claim: "What rustc checked does not serve clippy.",
        env: &[],
        script: Script::Change(&[
            Write("clippy.toml", STRICT),
            Env("RUSTC_WORKSPACE_WRAPPER", "@CASE@/toolchain/bin/clippy-driver"),
            Env("CLIPPY_ARGS", ""),
        ]),
        ..CLIPPY
    },
    Case {
        id: "zoo/clippy-arguments",
        claim: "CLIPPY_ARGS is an input of clippy.",
        script: Script::Change(&[Env(
            "CLIPPY_ARGS",
            "-Wclippy::arithmetic_side_effects__CLIPPY_HACKERY__",
        )]),
        ..CLIPPY
    },
    Case {
        id: "zoo/clippy-toml-appears",
        claim: "A clippy.toml that was absent is an input of clippy.",
        script: Script::Change(&[Write("part/clippy.toml", STRICT)]),
        ..CLIPPY
    },
    Case {
        id: "zoo/clippy-toml-edited",
        claim: "The content of clippy.toml is an input of clippy.",
        files: &[
            ("part/src/lib.rs", MANY_ARGUMENTS),
            ("part/clippy.toml", "too-many-arguments-threshold = 5\n"),
        ],
        script: Script::Change(&[Write("part/clippy.toml", STRICT)]),
        ..CLIPPY
    },
    Case {
        id: "zoo/clippy-toml-of-workspace",
        claim: "A .clippy.toml in a folder above the package is an input of clippy.",
        script: Script::Change(&[Write(".clippy.toml", STRICT)]),
        ..CLIPPY
    },
    Case {
        id: "zoo/clippy-toml-hidden",
        claim: "A clippy.toml nearer to the package hides the one above.",
        files: &[("part/src/lib.rs", MANY_ARGUMENTS), ("clippy.toml", STRICT)],
        script: Script::Change(&[Write("part/clippy.toml", "")]),
        ..CLIPPY
    },
    Case {
        id: "zoo/clippy-configuration-folder",
        claim: "CLIPPY_CONF_DIR is an input of clippy.",
        files: &[("part/src/lib.rs", MANY_ARGUMENTS), ("../settings/clippy.toml", STRICT)],
        script: Script::Change(&[Env("CLIPPY_CONF_DIR", "@CASE@/settings")]),
        ..CLIPPY
    },
];
