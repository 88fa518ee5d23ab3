//! rustc, its macros, the C driver and the linker.

use std::path::Path;

use buildhook_recorder::{Event, Observation, Op, Outcome, imports_of};
use fs_err as fs;

use crate::support::{Ask, Bench, command, stdout};

/// A macro that looks at all the things that dep-info does not name.
const MACRO: &str = r#"
extern crate proc_macro;
use proc_macro::TokenStream;
#[proc_macro]
pub fn peek(_: TokenStream) -> TokenStream {
    let text = std::fs::read_to_string("hidden.txt").unwrap();
    let _ = std::fs::read("absent.txt");
    let _ = std::fs::metadata("asked.txt");
    let _ = std::env::var("SECRET_SWITCH");
    let _ = std::env::current_dir();
    let _ = std::fs::canonicalize("listed");
    let count = std::fs::read_dir("listed").unwrap().count();
    format!("pub const TEXT: (&str, usize) = ({text:?}, {count});").parse().unwrap()
}
"#;

fn module_of<'a>(observation: &'a Observation, event: &Event) -> &'a Path {
    event.module.map_or(Path::new("unknown"), |module| observation.module(module))
}

#[test]
fn what_a_macro_reads_is_seen_and_the_macro_named() {
    let bench = Bench::new();
    bench.write("mac.rs", MACRO);
    bench.write("lib.rs", "mac::peek!();");
    bench.write("hidden.txt", "hidden");
    bench.write("listed/entry", "");
    bench.rustc(&["--edition=2021", "--crate-type=proc-macro", "mac.rs"]);
    let compile = ["--edition=2021", "--crate-type=rlib", "--extern=mac=libmac.so", "lib.rs"];
    let observation = bench.observe(command("rustc").args(compile).env("SECRET_SWITCH", "on"));
    observation.assert_complete();
    let library = bench.path("libmac.so");
    let expected = [
        (Op::Read, Outcome::Found, bench.path("hidden.txt")),
        (Op::Read, Outcome::Absent, bench.path("absent.txt")),
        (Op::Stat, Outcome::Absent, bench.path("asked.txt")),
        (Op::Getenv, Outcome::Found, "SECRET_SWITCH".into()),
        (Op::Getcwd, Outcome::Found, bench.root()),
        (Op::Resolve, Outcome::Found, bench.path("listed")),
        (Op::List, Outcome::Found, bench.path("listed")),
    ];
    for (op, outcome, subject) in expected {
        let by_macro = observation.inputs().any(|event| {
            (event.op, event.outcome) == (op, outcome)
                && event.path() == subject
                && module_of(&observation, event) == library
        });
        assert!(by_macro, "{op:?} {subject:?}");
    }
    // What the driver itself reads is told apart.
    let source = observation.all(Op::Read, bench.path("lib.rs"));
    assert!(source.iter().all(|event| {
        module_of(&observation, event).to_str().unwrap().contains("librustc_driver")
    }));
    assert!(observation.is_made(&bench.path("liblib.rlib")));
}

#[test]
fn a_macro_that_takes_the_whole_environment_imports_it() {
    let bench = Bench::new();
    let body = |expression: &str| {
        format!(
            "extern crate proc_macro;\n#[proc_macro]\npub fn m(_: proc_macro::TokenStream) -> \
             proc_macro::TokenStream {{ {expression}; proc_macro::TokenStream::new() }}"
        )
    };
    bench.write("one.rs", &body("let _ = std::env::var(\"ONE\")"));
    bench.write("all.rs", &body("std::env::vars().count()"));
    for name in ["one.rs", "all.rs"] {
        bench.rustc(&["--edition=2021", "--crate-type=proc-macro", "-O", name]);
    }
    assert!(!imports_of(&bench.path("libone.so")).unwrap().environment);
    let all = imports_of(&bench.path("liball.so")).unwrap();
    assert!(all.environment && all.syscall);
    assert!(imports_of(&bench.path("one.rs")).is_err());
}

