//! What a host sends, and how it starts and ends a plugin.

use super::builds::{Build, Builds, CANARY};
use super::script::Script;
use super::{Check, active};
use crate::suite::observed;
use crate::verdict::{Outcome, Stop, require};

pub(super) const WATCHED: &[Check] = observed! {
    "host-seen-messages" "BH-WIRE-001" "every line is one JSON object in UTF-8";
    "host-seen-bounds" "BH-WIRE-002" "no message is too long, too deep or has too many files";
    "host-seen-duplicates" "BH-WIRE-006" "no member name is repeated";
    "host-seen-integers" "BH-WIRE-007" "numbers are integers from 0 to 2^53 - 1";
    "host-seen-characters" "BH-WIRE-008" "no lone surrogate, no U+0000";
    "host-seen-nulls" "BH-WIRE-014" "no member is null";
    "host-seen-unknown-members" "BH-WIRE-016" "no unknown member";
    "host-seen-in-flight" "BH-HELLO-005" "no second request while `max-in-flight` is 1";
    "host-seen-ids" "BH-REQ-009" "no id is used twice in a session";
    "host-seen-requests" "BH-REQ-010" "requests are complete";
    "host-seen-names" "BH-FILE-001" "names are legal";
    "host-seen-short-names" "BH-FILE-015" "names leave room for filters";
    "host-seen-unique-names" "BH-FILE-002" "names do not clash";
    "host-seen-paths" "BH-FILE-003" "paths are absolute and of regular files";
    "host-seen-owned" "BH-FILE-009" "owned files lie in `scratch`";
    "host-seen-borrowed" "BH-FILE-010" "files stay what their records say until the answer";
    "host-seen-seals" "BH-SEAL-001" "seals are those of the files";
    "host-seen-builds" "BH-ERR-005" "no build fails, whatever the plugin does";
};

pub(super) const CHECKS: &[Check] = &[
    active(
        "host-one-version",
        "BH-HELLO-006",
        "a plugin of version 99 gets no request",
        version_99,
    ),
    active(
        "host-chosen-version",
        "BH-HELLO-007",
        "of 7 and 1 the host chooses 1 and sends it",
        versions,
    ),
    active(
        "host-read-only-plugin",
        "BH-HELLO-005",
        "a read-only plugin gets no built-a-thing",
        want_only,
    ),
    active(
        "host-write-only-plugin",
        "BH-HELLO-005",
        "a write-only plugin gets no want-to-build",
        built_only,
    ),
    active(
        "host-silent-hello",
        "BH-HELLO-009",
        "a plugin without a hello does not stop the build",
        silent,
    ),
    active(
        "host-manifest",
        "BH-FEAT-001",
        "manifests are sent when asked for, without secrets",
        manifest,
    ),
    active(
        "host-key-of-manifest",
        "BH-KEY-001",
        "the key is BLAKE3 of a canonical manifest",
        canonical,
    ),
    active(
        "host-closes-input",
        "BH-END-002",
        "standard input is closed, and `drain-ms` is waited for",
        drains,
    ),
    active(
        "host-ends-plugin",
        "BH-END-003",
        "a plugin that hangs is ended, and nothing is left",
        hangs,
    ),
    active(
        "host-descriptors",
        "BH-END-009",
        "the plugin gets no descriptor but the three",
        descriptors,
    ),
    active("host-late-answer", "BH-REQ-006", "the host does not wait for a late answer", late),
];

/// That something was asked at all, or a check says nothing.
fn asked(build: &Build) -> Outcome {
    match build.events("start").next() {
        Some(_) => Ok(()),
        None => Err(Stop::Fail("the host never started the plugin of BUILDHOOK_HOOK".to_owned())),
    }
}

/// Fails when a scripted plugin noted a breach of `requirement`.
pub(super) fn unbroken(builds: &Builds<'_>, requirement: &str) -> Outcome {
    let broken = builds.log.violations();
    match broken.iter().find(|violation| violation.requirement == requirement) {
        Some(violation) => Err(Stop::Fail(violation.text.clone())),
        None => Ok(()),
    }
}

