//! The store: whatever happens to it, builds succeed and are right.

use crate::cache::case::{Case, Damage as Harm, Need, SAME, Script, Step::*, When};
use crate::cache::template::value_is;

const STORE: Case = Case { family: "store", ..SAME };

const WARNS: &[(&str, &str)] =
    &[("part/src/lib.rs", concat!("fn unused() {}\n", value_is!("\"one\".to_owned()")))];

pub(super) const CASES: &[Case] = &[
    Case {
        id: "zoo/store-flipped",
        claim: "A stored file with changed bytes is a miss, and what is built then is right.",
        files: WARNS,
        script: Script::Steps(&[
            Build,
            Twin,
            Damage(Harm::Flip),
            Empty,
            Build,
            Check,
            Empty,
            Build,
            Fresh,
            Check,
        ]),
        ..STORE
    },
    Case {
        id: "zoo/store-truncated",
        claim: "A stored file that was cut is a miss, and what is built then is right.",
        files: WARNS,
        script: Script::Steps(&[
            Build,
            Twin,
            Damage(Harm::Truncate),
            Empty,
            Build,
            Check,
            Empty,
            Build,
            Fresh,
            Check,
        ]),
        ..STORE
    },
    Case {
        id: "zoo/store-blanked",
        claim: "A stored file that became empty is a miss, and what is built then is right.",
        files: WARNS,
        script: Script::Steps(&[
            Build,
            Twin,
            Damage(Harm::Blank),
            Empty,
            Build,
            Check,
            Empty,
            Build,
            Fresh,
            Check,
        ]),
        ..STORE
    },
    Case {
        id: "zoo/store-thinned",
        claim: "A store that lost every second file does not fail a build.",
        files: WARNS,
        script: Script::Steps(&[
            Build,
            Twin,
            Damage(Harm::Thin),
            Empty,
            Build,
            Check,
            Empty,
            Build,
            Fresh,
            Check,
        ]),
        ..STORE
    },
    Case {
        id: "zoo/store-removed",
        claim: "A store that was removed, in the middle of things, does not fail a build.",
        script: Script::Steps(&[
            Build,
            Twin,
            Sh("rm -rf @CASE@/cache/* @CASE@/home/.cache"),
            Empty,
            Build,
            Check,
            Empty,
            Build,
            Fresh,
            Check,
        ]),
        ..STORE
    },
    Case {
        id: "zoo/store-unusable",
        claim: "A cache folder that cannot be one does not fail a build.",
        script: Script::Steps(&[
            Server(false),
            Damage(Harm::Unusable),
            Build,
            Fresh,
            Check,
            Empty,
            Build,
            Check,
        ]),
        ..STORE
    },
    Case {
        id: "zoo/store-full",
        claim: "A cache folder with no space left does not fail a build.",
        needs: &[Need::Mount],
        script: Script::Steps(&[SmallCache, Build, Check, Empty, Build, Check]),
        ..STORE
    },
    Case {
        id: "zoo/store-full-later",
        claim: "A cache folder that loses its space after a build does not fail the next.",
        needs: &[Need::Mount],
        files: WARNS,
        script: Script::Steps(&[Build, Check, SmallCache, Empty, Build, Check, Fresh]),
        ..STORE
    },
    Case {
        id: "zoo/killed-while-compiling",
        claim: "A build that was killed in the middle leaves nothing that harms the next.",
        script: Script::Steps(&[
            Hook(When::After, "part", "kill -9 0"),
            Broken,
            Build,
            Fresh,
            Check,
            Empty,
            Build,
            Check,
        ]),
        ..STORE
    },
    Case {
        id: "zoo/killed-half-written",
        claim: "Outputs that a killed compiler left half written are never stored.",
        script: Script::Steps(&[
            Hook(
                When::After,
                "part",
                "for f in @CASE@/ws/target/debug/deps/*part*; do : >$f; done; kill -9 0",
            ),
            Broken,
            Build,
            Check,
            Empty,
            Build,
            Check,
        ]),
        ..STORE
    },
    Case {
        id: "zoo/compiler-crashed",
        claim: "A compiler that dies by a signal is a failed compilation, not an entry.",
        script: Script::Steps(&[
            Hook(When::After, "part", "kill -9 $$"),
            Broken,
            Build,
            Check,
            Empty,
            Build,
            Check,
        ]),
        ..STORE
    },
    Case {
        id: "zoo/no-home",
        claim: "A build without HOME succeeds.",
        env: &[("HOME", "/nonexistent")],
        script: Script::Steps(&[Build, Twin, Check]),
        ..STORE
    },
    Case {
        id: "zoo/server-gone",
        claim: "A cache whose server was stopped between builds does not fail a build.",
        script: Script::Steps(&[Build, Twin, Server(false), Empty, Build, Fresh, Check]),
        ..STORE
    },
];
