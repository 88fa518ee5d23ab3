//! What a procedural macro reads while it runs. Nothing of it appears in
//! rustc's dep-info: not the files, not the variables, not the folders.

use crate::cache::case::{Base, CHANGES, Case, Need, SAME, Script, Step::*};
use crate::cache::template::{expands_to, manifest, value_is};

const MACRO: Case = Case { family: "macros", base: Base::Macro, ..CHANGES };

const READS_FILE: &str =
    expands_to!(r#"std::fs::read_to_string(package() + "/hidden.txt").unwrap()"#);

const READS_VARIABLE: &str =
    expands_to!(r#"std::env::var("ZOO_HIDDEN").unwrap_or("unset".to_owned())"#);

/// `open` and `read`, as crates that do without libc have them.
const CALLS_KERNEL: &str = expands_to!(
    r#"fn call(number: usize, a: usize, b: usize, c: usize) -> usize {
        let result;
        unsafe {
            std::arch::asm!("syscall", inlateout("rax") number => result,
                in("rdi") a, in("rsi") b, in("rdx") c, out("rcx") _, out("r11") _);
        }
        result
    }
    let path = package() + "/hidden.txt\0";
    let mut text = [0u8; 16];
    let file = call(2, path.as_ptr() as usize, 0, 0);
    let length = call(0, file, text.as_mut_ptr() as usize, text.len());
    String::from_utf8_lossy(&text[..length]).into_owned()"#
);

pub(super) const CASES: &[Case] = &[
    Case {
        id: "zoo/macro-reads-file",
        claim: "A file that a macro reads is an input.",
        files: &[("mac/src/lib.rs", READS_FILE), ("part/hidden.txt", "one")],
        script: Script::Change(&[Write("part/hidden.txt", "two")]),
        ..MACRO
    },
    Case {
        id: "zoo/macro-reads-variable",
        claim: "A variable that a macro reads is an input.",
        files: &[("mac/src/lib.rs", READS_VARIABLE)],
        env: &[("ZOO_HIDDEN", "one")],
        script: Script::Change(&[Env("ZOO_HIDDEN", "two")]),
        ..MACRO
    },
    Case {
        id: "zoo/macro-reads-unset-variable",
        claim: "That a variable is unset is an input of a macro that looks for it.",
        files: &[("mac/src/lib.rs", READS_VARIABLE)],
        script: Script::Change(&[Env("ZOO_HIDDEN", "two")]),
        ..MACRO
    },
    Case {
        id: "zoo/macro-reads-package-variable",
        claim: "A variable that Cargo sets for a package is an input of a macro that reads it.",
        files: &[
            ("mac/src/lib.rs", expands_to!(r#"std::env::var("CARGO_PKG_DESCRIPTION").unwrap()"#)),
            (
                "part/Cargo.toml",
                manifest!("part" r#"description = "one""# "[dependencies]" r#"mac = { path = "../mac" }"#),
            ),
        ],
        script: Script::Change(&[Write(
            "part/Cargo.toml",
            manifest!("part" r#"description = "two""# "[dependencies]" r#"mac = { path = "../mac" }"#),
        )]),
        ..MACRO
    },
    Case {
        id: "zoo/macro-lists-folder",
        claim: "A folder that a macro lists is an input: a new file changes it.",
        files: &[
            (
                "mac/src/lib.rs",
                expands_to!(
                    r#"std::fs::read_dir(package() + "/pages").unwrap().count().to_string()"#
                ),
            ),
            ("part/pages/a.html", "a"),
        ],
        script: Script::Change(&[Write("part/pages/b.html", "b")]),
        ..MACRO
    },
    Case {
        id: "zoo/macro-looks-for-file",
        claim: "The absence of a file that a macro looks for is an input.",
        files: &[(
            "mac/src/lib.rs",
            expands_to!(
                r#"std::path::Path::new(&package()).join("hidden.txt").exists().to_string()"#
            ),
        )],
        script: Script::Change(&[Write("part/hidden.txt", "")]),
        ..MACRO
    },
    Case {
        id: "zoo/macro-reads-workspace-file",
        claim: "A file of the workspace root that a macro finds by going up is an input.",
        files: &[
            (
                "mac/src/lib.rs",
                expands_to!(
                    r#"let mut folder = std::path::PathBuf::from(package());
                    while !folder.join(".env").exists() {
                        assert!(folder.pop());
                    }
                    std::fs::read_to_string(folder.join(".env")).unwrap()"#
                ),
            ),
            (".env", "DATABASE=one"),
        ],
        script: Script::Change(&[Write(".env", "DATABASE=two")]),
        ..MACRO
    },
    Case {
        id: "zoo/macro-reads-outside",
        claim: "A file outside the workspace that a macro reads is an input.",
        files: &[
            (
                "mac/src/lib.rs",
                expands_to!(r#"std::fs::read_to_string("@CASE@/outside/hidden.txt").unwrap()"#),
            ),
            ("../outside/hidden.txt", "one"),
        ],
        script: Script::Change(&[Write("../outside/hidden.txt", "two")]),
        ..MACRO
    },
    Case {
        id: "zoo/macro-follows-link",
        claim: "Where a symbolic link leads that a macro reads through is an input.",
        files: &[
            ("mac/src/lib.rs", READS_FILE),
            ("../outside/one", "one"),
            ("../outside/two", "two"),
        ],
        setup: &[Link { at: "part/hidden.txt", to: "@CASE@/outside/one" }],
        script: Script::Change(&[Link { at: "part/hidden.txt", to: "@CASE@/outside/two" }]),
        ..MACRO
    },
    Case {
        id: "zoo/macro-runs-program",
        claim: "A file that a program run by a macro reads is an input.",
        files: &[
            (
                "mac/src/lib.rs",
                expands_to!(
                    r#"let file = package() + "/hidden.txt";
                    let output = std::process::Command::new("cat").arg(file).output().unwrap();
                    String::from_utf8(output.stdout).unwrap()"#
                ),
            ),
            ("part/hidden.txt", "one"),
        ],
        script: Script::Change(&[Write("part/hidden.txt", "two")]),
        ..MACRO
    },
    Case {
        id: "zoo/macro-asks-size",
        claim: "The size of a file that a macro asks for, and does not read, is an input.",
        files: &[
            (
                "mac/src/lib.rs",
                expands_to!(
                    r#"std::fs::metadata(package() + "/hidden.txt").unwrap().len().to_string()"#
                ),
            ),
            ("part/hidden.txt", "one"),
        ],
        script: Script::Change(&[Write("part/hidden.txt", "three")]),
        ..MACRO
    },
    Case {
        id: "zoo/macro-asks-link",
        claim: "Where a symbolic link leads that a macro asks for, and does not follow, is an input.",
        files: &[(
            "mac/src/lib.rs",
            expands_to!(
                r#"std::fs::read_link(package() + "/link").unwrap().display().to_string()"#
            ),
        )],
        setup: &[Link { at: "part/link", to: "one" }],
        script: Script::Change(&[Link { at: "part/link", to: "two" }]),
        ..MACRO
    },
    Case {
        id: "zoo/macro-asks-kind",
        claim: "Whether a file that a macro looks at is a symbolic link is an input.",
        files: &[
            (
                "mac/src/lib.rs",
                expands_to!(
                    r#"let path = package() + "/hidden.txt";
                    std::fs::symlink_metadata(path).unwrap().is_symlink().to_string()"#
                ),
            ),
            ("part/hidden.txt", "one"),
            ("part/other.txt", "one"),
        ],
        script: Script::Change(&[Link { at: "part/hidden.txt", to: "other.txt" }]),
        ..MACRO
    },
    Case {
        id: "zoo/macro-walks-folder",
        claim: "Whether a file of a folder that a macro walks is a symbolic link is an input.",
        files: &[
            (
                "mac/src/lib.rs",
                expands_to!(
                    r#"let entries = std::fs::read_dir(package() + "/pages").unwrap();
                    let kinds = entries.map(|entry| entry.unwrap().file_type().unwrap());
                    kinds.filter(|kind| kind.is_symlink()).count().to_string()"#
                ),
            ),
            ("part/pages/a.html", "a"),
            ("part/other.html", "a"),
        ],
        script: Script::Change(&[Link { at: "part/pages/a.html", to: "../other.html" }]),
        ..MACRO
    },
    Case {
        id: "zoo/macro-calls-kernel",
        claim: "A file that a macro reads with system calls of its own, past libc, is an input.",
        needs: &[Need::Host("x86_64-unknown-linux-gnu")],
        files: &[("mac/src/lib.rs", CALLS_KERNEL), ("part/hidden.txt", "one")],
        script: Script::Change(&[Write("part/hidden.txt", "two")]),
        ..MACRO
    },
    Case {
        id: "zoo/macro-reads-through-process",
        claim: "A file that a macro reads below `/proc/self/cwd` is an input.",
        files: &[
            (
                "mac/src/lib.rs",
                expands_to!(
                    r#"std::fs::read_to_string("/proc/self/cwd/part/hidden.txt").unwrap()"#
                ),
            ),
            ("part/hidden.txt", "one"),
        ],
        needs: &[Need::Host("x86_64-unknown-linux-gnu")],
        script: Script::Change(&[Write("part/hidden.txt", "two")]),
        ..MACRO
    },
    Case {
        id: "zoo/macro-takes-environment",
        claim: "A macro that takes the whole environment depends on every variable.",
        files: &[(
            "mac/src/lib.rs",
            expands_to!(
                r#"let ours = std::env::vars().filter(|(name, _)| name.starts_with("ZOO_"));
                ours.count().to_string()"#
            ),
        )],
        script: Script::Change(&[Env("ZOO_HIDDEN", "two")]),
        ..MACRO
    },
    Case {
        id: "zoo/macro-reads-relative",
        claim: "A file that a macro names relative to the compiler's folder is an input.",
        files: &[
            (
                "mac/src/lib.rs",
                expands_to!(r#"std::fs::read_to_string("settings/hidden.txt").unwrap()"#),
            ),
            ("settings/hidden.txt", "one"),
        ],
        script: Script::Change(&[Write("settings/hidden.txt", "two")]),
        ..MACRO
    },
    Case {
        id: "zoo/macro-through-facade",
        claim: "A macro that arrives through a crate that re-exports it has inputs all the same.",
        files: &[
            ("mac/src/lib.rs", READS_FILE),
            ("part/hidden.txt", "one"),
            (
                "facade/Cargo.toml",
                manifest!("facade" "[dependencies]" r#"mac = { path = "../mac" }"#),
            ),
            ("facade/src/lib.rs", "pub use mac::value;\n"),
            (
                "part/Cargo.toml",
                manifest!("part" "[dependencies]" r#"facade = { path = "../facade" }"#),
            ),
            ("part/src/lib.rs", value_is!("facade::value!().to_owned()")),
        ],
        script: Script::Change(&[Write("part/hidden.txt", "two")]),
        ..MACRO
    },
    Case {
        id: "zoo/macro-through-two-facades",
        claim: "A macro that arrives under another name, through two crates, has inputs all the same.",
        files: &[
            ("mac/src/lib.rs", READS_VARIABLE),
            (
                "inner/Cargo.toml",
                manifest!("inner" "[dependencies]" r#"mac = { path = "../mac" }"#),
            ),
            ("inner/src/lib.rs", "pub use mac::value as text;\n"),
            (
                "outer/Cargo.toml",
                manifest!("outer" "[dependencies]" r#"inner = { path = "../inner" }"#),
            ),
            ("outer/src/lib.rs", "pub use inner::*;\n"),
            (
                "part/Cargo.toml",
                manifest!("part" "[dependencies]" r#"outer = { path = "../outer" }"#),
            ),
            ("part/src/lib.rs", value_is!("outer::text!().to_owned()")),
        ],
        env: &[("ZOO_HIDDEN", "one")],
        script: Script::Change(&[Env("ZOO_HIDDEN", "two")]),
        ..MACRO
    },
    Case {
        id: "zoo/macro-helper-reads-file",
        claim: "A file that a library of a macro reads is an input of the macro's user.",
        files: &[
            (
                "mac/Cargo.toml",
                manifest!("mac" "[lib]" "proc-macro = true" "[dependencies]" r#"helper = { path = "../helper" }"#),
            ),
            ("mac/src/lib.rs", expands_to!("helper::text(&package())")),
            ("helper/Cargo.toml", manifest!("helper")),
            (
                "helper/src/lib.rs",
                r#"pub fn text(package: &str) -> String {
    std::fs::read_to_string(format!("{package}/hidden.txt")).unwrap()
}
"#,
            ),
            ("part/hidden.txt", "one"),
        ],
        script: Script::Change(&[Write("part/hidden.txt", "two")]),
        ..MACRO
    },
    Case {
        id: "zoo/macro-in-program",
        claim: "A file that a macro reads is an input of a program that uses the macro itself.",
        subject: "app",
        files: &[
            (
                "Cargo.toml",
                manifest!("app" "[dependencies]" r#"mac = { path = "mac" }"# "[workspace]"),
            ),
            ("src/main.rs", "fn main() {\n    println!(\"{}\", mac::value!());\n}\n"),
            ("mac/src/lib.rs", READS_FILE),
            ("hidden.txt", "one"),
        ],
        script: Script::Change(&[Write("hidden.txt", "two")]),
        ..MACRO
    },
    Case {
        id: "zoo/macro-itself",
        claim: "The code of a macro is an input of its users.",
        files: &[("mac/src/lib.rs", expands_to!(r#""one".to_owned()"#))],
        script: Script::Change(&[Write("mac/src/lib.rs", expands_to!(r#""two".to_owned()"#))]),
        ..MACRO
    },
    Case {
        id: "zoo/macro-file-goes-back",
        claim: "When a hidden file of a macro changes back, so does the result.",
        files: &[("mac/src/lib.rs", READS_FILE), ("part/hidden.txt", "one")],
        script: Script::Steps(&[
            Build,
            Empty,
            Write("part/hidden.txt", "two"),
            Build,
            Check,
            Empty,
            Write("part/hidden.txt", "one"),
            Build,
            Check,
        ]),
        ..MACRO
    },
    Case {
        id: "zoo/macro-unrelated-file",
        family: "macros",
        claim: "A file that no macro reads need not make its user compile again.",
        base: Base::Macro,
        files: &[
            ("mac/src/lib.rs", READS_FILE),
            ("part/hidden.txt", "one"),
            ("part/notes.txt", "one"),
        ],
        script: Script::Change(&[Write("part/notes.txt", "two")]),
        ..SAME
    },
];
