//! Processes killed at seeded points, a full disk, a cache that cannot be written or is
//! damaged: no failed build but the one that was killed, no wrong output, nothing lost.

#![cfg(target_os = "linux")]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use fs_err as fs;
use rustix::process::{Pid, Signal, kill_process};
use support::fixtures::{CHAIN, CHAIN_OUTPUT};
use support::{BUILDHOOK, Lab, Workspace, toolchain, wait_until};

/// A process of a lab.
#[derive(Debug)]
struct Process {
    pid: Pid,
    role: &'static str,
}

/// The processes that work in this lab, told by the cache folder in their environment.
fn processes(lab: &Lab) -> Vec<Process> {
    let mark = format!("BUILDHOOK_CACHE_DIR={}", lab.cache().display());
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
        let Some(pid) = pid.and_then(Pid::from_raw) else { continue };
        // A process can end at any moment, and then has no environment.
        let environ = fs::read(entry.path().join("environ")).unwrap_or_default();
        if environ.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes()) {
            let cmdline = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            found.extend(role(&cmdline).map(|role| Process { pid, role }));
        }
    }
    found
}

fn role(cmdline: &[u8]) -> Option<&'static str> {
    let text = String::from_utf8_lossy(cmdline);
    let words: Vec<_> = text.split('\0').collect();
    let is = |index: usize, name: &str| {
        words.get(index).is_some_and(|word| Path::new(word).file_name() == Some(name.as_ref()))
    };
    match () {
        () if text.is_empty() => None,
        () if is(0, "buildhook") && words.get(1) == Some(&"__session") => Some("session"),
        () if is(0, "buildhook") && is(1, "counting-rustc") => Some("wrapper"),
        () if is(0, "cargo") => Some("cargo"),
        () if is(0, "rustc") => Some("compiler"),
        () if is(0, "test-plugin") => Some("plugin"),
        () => Some("other"),
    }
}

