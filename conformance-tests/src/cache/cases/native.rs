//! Native code and the link: archives, shared libraries, link arguments, the
//! linker itself and the variables it reads. Most of it is named neither on
//! rustc's command line nor in its dep-info.

use crate::cache::case::{CHANGES, Case, Look, Need, RUN, Script, Step::*};
use crate::cache::template::{manifest, value_is};

const NATIVE: Case =
    Case { family: "native", needs: &[Need::Tool("cc"), Need::Tool("ar")], ..CHANGES };

/// A link of the program, watched itself.
const LINK: Case = Case { subject: "app", ..NATIVE };

/// `app` calls `zoo_value` of a native library or object.
const CALLS_NATIVE: &str = r#"extern "C" {
    fn zoo_value() -> i32;
}

fn main() {
    println!("{}", unsafe { zoo_value() });
}
"#;

/// `part` calls `zoo_value` of the static library `zoo` beside the workspace.
const BUNDLES: &str = concat!(
    "#[link(name = \"zoo\", kind = \"static\")]\nextern \"C\" {\n    fn zoo_value() -> i32;\n}\n\n",
    value_is!("unsafe { zoo_value() }.to_string()")
);

/// Says where the library is; Cargo runs it again only when it itself changes.
const SEARCHES: &str = r#"fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-link-search=native=@CASE@/native");
}
"#;

/// Two versions of the same library, in one folder each.
const TWO_LIBRARIES: &[(&str, &str)] = &[
    ("../one/zoo.c", "int zoo_value(void) { return 1; }\n"),
    ("../two/zoo.c", "int zoo_value(void) { return 2; }\n"),
];

const ARCHIVES: &str = "for v in one two; do cd @CASE@/$v; cc -c -fPIC zoo.c -o zoo.o; \
     ar rcsD libzoo.a zoo.o; done; mkdir -p @CASE@/native; cp @CASE@/one/libzoo.a @CASE@/native/";

const SHARED: &str = "for v in one two; do cd @CASE@/$v; \
     cc -shared -fPIC zoo.c -Wl,-soname,libzoo-$v.so -o libzoo.so; cp libzoo.so libzoo-$v.so; done; \
     mkdir -p @CASE@/native; cp @CASE@/one/libzoo.so @CASE@/native/; \
     mkdir -p @CASE@/runtime; cp @CASE@/one/libzoo-one.so @CASE@/two/libzoo-two.so @CASE@/runtime/";

/// A `cc` and an `ld.bfd` in each of two folders, which add an object.
const OWN_COMPILERS: &str = "for v in one two; do mkdir @CASE@/tools-$v; for tool in cc ld.bfd; do \
     printf '#!/bin/sh\\nexec %s \"$@\" @CASE@/%s/zoo.o\\n' $(command -v $tool) $v \
     >@CASE@/tools-$v/$tool; chmod +x @CASE@/tools-$v/$tool; done; done";

