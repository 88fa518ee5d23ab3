//! What a host does with hits.

use super::builds::Builds;
use super::checks::unbroken;
use super::script::Script;
use super::{Check, with_hits};
use crate::evidence::{Snapshot, walk};
use crate::verdict::{Outcome, Stop, require};

pub(super) const CHECKS: &[Check] = &[
    with_hits("host-unknown-members", "BH-WIRE-005", "hits with unknown members are used", unknown),
    with_hits("host-null-members", "BH-WIRE-015", "null members count as absent", nulls),
    with_hits("host-unknown-features", "BH-FEAT-002", "unknown features change nothing", features),
    with_hits(
        "host-borrowed-hits",
        "BH-FILE-006",
        "borrowed files of hits are only read",
        borrowed,
    ),
    with_hits("host-shared-hits", "BH-FILE-007", "shared files of hits are not changed", shared),
    with_hits(
        "host-shared-outputs",
        "BH-FILE-011",
        "files offered as shared do not change later",
        offered,
    ),
    with_hits(
        "host-wrong-content",
        "BH-WANT-006",
        "a hit with other content than its digest is a miss",
        content,
    ),
    with_hits(
        "host-wrong-size",
        "BH-WANT-006",
        "a hit with other sizes than its files is a miss",
        size,
    ),
    with_hits(
        "host-wrong-seal",
        "BH-WANT-007",
        "a hit whose files do not fit its seal is a miss",
        misfiled,
    ),
    with_hits(
        "host-partial-hit",
        "BH-WANT-008",
        "of a hit with a file that is not there nothing is used",
        partial,
    ),
];

/// Builds over a filled store and expects that the same hits are used.
fn used(builds: &mut Builds<'_>, requirement: &str) -> Outcome {
    let build = builds.build(Script::Decorated)?;
    unbroken(builds, requirement)?;
    let used = build.used_keys();
    let lost = builds.setup.used_keys.iter().find(|key| !used.contains(*key));
    require!(lost.is_none(), "a hit that was used before is not used with them: {lost:?}");
    let starts = build.events("start").count();
    let before = builds.setup.starts;
    require!(
        starts == before,
        "the plugin was started {starts} times, without them {before} times"
    );
    Ok(())
}

fn unknown(builds: &mut Builds<'_>) -> Outcome {
    used(builds, "BH-WIRE-005")
}

fn nulls(builds: &mut Builds<'_>) -> Outcome {
    used(builds, "BH-WIRE-015")
}

fn features(builds: &mut Builds<'_>) -> Outcome {
    used(builds, "BH-FEAT-002")
}

/// What happens to the files of the store during and after a build with hits.
fn changes(builds: &mut Builds<'_>, script: Script, exclusive: bool) -> Outcome<Option<String>> {
    let mut paths = Vec::new();
    walk(&builds.setup.filled, &mut |path, metadata| {
        if metadata.is_file() {
            paths.push(path.to_owned());
        }
    });
    let before = Snapshot::of(paths.iter().map(std::path::PathBuf::as_path));
    builds.build(script)?;
    Ok(before.changes(exclusive))
}

fn borrowed(builds: &mut Builds<'_>) -> Outcome {
    let change = changes(builds, Script::Borrowed, true)?;
    require!(change.is_none(), "{}", change.unwrap_or_default());
    Ok(())
}

fn shared(builds: &mut Builds<'_>) -> Outcome {
    let change = changes(builds, Script::Frozen, false)?;
    require!(change.is_none(), "{}", change.unwrap_or_default());
    Ok(())
}

fn offered(builds: &mut Builds<'_>) -> Outcome {
    let build = builds.build(Script::Store)?;
    let mut any = false;
    for request in build.requests("built-a-thing") {
        let shared = |file: &&serde_json::Value| file["lease"] == "shared";
        for file in request["files"].as_array().into_iter().flatten().filter(shared) {
            any = true;
            let path = std::path::Path::new(file["path"].as_str().unwrap_or_default());
            let digest = crate::wire::digest_file(path).ok();
            let same = digest.is_none() || digest.as_deref() == file["digest"].as_str();
            require!(same, "{} was shared and changed", path.display());
        }
    }
    if any {
        Ok(())
    } else {
        Err(Stop::NotApplicable("the host offers nothing as shared".to_owned()))
    }
}

/// Builds over spoiled hits: none of their content may be in the result.
fn unspoiled(builds: &mut Builds<'_>, script: Script) -> Outcome {
    let build = builds.build(script)?;
    require!(
        build.events("hit").next().is_some(),
        "no hit was offered: the keys of two builds differ"
    );
    let poisoned = build.poisoned();
    require!(poisoned.is_none(), "{} holds what a spoiled hit held", poisoned.unwrap_or_default());
    Ok(())
}

fn content(builds: &mut Builds<'_>) -> Outcome {
    unspoiled(builds, Script::WrongContent)
}

fn size(builds: &mut Builds<'_>) -> Outcome {
    unspoiled(builds, Script::WrongSize)
}

fn misfiled(builds: &mut Builds<'_>) -> Outcome {
    unspoiled(builds, Script::Misfiled)
}

fn partial(builds: &mut Builds<'_>) -> Outcome {
    unspoiled(builds, Script::MissingFile)
}
