//! Programs that start programs: nobody escapes unnoticed.

use std::path::PathBuf;

use buildhook_recorder::{Observation, Op, Outcome, Reason, Silence, imports_of};
use fs_err as fs;

use crate::support::{Ask, Bench, command, stdout};

struct Programs {
    bench: Bench,
    starter: PathBuf,
    reader: PathBuf,
}

/// Reads a file in the working folder, whatever its environment is.
const READER: &str = r#"
#include <stdio.h>
int main(void) { return fopen("hidden", "r") == NULL; }
"#;

/// A program without libc: nothing can be preloaded into it.
const STATIC: &str = r#"
void _start(void)
{
#if defined(__x86_64__)
    __asm__ volatile("mov $60, %eax\n xor %edi, %edi\n syscall");
#elif defined(__aarch64__)
    __asm__ volatile("mov x8, #93\n mov x0, #0\n svc #0");
#endif
    __builtin_unreachable();
}
"#;

impl Programs {
    fn new() -> Self {
        let bench = Bench::new();
        let starter = bench.compile_c("starter", include_str!("fixtures/programs.c"), &[]);
        let reader = bench.compile_c("reader", READER, &[]);
        bench.write("hidden", "content\n");
        Self { bench, starter, reader }
    }

    fn observe(&self, how: &str, program: &str) -> Observation {
        self.bench
            .observe(command(&self.starter).args([how, program]).env("PATH", self.search_path()))
    }

    /// A folder without the reader, one with it, and the system's.
    fn search_path(&self) -> String {
        let (empty, root) = (self.bench.path("nowhere"), self.bench.root());
        format!("{}:{}:/usr/bin:/bin", empty.display(), root.display())
    }
}

const WAYS: [&str; 13] = [
    "execv",
    "execve",
    "execvp",
    "execvpe",
    "execl",
    "execlp",
    "execle",
    "vfork",
    "clearenv",
    "posix_spawn",
    "posix_spawnp",
    "system",
    "popen",
];

#[test]
fn every_way_to_start_a_program_carries_the_recorder() {
    let programs = Programs::new();
    let reader = programs.reader.to_str().unwrap();
    for way in WAYS {
        let observation = programs.observe(way, reader);
        observation.assert_complete();
        let hidden = observation.all(Op::Read, programs.bench.path("hidden"));
        assert_eq!(hidden.len(), 1, "{way}");
        let process = observation.process(hidden[0].process);
        assert_eq!(process.executable, programs.reader, "{way}");
        assert!(process.parent.is_some(), "{way}");
    }
}

#[test]
fn a_program_that_replaces_itself_is_two_images_of_one_process() {
    let programs = Programs::new();
    let observation = programs.observe("replace", programs.reader.to_str().unwrap());
    observation.assert_complete();
    assert_eq!(observation.executables(), ["starter", "reader"]);
    let [first, second] = &observation.processes[..] else { unreachable!() };
    assert_eq!(first.pid, second.pid);
    assert_eq!(observation.process(second.parent.unwrap()), first);
}

#[test]
fn a_search_along_path_records_where_nothing_was_found() {
    let programs = Programs::new();
    for way in ["execvp", "execlp", "posix_spawnp"] {
        let observation = programs.observe(way, "reader");
        observation.assert_complete();
        observation.assert_has(Op::Getenv, Outcome::Found, "PATH");
        let absent = programs.bench.path("nowhere/reader");
        observation.assert_has(Op::Stat, Outcome::Absent, absent);
        observation.assert_has(Op::Read, Outcome::Found, &programs.reader);
    }
}

#[test]
fn a_program_that_is_not_there_leaves_the_observation_whole() {
    let programs = Programs::new();
    let missing = programs.bench.path("missing");
    for way in ["execv", "execvp"] {
        let observation = programs.observe(way, missing.to_str().unwrap());
        observation.assert_complete();
        observation.assert_has(Op::Read, Outcome::Absent, &missing);
    }
}

