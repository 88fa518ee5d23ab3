//! What macros and linkers read without anyone being told: change that one thing, and
//! exactly the units that read it, and what is made of them, are compiled again.
//!
//! Cargo knows nothing of these inputs, so each build here starts from an empty target
//! folder, as another checkout would.

mod support;

use fs_err as fs;
use support::{Lab, Workspace};

const MACROS: &str = r#"
use proc_macro::{TokenStream, TokenTree};

fn argument(input: TokenStream) -> String {
    match input.into_iter().next() {
        Some(TokenTree::Literal(literal)) => literal.to_string().trim_matches('"').to_owned(),
        other => panic!("{other:?}"),
    }
}

fn literal(text: &str) -> TokenStream {
    format!("{text:?}").parse().unwrap()
}

/// The file below the package.
#[proc_macro]
pub fn package_file(input: TokenStream) -> TokenStream {
    let package = std::env::var("CARGO_MANIFEST_DIR").unwrap();
    literal(std::fs::read_to_string(format!("{package}/{}", argument(input))).unwrap().trim())
}

/// The file relative to the folder that the compiler runs in.
#[proc_macro]
pub fn file(input: TokenStream) -> TokenStream {
    literal(std::fs::read_to_string(argument(input)).unwrap().trim())
}

/// The variable, or `unset`.
#[proc_macro]
pub fn variable(input: TokenStream) -> TokenStream {
    literal(&std::env::var(argument(input)).unwrap_or("unset".to_owned()))
}

/// The names in a folder below the package.
#[proc_macro]
pub fn listing(input: TokenStream) -> TokenStream {
    let package = std::env::var("CARGO_MANIFEST_DIR").unwrap();
    let entries = std::fs::read_dir(format!("{package}/{}", argument(input))).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    literal(&names.join(","))
}

/// Whether the file below the package exists.
#[proc_macro]
pub fn exists(input: TokenStream) -> TokenStream {
    let package = std::env::var("CARGO_MANIFEST_DIR").unwrap();
    let path = format!("{package}/{}", argument(input));
    literal(if std::path::Path::new(&path).exists() { "yes" } else { "no" })
}
"#;

/// What is read, as a crate's name, the macro call, and the change.
struct Case {
    name: &'static str,
    call: &'static str,
    change: fn(&Workspace<'_>),
}

const CASES: &[Case] = &[
    Case {
        name: "in_package",
        call: r#"package_file!("hidden")"#,
        change: |ws| {
            ws.write("in_package/hidden", "new");
        },
    },
    Case {
        name: "beside",
        call: r#"package_file!("../beside.txt")"#,
        change: |ws| {
            ws.write("beside.txt", "new");
        },
    },
    Case {
        name: "at_root",
        call: r#"file!(".settings")"#,
        change: |ws| {
            ws.write(".settings", "new");
        },
    },
    Case {
        name: "by_link",
        call: r#"package_file!("link")"#,
        change: |ws| {
            ws.write("far/away", "new");
        },
    },
    Case {
        name: "link_moved",
        call: r#"package_file!("link")"#,
        change: |ws| {
            fs::remove_file(ws.dir.join("link_moved/link")).unwrap();
            std::os::unix::fs::symlink("../far/other", ws.dir.join("link_moved/link")).unwrap();
        },
    },
    Case {
        name: "listed",
        call: r#"listing!("items")"#,
        change: |ws| {
            ws.write("listed/items/c", "");
        },
    },
    Case {
        name: "absent",
        call: r#"exists!("maybe")"#,
        change: |ws| {
            ws.write("absent/maybe", "");
        },
    },
];

/// A library and a program that make this call.
fn package(ws: &Workspace<'_>, name: &str, call: &str, dependency: &str) {
    ws.write(
        &format!("{name}/Cargo.toml"),
        &format!(
            "[package]\nname = '{name}'\nedition = '2024'\n\
             [dependencies]\n{dependency} = {{ path = '../{dependency}' }}\n"
        ),
    );
    ws.write(
        &format!("{name}/src/lib.rs"),
        &format!("pub fn value() -> &'static str {{ {dependency}::{call} }}\n"),
    );
}

/// All cases in one workspace: each as a library that uses the macro directly, as one that
/// gets it through `facade`, and as a program; `app` uses all libraries.
fn workspace(lab: &Lab) -> Workspace<'_> {
    let ws = lab.workspace("here", &[("macros/src/lib.rs", MACROS)]);
    ws.write(
        "macros/Cargo.toml",
        "[package]\nname = 'macros'\nedition = '2024'\n[lib]\nproc-macro = true\n",
    );
    package(&ws, "facade", "", "macros");
    ws.write("facade/src/lib.rs", "pub use macros::*;\n");

