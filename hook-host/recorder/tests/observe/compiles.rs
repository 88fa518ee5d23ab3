//! rustc, its macros, the C driver and the linker.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use buildhook_recorder::{Event, Observation, Op, Outcome, PRELOAD, imports_of};
use fs_err as fs;
use object::read::elf::ElfFile64;
use object::read::{ReadCache, ReadRef};
use object::{Endianness, Object, ObjectSymbol};

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

/// Its own open and read, with instructions and not with libc.
#[cfg(target_arch = "x86_64")]
#[test]
fn a_macro_that_calls_the_kernel_holds_the_instruction() {
    let bench = Bench::new();
    bench.write(
        "raw.rs",
        r#"
extern crate proc_macro;
use proc_macro::TokenStream;
#[proc_macro]
pub fn m(_: TokenStream) -> TokenStream {
    let pid: usize;
    // SAFETY: it has no arguments and changes nothing.
    unsafe {
        std::arch::asm!("syscall", inlateout("rax") 39usize => pid, out("rcx") _, out("r11") _);
    }
    format!("const PID: usize = {pid};").parse().unwrap()
}
"#,
    );
    bench.write("plain.rs", &MACRO.replace("peek", "plain"));
    for name in ["raw.rs", "plain.rs"] {
        for level in ["-Copt-level=0", "-Copt-level=3"] {
            bench.rustc(&["--edition=2021", "--crate-type=proc-macro", level, name]);
            let library = bench.path(&format!("lib{}", name.replace(".rs", ".so")));
            assert_eq!(imports_of(&library).unwrap().kernel, name == "raw.rs", "{name} {level}");
        }
    }
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

/// Functions of libc that take a name of something outside the process, hooked or
/// not; without those that only change what they name (chmod) or find translations.
const TAKES_A_NAME: &str = "__fxstatat __fxstatat64 __getcwd_chk __lxstat __lxstat64 \
    __open64_2 __open_2 __openat64_2 __openat_2 __readlink_chk __readlinkat_chk \
    __realpath_chk __statx __xstat __xstat64 access canonicalize_file_name \
    chdir chroot connect creat creat64 dlmopen dlopen eaccess euidaccess execl execle \
    execlp execv execve execveat execvp execvpe faccessat fchdir fdopendir fexecve fopen \
    fopen64 freopen freopen64 fstatat fstatat64 ftok fts64_open fts_open ftw ftw64 \
    get_current_dir_name getcwd getdents64 getenv getwd getxattr glob glob64 \
    inotify_add_watch lgetxattr link linkat listxattr llistxattr lstat lstat64 mkdir mkdirat \
    mkdtemp mkostemp mkostemp64 mkostemps mkostemps64 mkstemp mkstemp64 mkstemps mkstemps64 \
    mktemp name_to_handle_at nftw nftw64 open open64 open_by_handle_at open_tree openat \
    openat64 opendir pathconf popen posix_spawn posix_spawn_file_actions_addopen posix_spawnp \
    putenv readlink readlinkat realpath remove rename renameat renameat2 rmdir scandir \
    scandir64 scandirat scandirat64 secure_getenv setenv shm_open stat stat64 statfs statfs64 \
    statvfs statvfs64 statx symlink symlinkat syscall system tempnam tmpfile tmpfile64 tmpnam \
    truncate truncate64 unlink unlinkat unsetenv uselib wordexp";

fn dynamic_symbols<'a, R: ReadRef<'a>>(file: R, undefined: bool) -> HashSet<String> {
    let file = ElfFile64::<Endianness, _>::parse(file).unwrap();
    file.dynamic_symbols()
        .filter(|symbol| symbol.is_undefined() == undefined)
        .map(|symbol| symbol.name().unwrap().to_owned())
        .collect()
}

/// What the compiler, the C driver and the linkers here ask of libc is hooked.
#[test]
fn the_toolchain_has_no_way_around_the_recorder() {
    let said = |program: &str, arguments: &[&str]| {
        PathBuf::from(stdout(command(program).args(arguments)).trim_end())
    };
    let sysroot = said("rustc", &["--print=sysroot"]);
    let mut files = vec![sysroot.join("bin/rustc")];
    for tool in ["cc1", "collect2", "ld", "as"] {
        files.push(said("cc", &[&format!("-print-prog-name={tool}")]));
    }
    let host = said("rustc", &["--print=target-libdir"]).join("../bin");
    for folder in [sysroot.join("lib"), host.clone(), host.join("gcc-ld")] {
        let entries = fs::read_dir(folder).into_iter().flatten();
        files.extend(entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()));
    }
    let hooked = dynamic_symbols(PRELOAD.unwrap(), false);
    let mut looked_at = 0;
    let mut ways_around = Vec::new();
    for path in files {
        // A bare name is a tool that is not installed; a linker script is no program.
        let Ok(file) = fs::File::open(&path) else { continue };
        if imports_of(&path).is_err() {
            continue;
        }
        looked_at += 1;
        let imported = dynamic_symbols(&ReadCache::new(file), true);
        let missing = TAKES_A_NAME
            .split_whitespace()
            .filter(|name| imported.contains(*name) && !hooked.contains(*name));
        ways_around.extend(missing.map(|name| (name, path.clone())));
    }
    assert_eq!(ways_around, []);
    assert!(looked_at > 3, "{looked_at}");
}
