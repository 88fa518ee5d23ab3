//! Each way to look at a file, a folder or a variable, one call at a time.

use std::path::PathBuf;

use buildhook_recorder::{Observation, Op, Outcome, Reason};

use crate::support::{Ask, Bench, command, stdout};

struct Calls {
    bench: Bench,
    program: PathBuf,
}

impl Calls {
    fn new(arguments: &[&str]) -> Self {
        let bench = Bench::new();
        let program = bench.compile_c("calls", include_str!("fixtures/calls.c"), arguments);
        bench.write("file", "content");
        bench.write("empty", "");
        bench.write("inside/file", "content");
        bench.write("folder/.keep", "");
        Self { bench, program }
    }

    fn observe(&self, arguments: &[&str]) -> Observation {
        self.bench.observe(command(&self.program).args(arguments))
    }

    /// The path as given, relative and absolute; both must be recorded alike.
    #[track_caller]
    fn check(&self, call: &str, name: &str, op: Op, outcome: Outcome) {
        let absolute = self.bench.path(name);
        for given in [name, absolute.to_str().unwrap()] {
            let observation = self.observe(&[call, given]);
            observation.assert_has(op, outcome, &absolute);
            observation.assert_complete();
            let event = observation.all(op, &absolute)[0];
            let module = event.module.map(|module| observation.module(module));
            assert_eq!(module, Some(self.program.as_path()), "{call}");
        }
    }
}

const READING: [(&str, Op); 17] = [
    ("open", Op::Read),
    ("fopen", Op::Read),
    ("freopen", Op::Read),
    ("sys_openat", Op::Read),
    ("update", Op::Read),
    ("stat", Op::Stat),
    ("lstat", Op::Stat),
    ("access", Op::Stat),
    ("faccessat", Op::Stat),
    ("statx", Op::Stat),
    ("sys_statx", Op::Stat),
    ("realpath", Op::Resolve),
    ("canonicalize", Op::Resolve),
    ("opendir", Op::List),
    ("scandir", Op::List),
    ("chdir", Op::Resolve),
    ("readlink", Op::Readlink),
];

/// Plain, and as distributions compile: other symbols for the same calls.
#[test]
fn lookups_are_recorded_with_their_outcome() {
    for arguments in [&["-O0"][..], &["-O2", "-D_FORTIFY_SOURCE=2", "-Wno-unused-result"]] {
        let calls = Calls::new(arguments);
        for (call, op) in READING {
            match op {
                Op::List => calls.check(call, "folder", op, Outcome::Found),
                // EINVAL: there, and no link.
                Op::Readlink => calls.check(call, "file", op, Outcome::Failed(22)),
                _ => calls.check(call, "file", op, Outcome::Found),
            }
            calls.check(call, "missing", op, Outcome::Absent);
            calls.check(call, "file/below", op, Outcome::Absent);
        }
    }
}

#[test]
fn paths_are_relative_to_the_folder_of_the_moment() {
    let calls = Calls::new(&[]);
    let inside = calls.bench.path("inside/file");
    calls.observe(&["openat", "file"]).assert_has(Op::Read, Outcome::Found, &inside);
    calls.observe(&["fstatat", "file"]).assert_has(Op::Stat, Outcome::Found, &inside);
    let moved = calls.observe(&["after_chdir", "file"]);
    moved.assert_has(Op::Read, Outcome::Found, &inside);
    moved.assert_has(Op::Resolve, Outcome::Found, calls.bench.path("inside"));
    moved.assert_has(Op::Chdir, Outcome::Found, calls.bench.path("inside"));
    let asked = calls.observe(&["getcwd", ""]);
    asked.assert_has(Op::Getcwd, Outcome::Found, calls.bench.root());
    let listed = calls.observe(&["fdopendir", "folder"]);
    listed.assert_has(Op::List, Outcome::Found, calls.bench.path("folder"));
    calls.observe(&["unlinkat", "file"]).assert_has(Op::Remove, Outcome::Found, &inside);
}

#[test]
fn what_the_tree_makes_is_no_input() {
    let calls = Calls::new(&[]);
    let cases = [
        ("create", "made", Op::Write),
        ("creat", "created", Op::Write),
        ("fopen_w", "opened", Op::Write),
        ("lock", "locked", Op::Write),
        ("mkdir", "new", Op::MakeDir),
        ("symlink", "link", Op::Place),
    ];
    for (call, name, op) in cases {
        let path = calls.bench.path(name);
        let observation = calls.observe(&[call, name]);
        observation.assert_has(op, Outcome::Found, &path);
        assert!(observation.is_made(&path), "{call}");
        assert!(observation.is_made(&path.join("below")), "{call}");
        assert!(!observation.inputs().any(|event| event.path() == path), "{call}");
    }
    let linked = calls.observe(&["link", "file"]);
    linked.assert_has(Op::Read, Outcome::Found, calls.bench.path("file"));
    linked.assert_has(Op::Place, Outcome::Found, calls.bench.path("linked"));
    let renamed = calls.observe(&["rename", "made"]);
    renamed.assert_has(Op::Remove, Outcome::Found, calls.bench.path("made"));
    renamed.assert_has(Op::Place, Outcome::Found, calls.bench.path("renamed"));
    let temporary = calls.observe(&["mkstemp", "tmpXXXXXX"]);
    assert_eq!(temporary.made().count(), 1);
    assert!(!temporary.is_made(&calls.bench.path("tmpXXXXXX")));
}

