//! Crashes, races and lack of room: nothing is lost unnoticed, and no program
//! fails because it was observed.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use buildhook_recorder::{Observation, Op, Outcome, Reason, read};
use fs_err as fs;

use crate::support::{Ask, Bench, command, run};

#[test]
fn a_killed_process_keeps_its_events() {
    let program = r#"
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>
int main(void)
{
    access("/seen", F_OK);
    raise(SIGKILL);
    return 0;
}
"#;
    let bench = Bench::new();
    let program = bench.compile_c("killed", program, &[]);
    let mut observed = command(program);
    let logs = bench.prepare(&mut observed);
    assert_eq!(observed.status().unwrap().signal(), Some(9));
    let observation = read(&logs);
    observation.assert_complete();
    observation.assert_has(Op::Stat, Outcome::Absent, "/seen");
}

#[test]
fn threads_lose_nothing() {
    const THREADS: usize = 8;
    const LOOKUPS: usize = 5_000;
    let program = r#"
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
static void *look(void *number)
{
    for (int i = 0; i < LOOKUPS; i++) {
        char path[64];
        snprintf(path, sizeof path, "/gone/%ld/%d", (long)number, i);
        access(path, F_OK);
    }
    return NULL;
}
int main(void)
{
    pthread_t threads[THREADS];
    for (long i = 0; i < THREADS; i++) {
        pthread_create(&threads[i], NULL, look, (void *)i);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    return 0;
}
"#;
    let bench = Bench::new();
    let defines = [format!("-DTHREADS={THREADS}"), format!("-DLOOKUPS={LOOKUPS}")];
    let program = bench.compile_c("storm", program, &["-pthread", &defines[0], &defines[1]]);
    let observation = bench.observe(&mut command(program));
    observation.assert_complete();
    let looked = observation.events.iter().filter(|event| event.path().starts_with("/gone"));
    let distinct: std::collections::HashSet<_> = looked.map(|event| &event.subject).collect();
    assert_eq!(distinct.len(), THREADS * LOOKUPS);
}

#[test]
fn a_forked_child_writes_into_its_parents_log() {
    let program = r#"
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
int main(void)
{
    mkdir("elsewhere", 0700);
    if (fork() == 0) {
        if (chdir("elsewhere") == 0) {
            access("by-child", F_OK);
        }
        _exit(0);
    }
    wait(NULL);
    access("by-parent", F_OK);
    return 0;
}
"#;
    let bench = Bench::new();
    let program = bench.compile_c("forks", program, &[]);
    let observation = bench.observe(&mut command(&program));
    observation.assert_complete();
    observation.assert_has(Op::Stat, Outcome::Absent, bench.path("elsewhere/by-child"));
    observation.assert_has(Op::Stat, Outcome::Absent, bench.path("by-parent"));
    assert_eq!(observation.executables(), ["forks"]);
    let child = observation.all(Op::Stat, bench.path("elsewhere/by-child"))[0];
    assert_eq!(observation.module(child.module.unwrap()), program);
}

/// Looks for more paths, each nearly as long as the system allows, than a log holds.
const FLOODS: &str = r#"
#include <stdio.h>
#include <string.h>
#include <unistd.h>
int main(void)
{
    static char path[4000];
    memset(path, 'x', sizeof path - 1);
    path[0] = '/';
    for (int i = 0; i < 17500; i++) {
        snprintf(path + 1, 9, "%08d", i);
        path[9] = '/';
        access(path, F_OK);
    }
    return 0;
}
"#;

fn reasons(observation: &Observation) -> Vec<&Reason> {
    observation.unobservable.iter().map(|missing| &missing.reason).collect()
}

#[test]
fn an_overflow_is_flagged() {
    let bench = Bench::new();
    let program = bench.compile_c("floods", FLOODS, &[]);
    let observation = bench.observe(&mut command(&program));
    assert!(reasons(&observation).contains(&&Reason::Overflow), "{:?}", reasons(&observation));
    assert!(observation.events.len() > 10_000);
}

const LOOKS_ONCE: &str = r#"
#include <unistd.h>
int main(void) { return access("/gone", F_OK) == 0; }
"#;

#[test]
fn a_folder_that_cannot_be_written_stops_the_recording_only() {
    let bench = Bench::new();
    let program = bench.compile_c("looks", LOOKS_ONCE, &[]);
    let mut observed = command(&program);
    let logs = bench.prepare(&mut observed);
    fs::remove_dir(&logs).unwrap();
    run(&mut observed);
    let observation = read(&logs);
    assert!(matches!(observation.unobservable[0].reason, Reason::Unreadable(_)));
    fs::create_dir(&logs).unwrap();
    assert_eq!(read(&logs).unobservable[0].reason, Reason::Nothing);
}

/// A process whose log could not be made is missed by the one that started it.
#[test]
fn a_limit_on_file_sizes_is_no_signal() {
    let bench = Bench::new();
    let program = bench.compile_c("looks", LOOKS_ONCE, &[]);
    let script = format!("ulimit -f 10; {}; true", program.display());
    let observation = bench.observe(command("sh").args(["-c", &script]));
    let reasons = reasons(&observation);
    assert!(matches!(&reasons[..], [Reason::Silent { .. }]), "{reasons:?}");
}

/// A full disk would be a fatal signal to whoever writes to an unbacked mapping.
/// Needs a user namespace to mount a small file system in.
#[test]
fn a_full_disk_is_no_signal() {
    let bench = Bench::new();
    let program = bench.compile_c("floods", FLOODS, &[]);
    let [full, kept] = ["full", "kept"].map(|name| bench.path(name));
    fs::create_dir(&full).unwrap();
    fs::create_dir(&kept).unwrap();
    let namespace = |script: &str| {
        let mut command = command("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-ec", script]);
        command
    };
    let mount = |size| format!("mount -t tmpfs -o size={size} none {}", full.display());
    if !namespace(&mount("1m")).output().is_ok_and(|output| output.status.success()) {
        assert!(std::env::var_os("CI").is_none(), "no user namespaces");
        eprintln!("not run: no user namespaces");
        return;
    }
    // Full from the start, and full on the way.
    for size in ["4k", "1m"] {
        let script = format!(
            "{}; LD_PRELOAD={} BUILDHOOK_RECORD_DIR={} {}; cp {}/* {}",
            mount(size),
            bench.library.display(),
            full.display(),
            program.display(),
            full.display(),
            kept.display()
        );
        run(&mut namespace(&script));
        let observation = read(&kept);
        match size {
            "4k" => assert!(matches!(reasons(&observation)[..], [Reason::Malformed(_)])),
            _ => assert!(reasons(&observation).contains(&&Reason::Dropped)),
        }
    }
}