fn watched(builds: &mut Builds<'_>, script: Script, requirement: &str) -> Outcome<Build> {
    let build = builds.build(script)?;
    asked(&build)?;
    unbroken(builds, requirement)?;
    Ok(build)
}

fn version_99(builds: &mut Builds<'_>) -> Outcome {
    watched(builds, Script::Version99, "BH-HELLO-006").map(|_| ())
}

fn versions(builds: &mut Builds<'_>) -> Outcome {
    let build = watched(builds, Script::Versions1And7, "BH-HELLO-007")?;
    let any = build.events("request").next().is_some();
    require!(any, "a plugin that speaks 7 and 1 got no request");
    Ok(())
}

fn want_only(builds: &mut Builds<'_>) -> Outcome {
    watched(builds, Script::WantOnly, "BH-HELLO-005").map(|_| ())
}

fn built_only(builds: &mut Builds<'_>) -> Outcome {
    watched(builds, Script::BuiltOnly, "BH-HELLO-005").map(|_| ())
}

fn silent(builds: &mut Builds<'_>) -> Outcome {
    watched(builds, Script::SilentHello, "BH-HELLO-009").map(|_| ())
}

fn manifest(builds: &mut Builds<'_>) -> Outcome {
    let build = watched(builds, Script::Manifest, "BH-FEAT-001")?;
    for note in build.events("request") {
        let text = note["manifest-text"].as_str();
        require!(
            text.is_some(),
            "a request without a readable `manifest`: {}",
            note["message"]["id"]
        );
        let secret = text.is_some_and(|text| text.contains(CANARY));
        require!(!secret, "a manifest holds the value of CONFORMANCE_ACCESS_TOKEN");
    }
    Ok(())
}

fn canonical(builds: &mut Builds<'_>) -> Outcome {
    let build = watched(builds, Script::Manifest, "BH-KEY-001")?;
    for note in build.events("request") {
        let Some(text) = note["manifest-text"].as_str() else { continue };
        let key = crate::wire::digest(text.as_bytes());
        require!(
            note["message"]["key"] == key,
            "the key {} is not that of the manifest",
            note["message"]["key"]
        );
        // serde_json sorts members by their bytes and writes no white space.
        let again = serde_json::from_str::<serde_json::Value>(text).map(|value| value.to_string());
        require!(again.is_ok_and(|again| again == text), "a manifest is not canonical JSON");
    }
    Ok(())
}

fn drains(builds: &mut Builds<'_>) -> Outcome {
    let build = watched(builds, Script::Drains, "BH-END-002")?;
    let started = build.events("start").count();
    let closed = build.events("end-of-input").count();
    let drained = build.events("exit").count();
    require!(closed == started, "standard input was closed for {closed} of {started} plugins");
    require!(
        drained == started,
        "{drained} of {started} plugins got 400 ms of their `drain-ms` of 1000"
    );
    Ok(())
}

fn hangs(builds: &mut Builds<'_>) -> Outcome {
    let build = builds.build(Script::HangsAtEnd)?;
    asked(&build)?;
    require!(!build.left, "the plugin still runs after the build");
    Ok(())
}

fn descriptors(builds: &mut Builds<'_>) -> Outcome {
    let build = builds.build(Script::Store)?;
    asked(&build)?;
    // What the suite itself was given goes through any program in between.
    let ours = super::script::descriptors();
    for start in build.events("start") {
        let passed = start["descriptors"].as_array().into_iter().flatten();
        let passed = passed
            .filter_map(|name| name.as_str())
            .find(|name| !ours.iter().any(|own| own == name));
        require!(passed.is_none(), "the plugin was given {}", passed.unwrap_or_default());
    }
    Ok(())
}

fn late(builds: &mut Builds<'_>) -> Outcome {
    watched(builds, Script::Late, "BH-REQ-006").map(|_| ())
}
