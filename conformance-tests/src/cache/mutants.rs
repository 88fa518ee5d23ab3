//! Broken caches, one or more an input family, and the cases each must die
//! on. They tell that a case can fail at all; `src/bin/broken-wrapper` is the
//! cache that has these faults.

/// A broken cache.
#[derive(Clone, Copy, Debug)]
pub struct Mutant {
    /// The fault, as the broken wrapper knows it.
    pub fault: &'static str,
    /// Cases that must not pass, without their `zoo/`.
    pub dies_on: &'static [&'static str],
}

/// All broken caches.
pub fn mutants() -> &'static [Mutant] {
    MUTANTS
}

macro_rules! mutants {
    ($($fault:literal: $($case:literal)+;)+) => {
        &[$(Mutant { fault: $fault, dies_on: &[$($case),+] }),+]
    };
}

const MUTANTS: &[Mutant] = mutants! {
    "macro-files":
        "macro-reads-file" "macro-looks-for-file" "macro-runs-program" "macro-through-facade"
        "macro-helper-reads-file" "macro-in-program" "macro-file-goes-back"
        "macro-asks-size" "macro-asks-kind" "macro-calls-kernel"
        "macro-reads-through-process"
        "registry-macro-reads-user";
    "garbles":
        "other-target-stays-fresh" "touched-sources" "two-different-at-once"
        "build-then-check" "coverage-of-library" "dylib-outputs" "future-sources"
        "incremental-by-variable" "incremental-switched-off" "incremental-twin" "jobs"
        "killed-half-written" "killed-while-compiling" "macro-unrelated-file" "make-jobserver" "moved"
        "moved-include" "moved-macro-reads-file" "no-home" "old-sources" "other-shell"
        "probe-questions" "registry-linked" "registry-other-workspace" "registry-warnings-capped"
        "remap-by-user-kept" "rustdoc" "server-gone" "source-unchanged" "store-removed"
        "target-behind-link" "target-outside" "target-with-blanks" "twin-packages"
        "two-builds-one-target";
    "macro-folders": "macro-lists-folder" "macro-walks-folder";
    "macro-relative-files": "macro-reads-relative";
    "workspace-files": "macro-reads-workspace-file";
    "outside-files": "macro-reads-outside" "source-module-by-path";
    "sources": "warning-names-path"
        "source-edit" "source-line-numbers" "build-script-itself" "extern-body-edited" "incremental-edits" "edits-in-a-row" "cached-and-plain-mixed"
        "outputs-writable" "incremental-check" "incremental-switched-on";
    "modules": "source-module" "source-module-appears" "source-include";
    "included-files":
        "source-include-str" "source-include-bytes" "source-include-odd-name"
        "source-include-through-process"
        "included-edited-during-compilation" "registry-data-edited";
    "generated-files":
        "out-dir-code" "out-dir-read-by-macro" "target-generated-elsewhere";
    "registry-files": "registry-source-edited" "registry-module-edited";
    "native-libraries":
        "native-static-bundled" "native-static-by-flag" "native-static-same-time"
        "native-static-unbundled" "native-bundled-deep" "native-built-by-script"
        "native-found-earlier" "native-in-build-script" "link-arg-object" "link-thin-archive"
        "link-script";
    "shared-libraries": "native-shared-soname";
    "link-files": "link-c-runtime" "link-response-file";
    "linker": "linker-script-content" "linker-on-path-edited" "wrapper-below";
    "link-variables":
        "linker-swapped" "linker-on-path" "link-library-path" "link-run-path"
        "link-compiler-path";
    "link-arguments": "link-arg-itself";
    "response-files": "rustflags-response-file";
    "target-description": "target-json" "target-json-same-time";
    "machine": "target-cpu-native";
    "compiler": "compiler-replaced";
    "sysroot":
        "sysroot-replaced" "sysroot-elsewhere" "sysroot-by-flag" "standard-sources-appear";
    "stdin": "probe-from-stdin";
    "variables":
        "macro-reads-variable" "macro-reads-unset-variable" "macro-takes-environment"
        "macro-through-two-facades" "env"
        "option-env-appears" "option-env-goes" "option-env-empty" "build-script-env"
        "build-script-undeclared-file" "build-script-undeclared-variable";
    "package-variables":
        "macro-reads-package-variable" "env-of-package" "env-of-cargo";
    "bootstrap": "rustc-bootstrap" "rustc-bootstrap-other-crate";
    "unstable-flags": "unstable-flag" "unknown-flag";
    "cfg": "features" "features-of-dependency" "build-script-cfg" "rustflags-cfg";
    "codegen-flags":
        "rustflags-target-feature" "target-cpu" "opt-level" "debuginfo" "coverage" "lto"
        "profile-debug-assertions" "profile-overflow-checks" "profile-panic" "profile-strip"
        "release-after-dev" "split-debuginfo-switched";
    "emit": "check-then-build";
    "tests": "test-after-build" "check-build-mixed";
    "edition": "edition";
    "lints": "lint-level-flag" "lint-level-deny" "lint-table" "check-cfg" "check-cfg-table"
        "cap-lints";
    "diagnostic-form": "diagnostic-format" "diagnostic-width";
    "remap": "remap-by-user";
    "clippy-files":
        "clippy-toml-appears" "clippy-toml-edited" "clippy-toml-of-workspace"
        "clippy-toml-hidden";
    "clippy-arguments": "clippy-arguments" "clippy-configuration-folder";
    "clippy-driver": "wrapper-below-appears" "clippy-after-check";
    "file-names": "file-name" "module-file-name";
    "extern-names": "externs-swapped" "extern-renamed";
    "extern-content": "macro-itself" "extern-edited" "dependency-elsewhere";
    "place":
        "moved-manifest-dir" "moved-manifest-dir-read" "moved-manifest-dir-length"
        "moved-manifest-dir-hash" "moved-compared-path" "moved-macro-path"
        "moved-macro-current-dir" "moved-absolute-file" "moved-caller-location"
        "moved-out-dir" "moved-generated-path" "moved-generated-file-macro"
        "moved-test-program" "moved-program-path" "moved-test-folder"
        "moved-debug-information" "through-link" "registry-other-home";
    "links": "macro-follows-link" "macro-asks-link" "source-include-through-link";
    "silent": "diagnostic-colour" "warning-replayed";
    "noisy": "quiet" "error-repeated";
    "stores-messages": "transient-message" "compiler-log";
    "stores-failures": "transient-failure" "compiler-crashed";
    "loses-sidecars":
        "split-debuginfo-unpacked" "split-debuginfo-packed" "emit-assembly" "save-temps";
    "loses-dep-info": "outputs-complete" "fresh-after-hit" "outputs-uplifted";
    "loses-empty": "check-all-targets" "check-tests";
    "loses-mode": "test-programs-executable" "build-script-executable";
    "hard-links":
        "outputs-changed-in-place" "outputs-stripped-in-place";
    "shared-links": "other-checkout-stays-fresh";
    "read-only-outputs": "outputs-writable" "sources-read-only";
    "old-times":
        "fresh-after-edit-and-back" "fresh-after-check" "clean-one-package"
        "clean-other-profile";
    "trusts-store": "store-flipped" "store-truncated";
    "trusts-times": "edit-keeps-time-and-size";
    "trusts-sizes": "edit-by-rename";
    "trusts-inputs": "edit-before-compiler-reads" "edit-and-back-during-compilation";
    "keys-late": "edit-after-compiler-read";
    "fails": "store-blanked" "store-unusable" "store-full" "store-full-later" "store-thinned";
    "locks": "two-checkouts-at-once" "two-checkouts-at-once-warm";
};
