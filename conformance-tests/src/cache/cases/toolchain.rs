//! The compiler: its content, its sysroot, what stands before it, and build
//! scripts that ask it questions.

use crate::cache::case::{CHANGES, Case, Need, SAME, Script, Step, Step::*};
use crate::cache::template::value_is;

const TOOLCHAIN: Case = Case { family: "toolchain", ..CHANGES };

/// A sysroot of links to the real one's files, with one more library in it,
/// and a compiler that uses it. The version text is the same throughout.
const OWN_SYSROOT: Step = Sh("libraries=lib/rustlib/@HOST@/lib; \
     for v in one two; do \
         mkdir -p @CASE@/sysroot-$v/$libraries; \
         ln -s @SYSROOT@/lib/*.so @CASE@/sysroot-$v/lib/; \
         ln -s @SYSROOT@/lib/rustlib/@HOST@/bin @CASE@/sysroot-$v/lib/rustlib/@HOST@/; \
         ln -s @SYSROOT@/$libraries/* @CASE@/sysroot-$v/$libraries/; \
         @SYSROOT@/bin/rustc --crate-type rlib --crate-name zoo_std @CASE@/$v.rs \
             --out-dir @CASE@/sysroot-$v/$libraries; \
     done; \
     ln -s sysroot-one @CASE@/sysroot; \
     sed -i 's|/bin/rustc. \"$@\"$|& --sysroot @CASE@/sysroot|' @CASE@/toolchain/bin/rustc");

const USES_SYSROOT: &[(&str, &str)] = &[
    ("../one.rs", "pub const NAME: &str = \"one\";\n"),
    ("../two.rs", "pub const NAME: &str = \"two\";\n"),
    ("part/src/lib.rs", concat!("extern crate zoo_std;\n", value_is!("zoo_std::NAME.to_owned()"))),
];

