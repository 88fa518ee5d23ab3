//! Plugins that are wrong: no build may fail, no session may go on.

use super::builds::Builds;
use super::checks::unbroken;
use super::script::{NOISE, NOISE_BYTES, Script};
use super::{Check, active};
use crate::evidence::walk;
use crate::verdict::{Outcome, Stop, require};

pub(super) const CHECKS: &[Check] = &[
    active("host-not-json", "BH-WIRE-009", "a line that is no JSON ends the session", not_json),
    active("host-array-answer", "BH-WIRE-009", "an array for an object ends the session", array),
    active("host-duplicate-member", "BH-WIRE-009", "a repeated member ends the session", duplicate),
    active("host-fraction", "BH-WIRE-009", "a number with a fraction ends the session", fraction),
    active("host-surrogate", "BH-WIRE-009", "a lone surrogate ends the session", surrogate),
    active("host-deep", "BH-WIRE-009", "40 levels of nesting end the session", deep),
    active("host-long-line", "BH-WIRE-009", "a line above 16 MiB ends the session", long_line),
    active(
        "host-noisy",
        "BH-WIRE-012",
        "noise on standard error is read, bounded and not recorded",
        noisy,
    ),
    active(
        "host-request-error",
        "BH-ERR-001",
        "an error counts as a miss, and as not stored",
        request_error,
    ),
    active(
        "host-session-error",
        "BH-ERR-002",
        "after an error of scope session nothing is sent",
        session_error,
    ),
    active("host-absent", "BH-ERR-005", "a plugin that does not exist fails no build", absent),
    active("host-dies", "BH-ERR-005", "a plugin that dies on a request fails no build", dies),
    active(
        "host-error-hello",
        "BH-ERR-005",
        "a plugin whose hello is an error fails no build",
        error_hello,
    ),
    active(
        "host-gives-up",
        "BH-ERR-006",
        "a plugin that dies at start is soon left alone",
        gives_up,
    ),
];

fn ends_session(builds: &mut Builds<'_>, script: Script) -> Outcome {
    builds.build(script)?;
    unbroken(builds, "BH-WIRE-009")
}

fn not_json(builds: &mut Builds<'_>) -> Outcome {
    ends_session(builds, Script::NotJson)
}

fn array(builds: &mut Builds<'_>) -> Outcome {
    ends_session(builds, Script::ArrayAnswer)
}

fn duplicate(builds: &mut Builds<'_>) -> Outcome {
    ends_session(builds, Script::DuplicateMember)
}

fn fraction(builds: &mut Builds<'_>) -> Outcome {
    ends_session(builds, Script::Fraction)
}

fn surrogate(builds: &mut Builds<'_>) -> Outcome {
    ends_session(builds, Script::Surrogate)
}

fn deep(builds: &mut Builds<'_>) -> Outcome {
    ends_session(builds, Script::Deep)
}

fn long_line(builds: &mut Builds<'_>) -> Outcome {
    ends_session(builds, Script::LongLine)
}

fn noisy(builds: &mut Builds<'_>) -> Outcome {
    let build = builds.build(Script::Noisy)?;
    let most = NOISE_BYTES as u64 / 2;
    require!(build.stderr_bytes < most, "{} bytes of noise came through", build.stderr_bytes);
    let mut recorded = None;
    walk(&build.target, &mut |path, metadata| {
        let small = metadata.is_file() && metadata.len() < 1 << 22;
        let holds = |bytes: Vec<u8>| memchr::memmem::find(&bytes, NOISE.as_bytes()).is_some();
        if small && std::fs::read(path).is_ok_and(holds) {
            recorded = Some(path.display().to_string());
        }
    });
    require!(recorded.is_none(), "the noise was recorded in {}", recorded.unwrap_or_default());
    Ok(())
}

fn request_error(builds: &mut Builds<'_>) -> Outcome {
    let build = builds.build(Script::RequestError)?;
    let asked = build.requests("want-to-build").count();
    require!(asked > 0, "the host asked nothing");
    Ok(())
}

fn session_error(builds: &mut Builds<'_>) -> Outcome {
    builds.build(Script::SessionError)?;
    unbroken(builds, "BH-ERR-002")
}

fn absent(builds: &mut Builds<'_>) -> Outcome {
    let missing = builds.folder.join("no-such-plugin");
    builds.build_with(&crate::plugin::bench::text(&missing)).map(|_| ())
}

fn dies(builds: &mut Builds<'_>) -> Outcome {
    builds.build(Script::DiesOnRequest).map(|_| ())
}

fn error_hello(builds: &mut Builds<'_>) -> Outcome {
    builds.build(Script::ErrorHello).map(|_| ())
}

/// Starts that still count as a few.
const FEW: usize = 6;

fn gives_up(builds: &mut Builds<'_>) -> Outcome {
    if builds.setup.units <= FEW {
        let text = format!(
            "the build has {} units; more than {FEW} are needed to tell",
            builds.setup.units
        );
        return Err(Stop::NotApplicable(text));
    }
    let build = builds.build(Script::DiesAtStart)?;
    let starts = build.events("start").count();
    require!(
        starts <= FEW,
        "it was started {starts} times in a build of {} units",
        builds.setup.units
    );
    let told = String::from_utf8_lossy(&build.stderr).lines().count();
    require!(told <= 100, "{told} lines were written about it");
    Ok(())
}
