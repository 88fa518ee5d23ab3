//! Compiler flags, unstable features, target descriptions, and what they
//! write beside the usual outputs.

use crate::cache::case::{CHANGES, Case, Look, Need, RUN, SAME, Script, Step::*};
use crate::cache::template::{manifest, root_manifest, value_is};

const CODEGEN: Case = Case { family: "codegen", ..CHANGES };

/// A `no_core` library for a target of the case's own: a lint tells which
/// vendor the description names.
const TARGET_CRATE: &str = r#"#![feature(no_core, lang_items)]
#![no_core]
#![allow(internal_features)]

#[lang = "pointee_sized"]
pub trait PointeeSized {}
#[lang = "meta_sized"]
pub trait MetaSized: PointeeSized {}
#[lang = "sized"]
pub trait Sized: MetaSized {}

#[cfg(target_vendor = "two")]
pub fn NotSnakeCase() {}
"#;

macro_rules! target {
    ($vendor:literal) => {
        concat!(
            r#"{"llvm-target":"x86_64-unknown-none-elf","arch":"x86_64","target-pointer-width":64,"#,
            r#""data-layout":"e-m:e-p270:32:32-p271:32:32-p272:64:64-i64:64-i128:128-f80:128-n8:16:32:64-S128","#,
            r#""os":"none","linker":"rust-lld","linker-flavor":"gnu-lld","panic-strategy":"abort","#,
            r#""vendor":""#,
            $vendor,
            r#""}"#,
        )
    };
}

/// A crate for the target that a file describes.
const TARGET_JSON: Case = Case {
    base: crate::cache::case::Base::App,
    files: &[
        ("Cargo.toml", manifest!("part" "[workspace]")),
        ("src/lib.rs", TARGET_CRATE),
        ("src/main.rs", ""),
        ("../zoo-target.json", target!("one")),
    ],
    setup: &[Remove("src/main.rs")],
    env: &[("RUSTC_BOOTSTRAP", "1")],
    look: Look { run: false, ..RUN },
    cargo: &["build", "-Zjson-target-spec", "--target", "@CASE@/zoo-target.json"],
    ..CODEGEN
};

