//! What `buildhook-wasm` takes as a module, what compiles it, and where the compiled form is from.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use buildhook_stack_tests::hostile::{PATIENT, Scene};
use buildhook_stack_tests::session;
use buildhook_stack_tests::wasm::{compiler, guest, runner, sandbox};

/// What a module in text form, or any bytes, come to: what the guest was asked last, or why it
/// did not start.
fn start(scene: &Scene, bytes: impl AsRef<[u8]>) -> String {
    let path = scene.setup.path("module.wasm");
    fs_err::write(&path, bytes).unwrap();
    refusal(&scene.setup.sandboxed(PATIENT, &path, &[]))
}

fn refusal(command: &[OsString]) -> String {
    session(command).hello()["error"]["message"].as_str().unwrap_or_default().to_owned()
}

/// A command that calls `import` with `arguments` zeros and exits with what comes of it.
fn calling(import: &str, arguments: usize) -> Vec<u8> {
    let (types, zeros) = ("i32 ".repeat(arguments), "i32.const 0 ".repeat(arguments));
    let text = format!(
        r#"(module
            (import "wasi_snapshot_preview1" "{import}" (func $call (param {types}) (result i32)))
            (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (memory (export "memory") 1)
            (func (export "_start") {zeros} call $call call $exit))"#
    );
    wat::parse_str(text).unwrap()
}

#[test]
fn modules_that_are_none_or_ask_for_too_much_do_not_start() {
    let scene = Scene::new();
    for import in ["sock_accept", "sock_open", "sock_recv", "sock_send", "proc_raise"] {
        let told = start(&scene, calling(import, 3));
        assert!(told.contains(&format!("`wasi_snapshot_preview1::{import}`, which no")), "{told}");
    }
    // What may be imported is called: it starts, and its exit is what is told.
    assert!(start(&scene, calling("sched_yield", 0)).contains("ended before its input did"));
    // Renumbering standard output and links are refused with an error number of their own.
    for (import, arguments) in [("fd_renumber", 2), ("path_symlink", 5), ("path_link", 7)] {
        let told = start(&scene, calling(import, arguments));
        assert!(told.contains("exited with code 63"), "{import}: {told}");
    }
    assert!(start(&scene, b"\0asm\x01\0\0\0").contains("_start"));
    assert!(start(&scene, b"\0asm\x01\0\0\0\xff\xff").contains("module.wasm"));
}

/// The sandbox with a folder of its own for compiled modules.
fn kept_in(scene: &Scene, cache: &Path, module: &Path, arguments: &[&str]) -> Vec<OsString> {
    let policy = scene.setup.path("policy.toml");
    fs_err::write(&policy, PATIENT).unwrap();
    let mut command: Vec<OsString> = vec![sandbox().into(), "--policy".into(), policy.into()];
    command.extend(["--cache-dir".into(), cache.into(), module.into()]);
    command.extend(arguments.iter().map(OsString::from));
    command
}

fn compiled_in(cache: &Path) -> PathBuf {
    let items = fs_err::read_dir(cache.join("modules")).unwrap();
    // Beside it may lie what is known of it.
    items.map(|item| item.unwrap().path()).find(|path| path.extension().is_none()).unwrap()
}

#[test]
fn compiled_forms_come_from_the_private_folder_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let scene = Scene::new();
    let (own, other) = (scene.setup.path("own"), scene.setup.path("other"));
    let hostile = kept_in(&scene, &own, &guest("wasm-hostile"), &["state"]);
    let only = kept_in(&scene, &other, &guest("only"), &[]);
    assert_eq!(scene.outcome(&hostile), "done: call 1");
    let _ = session(&only);
    let kept = compiled_in(&own);
    let sound = fs_err::read(&kept).unwrap();

    // Given as a plugin, a compiled form is none.
    assert!(start(&scene, &sound).contains("compiled forms are never taken"));
    // Forged, damaged or another module's: it is told and made anew.
    let mut damaged = sound.clone();
    damaged[sound.len() / 2] ^= 1;
    let forgeries = [damaged, fs_err::read(compiled_in(&other)).unwrap(), b"\x7fELF".to_vec()];
    for forged in forgeries {
        fs_err::write(&kept, forged).unwrap();
        let mut healed = session(&hostile);
        let answer = healed.ask(scene.setup.fixture.want("k"));
        assert_eq!(answer["reason"]["message"], "done: call 1", "{answer}");
        assert!(healed.close().1.contains("is damaged: compiling again"));
        assert_eq!(fs_err::read(&kept).unwrap(), sound);
    }
    // Whatever its content: where others may write, nothing is taken.
    let mode = |path: &Path, mode| {
        fs_err::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    for (path, open, private) in [(kept.clone(), 0o666, 0o600), (own.join("modules"), 0o777, 0o700)]
    {
        mode(&path, open);
        assert!(refusal(&hostile).contains("only kept where nobody else may write"));
        mode(&path, private);
    }
    assert_eq!(scene.outcome(&hostile), "done: call 1");
}

