//! Faults of the machine: no space, no permission, read-only.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;

use super::bench::{Bench, LONG_DEADLINE_MS, expect_hit, says_stored};
use super::entry::Entry;
use super::{Check, Need, Run};
use crate::sandbox::Sandbox;
use crate::session::{Session, short};
use crate::verdict::{Outcome, Stop, require};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "no-space",
        requirement: "BH-BUILT-009",
        title: "an entry of 4 MiB on a file system of 1 MiB is not said to be stored",
        needs: &[Need::Built, Need::Want, Need::Store],
        run: Run::Active(no_space),
    },
    Check {
        id: "no-permission",
        requirement: "BH-BUILT-009",
        title: "in a store without write permission nothing is said to be stored; hits go on",
        needs: &[Need::Built, Need::Want, Need::Store],
        run: Run::Active(no_permission),
    },
    Check {
        id: "read-only-store",
        requirement: "BH-BUILT-009",
        title: "on a read-only file system nothing is said to be stored; hits go on",
        needs: &[Need::Built, Need::Want, Need::Store],
        run: Run::Active(read_only),
    },
    Check {
        id: "unreadable-file",
        requirement: "BH-BUILT-009",
        title: "a request with a file that may not be read, or is a folder, is not answered with `yes`",
        needs: &[Need::Built],
        run: Run::Active(unreadable),
    },
];

/// Tells of an entry and expects that it is not said to be stored, or that it
/// really can be found.
fn not_stored_or_found(bench: &mut Bench<'_>, session: &mut Session, entry: &Entry) -> Outcome {
    let mut request = bench.built(entry)?;
    request["deadline-ms"] = LONG_DEADLINE_MS.into();
    let answer = bench.tell_as(session, entry, request)?;
    let wanted = bench.ask(session, entry)?;
    if wanted["kind"] == "hit" {
        return expect_hit(&wanted, entry);
    }
    require!(!says_stored(&answer), "answered {} and then {}", short(&answer), short(&wanted));
    Ok(())
}

fn no_space(bench: &mut Bench<'_>) -> Outcome {
    let sandbox =
        Sandbox { small: Some(bench.store_folder()), size_bytes: 1 << 20, ..Sandbox::default() };
    let mut session = bench.sandboxed(&sandbox)?;
    let small = bench.entry("small")?;
    let content = bench.random.bytes(4 << 20);
    let pieces = vec![bench.piece("out/first", b"first")?, bench.piece("out/big", &content)?];
    let big = bench.entry_of("big", pieces)?;
    not_stored_or_found(bench, &mut session, &small)?;
    not_stored_or_found(bench, &mut session, &big)?;
    // The session lives on, and what was stored before is still whole.
    bench.whole_or_no_hit(&mut session, &small)?;
    session.close().map(|_| ())
}

fn set_mode(folder: &Path, mode: u32) -> Outcome {
    crate::evidence::walk(folder, &mut |path, metadata| {
        if metadata.is_dir() {
            // A failure shows as a store that can still be written.
            let _ = fs::set_permissions(path, fs::Permissions::from_mode(mode));
        }
    });
    Ok(fs::set_permissions(folder, fs::Permissions::from_mode(mode))?)
}

/// Fills the store, then goes on in `sandbox`.
fn restricted(bench: &mut Bench<'_>, sandbox: Option<&Sandbox>, mode: Option<u32>) -> Outcome {
    let old = bench.entry("old")?;
    let mut session = bench.session()?;
    bench.store(&mut session, &old)?;
    session.close()?;
    let store = bench.store_folder();
    if let Some(mode) = mode {
        set_mode(&store, mode)?;
    }
    let outcome = in_restricted(bench, sandbox, &old);
    if mode.is_some() {
        set_mode(&store, 0o755)?;
    }
    outcome
}

fn in_restricted(bench: &mut Bench<'_>, sandbox: Option<&Sandbox>, old: &Entry) -> Outcome {
    let mut session = match sandbox {
        Some(sandbox) => bench.sandboxed(sandbox)?,
        None => bench.session()?,
    };
    let new = bench.entry("new")?;
    not_stored_or_found(bench, &mut session, &new)?;
    bench.expect_hit(&mut session, old)?;
    session.close().map(|_| ())
}

fn no_permission(bench: &mut Bench<'_>) -> Outcome {
    let root = rustix::process::geteuid().is_root();
    let sandbox = root.then(|| Sandbox { unprivileged: true, ..Sandbox::default() });
    restricted(bench, sandbox.as_ref(), Some(0o555))
}

fn read_only(bench: &mut Bench<'_>) -> Outcome {
    let sandbox = Sandbox { read_only: Some(bench.store_folder()), ..Sandbox::default() };
    restricted(bench, Some(&sandbox), None)
}

fn unreadable(bench: &mut Bench<'_>) -> Outcome {
    let mut session = match rustix::process::geteuid().is_root() {
        true => bench.sandboxed(&Sandbox { unprivileged: true, ..Sandbox::default() })?,
        false => bench.session()?,
    };
    let secret = bench.entry("secret")?;
    fs::set_permissions(&secret.pieces[0].path, fs::Permissions::from_mode(0o000))?;
    let folder = bench.entry("folder")?;
    fs::remove_file(&folder.pieces[1].path)?;
    fs::create_dir(&folder.pieces[1].path)?;
    for entry in [&secret, &folder] {
        let request = bench.built(entry)?;
        let answer: Value = session.ask(request)?;
        require!(!says_stored(&answer), "answered {}", short(&answer));
        bench.expect_no_hit(&mut session, entry)?;
    }
    fs::remove_dir(&folder.pieces[1].path).map_err(Stop::from)?;
    session.close().map(|_| ())
}