#[test]
fn what_others_leave_in_the_folder_is_told() {
    let bench = Bench::new();
    let program = bench.compile_c("looks", LOOKS_ONCE, &[]);
    let mut observed = command(&program);
    let logs = bench.prepare(&mut observed);
    run(&mut observed);
    let whole = read(&logs);
    whole.assert_complete();
    let log = fs::read_dir(&logs).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs::read(&log).unwrap();
    bytes.truncate(4096);
    fs::write(logs.join("stray"), "not a log").unwrap();
    fs::write(logs.join("1.0"), &bytes[..40]).unwrap();
    fs::write(logs.join("2.0"), [&bytes[..8], &[0xff; 4088]].concat()).unwrap();
    std::os::unix::fs::symlink("/dev/zero", logs.join("3.0")).unwrap();
    let mut malformed: Vec<_> = read(&logs)
        .unobservable
        .into_iter()
        .filter_map(|missing| match missing.reason {
            Reason::Malformed(path) => Some(path),
            _ => None,
        })
        .collect();
    malformed.sort();
    let expected: Vec<_> = ["1.0", "2.0", "3.0", "stray"].map(|name| logs.join(name)).into();
    assert_eq!(malformed, expected);
}

/// The loader searches by the run path of the object that calls `dlopen`; and an
/// object that is loaded where another was is told from it.
#[test]
fn libraries_are_found_and_named_as_ever() {
    let program = r#"
#include <dlfcn.h>
int main(void)
{
    const char *names[] = {"libone.so", "libtwo.so"};
    for (int i = 0; i < 2; i++) {
        void *library = dlopen(names[i], RTLD_NOW);
        if (!library) {
            return 1;
        }
        ((void (*)(void))dlsym(library, "look"))();
        dlclose(library);
    }
    return 0;
}
"#;
    let library = r#"
#include <unistd.h>
int look(void);
int look(void) { return access(SUBJECT, F_OK); }
"#;
    let bench = Bench::new();
    bench.write("plugins/.keep", "");
    for name in ["one", "two"] {
        let subject = format!("-DSUBJECT=\"/{name}\"");
        bench.compile_c(&format!("plugins/lib{name}.so"), library, &["-shared", "-fPIC", &subject]);
    }
    let arguments = ["-ldl", "-Wl,--enable-new-dtags,-rpath,$ORIGIN/plugins"];
    let program = bench.compile_c("loads", program, &arguments);
    let observation = bench.observe(&mut command(&program));
    observation.assert_complete();
    for name in ["one", "two"] {
        let event = observation.all(Op::Stat, format!("/{name}"))[0];
        let library = bench.path(&format!("plugins/lib{name}.so"));
        assert_eq!(observation.module(event.module.unwrap()), library);
        observation.assert_has(Op::Dlopen, Outcome::Found, Path::new(&format!("lib{name}.so")));
    }
}

/// Not in the build itself: a newer compiler's warning must not fail it.
#[test]
fn the_library_compiles_without_a_warning() {
    let preload = Path::new(env!("CARGO_MANIFEST_DIR")).join("preload");
    let sources = fs::read_dir(preload).unwrap().map(|entry| entry.unwrap().path());
    let sources = sources.filter(|path| path.extension().is_some_and(|extension| extension == "c"));
    let flags = ["-std=gnu11", "-O2", "-fPIC", "-Wall", "-Wextra", "-Werror", "-fsyntax-only"];
    run(command("cc").args(flags).arg("-fno-delete-null-pointer-checks").args(sources));
}
