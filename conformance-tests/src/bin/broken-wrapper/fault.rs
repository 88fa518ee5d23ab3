//! The faults: each leaves out of the key what one family of cases changes, or
//! mishandles what is stored.

/// One way to be wrong.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) name: &'static str,
    /// Files whose paths hold one of these are not in the key.
    pub(crate) files: &'static [&'static str],
    /// Variables, as `NAME=value`, that begin so are not in the key.
    pub(crate) variables: &'static [&'static str],
    /// Flags that begin so are not in the key.
    pub(crate) flags: &'static [&'static str],
    pub(crate) behaviours: &'static [Behaviour],
}

/// What a fault does beside leaving out inputs by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    CachesStdin,
    Fails,
    Garbles,
    HardLinks,
    IgnoresCompiler,
    IgnoresExternNames,
    IgnoresExterns,
    IgnoresFileNames,
    IgnoresLinks,
    IgnoresPlace,
    KeysLate,
    Locks,
    LosesDepInfo,
    LosesEmpty,
    LosesMode,
    LosesSidecars,
    Noisy,
    OldTimes,
    ReadOnlyOutputs,
    Silent,
    StoresFailures,
    StoresMessages,
    TrustsInputs,
    TrustsSizes,
    TrustsStore,
    TrustsTimes,
}

use Behaviour::*;

impl Fault {
    /// The fault of that name; the empty name is no fault.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        FAULTS.iter().find(|fault| fault.name == name)
    }

    pub(crate) fn is(&self, behaviour: Behaviour) -> bool {
        self.behaviours.contains(&behaviour)
    }
}

const NONE: Fault = Fault { name: "", files: &[], variables: &[], flags: &[], behaviours: &[] };

/// Names that Cargo derives from everything; a cache that left out anything
/// else would not notice.
const DERIVED: &[&str] = &["-Cmetadata=", "-Cextra-filename=", "--out-dir=", "-Ldependency="];

macro_rules! flags {
    ($($flag:literal),*) => { &[$($flag,)* "-Cmetadata=", "-Cextra-filename=", "--out-dir=", "-Ldependency="] };
}

const fn behaves(name: &'static str, behaviours: &'static [Behaviour]) -> Fault {
    Fault { name, behaviours, ..NONE }
}