#[test]
fn a_module_is_looked_for_in_both_places() {
    let bench = Bench::new();
    bench.write("lib.rs", "mod sub;");
    bench.write("sub.rs", "");
    let compile = || {
        let mut compile = command("rustc");
        compile.args(["--edition=2021", "--crate-type=rlib", "--emit=metadata", "lib.rs"]);
        compile
    };
    let observation = bench.observe(&mut compile());
    observation.assert_complete();
    observation.assert_has(Op::Read, Outcome::Found, bench.path("sub.rs"));
    observation.assert_has(Op::Stat, Outcome::Absent, bench.path("sub/mod.rs"));
    fs::remove_file(bench.path("sub.rs")).unwrap();
    bench.write("sub/mod.rs", "");
    let observation = bench.observe(&mut compile());
    observation.assert_has(Op::Stat, Outcome::Absent, bench.path("sub.rs"));
    observation.assert_has(Op::Read, Outcome::Found, bench.path("sub/mod.rs"));
}

#[test]
fn a_link_tells_what_the_linker_read() {
    let bench = Bench::new();
    bench.write(
        "main.rs",
        "#[link(name = \"given\")]\nextern \"C\" { fn given() -> i32; }\n\
        fn main() { std::process::exit(unsafe { given() }) }",
    );
    bench.compile_c("given.o", "int given(void); int given(void) { return 0; }", &["-c"]);
    fs::create_dir(bench.path("empty")).unwrap();
    fs::create_dir(bench.path("libraries")).unwrap();
    crate::support::run(
        command("ar").args(["rcs", "libraries/libgiven.a", "given.o"]).current_dir(bench.root()),
    );
    let search = format!("{}:{}", bench.path("empty").display(), bench.path("libraries").display());
    let compile = ["--edition=2021", "-lgiven", "main.rs"];
    let observation = bench.observe(command("rustc").args(compile).env("LIBRARY_PATH", &search));
    observation.assert_complete();
    let images = observation.executables();
    assert!(images.iter().any(|name| name == "collect2"), "{images:?}");
    assert!(images.len() >= 4, "{images:?}");
    let variable = observation.all(Op::Getenv, "LIBRARY_PATH");
    assert!(!variable.is_empty());
    assert!(observation.inputs().any(|event| event == variable[0]));
    let linked: Vec<_> = observation
        .inputs()
        .filter(|event| event.path() == bench.path("libraries/libgiven.a"))
        .map(|event| &observation.process(event.process).argv0)
        .collect();
    assert!(!linked.is_empty());
    // The first folder that was searched has no such archive, and that matters.
    let absent = observation
        .inputs()
        .filter(|event| event.outcome == Outcome::Absent)
        .any(|event| event.path().starts_with(bench.path("empty")));
    assert!(absent);
    let start_file = observation.inputs().any(|event| event.path().ends_with("crti.o"));
    assert!(start_file);
    assert!(observation.is_made(&bench.path("main")));
    assert_eq!(stdout(command("./main").current_dir(bench.root())), "");
}

/// The same bytes, observed or not, and the same words on stderr.
#[test]
fn a_compile_is_the_same_observed() {
    let bench = Bench::new();
    bench.write("lib.rs", "pub fn f(x: u32) -> u32 { let unused = 1; x + 1 }");
    let compile = |output: &str| {
        let mut compile = command("rustc");
        compile.args(["--edition=2021", "--crate-type=rlib", "--crate-name=lib", "lib.rs"]);
        compile.args(["-o", output]).current_dir(bench.root());
        compile
    };
    let plain = crate::support::run(&mut compile("out.rlib"));
    let bytes = fs::read(bench.path("out.rlib")).unwrap();
    let mut observed = compile("out.rlib");
    bench.prepare(&mut observed);
    let observed = crate::support::run(&mut observed);
    assert_eq!(plain.stderr, observed.stderr);
    assert!(bytes == fs::read(bench.path("out.rlib")).unwrap());
}
