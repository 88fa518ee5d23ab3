//! Paths: moved checkouts, code that names where it was built, and path
//! remapping by the user. A hit in another checkout is legal only for code
//! that does not depend on its place.

use crate::cache::case::{Base, CHANGES, Case, Look, Need, RUN, SAME, Script, Step::*};
use crate::cache::template::{expands_to, manifest, root_manifest, value_is};

const PLACE: Case = Case {
    family: "checkout",
    script: Script::Change(&[Copy("../ws", "../other/place"), In("../other/place")]),
    ..CHANGES
};

const PLACELESS: Case = Case {
    family: "checkout",
    script: Script::Change(&[Copy("../ws", "../other/place"), In("../other/place")]),
    ..SAME
};

/// A package with a test that is a program of its own.
macro_rules! prints_variable {
    ($name:literal) => {
        &[
            (
                "Cargo.toml",
                root_manifest!("[[test]]" r#"name = "outside""# "harness = false"),
            ),
            (
                "tests/outside.rs",
                concat!("fn main() {\n    println!(\"{}\", env!(\"", $name, "\"));\n}\n"),
            ),
            ("part/src/lib.rs", value_is!("\"one\".to_owned()")),
        ]
    };
}

const TEST_PRINTS_PROGRAM: &[(&str, &str)] = prints_variable!("CARGO_BIN_EXE_app");
const TEST_PRINTS_FOLDER: &[(&str, &str)] = prints_variable!("CARGO_TARGET_TMPDIR");

pub(super) const CASES: &[Case] = &[
    Case {
        id: "zoo/moved",
        claim: "Code that does not name its place is the same in another checkout.",
        ..PLACELESS
    },
    Case {
        id: "zoo/moved-include",
        claim: "A path that only locates an included file need not tell two checkouts apart.",
        files: &[
            (
                "part/src/lib.rs",
                value_is!(
                    r#"include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/text.txt")).to_owned()"#
                ),
            ),
            ("part/text.txt", "one"),
        ],
        ..PLACELESS
    },
    Case {
        id: "zoo/moved-manifest-dir",
        claim: "Code that holds CARGO_MANIFEST_DIR belongs to its checkout.",
        files: &[("part/src/lib.rs", value_is!(r#"env!("CARGO_MANIFEST_DIR").to_owned()"#))],
        ..PLACE
    },
    Case {
        id: "zoo/moved-manifest-dir-read",
        claim: "A file found by CARGO_MANIFEST_DIR at run time is that of this checkout.",
        files: &[
            (
                "part/src/lib.rs",
                value_is!(
                    r#"std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/text.txt")).unwrap()"#
                ),
            ),
            ("part/text.txt", "one"),
        ],
        script: Script::Change(&[
            Copy("../ws", "../other/place"),
            In("../other/place"),
            Write("part/text.txt", "two"),
        ]),
        ..PLACE
    },
    Case {
        id: "zoo/moved-manifest-dir-length",
        claim: "Code that depends on a path by its length alone belongs to its checkout.",
        files: &[("part/src/lib.rs", value_is!(r#"env!("CARGO_MANIFEST_DIR").len().to_string()"#))],
        ..PLACE
    },
    Case {
        id: "zoo/moved-manifest-dir-hash",
        claim: "Code that depends on a path by its hash alone belongs to its checkout.",
        files: &[(
            "part/src/lib.rs",
            concat!(
                "const fn hash(text: &[u8]) -> u64 {\n",
                "    let (mut h, mut i) = (5381, 0);\n",
                "    while i < text.len() {\n",
                "        h = (h * 33) ^ (text[i] as u64 & 1);\n",
                "        h %= 1_000_003;\n        i += 1;\n    }\n    h\n}\n",
                "const HASH: u64 = hash(env!(\"CARGO_MANIFEST_DIR\").as_bytes());\n",
                value_is!("HASH.to_string()")
            ),
        )],
        ..PLACE
    },
    Case {
        id: "zoo/moved-compared-path",
        claim: "Code that compares a path, and is optimised to nothing else, belongs to its checkout.",
        files: &[(
            "part/src/lib.rs",
            value_is!(r#"(env!("CARGO_MANIFEST_DIR") == "@CASE@/ws/part").to_string()"#),
        )],
        env: &[("CARGO_PROFILE_DEV_OPT_LEVEL", "3")],
        ..PLACE
    },
    Case {
        id: "zoo/moved-macro-path",
        claim: "A path that a macro learns from the environment belongs to the checkout.",
        base: Base::Macro,
        files: &[("mac/src/lib.rs", expands_to!("package()"))],
        ..PLACE
    },
    Case {
        id: "zoo/moved-macro-current-dir",
        claim: "The working folder that a macro asks for belongs to the checkout.",
        base: Base::Macro,
        files: &[(
            "mac/src/lib.rs",
            expands_to!("std::env::current_dir().unwrap().display().to_string()"),
        )],
        ..PLACE
    },
    Case {
        id: "zoo/moved-macro-reads-file",
        claim: "In another checkout a macro reads the file of that checkout.",
        base: Base::Macro,
        files: &[
            (
                "mac/src/lib.rs",
                expands_to!(r#"std::fs::read_to_string(package() + "/hidden.txt").unwrap()"#),
            ),
            ("part/hidden.txt", "one"),
        ],
        script: Script::Change(&[
            Copy("../ws", "../other/place"),
            In("../other/place"),
            Write("part/hidden.txt", "two"),
        ]),
        ..PLACE
    },
    Case {
        id: "zoo/moved-absolute-file",
        claim: "`file!()` in a dependency outside the workspace names its place.",
        files: &[
            (
                "part/Cargo.toml",
                manifest!("part" "[dependencies]" r#"far = { path = "../../far" }"#),
            ),
            ("part/src/lib.rs", value_is!("far::file()")),
            ("../far/Cargo.toml", manifest!("far")),
            ("../far/src/lib.rs", "pub fn file() -> String {\n    file!().to_owned()\n}\n"),
        ],
        script: Script::Change(&[
            Copy("../ws", "../other/place"),
            Copy("../far", "../other/far"),
            In("../other/place"),
        ]),
        ..PLACE
    },
    Case {
        id: "zoo/moved-caller-location",
        claim: "The caller's location in a dependency outside the workspace names its place.",
        files: &[
            (
                "part/Cargo.toml",
                manifest!("part" "[dependencies]" r#"far = { path = "../../far" }"#),
            ),
            ("part/src/lib.rs", value_is!("far::here().file().to_owned()")),
            ("../far/Cargo.toml", manifest!("far")),
            (
                "../far/src/lib.rs",
                "pub fn here() -> &'static std::panic::Location<'static> {\n    std::panic::Location::caller()\n}\n",
            ),
        ],
        script: Script::Change(&[
            Copy("../ws", "../other/place"),
            Copy("../far", "../other/far"),
            In("../other/place"),
        ]),
        ..PLACE
    },
    Case {
        id: "zoo/moved-out-dir",
        claim: "Code that holds OUT_DIR belongs to its target folder.",
        files: &[
            ("part/build.rs", "fn main() {}\n"),
            ("part/src/lib.rs", value_is!(r#"env!("OUT_DIR").to_owned()"#)),
        ],
        ..PLACE
    },
    Case {
        id: "zoo/moved-generated-path",
        claim: "A path written into generated code belongs to its checkout.",
        files: &[
            (
                "part/build.rs",
                r#"fn main() {
    let out = std::env::var("OUT_DIR").unwrap();
    let text = format!("pub const PLACE: &str = {:?};", std::env::current_dir().unwrap());
    std::fs::write(out + "/generated.rs", text).unwrap();
}
"#,
            ),
            (
                "part/src/lib.rs",
                concat!(
                    "include!(concat!(env!(\"OUT_DIR\"), \"/generated.rs\"));\n",
                    value_is!("PLACE.to_owned()")
                ),
            ),
        ],
        ..PLACE
    },
    Case {
        id: "zoo/moved-generated-file-macro",
        claim: "`file!()` in generated code names the target folder.",
        files: &[
            (
                "part/build.rs",
                r#"fn main() {
    let out = std::env::var("OUT_DIR").unwrap();
    std::fs::write(out + "/generated.rs", "pub fn file() -> &'static str { file!() }").unwrap();
}
"#,
            ),
            (
                "part/src/lib.rs",
                concat!(
                    "mod generated {\n    include!(concat!(env!(\"OUT_DIR\"), \"/generated.rs\"));\n}\n",
                    value_is!("generated::file().to_owned()")
                ),
            ),
        ],
        ..PLACE
    },
    Case {
        id: "zoo/moved-test-program",
        claim: "A test finds the data of its own checkout.",
        subject: "part",
        files: &[
            (
                "Cargo.toml",
                manifest!("app" "[dependencies]" r#"part = { path = "part" }"# "[workspace]" r#"members = ["part"]"#),
            ),
            (
                "part/src/lib.rs",
                concat!(
                    value_is!("String::new()"),
                    "#[test]\nfn finds_data() {\n    let path = concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/text.txt\");\n    \
                     assert_eq!(std::fs::read_to_string(path).unwrap(), std::fs::read_to_string(\"part/text.txt\").unwrap());\n}\n"
                ),
            ),
            ("part/text.txt", "one"),
        ],
        look: Look {
            run: false,
            sh: Some(
                "for t in $TARGET/debug/deps/part-*; do [ -x $t ] && case $t in *.*) ;; *) $t -q >/dev/null 2>&1; echo $?; grep -c @CASE@/ws/ $t; esac; done; true",
            ),
            ..RUN
        },
        cargo: &["test", "--no-run", "-p", "part"],
        script: Script::Change(&[
            Copy("../ws", "../other/place"),
            In("../other/place"),
            Write("part/text.txt", "two"),
        ]),
        ..PLACE
    },
    Case {
        id: "zoo/moved-program-path",
        claim: "A test that is told where the package's program is finds that of its own checkout.",
        subject: "outside",
        files: TEST_PRINTS_PROGRAM,
        cargo: &["test", "--no-run"],
        ..PLACE
    },
    Case {
        id: "zoo/moved-test-folder",
        claim: "A test that is told of a folder for its files gets that of its own target folder.",
        subject: "outside",
        files: TEST_PRINTS_FOLDER,
        cargo: &["test", "--no-run"],
        ..PLACE
    },
    Case {
        id: "zoo/moved-debug-information",
        claim: "Debug information names the folder of this checkout, or a token that is documented.",
        needs: &[Need::Tool("readelf")],
        look: Look {
            sh: Some(
                "readelf --debug-dump=info $TARGET/debug/app | grep -o 'DW_AT_comp_dir.*' | \
                 sed 's/.*: //' | grep -v ^/rust | sort -u",
            ),
            ..RUN
        },
        ..PLACE
    },
    Case {
        id: "zoo/remap-by-user",
        claim: "The user's own `--remap-path-prefix` is an input.",
        files: &[
            (
                "part/src/lib.rs",
                concat!(
                    "#[path = \"@CASE@/outside/inner.rs\"]\nmod inner;\n",
                    value_is!("inner::file()")
                ),
            ),
            ("../outside/inner.rs", "pub fn file() -> String {\n    file!().to_owned()\n}\n"),
        ],
        env: &[("RUSTFLAGS", "--remap-path-prefix=@CASE@/outside=/one")],
        script: Script::Change(&[Env("RUSTFLAGS", "--remap-path-prefix=@CASE@/outside=/two")]),
        ..PLACE
    },
    Case {
        id: "zoo/remap-by-user-kept",
        family: "checkout",
        claim: "The user's own `--remap-path-prefix` of the workspace has the last word.",
        files: &[
            (
                "part/src/lib.rs",
                concat!(
                    "#[path = \"@CASE@/ws/outside/inner.rs\"]\nmod inner;\n",
                    value_is!("inner::file()")
                ),
            ),
            ("outside/inner.rs", "pub fn file() -> String {\n    file!().to_owned()\n}\n"),
        ],
        env: &[("RUSTFLAGS", "--remap-path-prefix=@CASE@/ws=/mine")],
        script: Script::Change(&[]),
        ..SAME
    },
    Case {
        id: "zoo/through-link",
        claim: "A checkout reached through a symbolic link works, and says the path it was called by.",
        files: &[("part/src/lib.rs", value_is!(r#"env!("CARGO_MANIFEST_DIR").to_owned()"#))],
        script: Script::Change(&[
            Copy("../ws", "../other/place"),
            Link { at: "../link", to: "other/place" },
            In("../link"),
        ]),
        ..PLACE
    },
];