const fn ignores_files(name: &'static str, files: &'static [&'static str]) -> Fault {
    Fault { name, files, flags: DERIVED, ..NONE }
}

const FAULTS: &[Fault] = &[
    NONE,
    ignores_files("macro-files", &["hidden.txt"]),
    ignores_files("macro-folders", &["pages/"]),
    ignores_files("macro-relative-files", &["settings/"]),
    ignores_files("workspace-files", &["/.env"]),
    ignores_files("outside-files", &["/outside/"]),
    ignores_files("sources", &[".rs"]),
    ignores_files("modules", &["inner"]),
    ignores_files("included-files", &["text.txt", "inner.in", "data.bin", "tëxt"]),
    ignores_files("generated-files", &["input.txt", "generated.rs"]),
    ignores_files("registry-files", &["cargo-home/registry/"]),
    ignores_files("native-libraries", &[".a", ".c", ".o", "native/", "rlib"]),
    ignores_files("shared-libraries", &[".so"]),
    ignores_files("link-files", &["Scrt1.o", "native/args"]),
    ignores_files("linker", &["tools"]),
    ignores_files("response-files", &["/flags"]),
    ignores_files("target-description", &["zoo-target.json"]),
    ignores_files("machine", &["/machine"]),
    ignores_files("compiler", &["toolchain/"]),
    ignores_files("sysroot", &["/sysroot", "toolchain/"]),
    ignores_files("clippy-files", &["clippy.toml"]),
    Fault { name: "variables", variables: &["ZOO_"], files: &["input.txt"], ..NONE },
    Fault {
        name: "package-variables",
        variables: &["CARGO_PKG_", "CARGO_PRIMARY_PACKAGE="],
        files: &[".toml"],
        flags: DERIVED,
        ..NONE
    },
    Fault {
        name: "link-variables",
        variables: &["LIBRARY_PATH=", "LD_RUN_PATH=", "COMPILER_PATH=", "PATH=", "CARGO_TARGET_"],
        flags: flags!["-Clinker="],
        ..NONE
    },
    Fault {
        name: "link-arguments",
        variables: &["RUSTFLAGS="],
        flags: flags!["-Clink-arg="],
        ..NONE
    },
    Fault { name: "bootstrap", variables: &["RUSTC_BOOTSTRAP="], flags: DERIVED, ..NONE },
    Fault { name: "unstable-flags", variables: &["RUSTFLAGS="], flags: flags!["-Z"], ..NONE },
    Fault {
        name: "cfg",
        variables: &["RUSTFLAGS=", "CARGO_FEATURE", "ZOO_"],
        flags: flags!["--cfg="],
        ..NONE
    },
    Fault {
        name: "codegen-flags",
        variables: &["RUSTFLAGS=", "CARGO_PROFILE", "LD_LIBRARY_PATH="],
        files: &[".toml"],
        flags: flags!["-C"],
        ..NONE
    },
    Fault { name: "emit", flags: flags!["--emit=", "-C"], ..NONE },
    Fault { name: "tests", flags: flags!["--test", "--emit=", "--crate-type=", "-C"], ..NONE },
    Fault { name: "edition", files: &[".toml"], flags: flags!["--edition="], ..NONE },
    Fault {
        name: "lints",
        variables: &["RUSTFLAGS="],
        files: &[".toml"],
        flags: flags![
            "-A",
            "-W",
            "-D",
            "--allow",
            "--warn",
            "--deny",
            "--cap-lints",
            "--check-cfg"
        ],
        ..NONE
    },
    Fault {
        name: "diagnostic-form",
        variables: &["RUSTFLAGS="],
        flags: flags!["--error-format", "--json", "--diagnostic-width"],
        ..NONE
    },
    Fault {
        name: "remap",
        variables: &["RUSTFLAGS="],
        flags: flags!["--remap-path-prefix"],
        ..NONE
    },
    Fault { name: "clippy-arguments", variables: &["CLIPPY_"], flags: DERIVED, ..NONE },
    Fault {
        name: "clippy-driver",
        files: &["clippy.toml"],
        variables: &["CLIPPY_", "RUSTC_WORKSPACE_WRAPPER="],
        flags: DERIVED,
        behaviours: &[IgnoresCompiler],
    },
    Fault {
        name: "file-names",
        files: &[".toml"],
        flags: flags!["part/src/"],
        behaviours: &[IgnoresFileNames],
        ..NONE
    },
    Fault {
        name: "extern-names",
        files: &[".toml", ".lock"],
        flags: DERIVED,
        behaviours: &[IgnoresExternNames],
        ..NONE
    },
    Fault {
        name: "extern-content",
        files: &["mac/src", "/a/src", "/left/", "/right/", "part/Cargo.toml", ".lock"],
        flags: DERIVED,
        behaviours: &[IgnoresExterns],
        ..NONE
    },
    Fault {
        name: "place",
        flags: DERIVED,
        files: &["text.txt", "generated.rs"],
        variables: &[
            "CARGO_BIN_EXE",
            "CARGO_HOME=",
            "CARGO_MANIFEST",
            "CARGO_TARGET_TMPDIR=",
            "LD_LIBRARY_PATH=",
            "OUT_DIR=",
        ],
        behaviours: &[IgnoresPlace, IgnoresExterns],
    },
    Fault {
        name: "shared-links",
        flags: DERIVED,
        variables: &["CARGO_MANIFEST", "CARGO_TARGET_DIR=", "LD_LIBRARY_PATH=", "OUT_DIR="],
        behaviours: &[HardLinks, IgnoresExterns, IgnoresPlace, TrustsStore],
        ..NONE
    },
    Fault {
        name: "stdin",
        files: &["probe.rs"],
        flags: &[],
        variables: &[],
        behaviours: &[CachesStdin, StoresFailures, StoresMessages, TrustsInputs],
    },
    behaves("garbles", &[Garbles]),
    behaves("links", &[IgnoresLinks]),
    behaves("silent", &[Silent]),
    behaves("noisy", &[Noisy]),
    behaves("stores-messages", &[StoresMessages]),
    behaves("stores-failures", &[StoresFailures, StoresMessages]),
    behaves("loses-sidecars", &[LosesSidecars]),
    behaves("loses-dep-info", &[LosesDepInfo]),
    behaves("loses-empty", &[LosesEmpty]),
    behaves("loses-mode", &[LosesMode]),
    behaves("hard-links", &[HardLinks, TrustsStore]),
    behaves("read-only-outputs", &[ReadOnlyOutputs]),
    behaves("old-times", &[OldTimes]),
    behaves("trusts-store", &[TrustsStore]),
    behaves("trusts-times", &[TrustsTimes]),
    behaves("trusts-sizes", &[TrustsSizes]),
    behaves("trusts-inputs", &[TrustsInputs]),
    behaves("keys-late", &[KeysLate]),
    behaves("fails", &[Fails]),
    behaves("locks", &[Locks]),
];