pub(super) const CASES: &[Case] = &[
    Case {
        id: "zoo/rustflags-cfg",
        claim: "A `--cfg` in RUSTFLAGS is an input.",
        files: &[(
            "part/src/lib.rs",
            concat!("#![allow(unexpected_cfgs)]\n", value_is!("cfg!(hidden).to_string()")),
        )],
        script: Script::Change(&[Env("RUSTFLAGS", "--cfg hidden")]),
        ..CODEGEN
    },
    Case {
        id: "zoo/rustflags-response-file",
        claim: "The content of a response file in RUSTFLAGS is an input.",
        files: &[
            (
                "part/src/lib.rs",
                concat!(
                    "#![allow(unexpected_cfgs)]\n",
                    value_is!("cfg!(hidden = \"two\").to_string()")
                ),
            ),
            ("../flags", "--cfg=hidden=\"one\"\n"),
        ],
        env: &[("RUSTFLAGS", "@@CASE@/flags")],
        script: Script::Change(&[Write("../flags", "--cfg=hidden=\"two\"\n")]),
        ..CODEGEN
    },
    Case {
        id: "zoo/rustflags-target-feature",
        claim: "Target features are an input.",
        needs: &[Need::Host("x86_64-unknown-linux-gnu")],
        files: &[("part/src/lib.rs", value_is!("cfg!(target_feature = \"avx\").to_string()"))],
        env: &[("RUSTFLAGS", "-Ctarget-feature=-avx")],
        script: Script::Change(&[Env("RUSTFLAGS", "-Ctarget-feature=+avx")]),
        ..CODEGEN
    },
    Case {
        id: "zoo/target-cpu",
        claim: "The target CPU is an input.",
        needs: &[Need::Host("x86_64-unknown-linux-gnu")],
        files: &[("part/src/lib.rs", value_is!("cfg!(target_feature = \"avx\").to_string()"))],
        env: &[("RUSTFLAGS", "-Ctarget-cpu=x86-64")],
        script: Script::Change(&[Env("RUSTFLAGS", "-Ctarget-cpu=x86-64-v3")]),
        ..CODEGEN
    },
    Case {
        id: "zoo/target-cpu-native",
        // The other machine is a compiler that takes `native` for another CPU,
        // in what it compiles and in what it says of itself.
        claim: "`target-cpu=native` stands for the CPU that the compiler sees, not for the word.",
        needs: &[Need::Host("x86_64-unknown-linux-gnu")],
        files: &[("part/src/lib.rs", value_is!("cfg!(target_feature = \"avx\").to_string()"))],
        setup: &[Sh("sed -i 's|^IFS=.*|. @CASE@/cpu\\n&|' @CASE@/toolchain/bin/rustc; \
             cat >@CASE@/cpu <<'END'\n\
             if [ -e @CASE@/machine ]; then\n\
                 for a do shift; set -- \"$@\" \"$(printf %s \"$a\" | sed s/target-cpu=native/target-cpu=x86-64/)\"; done\n\
             else\n\
                 for a do shift; set -- \"$@\" \"$(printf %s \"$a\" | sed s/target-cpu=native/target-cpu=x86-64-v3/)\"; done\n\
             fi\nEND\n")],
        env: &[("RUSTFLAGS", "-Ctarget-cpu=native")],
        script: Script::Change(&[Sh("touch @CASE@/machine")]),
        ..CODEGEN
    },
    Case {
        id: "zoo/opt-level",
        claim: "The optimisation level is an input.",
        files: &[(
            "part/src/lib.rs",
            // How many functions are left tells what was inlined.
            concat!(
                "fn inner(n: usize) -> usize {\n    n + 1\n}\n",
                value_is!("inner(std::env::args().count()).to_string()")
            ),
        )],
        needs: &[Need::Tool("nm")],
        look: Look {
            sh: Some("nm $TARGET/debug/deps/libpart-*.rlib 2>/dev/null | grep -c ' [TtWw] '"),
            ..RUN
        },
        script: Script::Change(&[Write(
            "Cargo.toml",
            root_manifest!("[profile.dev]" "opt-level = 3"),
        )]),
        ..CODEGEN
    },
    Case {
        id: "zoo/debuginfo",
        claim: "The level of debug information is an input.",
        needs: &[Need::Tool("readelf")],
        subject: "app",
        look: Look { sh: Some("readelf -SW $TARGET/debug/app | grep -c debug_info"), ..RUN },
        script: Script::Change(&[Write("Cargo.toml", root_manifest!("[profile.dev]" "debug = 0"))]),
        ..CODEGEN
    },
    Case {
        id: "zoo/rustc-bootstrap",
        claim: "Whether RUSTC_BOOTSTRAP allows unstable features is an input.",
        files: &[(
            "part/src/lib.rs",
            concat!("#![feature(never_type)]\n", value_is!("\"one\".to_owned()")),
        )],
        env: &[("RUSTC_BOOTSTRAP", "1")],
        script: Script::Change(&[Unset("RUSTC_BOOTSTRAP")]),
        ..CODEGEN
    },
    Case {
        id: "zoo/rustc-bootstrap-other-crate",
        claim: "Which crates RUSTC_BOOTSTRAP allows unstable features is an input.",
        files: &[(
            "part/src/lib.rs",
            concat!("#![feature(never_type)]\n", value_is!("\"one\".to_owned()")),
        )],
        env: &[("RUSTC_BOOTSTRAP", "part")],
        script: Script::Change(&[Env("RUSTC_BOOTSTRAP", "app")]),
        ..CODEGEN
    },
    Case {
        id: "zoo/unstable-flag",
        claim: "An unstable flag is an input.",
        files: &[("part/src/lib.rs", value_is!("format!(\"{:?}\", Some(1))"))],
        env: &[("RUSTC_BOOTSTRAP", "1"), ("RUSTFLAGS", "-Zfmt-debug=full")],
        script: Script::Change(&[Env("RUSTFLAGS", "-Zfmt-debug=none")]),
        ..CODEGEN
    },
    Case {
        id: "zoo/unknown-flag",
        claim: "A flag that a cache does not know is an input.",
        files: &[(
            "part/src/lib.rs",
            concat!("#[allow(dead_code)]\nfn unused() {}\n", value_is!("\"one\".to_owned()")),
        )],
        env: &[("RUSTC_BOOTSTRAP", "1")],
        script: Script::Change(&[Env("RUSTFLAGS", "-Zcrate-attr=warn(missing_docs)")]),
        ..CODEGEN
    },
    Case {
        id: "zoo/target-json",
        claim: "The content of a target description is an input, not its path.",
        script: Script::Change(&[Write("../zoo-target.json", target!("two"))]),
        ..TARGET_JSON
    },
    Case {
        id: "zoo/target-json-same-time",
        claim: "A description of the same size and time is another one.",
        script: Script::Change(&[Forge("../zoo-target.json", target!("two"))]),
        ..TARGET_JSON
    },
    Case {
        id: "zoo/coverage",
        claim: "Coverage instrumentation is an input, and its programs write profiles.",
        files: &[("src/main.rs", WRITES_PROFILE)],
        env: &[("LLVM_PROFILE_FILE", "@CASE@/tmp/zoo.profraw")],
        look: Look {
            sh: Some("ls -1 @CASE@/tmp/zoo.profraw 2>/dev/null; rm -f @CASE@/tmp/zoo.profraw"),
            ..RUN
        },
        script: Script::Change(&[Env("RUSTFLAGS", "-Cinstrument-coverage")]),
        ..CODEGEN
    },
    Case {
        id: "zoo/coverage-of-library",
        family: "codegen",
        claim: "An instrumented library is instrumented when it comes from the cache.",
        files: &[("src/main.rs", WRITES_PROFILE)],
        env: &[
            ("LLVM_PROFILE_FILE", "@CASE@/tmp/zoo.profraw"),
            ("RUSTFLAGS", "-Cinstrument-coverage"),
        ],
        needs: &[Need::Tool("readelf")],
        look: Look {
            sh: Some(
                "readelf -SW $TARGET/debug/app | grep -o '__llvm_prf_cnts.*' | awk '{print $5}'",
            ),
            ..RUN
        },
        script: Script::Change(&[]),
        ..SAME
    },
    Case {
        id: "zoo/split-debuginfo-unpacked",
        family: "codegen",
        claim: "The `.dwo` files of split debug information come back with a hit.",
        needs: &[Need::Host("x86_64-unknown-linux-gnu")],
        files: &[("Cargo.toml", root_manifest!("[profile.dev]" "split-debuginfo = \"unpacked\""))],
        look: Look { files: &[".dwo"], ..RUN },
        script: Script::Change(&[]),
        ..SAME
    },
    Case {
        id: "zoo/split-debuginfo-packed",
        family: "codegen",
        claim: "The `.dwp` file of packed debug information comes back with a hit.",
        needs: &[Need::Host("x86_64-unknown-linux-gnu")],
        subject: "app",
        files: &[("Cargo.toml", root_manifest!("[profile.dev]" "split-debuginfo = \"packed\""))],
        look: Look { files: &[".dwp"], ..RUN },
        script: Script::Change(&[]),
        ..SAME
    },
    Case {
        id: "zoo/split-debuginfo-switched",
        claim: "Another way to split debug information is another unit.",
        needs: &[Need::Host("x86_64-unknown-linux-gnu")],
        look: Look { files: &[".dwo"], ..RUN },
        script: Script::Change(&[Write(
            "Cargo.toml",
            root_manifest!("[profile.dev]" "split-debuginfo = \"unpacked\""),
        )]),
        ..CODEGEN
    },
    Case {
        id: "zoo/emit-assembly",
        family: "codegen",
        claim: "Assembly asked for in RUSTFLAGS is there after a hit too.",
        env: &[("RUSTFLAGS", "--emit=asm")],
        look: Look { files: &[".s"], ..RUN },
        script: Script::Change(&[]),
        ..SAME
    },
    Case {
        id: "zoo/save-temps",
        family: "codegen",
        claim: "Intermediate files kept with `-Csave-temps` are there after a hit too.",
        env: &[("RUSTFLAGS", "-Csave-temps")],
        look: Look { sh: Some("ls $TARGET/debug/deps | grep -c part.*bc"), ..RUN },
        script: Script::Change(&[]),
        ..SAME
    },
    Case {
        id: "zoo/lto",
        claim: "Link-time optimisation is an input of a library: it holds bitcode then.",
        files: &[("Cargo.toml", root_manifest!("[profile.dev]" "lto = \"off\""))],
        needs: &[Need::Tool("ar")],
        look: Look {
            // Bitcode begins with `BC`, an object with `ELF`.
            sh: Some(
                "cd $TARGET/debug/deps; l=$(echo libpart-*.rlib); \
                 ar p $l $(ar t $l | grep -m1 'o$') | head -c4 | tr -cd BCELF",
            ),
            ..RUN
        },
        script: Script::Change(&[Write(
            "Cargo.toml",
            root_manifest!("[profile.dev]" "lto = true"),
        )]),
        ..CODEGEN
    },
    Case {
        id: "zoo/dylib-outputs",
        family: "codegen",
        claim: "A library that is built in several forms comes back in all of them.",
        files: &[(
            "part/Cargo.toml",
            manifest!("part" "[lib]" "crate-type = [\"rlib\", \"cdylib\", \"staticlib\"]"),
        )],
        look: Look { files: &[".so", ".a", ".rlib"], ..RUN },
        script: Script::Change(&[]),
        ..SAME
    },
];

/// Says one thing; what counts is the profile it leaves.
const WRITES_PROFILE: &str = "fn main() {\n    println!(\"{}\", part::value());\n}\n";