#[test]
fn a_file_that_is_appended_to_or_changed_is_read() {
    let calls = Calls::new(&[]);
    for (call, name, reads) in [
        ("fopen_a", "file", true),
        ("fopen_a", "empty", false),
        ("lock", "file", true),
        ("lock", "empty", false),
        ("create", "file", false),
    ] {
        let observation = calls.observe(&[call, name]);
        let path = calls.bench.path(name);
        assert_eq!(observation.has(Op::Read, Outcome::Found, &path), reads, "{call} {name}");
        assert_eq!(observation.inputs().any(|event| event.path() == path), reads);
        observation.assert_has(Op::Write, Outcome::Found, &path);
    }
}

#[test]
fn removals_are_recorded() {
    let calls = Calls::new(&[]);
    for (call, name) in [("unlink", "file"), ("remove", "empty"), ("rmdir", "new")] {
        if call == "rmdir" {
            calls.observe(&["mkdir", name]);
        }
        let path = calls.bench.path(name);
        calls.observe(&[call, name]).assert_has(Op::Remove, Outcome::Found, &path);
        calls.observe(&[call, name]).assert_has(Op::Remove, Outcome::Absent, &path);
    }
}

#[test]
fn variables_are_named_and_never_valued() {
    let calls = Calls::new(&[]);
    for call in ["getenv", "secure_getenv"] {
        let observation = calls
            .bench
            .observe(command(&calls.program).args([call, "TOKEN"]).env("TOKEN", "s3cret"));
        observation.assert_has(Op::Getenv, Outcome::Found, "TOKEN");
        let unset = calls.observe(&[call, "TOKEN"]);
        unset.assert_has(Op::Getenv, Outcome::Absent, "TOKEN");
        assert!(unset.inputs().any(|event| event.op == Op::Getenv && event.subject == "TOKEN"));
        let secret = b"s3cret";
        for entry in fs_err::read_dir(calls.bench.path("logs0")).unwrap() {
            let log = fs_err::read(entry.unwrap().path()).unwrap();
            let used = &log[..log.len().min(1 << 20)];
            assert!(!used.windows(secret.len()).any(|window| window == secret));
        }
    }
    calls.observe(&["setenv", "SET"]).assert_has(Op::Setenv, Outcome::Found, "SET");
}

#[test]
fn patterns_list_the_folder_they_are_matched_in() {
    let calls = Calls::new(&[]);
    let observation = calls.observe(&["glob", "inside/*"]);
    observation.assert_has(Op::List, Outcome::Found, calls.bench.path("inside/"));
    observation.assert_has(Op::Stat, Outcome::Found, calls.bench.path("inside/file"));
    observation.assert_complete();
    calls.observe(&["glob", "gone"]).assert_has(
        Op::Stat,
        Outcome::Absent,
        calls.bench.path("gone"),
    );
    let many = calls.observe(&["glob", "*/file"]);
    assert!(matches!(many.unobservable[0].reason, Reason::Undescribed(_)));
}

#[test]
fn system_calls_that_change_names_are_not_described() {
    let calls = Calls::new(&[]);
    let observation = calls.observe(&["sys_unlinkat", "file"]);
    assert!(matches!(observation.unobservable[0].reason, Reason::Undescribed(_)));
    calls.observe(&["getpid", ""]).assert_complete();
}

/// Result, errno and the next free descriptor are the same with the recorder.
#[test]
fn a_program_cannot_tell_that_it_is_observed() {
    let calls = Calls::new(&[]);
    for (call, _) in READING {
        for name in ["file", "folder", "missing", ""] {
            let mut plain = command(&calls.program);
            plain.args([call, name]).current_dir(calls.bench.root());
            let mut observed = command(&calls.program);
            observed.args([call, name]);
            calls.bench.prepare(&mut observed);
            let normal = |text: String| -> Vec<String> {
                let mut fields: Vec<_> = text.split_whitespace().map(str::to_owned).collect();
                // Pointers differ from run to run.
                if fields[0].len() > 9 {
                    fields[0] = "pointer".into();
                }
                fields
            };
            assert_eq!(
                normal(stdout(&mut plain)),
                normal(stdout(&mut observed)),
                "{call} {name:?}"
            );
        }
    }
}
