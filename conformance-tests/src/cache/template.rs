//! The workspaces that cases start from. The hidden input is always an input
//! of the library `part`, which every cache can store, and shows in what the
//! program `app` prints.

use super::case::Base;

/// The manifest of a package, with further lines.
macro_rules! manifest {
    ($name:literal $($line:literal)*) => {
        concat!(
            "[package]\nname = \"", $name, "\"\nversion = \"0.1.0\"\nedition = \"2021\"\n",
            $($line, "\n",)*
        )
    };
}

/// The manifest of the program that uses `part`, with further lines.
macro_rules! root_manifest {
    ($($line:literal)*) => {
        manifest!("app" "[dependencies]" "part = { path = \"part\" }" "[workspace]" $($line)*)
    };
}

/// The source of a macro crate whose `value!()` expands to the string that
/// this expression gives; `package()` is the folder of the macro's user.
macro_rules! expands_to {
    ($expression:literal) => {
        concat!(
            "use proc_macro::TokenStream;\n\n",
            "#[allow(dead_code)]\n",
            "fn package() -> String {\n    std::env::var(\"CARGO_MANIFEST_DIR\").unwrap()\n}\n\n",
            "#[proc_macro]\npub fn value(_: TokenStream) -> TokenStream {\n",
            "    let text: String = { ",
            $expression,
            " };\n",
            "    format!(\"{text:?}\").parse().unwrap()\n}\n",
        )
    };
}

/// The source of a library whose `value()` is this expression, a `String`.
macro_rules! value_is {
    ($expression:literal) => {
        concat!("pub fn value() -> String {\n    ", $expression, "\n}\n")
    };
}

pub(super) use {expands_to, manifest, root_manifest, value_is};

/// Files of a base, relative to the workspace.
pub(super) fn files(base: Base) -> &'static [(&'static str, &'static str)] {
    match base {
        Base::App => APP,
        Base::Lib => LIB,
        Base::Macro => MACRO,
    }
}

const APP: &[(&str, &str)] = &[
    ("Cargo.toml", manifest!("app" "[workspace]")),
    ("src/main.rs", "fn main() {\n    println!(\"one\");\n}\n"),
];

const LIB: &[(&str, &str)] = &[
    ("Cargo.toml", root_manifest!()),
    ("src/main.rs", MAIN),
    ("part/Cargo.toml", manifest!("part")),
    ("part/src/lib.rs", value_is!(r#""one".to_owned()"#)),
];

const MACRO: &[(&str, &str)] = &[
    ("Cargo.toml", root_manifest!()),
    ("src/main.rs", MAIN),
    ("part/Cargo.toml", manifest!("part" "[dependencies]" r#"mac = { path = "../mac" }"#)),
    ("part/src/lib.rs", value_is!("mac::value!().to_owned()")),
    ("mac/Cargo.toml", manifest!("mac" "[lib]" "proc-macro = true")),
];

const MAIN: &str = "fn main() {\n    println!(\"{}\", part::value());\n}\n";
