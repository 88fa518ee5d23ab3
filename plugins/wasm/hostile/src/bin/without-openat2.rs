//! `without-openat2 PROGRAM ARGS…`: runs a program for which the system call `openat2` does
//! not exist, as on a kernel before 5.6.

#[cfg(target_os = "linux")]
fn main() {
    use std::os::unix::process::CommandExt as _;

    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};

    /// The same on all architectures of Linux.
    const OPENAT2: i64 = 437;
    /// ENOSYS.
    const NO_SUCH_CALL: u32 = 38;

    let arch: TargetArch = std::env::consts::ARCH.try_into().expect("a known architecture");
    let filter = SeccompFilter::new(
        [(OPENAT2, Vec::new())].into(),
        SeccompAction::Allow,
        SeccompAction::Errno(NO_SUCH_CALL),
        arch,
    );
    let program: BpfProgram = filter.and_then(TryInto::try_into).expect("a filter of one rule");
    seccompiler::apply_filter(&program).expect("the kernel takes filters");
    let mut arguments = std::env::args_os().skip(1);
    let program = arguments.next().expect("a program");
    panic!("{}", std::process::Command::new(program).args(arguments).exec());
}

#[cfg(not(target_os = "linux"))]
fn main() {}