    let variable = Case { name: "var", call: r#"variable!("ANY_NAME")"#, change: |_| {} };
    let mut members = vec!["macros".to_owned(), "facade".to_owned(), "app".to_owned()];
    let mut uses = String::new();
    let mut dependencies = String::new();
    for case in CASES.iter().chain([&variable]) {
        // Two packages share what they read: the second reads the first one's files.
        let facade_call = case.call.replace("!(\"", &format!("!(\"../{}/", case.name));
        let facade_call = match case.name {
            "var" | "at_root" => case.call.to_owned(),
            _ => facade_call,
        };
        for (name, dependency, call) in [
            (case.name.to_owned(), "macros", case.call.to_owned()),
            (format!("{}_facade", case.name), "facade", facade_call),
        ] {
            package(&ws, &name, &call, dependency);
            dependencies += &format!("{name} = {{ path = '../{name}' }}\n");
            uses += &format!("    println!(\"{name} {{}}\", {name}::value());\n");
            members.push(name);
        }
        ws.write(
            &format!("{}/src/main.rs", case.name),
            &format!("fn main() {{ println!(\"{{}}\", macros::{}); }}\n", case.call),
        );
    }
    ws.write(
        "app/Cargo.toml",
        &format!("[package]\nname = 'app'\nedition = '2024'\n[dependencies]\n{dependencies}"),
    );
    ws.write("app/src/main.rs", &format!("fn main() {{\n{uses}}}\n"));
    let members = members.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
    ws.write("Cargo.toml", &format!("[workspace]\nresolver = '3'\nmembers = [{members}]\n"));
    for (path, text) in [
        ("in_package/hidden", "old"),
        ("beside.txt", "old"),
        (".settings", "old"),
        ("far/away", "old"),
        ("far/other", "other"),
        ("listed/items/a", ""),
        ("listed/items/b", ""),
    ] {
        ws.write(path, text);
    }
    for name in ["by_link", "link_moved"] {
        std::os::unix::fs::symlink("../far/away", ws.dir.join(name).join("link")).unwrap();
    }
    ws
}

/// The library, its twin behind the facade, the program, and the program that uses both.
fn readers(name: &str) -> Vec<String> {
    let mut readers =
        vec!["app".to_owned(), name.to_owned(), name.to_owned(), format!("{name}_facade")];
    readers.sort();
    readers
}

#[test]
fn hidden_reads_of_macros() {
    let lab = Lab::new();
    let ws = workspace(&lab);
    let first = ws.cargo(&["build"]);
    assert_eq!(first.refusals(), [], "{:#}", first.summary);
    ws.clean();
    ws.cargo(&["build"]).assert_all_hits();
    for case in CASES {
        let before = ws.output_of("app");
        (case.change)(&ws);
        ws.clean();
        let build = ws.cargo(&["build"]);
        let mut expected = readers(case.name);
        if case.name == "by_link" {
            // This one reads the same file by its own link.
            expected = [readers("by_link"), readers("link_moved")].concat();
            expected.sort();
            expected.dedup_by(|a, b| a == "app" && b == "app");
        }
        assert_eq!(build.compiled_sorted(), expected, "{}", case.name);
        let changed = changed_lines(&before, &ws.output_of("app"));
        assert!(changed.contains(&case.name.to_owned()), "{}: {changed:?}", case.name);
        assert!(changed.contains(&format!("{}_facade", case.name)), "{}: {changed:?}", case.name);
    }
}

#[test]
fn a_variable_of_any_name_that_a_macro_reads() {
    let lab = Lab::new();
    let ws = workspace(&lab);
    ws.cargo(&["build"]);
    // In one folder: the macros also read CARGO_MANIFEST_DIR, which counts to the letter.
    for (value, expected) in [("one", readers("var")), ("two", readers("var")), ("one", vec![])] {
        ws.clean();
        let ws = ws.clone().set("ANY_NAME", value).set("NO_ONE_READS_THIS", value);
        assert_eq!(ws.cargo(&["build"]).compiled_sorted(), expected, "{value}");
        assert_eq!(ws.output_of("var"), format!("{value}\n"));
    }
}

/// The first words of lines that differ.
fn changed_lines(before: &str, after: &str) -> Vec<String> {
    let pairs = before.lines().zip(after.lines()).filter(|(before, after)| before != after);
    pairs.map(|(before, _)| before.split(' ').next().unwrap().to_owned()).collect()
}

/// A C source compiled into the workspace's folder `native`.
fn native(ws: &Workspace<'_>, kind: &str, value: u32) {
    let dir = ws.dir.join("native");
    fs::create_dir_all(&dir).unwrap();
    fs::write(
        dir.join(format!("{kind}.c")),
        format!("int {kind}_value(void) {{ return {value}; }}\n"),
    )
    .unwrap();
    let run = |program: &str, args: &[&str]| {
        let output = ws.command(program).args(args).current_dir(&dir).output().unwrap();
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let (source, object) = (format!("{kind}.c"), format!("{kind}.o"));
    match kind {
        "shared" => run("cc", &["-shared", "-fPIC", "-o", "libshared.so", &source]),
        _ => {
            run("cc", &["-c", "-fPIC", "-o", &object, &source]);
            let archive = format!("lib{kind}.a");
            if kind != "object" {
                let _ = fs::remove_file(dir.join(&archive));
                run("ar", &["rcsD", &archive, &object]);
            }
        }
    }
}

const LINKED: &[(&str, &str)] = &[
    ("Cargo.toml", "[workspace]\nresolver = '3'\nmembers = ['bundles', 'plain', 'app', 'bins']\n"),
    ("bundles/Cargo.toml", "[package]\nname = 'bundles'\nedition = '2024'\n"),
    (
        "bundles/build.rs",
        "fn main() { println!(\"cargo::rustc-link-search=native={}/../native\", std::env::var(\"CARGO_MANIFEST_DIR\").unwrap()); println!(\"cargo::rerun-if-changed=build.rs\"); }\n",
    ),
    (
        "bundles/src/lib.rs",
        "#[link(name = \"bundled\", kind = \"static\")]\nunsafe extern \"C\" { fn bundled_value() -> i32; }\npub fn value() -> i32 { unsafe { bundled_value() } }\n",
    ),
    ("plain/Cargo.toml", "[package]\nname = 'plain'\nedition = '2024'\n"),
    ("plain/src/main.rs", "fn main() { println!(\"plain\"); }\n"),
    (
        "app/Cargo.toml",
        "[package]\nname = 'app'\nedition = '2024'\n[dependencies]\nbundles = { path = '../bundles' }\n",
    ),
    ("app/src/main.rs", "fn main() { println!(\"{}\", bundles::value()); }\n"),
    ("bins/Cargo.toml", "[package]\nname = 'bins'\nedition = '2024'\n"),
    (
        "bins/build.rs",
        "fn main() {\n    let native = format!(\"{}/../native\", std::env::var(\"CARGO_MANIFEST_DIR\").unwrap());\n    println!(\"cargo::rustc-link-arg-bin=uses_object={native}/object.o\");\n    println!(\"cargo::rustc-link-arg-bin=uses_shared=-L{native}\");\n    println!(\"cargo::rustc-link-arg-bin=uses_shared=-Wl,-rpath,{native}\");\n    println!(\"cargo::rerun-if-changed=build.rs\");\n}\n",
    ),
    (
        "bins/src/bin/uses_object.rs",
        "unsafe extern \"C\" { fn object_value() -> i32; }\nfn main() { println!(\"{}\", unsafe { object_value() }); }\n",
    ),
    (
        "bins/src/bin/uses_shared.rs",
        "#[link(name = \"shared\")]\nunsafe extern \"C\" { fn shared_value() -> i32; }\nfn main() { println!(\"{}\", unsafe { shared_value() }); }\n",
    ),
    (
        "bins/src/bin/uses_variable.rs",
        "#[link(name = \"found\")]\nunsafe extern \"C\" { fn found_value() -> i32; }\nfn main() { println!(\"{}\", unsafe { found_value() }); }\n",
    ),
];

#[test]
fn hidden_reads_of_the_linker() {
    let lab = Lab::new();
    let ws = lab.workspace("here", LINKED);
    let ws = ws.set("LIBRARY_PATH", lab.path("here/native"));
    for kind in ["bundled", "object", "shared", "found"] {
        native(&ws, kind, 1);
    }
    let first = ws.cargo(&["build"]);
    assert_eq!(first.refusals(), [], "{:#}", first.summary);
    ws.clean();
    ws.cargo(&["build"]).assert_all_hits();
    let cases: [(&str, &[&str], &str); 4] = [
        ("bundled", &["app", "bundles"], "app"),
        ("object", &["uses_object"], "uses_object"),
        ("shared", &["uses_shared"], "uses_shared"),
        ("found", &["uses_variable"], "uses_variable"),
    ];
    for (kind, compiled, program) in cases {
        native(&ws, kind, 2);
        ws.clean();
        assert_eq!(ws.cargo(&["build"]).compiled_sorted(), compiled, "{kind}");
        assert_eq!(ws.output_of(program), "2\n");
        native(&ws, kind, 1);
        ws.clean();
        ws.cargo(&["build"]).assert_all_hits();
        assert_eq!(ws.output_of(program), "1\n");
    }
}

#[test]
fn a_linker_driver_found_first_on_path() {
    let lab = Lab::new();
    let ws = lab.workspace("here", LINKED).set("LIBRARY_PATH", lab.path("here/native"));
    for kind in ["bundled", "object", "shared", "found"] {
        native(&ws, kind, 1);
    }
    ws.cargo(&["build"]);
    let driver = lab.path("drivers/cc");
    fs::create_dir(lab.path("drivers")).unwrap();
    support::write_script(&driver, "#!/bin/sh\nexec /usr/bin/cc \"$@\"\n");
    let path = std::env::join_paths(
        std::iter::once(lab.path("drivers")).chain(std::env::split_paths(&ws_path(&ws))),
    );
    let ws = ws.checkout("there").set("PATH", path.unwrap());
    let build = ws.cargo(&["build"]);
    // Every link is made anew; what links nothing is not.
    let expected = [
        "app",
        "build_script_build",
        "build_script_build",
        "plain",
        "uses_object",
        "uses_shared",
        "uses_variable",
    ];
    assert_eq!(build.compiled_sorted(), expected);
}

fn ws_path(ws: &Workspace<'_>) -> std::ffi::OsString {
    let command = ws.command("true");
    let path = command.get_envs().find(|(name, _)| *name == "PATH").unwrap();
    path.1.unwrap().to_owned()
}