#[test]
fn a_static_program_is_noticed() {
    let programs = Programs::new();
    let program =
        programs.bench.compile_c("lone", STATIC, &["-static", "-nostdlib", "-nostartfiles"]);
    assert!(!imports_of(&program).unwrap().loader);
    for way in ["execve", "execvp", "vfork", "posix_spawn", "replace"] {
        let observation = programs.observe(way, program.to_str().unwrap());
        let [missing] = &observation.unobservable[..] else {
            panic!("{way}: {:?}", observation.unobservable)
        };
        let expected = Reason::Silent { program: program.clone(), silence: Silence::Static };
        assert_eq!(missing.reason, expected, "{way}");
    }
    let searched = programs.observe("posix_spawnp", "lone");
    let expected = Reason::Silent { program: "lone".into(), silence: Silence::Static };
    assert_eq!(searched.unobservable[0].reason, expected);
}

#[test]
fn a_shell_without_the_recorder_is_noticed() {
    let programs = Programs::new();
    let observation = programs.observe("unset_system", programs.reader.to_str().unwrap());
    assert!(
        matches!(&observation.unobservable[0].reason, Reason::Silent { program, .. } if program.ends_with("sh")),
        "{:?}",
        observation.unobservable
    );
}

#[test]
fn an_empty_environment_does_not_shake_the_recorder_off() {
    let programs = Programs::new();
    let observation = programs.bench.observe(command("env").arg("-i").arg(&programs.reader));
    observation.assert_complete();
    assert_eq!(observation.executables(), ["env", "reader"]);
    observation.assert_has(Op::Read, Outcome::Found, programs.bench.path("hidden"));
}

#[test]
fn a_script_is_read_by_its_interpreter() {
    use std::os::unix::fs::PermissionsExt;
    let programs = Programs::new();
    let script = programs.bench.write("script", "#!/bin/sh\nread line < hidden\n");
    fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let observation = programs.observe("execvp", script.to_str().unwrap());
    observation.assert_complete();
    observation.assert_has(Op::Read, Outcome::Found, &script);
    observation.assert_has(Op::Read, Outcome::Found, programs.bench.path("hidden"));
}

/// Variables that a process set itself are no input of it and its children.
#[test]
fn inherited_assignments_are_no_input() {
    let bench = Bench::new();
    let parent = r#"
#include <stdlib.h>
#include <unistd.h>
int main(void)
{
    setenv("MINE", "1", 1);
    getenv("THEIRS");
    return execl("./child", "child", NULL);
}
"#;
    let child = r#"
#include <stdlib.h>
int main(void) { return getenv("MINE") == NULL || getenv("ALIEN") != NULL; }
"#;
    let parent = bench.compile_c("parent", parent, &[]);
    bench.compile_c("child", child, &[]);
    let observation = bench.observe(&mut command(parent));
    let mut read: Vec<_> = observation
        .inputs()
        .filter(|event| event.op == Op::Getenv)
        .map(|event| event.subject.to_str().unwrap())
        .collect();
    read.sort_unstable();
    assert_eq!(read, ["ALIEN", "THEIRS"]);
}

/// A person's own preloaded library keeps its hooks, and is loaded in children.
#[test]
fn another_preloaded_library_keeps_working() {
    let bench = Bench::new();
    let own = r#"
#include <stdlib.h>
#include <string.h>
char *getenv(const char *name) { return strcmp(name, "ASKED") ? NULL : "answered"; }
"#;
    let program = r#"
#include <stdio.h>
#include <stdlib.h>
int main(void) { return puts(getenv("ASKED")) < 0; }
"#;
    let own = bench.compile_c("own.so", own, &["-shared", "-fPIC"]);
    let program = bench.compile_c("asks", program, &[]);
    let mut observed = command("env");
    observed.arg(&program).env("LD_PRELOAD", &own);
    let logs = bench.prepare(&mut observed);
    assert_eq!(stdout(&mut observed), "answered\n");
    let observation = buildhook_recorder::read(&logs);
    observation.assert_complete();
    observation.assert_has(Op::Getenv, Outcome::Found, "ASKED");
    let asker = observation.processes.last().unwrap();
    let loaded: Vec<_> = asker.modules.iter().map(|&id| observation.module(id)).collect();
    assert!(loaded.contains(&own.as_path()) && loaded.contains(&program.as_path()));
}