pub(super) const CASES: &[Case] = &[
    Case {
        id: "zoo/native-static-bundled",
        claim: "The content of a static library that a crate bundles is an input.",
        files: &[
            TWO_LIBRARIES[0],
            TWO_LIBRARIES[1],
            ("part/src/lib.rs", BUNDLES),
            ("part/build.rs", SEARCHES),
        ],
        setup: &[Sh(ARCHIVES)],
        script: Script::Change(&[Sh("cp @CASE@/two/libzoo.a @CASE@/native/libzoo.a")]),
        ..NATIVE
    },
    Case {
        id: "zoo/native-static-by-flag",
        claim: "A static library named by a build script, not in the source, is an input.",
        files: &[
            TWO_LIBRARIES[0],
            TWO_LIBRARIES[1],
            (
                "part/src/lib.rs",
                concat!(
                    "extern \"C\" {\n    fn zoo_value() -> i32;\n}\n\n",
                    value_is!("unsafe { zoo_value() }.to_string()")
                ),
            ),
            (
                "part/build.rs",
                r#"fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-link-search=native=@CASE@/native");
    println!("cargo:rustc-link-lib=static=zoo");
}
"#,
            ),
        ],
        setup: &[Sh(ARCHIVES)],
        script: Script::Change(&[Sh("cp @CASE@/two/libzoo.a @CASE@/native/libzoo.a")]),
        ..NATIVE
    },
    Case {
        id: "zoo/native-static-same-time",
        claim: "An archive of the same size and modification time but other content is another input.",
        files: &[
            TWO_LIBRARIES[0],
            TWO_LIBRARIES[1],
            ("part/src/lib.rs", BUNDLES),
            ("part/build.rs", SEARCHES),
        ],
        setup: &[Sh(ARCHIVES)],
        script: Script::Change(&[Sh("touch -r @CASE@/native/libzoo.a @CASE@/two/libzoo.a; \
             cp -p @CASE@/two/libzoo.a @CASE@/native/libzoo.a")]),
        ..NATIVE
    },
    Case {
        id: "zoo/native-static-unbundled",
        claim: "A static library that is linked late (`-bundle`) is an input of the program.",
        subject: "app",
        files: &[
            TWO_LIBRARIES[0],
            TWO_LIBRARIES[1],
            (
                "part/src/lib.rs",
                concat!(
                    "#[link(name = \"zoo\", kind = \"static\", modifiers = \"-bundle\")]\n",
                    "extern \"C\" {\n    fn zoo_value() -> i32;\n}\n\n",
                    value_is!("unsafe { zoo_value() }.to_string()")
                ),
            ),
            ("part/build.rs", SEARCHES),
        ],
        setup: &[Sh(ARCHIVES)],
        script: Script::Change(&[Sh("cp @CASE@/two/libzoo.a @CASE@/native/libzoo.a")]),
        ..NATIVE
    },
    Case {
        id: "zoo/native-bundled-deep",
        claim: "A program is linked again when a library that a crate two levels down bundles changes.",
        subject: "app",
        files: &[
            TWO_LIBRARIES[0],
            TWO_LIBRARIES[1],
            (
                "part/Cargo.toml",
                manifest!("part" "[dependencies]" r#"inner = { path = "../inner" }"#),
            ),
            ("part/src/lib.rs", value_is!("inner::value()")),
            ("inner/Cargo.toml", manifest!("inner")),
            ("inner/src/lib.rs", BUNDLES),
            ("inner/build.rs", SEARCHES),
        ],
        setup: &[Sh(ARCHIVES)],
        script: Script::Change(&[Sh("cp @CASE@/two/libzoo.a @CASE@/native/libzoo.a")]),
        ..NATIVE
    },
    Case {
        id: "zoo/native-built-by-script",
        claim: "A library that a build script makes in OUT_DIR is an input.",
        files: &[
            TWO_LIBRARIES[0],
            TWO_LIBRARIES[1],
            ("part/src/lib.rs", BUNDLES),
            (
                "part/build.rs",
                r#"fn main() {
    println!("cargo:rerun-if-changed=@CASE@/native/libzoo.a");
    let out = std::env::var("OUT_DIR").unwrap();
    std::fs::copy("@CASE@/native/libzoo.a", format!("{out}/libzoo.a")).unwrap();
    println!("cargo:rustc-link-search=native={out}");
}
"#,
            ),
        ],
        setup: &[Sh(ARCHIVES)],
        script: Script::Change(&[Sh("cp @CASE@/two/libzoo.a @CASE@/native/libzoo.a")]),
        ..NATIVE
    },
    Case {
        id: "zoo/native-found-earlier",
        claim: "A library that appears in a folder searched earlier hides the one found before.",
        files: &[
            TWO_LIBRARIES[0],
            TWO_LIBRARIES[1],
            ("part/src/lib.rs", BUNDLES),
            (
                "part/build.rs",
                r#"fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-link-search=native=@CASE@/early");
    println!("cargo:rustc-link-search=native=@CASE@/native");
}
"#,
            ),
        ],
        setup: &[Sh(ARCHIVES), Sh("mkdir @CASE@/early")],
        script: Script::Change(&[Sh("cp @CASE@/two/libzoo.a @CASE@/early/libzoo.a")]),
        ..NATIVE
    },
    Case {
        id: "zoo/native-shared-soname",
        claim: "A shared library seen at link time is an input: its name is written into the program.",
        needs: &[Need::Tool("cc"), Need::Host("x86_64-unknown-linux-gnu")],
        files: &[
            TWO_LIBRARIES[0],
            TWO_LIBRARIES[1],
            ("src/main.rs", CALLS_NATIVE),
            (
                "build.rs",
                r#"fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-link-search=native=@CASE@/native");
    println!("cargo:rustc-link-lib=dylib=zoo");
    println!("cargo:rustc-link-arg=-Wl,-rpath,@CASE@/runtime");
}
"#,
            ),
        ],
        setup: &[Sh(SHARED)],
        script: Script::Change(&[Sh("cp @CASE@/two/libzoo.so @CASE@/native/libzoo.so")]),
        ..LINK
    },
    Case {
        id: "zoo/link-arg-object",
        claim: "The content of an object given as a link argument is an input.",
        files: &[
            TWO_LIBRARIES[0],
            TWO_LIBRARIES[1],
            ("src/main.rs", CALLS_NATIVE),
            (
                "build.rs",
                r#"fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-link-arg=@CASE@/native/zoo.o");
}
"#,
            ),
        ],
        setup: &[Sh(ARCHIVES), Sh("cp @CASE@/one/zoo.o @CASE@/native/zoo.o")],
        script: Script::Change(&[Sh("cp @CASE@/two/zoo.o @CASE@/native/zoo.o")]),
        ..LINK
    },
    Case {
        id: "zoo/link-arg-itself",
        claim: "A link argument is an input.",
        files: &[TWO_LIBRARIES[0], TWO_LIBRARIES[1], ("src/main.rs", CALLS_NATIVE)],
        setup: &[Sh(ARCHIVES)],
        env: &[("RUSTFLAGS", "-Clink-arg=@CASE@/one/zoo.o")],
        script: Script::Change(&[Env("RUSTFLAGS", "-Clink-arg=@CASE@/two/zoo.o")]),
        ..LINK
    },
    Case {
        id: "zoo/link-response-file",
        claim: "The content of a response file given to the linker is an input.",
        files: &[
            TWO_LIBRARIES[0],
            TWO_LIBRARIES[1],
            ("src/main.rs", CALLS_NATIVE),
            ("../native/args", "@CASE@/one/zoo.o\n"),
        ],
        setup: &[Sh(ARCHIVES)],
        env: &[("RUSTFLAGS", "-Clink-arg=@@CASE@/native/args")],
        script: Script::Change(&[Write("../native/args", "@CASE@/two/zoo.o\n")]),
        ..LINK
    },
    Case {
        id: "zoo/link-thin-archive",
        claim: "The members of a thin archive are inputs: the archive itself does not change.",
        files: &[TWO_LIBRARIES[0], TWO_LIBRARIES[1], ("src/main.rs", CALLS_NATIVE)],
        setup: &[
            Sh(ARCHIVES),
            Sh("cp @CASE@/one/zoo.o @CASE@/native/zoo.o; cd @CASE@/native; rm libzoo.a; \
                ar rcsT libzoo.a zoo.o"),
        ],
        env: &[("RUSTFLAGS", "-Clink-arg=@CASE@/native/libzoo.a")],
        script: Script::Change(&[Sh("touch -r @CASE@/native/zoo.o @CASE@/two/zoo.o; \
             cp -p @CASE@/two/zoo.o @CASE@/native/zoo.o")]),
        ..LINK
    },
    Case {
        id: "zoo/link-script",
        claim: "The content of a script that the linker is given is an input.",
        files: &[
            ("../native/zoo.ld", "zoo_symbol = 0x1111;\n"),
            (
                "build.rs",
                r#"fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-link-arg=@CASE@/native/zoo.ld");
}
"#,
            ),
        ],
        needs: &[Need::Tool("nm"), Need::Host("x86_64-unknown-linux-gnu")],
        look: Look { sh: Some("nm $TARGET/debug/app | grep zoo_symbol"), ..RUN },
        script: Script::Change(&[Write("../native/zoo.ld", "zoo_symbol = 0x2222;\n")]),
        ..LINK
    },
    Case {
        id: "zoo/linker-script-content",
        claim: "The content of a linker that is a script is an input.",
        files: &[
            TWO_LIBRARIES[0],
            TWO_LIBRARIES[1],
            ("src/main.rs", CALLS_NATIVE),
            ("../tools/linker", "#!/bin/sh\nexec cc \"$@\" @CASE@/one/zoo.o\n"),
        ],
        setup: &[Sh(ARCHIVES), Sh("chmod +x @CASE@/tools/linker")],
        env: &[("RUSTFLAGS", "-Clinker=@CASE@/tools/linker")],
        script: Script::Change(&[Sh("sed -i s/one/two/ @CASE@/tools/linker")]),
        ..LINK
    },
    Case {
        id: "zoo/linker-swapped",
        claim: "Another linker gives another program.",
        files: &[
            TWO_LIBRARIES[0],
            TWO_LIBRARIES[1],
            ("src/main.rs", CALLS_NATIVE),
            ("../tools/one", "#!/bin/sh\nexec cc \"$@\" @CASE@/one/zoo.o\n"),
            ("../tools/two", "#!/bin/sh\nexec cc \"$@\" @CASE@/two/zoo.o\n"),
        ],
        setup: &[Sh(ARCHIVES), Sh("chmod +x @CASE@/tools/*")],
        env: &[("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER", "@CASE@/tools/one")],
        needs: &[Need::Tool("cc"), Need::Host("x86_64-unknown-linux-gnu")],
        script: Script::Change(&[Env(
            "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER",
            "@CASE@/tools/two",
        )]),
        ..LINK
    },
    Case {
        id: "zoo/linker-on-path",
        claim: "A `cc` that comes first on PATH is another linker.",
        files: &[TWO_LIBRARIES[0], TWO_LIBRARIES[1], ("src/main.rs", CALLS_NATIVE)],
        setup: &[Sh(ARCHIVES), Sh(OWN_COMPILERS)],
        env: &[("PATH", "@CASE@/tools-one:@PATH@")],
        script: Script::Change(&[Env("PATH", "@CASE@/tools-two:@CASE@/tools-one:@PATH@")]),
        ..LINK
    },
    Case {
        id: "zoo/linker-on-path-edited",
        claim: "The content of the `cc` found on PATH is an input.",
        files: &[TWO_LIBRARIES[0], TWO_LIBRARIES[1], ("src/main.rs", CALLS_NATIVE)],
        setup: &[Sh(ARCHIVES), Sh(OWN_COMPILERS)],
        env: &[("PATH", "@CASE@/tools-one:@PATH@")],
        script: Script::Change(&[Sh("sed -i s/one/two/ @CASE@/tools-one/cc")]),
        ..LINK
    },
    Case {
        id: "zoo/link-library-path",
        claim: "LIBRARY_PATH is an input of a link.",
        files: &[TWO_LIBRARIES[0], TWO_LIBRARIES[1], ("src/main.rs", CALLS_NATIVE)],
        setup: &[Sh(ARCHIVES)],
        env: &[("RUSTFLAGS", "-Clink-arg=-lzoo"), ("LIBRARY_PATH", "@CASE@/one")],
        script: Script::Change(&[Env("LIBRARY_PATH", "@CASE@/two")]),
        ..LINK
    },
    Case {
        id: "zoo/link-run-path",
        claim: "LD_RUN_PATH is an input of a link with the system's linker.",
        files: &[TWO_LIBRARIES[0], TWO_LIBRARIES[1], ("src/main.rs", CALLS_NATIVE)],
        needs: &[Need::Tool("cc"), Need::Tool("ld.bfd"), Need::Host("x86_64-unknown-linux-gnu")],
        setup: &[Sh(
            "for v in one two; do cd @CASE@/$v; cc -shared -fPIC zoo.c -o libzoo.so; done",
        )],
        env: &[
            (
                "RUSTFLAGS",
                "-Clinker-features=-lld -Zunstable-options -Clink-arg=-fuse-ld=bfd \
                 -Lnative=@CASE@/one -lzoo",
            ),
            ("RUSTC_BOOTSTRAP", "1"),
            ("LD_RUN_PATH", "@CASE@/one"),
        ],
        script: Script::Change(&[Env("LD_RUN_PATH", "@CASE@/two")]),
        ..LINK
    },
    Case {
        id: "zoo/link-compiler-path",
        claim: "COMPILER_PATH, where the C compiler looks for the linker, is an input of a link.",
        files: &[TWO_LIBRARIES[0], TWO_LIBRARIES[1], ("src/main.rs", CALLS_NATIVE)],
        needs: &[Need::Tool("cc"), Need::Tool("ld.bfd"), Need::Host("x86_64-unknown-linux-gnu")],
        setup: &[Sh(ARCHIVES), Sh(OWN_COMPILERS)],
        env: &[
            ("RUSTFLAGS", "-Clinker-features=-lld -Zunstable-options -Clink-arg=-fuse-ld=bfd"),
            ("RUSTC_BOOTSTRAP", "1"),
            ("COMPILER_PATH", "@CASE@/tools-one"),
        ],
        script: Script::Change(&[Env("COMPILER_PATH", "@CASE@/tools-two")]),
        ..LINK
    },
    Case {
        id: "zoo/link-c-runtime",
        claim: "A start file of the C library that the linker finds elsewhere is an input.",
        files: &[
            TWO_LIBRARIES[0],
            TWO_LIBRARIES[1],
            ("src/main.rs", CALLS_NATIVE),
            ("../early/keep", ""),
        ],
        needs: &[Need::Tool("cc"), Need::Tool("ld"), Need::Host("x86_64-unknown-linux-gnu")],
        setup: &[
            Sh(ARCHIVES),
            Sh("for v in one two; do ld -r -o @CASE@/$v/Scrt1.o \
                $(cc -print-file-name=Scrt1.o) @CASE@/$v/zoo.o; done; \
                cp @CASE@/one/Scrt1.o @CASE@/early/"),
        ],
        env: &[("RUSTFLAGS", "-Clink-arg=-B@CASE@/early")],
        script: Script::Change(&[Sh("cp @CASE@/two/Scrt1.o @CASE@/early/Scrt1.o")]),
        ..LINK
    },
    Case {
        id: "zoo/native-in-build-script",
        claim: "A static library that a build script itself is linked with is an input.",
        subject: "build_script_build",
        files: &[
            TWO_LIBRARIES[0],
            TWO_LIBRARIES[1],
            (
                "part/build.rs",
                r#"#[link(name = "zoo", kind = "static")]
extern "C" {
    fn zoo_value() -> i32;
}

fn main() {
    println!("cargo:rustc-env=ZOO_SET={}", unsafe { zoo_value() });
}
"#,
            ),
            ("part/src/lib.rs", value_is!(r#"env!("ZOO_SET").to_owned()"#)),
        ],
        setup: &[Sh(ARCHIVES)],
        env: &[("RUSTFLAGS", "-Lnative=@CASE@/native")],
        script: Script::Change(&[Sh("cp @CASE@/two/libzoo.a @CASE@/native/libzoo.a")]),
        ..NATIVE
    },
];