/// Cargo as a person starts it, wrapper and all.
fn start(ws: &Workspace<'_>) -> Child {
    let mut cargo = ws.command(toolchain().join("bin/cargo"));
    cargo.arg("build").env("RUSTC_WRAPPER", BUILDHOOK);
    cargo.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Builds, edits, and kills a process of this role once `compiles` of the edit have begun.
fn kill_at(role: &'static str, compiles: usize) {
    let lab = Lab::new();
    let here = lab.workspace("here", CHAIN).set("CARGO_INCREMENTAL", "0");
    let here = match role {
        "plugin" => here.set("BUILDHOOK_HOOK", lab.plugin("entries", "none")),
        _ => here,
    };
    here.cargo(&["build"]);
    let before = here.checkout("before");
    here.edit("leaf/src/lib.rs", "    1\n", "    2\n");

    let log = lab.path("compiles");
    let begun = || fs::read_to_string(&log).unwrap().lines().count();
    let so_far = begun();
    let mut cargo = start(&here);
    let mut killed = false;
    wait_until("a process to kill", || {
        if begun() >= so_far + compiles {
            let victim = processes(&lab).into_iter().find(|process| process.role == role);
            // It fails when the process has just ended by itself.
            killed = victim.is_some_and(|it| kill_process(it.pid, Signal::KILL).is_ok());
        }
        killed || cargo.try_wait().unwrap().is_some()
    });
    let status = cargo.wait().unwrap();
    if killed && matches!(role, "session" | "plugin") {
        assert!(status.success(), "a build was lost with its {role}");
    }

    // A compiler that has lost its parents goes on, and removes its temporary files, which those
    // of the next one replace: with plain Cargo it is the same.
    wait_until("compilers to end", || {
        processes(&lab).iter().all(|it| !["wrapper", "compiler", "other"].contains(&it.role))
    });
    // What was begun can be finished, and is right.
    here.cargo(&["build"]);
    assert_eq!(here.output_of("app"), "112\n");
    // A unit whose session was killed is not stored; it is when it is built again.
    here.checkout("edited").cargo(&["build"]);
    let again = here.checkout("edited-again");
    again.cargo(&["build"]).assert_all_hits();
    assert_eq!(again.output_of("app"), "112\n");
    // What was complete before is still there.
    before.cargo(&["build"]).assert_all_hits();
    assert_eq!(before.output_of("app"), CHAIN_OUTPUT);
    wait_until("every process to end", || processes(&lab).is_empty());
}

macro_rules! killed {
    ($($name:ident: $role:literal after $compiles:literal;)*) => {$(
        #[test]
        fn $name() {
            kill_at($role, $compiles);
        }
    )*};
}

killed! {
    cargo_at_the_first_compile: "cargo" after 1;
    cargo_later: "cargo" after 3;
    wrapper_at_the_first_compile: "wrapper" after 1;
    wrapper_later: "wrapper" after 2;
    compiler_at_the_first_compile: "compiler" after 1;
    compiler_at_the_link: "compiler" after 3;
    session_at_the_first_compile: "session" after 1;
    session_later: "session" after 2;
    plugin_at_the_first_compile: "plugin" after 1;
    plugin_later: "plugin" after 2;
}

#[test]
fn nothing_outlives_a_build() {
    let lab = Lab::new();
    let here = lab.workspace("here", CHAIN);
    assert!(start(&here).wait().unwrap().success());
    wait_until("every process to end", || processes(&lab).is_empty());
}

#[test]
fn ctrl_c_leaves_nothing_behind() {
    use std::os::unix::process::CommandExt as _;
    let lab = Lab::new();
    let here = lab.workspace("here", CHAIN);
    let mut run = here.command(BUILDHOOK);
    run.args(["run", "--"]).arg(toolchain().join("bin/cargo")).arg("build");
    // A group of its own, as a shell makes one, to be signalled as a terminal does.
    let mut run = run.process_group(0).stderr(Stdio::null()).spawn().unwrap();
    let log = lab.path("compiles");
    wait_until("the first compile", || !fs::read(&log).unwrap().is_empty());
    rustix::process::kill_process_group(Pid::from_child(&run), Signal::INT).unwrap();
    run.wait().unwrap();
    wait_until("every process to end", || processes(&lab).is_empty());
    here.cargo(&["build"]);
    assert_eq!(here.output_of("app"), CHAIN_OUTPUT);
}

/// Runs `buildhook run -- cargo build` where `setup` (shell, `$CACHE` is the cache folder) has
/// been done in a name space of its own. False when this machine does not allow that.
#[must_use]
fn build_where(setup: &str, ws: &Workspace<'_>, cache: &Path) -> bool {
    let can = Command::new("unshare").args(["-Urm", "true"]).output();
    if !can.is_ok_and(|output| output.status.success()) {
        assert!(!support::is_ci(), "user name spaces are not available");
        eprintln!("not run: user name spaces are not available");
        return false;
    }
    let mut command = ws.command("unshare");
    let script = format!("set -e; {setup}; exec \"$@\"");
    command.args(["-Urm", "sh", "-c", &script, "sh", BUILDHOOK, "run", "--"]);
    command.arg(toolchain().join("bin/cargo")).arg("build").env("CACHE", cache);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    true
}

#[test]
fn a_full_disk() {
    for size in ["64k", "400k", "2m"] {
        let lab = Lab::new();
        let here = lab.workspace("here", CHAIN);
        let setup = format!("mount -t tmpfs -o size={size} tmpfs \"$CACHE\"");
        if build_where(&setup, &here, &lab.cache()) {
            assert_eq!(here.output_of("app"), CHAIN_OUTPUT);
        }
    }
}

#[test]
fn a_cache_that_cannot_be_written() {
    let lab = Lab::new();
    let here = lab.workspace("here", CHAIN);
    here.cargo(&["build"]);
    let read_only = "mount --bind \"$CACHE\" \"$CACHE\"; mount -o remount,ro,bind \"$CACHE\"";
    let there = here.checkout("there");
    fs::write(lab.path("compiles"), "").unwrap();
    if build_where(read_only, &there, &lab.cache()) {
        assert_eq!(there.output_of("app"), CHAIN_OUTPUT);
        assert_eq!(fs::read_to_string(lab.path("compiles")).unwrap(), "", "entries can be read");
    }
    let changed = here.checkout("changed");
    changed.edit("leaf/src/lib.rs", "    1\n", "    3\n");
    if build_where(read_only, &changed, &lab.cache()) {
        assert_eq!(changed.output_of("app"), "113\n");
    }
}

#[test]
fn a_cache_folder_that_is_a_file() {
    let lab = Lab::new();
    let here = lab.workspace("here", CHAIN);
    let file = lab.path("file");
    fs::write(&file, "").unwrap();
    let mut cargo = here.command(toolchain().join("bin/cargo"));
    cargo.arg("build").env("RUSTC_WRAPPER", BUILDHOOK).env("BUILDHOOK_CACHE_DIR", &file);
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", lab.shown(&output.stderr));
    assert_eq!(here.output_of("app"), CHAIN_OUTPUT);
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Damages a file in one of several ways.
fn damage(path: &Path, way: usize) {
    let mut content = fs::read(path).unwrap();
    match way {
        0 => content.clear(),
        1 => content.truncate(content.len() / 2),
        2 => content.iter_mut().for_each(|byte| *byte = 0),
        3 => content.extend_from_slice(b"more"),
        _ => {
            let middle = content.len() / 2;
            content.get_mut(middle).into_iter().for_each(|byte| *byte ^= 0x20);
        }
    }
    // Blobs are read-only; a damaged disk does not ask.
    fs::remove_file(path).unwrap();
    fs::write(path, content).unwrap();
}

#[test]
fn a_damaged_cache() {
    for way in 0..5 {
        let lab = Lab::new();
        let here = lab.workspace("here", CHAIN);
        here.cargo(&["build"]);
        for path in files_below(&lab.cache()) {
            // The recorder has its own test of this; a library is not an entry.
            if !path.starts_with(lab.path("cache/host/recorder")) {
                damage(&path, way);
            }
        }
        let there = here.checkout("there");
        there.cargo(&["build"]);
        assert_eq!(there.output_of("app"), CHAIN_OUTPUT, "way {way}");
        // What was damaged has been stored again.
        let after = here.checkout("after");
        after.cargo(&["build"]).assert_all_hits();
        assert_eq!(after.output_of("app"), CHAIN_OUTPUT, "way {way}");
    }
}