pub(super) const CASES: &[Case] = &[
    Case {
        id: "zoo/sysroot-replaced",
        claim: "Another sysroot behind the same path, with the same version text, is another compiler.",
        files: USES_SYSROOT,
        setup: &[OWN_SYSROOT],
        script: Script::Change(&[Link { at: "../sysroot", to: "sysroot-two" }]),
        ..TOOLCHAIN
    },
    Case {
        id: "zoo/sysroot-elsewhere",
        claim: "Another sysroot at another path, with the same version text, is another compiler.",
        files: USES_SYSROOT,
        setup: &[OWN_SYSROOT],
        script: Script::Change(&[Sh(
            "sed -i 's|@CASE@/sysroot$|@CASE@/sysroot-two|' @CASE@/toolchain/bin/rustc",
        )]),
        ..TOOLCHAIN
    },
    Case {
        id: "zoo/sysroot-by-flag",
        claim: "A `--sysroot` in RUSTFLAGS stands for its content.",
        files: USES_SYSROOT,
        setup: &[
            OWN_SYSROOT,
            Sh("sed -i 's| --sysroot @CASE@/sysroot$||' @CASE@/toolchain/bin/rustc"),
        ],
        env: &[("RUSTFLAGS", "--sysroot=@CASE@/sysroot")],
        script: Script::Change(&[Link { at: "../sysroot", to: "sysroot-two" }]),
        ..TOOLCHAIN
    },
    Case {
        id: "zoo/compiler-replaced",
        claim: "A compiler of another content that says the same version is another compiler.",
        files: &[(
            "part/src/lib.rs",
            concat!("#![allow(unexpected_cfgs)]\n", value_is!("cfg!(hidden).to_string()")),
        )],
        script: Script::Change(&[Sh(
            "sed -i 's|/bin/rustc. \"$@\"$|& --cfg hidden|' @CASE@/toolchain/bin/rustc",
        )]),
        ..TOOLCHAIN
    },
    Case {
        id: "zoo/standard-sources-appear",
        claim: "Whether the sources of the standard library are there shows in programs.",
        files: &[
            (
                "part/src/lib.rs",
                // A location inside the standard library, in code compiled here.
                value_is!(
                    r#"std::panic::set_hook(Box::new(|info| println!("{}", info.location().unwrap().file())));
    let overflows = || [200u8, 100].iter().sum::<u8>();
    std::panic::catch_unwind(overflows).is_ok().to_string()"#
                ),
            ),
            ("../one.rs", ""),
            ("../two.rs", ""),
        ],
        setup: &[OWN_SYSROOT],
        script: Script::Change(&[Write(
            "../sysroot-one/lib/rustlib/src/rust/library/std/src/lib.rs",
            "",
        )]),
        ..TOOLCHAIN
    },
    Case {
        id: "zoo/wrapper-below",
        claim: "The content of a second wrapper, under the cache, is an input.",
        files: &[
            (
                "part/src/lib.rs",
                concat!("#![allow(unexpected_cfgs)]\n", value_is!("cfg!(hidden).to_string()")),
            ),
            ("../tools/wrapper", "#!/bin/sh\nexec \"$@\"\n"),
        ],
        setup: &[Sh("chmod +x @CASE@/tools/wrapper")],
        env: &[("RUSTC_WORKSPACE_WRAPPER", "@CASE@/tools/wrapper")],
        script: Script::Change(&[Write(
            "../tools/wrapper",
            "#!/bin/sh\nexec \"$@\" --cfg hidden\n",
        )]),
        ..TOOLCHAIN
    },
    Case {
        id: "zoo/wrapper-below-appears",
        claim: "A second wrapper makes another unit.",
        files: &[
            (
                "part/src/lib.rs",
                concat!("#![allow(unexpected_cfgs)]\n", value_is!("cfg!(hidden).to_string()")),
            ),
            ("../tools/wrapper", "#!/bin/sh\nexec \"$@\" --cfg hidden\n"),
        ],
        setup: &[Sh("chmod +x @CASE@/tools/wrapper")],
        script: Script::Change(&[Env("RUSTC_WORKSPACE_WRAPPER", "@CASE@/tools/wrapper")]),
        ..TOOLCHAIN
    },
    Case {
        id: "zoo/probe-from-stdin",
        claim: "A build script that compiles from stdin through the wrapper gets the compiler's answer.",
        files: &[
            ("part/build.rs", PROBES),
            ("part/probe.rs", "pub fn f() {}\n"),
            ("part/src/lib.rs", value_is!(r#"env!("ZOO_PROBE").to_owned()"#)),
        ],
        script: Script::Change(&[Write("part/probe.rs", "pub fn f() { missing() }\n")]),
        ..TOOLCHAIN
    },
    Case {
        id: "zoo/probe-questions",
        family: "toolchain",
        claim: "What a build script asks through the wrapper (`-vV`, `--print`) is answered in full.",
        files: &[
            ("part/build.rs", ASKS),
            (
                "part/src/lib.rs",
                value_is!(r#"include_str!(concat!(env!("OUT_DIR"), "/answers")).to_owned()"#),
            ),
        ],
        script: Script::Change(&[]),
        ..SAME
    },
    Case {
        id: "zoo/rustdoc",
        family: "toolchain",
        claim: "`cargo doc` works, and documents what is there.",
        look: crate::cache::case::Look {
            run: false,
            sh: Some(
                "grep -o 'fn.value.[a-z]*' $TARGET/doc/part/all.html $TARGET/doc/part/index.html | sort",
            ),
            ..crate::cache::case::RUN
        },
        needs: &[Need::Tool("grep")],
        script: Script::Steps(&[
            Cargo(&["doc"]),
            Build,
            Twin,
            Check,
            Empty,
            Write("part/src/lib.rs", "pub fn value_two() -> u8 {\n    2\n}\n"),
            Write("src/main.rs", "fn main() {}\n"),
            Build,
            Check,
        ]),
        ..CHANGES
    },
];

const PROBES: &str = r#"use std::io::Write;
use std::process::{Command, Stdio};

fn main() {
    println!("cargo:rerun-if-changed=probe.rs");
    let rustc = std::env::var_os("RUSTC").unwrap();
    let mut command = match std::env::var_os("RUSTC_WRAPPER") {
        Some(wrapper) => {
            let mut command = Command::new(wrapper);
            command.arg(rustc);
            command
        }
        None => Command::new(rustc),
    };
    let mut child = command
        .args(["--crate-name=probe", "--crate-type=lib", "--emit=metadata", "--out-dir"])
        .arg(std::env::var_os("OUT_DIR").unwrap())
        .arg("-")
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let source = std::fs::read("probe.rs").unwrap();
    // A compiler that does not read closes the pipe.
    let _ = child.stdin.take().unwrap().write_all(&source);
    println!("cargo:rustc-env=ZOO_PROBE={}", child.wait().unwrap().success());
}
"#;

const ASKS: &str = r#"use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let rustc = std::env::var_os("RUSTC").unwrap();
    let mut answers = String::new();
    for question in [vec!["-vV"], vec!["--print", "cfg"], vec!["--print=sysroot"], vec!["--explain", "E0463"]] {
        let mut command = match std::env::var_os("RUSTC_WRAPPER") {
            Some(wrapper) => {
                let mut command = Command::new(wrapper);
                command.arg(&rustc);
                command
            }
            None => Command::new(&rustc),
        };
        let output = command.args(&question).output().unwrap();
        answers += &format!("{question:?} {:?}\n", output.status.code());
        answers += &String::from_utf8(output.stdout).unwrap();
        answers += &String::from_utf8(output.stderr).unwrap();
    }
    std::fs::write(std::env::var("OUT_DIR").unwrap() + "/answers", answers).unwrap();
}
"#;