#[test]
fn a_program_that_does_not_lie_beside_is_named() {
    let scene = Scene::new();
    let alone = scene.setup.path("buildhook-wasm");
    fs_err::copy(sandbox(), &alone).unwrap();
    let mut command = kept_in(&scene, &scene.setup.path("own"), &guest("only"), &[]);
    command[0] = alone.clone().into();
    let told = refusal(&command);
    assert!(told.contains("buildhook-wasm-run, which must lie beside buildhook-wasm"), "{told}");
    fs_err::copy(runner(), alone.with_file_name("buildhook-wasm-run")).unwrap();
    let told = refusal(&command);
    assert!(told.contains("buildhook-wasm-compile, which must lie beside"), "{told}");
}

/// Values of the bomb.
const BOMB_VALUES: usize = 100_000;

/// A function that is dear to compile: every value is needed until the end.
fn bomb(values: usize) -> Vec<u8> {
    let loads: String =
        (0..values).map(|at| format!("(i32.load (i32.const {}))", at * 4)).collect();
    let sums = "i32.add ".repeat(values - 1);
    let text = format!(
        r#"(module (memory (export "memory") 16) (func (export "_start") {loads} {sums} drop))"#
    );
    wat::parse_str(text).unwrap()
}

/// `command`, with a limit of the shell's for it and what it starts.
fn limited(limit: &str, command: &[OsString]) -> Vec<OsString> {
    let mut limited: Vec<OsString> =
        ["sh", "-c", &format!("ulimit {limit} && exec \"$@\""), "sh"].map(OsString::from).into();
    limited.extend_from_slice(command);
    limited
}

#[test]
fn a_module_that_makes_the_compiler_work_costs_a_process() {
    let scene = Scene::new();
    let path = scene.setup.path("bomb.wasm");
    fs_err::write(&path, bomb(BOMB_VALUES)).unwrap();
    let command = kept_in(&scene, &scene.setup.path("own"), &path, &[]);
    for (limit, expected) in
        [("-d 65536", "memory allocation of"), ("-t 1", "the compiler ended: signal")]
    {
        let told = refusal(&limited(limit, &command));
        assert!(told.contains(expected), "{limit}: {told}");
        assert_eq!(fs_err::read_dir(scene.setup.path("own/modules")).unwrap().count(), 0);
    }
    // With the limits that the compiler has otherwise this one compiles.
    assert!(refusal(&command).contains("ended before its input did"));
}

/// The limits that the compiler gives itself, read from outside while it waits for a module.
#[test]
fn the_compiler_limits_itself() {
    // It may write to no file, which the standard error of a test can be.
    let mut child = Command::new(compiler())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let limits = format!("/proc/{}/limits", child.id());
    let expected =
        [("Max cpu time", "120"), ("Max data size", "2147483648"), ("Max file size", "0")];
    let holds = |limits: &str| {
        expected.iter().all(|(name, value)| {
            let line = limits.lines().find_map(|line| line.strip_prefix(name));
            line.is_some_and(|line| line.split_whitespace().next() == Some(value))
        })
    };
    while !holds(&fs_err::read_to_string(&limits).unwrap()) {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    drop(child.stdin.take());
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

/// What runs guests cannot compile: there is nothing in it that a guest could make use of. What
/// watches over it runs nothing.
#[test]
fn each_process_holds_what_it_needs() {
    let holds = |program: &Path, name: &str| {
        let program = fs_err::read(program).unwrap();
        program.windows(name.len()).any(|window| window == name.as_bytes())
    };
    let cranelift = "cranelift_codegen";
    assert!(holds(&compiler(), cranelift));
    assert!(!holds(&runner(), cranelift));
    let wasmtime = "wasmtime";
    assert!(holds(&runner(), wasmtime));
    assert!(!holds(&sandbox(), wasmtime));
}
