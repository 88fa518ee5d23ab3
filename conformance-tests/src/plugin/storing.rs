//! Storing.

use std::fs;

use super::bench::{Bench, expect_hit, expect_stored, says_stored};
use super::{Check, Need, Run};
use crate::session::short;
use crate::verdict::{Outcome, require};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "stored-is-found",
        requirement: "BH-BUILT-001",
        title: "after `yes` the entry is found, in this session and in the next",
        needs: &[Need::Built, Need::Want],
        run: Run::Active(found),
    },
    Check {
        id: "stored-content-is-taken",
        requirement: "BH-BUILT-002",
        title: "changing, replacing and deleting the originals after the answer changes nothing",
        needs: &[Need::Built, Need::Want],
        run: Run::Active(content_is_taken),
    },
    Check {
        id: "replace-replaces",
        requirement: "BH-BUILT-005",
        title: "with `replace` the new entry is found, unless the answer was `no`",
        needs: &[Need::Built, Need::Want],
        run: Run::Active(replace),
    },
    Check {
        id: "changed-bytes-are-verified",
        requirement: "BH-BUILT-007",
        title: "what a plugin stores in another form it verifies first",
        needs: &[Need::Built, Need::ChangesBytes],
        run: Run::Active(verified_first),
    },
    Check {
        id: "wrong-size-is-not-kept",
        requirement: "BH-BUILT-008",
        title: "a file that contradicts its `size` is not kept",
        needs: &[Need::Built, Need::Want],
        run: Run::Active(wrong_size),
    },
    Check {
        id: "missing-file-is-not-stored",
        requirement: "BH-BUILT-009",
        title: "a request whose file does not exist is not answered with `yes`",
        needs: &[Need::Built],
        run: Run::Active(missing_file),
    },
];

fn found(bench: &mut Bench<'_>) -> Outcome {
    let mut session = bench.session()?;
    let first = bench.entry("first")?;
    let second = bench.entry("second")?;
    bench.store(&mut session, &first)?;
    bench.expect_hit(&mut session, &first)?;
    bench.store(&mut session, &second)?;
    bench.expect_hit(&mut session, &second)?;
    bench.expect_hit(&mut session, &first)?;
    session.close()?;
    let mut session = bench.session()?;
    bench.expect_hit(&mut session, &first)?;
    bench.expect_hit(&mut session, &second)?;
    session.close().map(|_| ())
}

fn content_is_taken(bench: &mut Bench<'_>) -> Outcome {
    let mut session = bench.session()?;
    let entry = bench.entry("taken")?;
    bench.store(&mut session, &entry)?;
    // One is written to in place, as some build tools do; one is replaced.
    fs::write(&entry.pieces[0].path, b"another build")?;
    let other = bench.input_path();
    fs::write(&other, b"another file")?;
    fs::rename(&other, &entry.pieces[1].path)?;
    bench.expect_hit(&mut session, &entry)?;
    for path in entry.paths() {
        fs::remove_file(path)?;
    }
    bench.expect_hit(&mut session, &entry)?;
    session.close()?;
    let mut session = bench.session()?;
    bench.expect_hit(&mut session, &entry)?;
    session.close().map(|_| ())
}

fn replace(bench: &mut Bench<'_>) -> Outcome {
    let mut session = bench.session()?;
    let old = bench.entry("old")?;
    let new = bench.rival(&old, "new")?;
    bench.store(&mut session, &old)?;
    let mut request = bench.built(&new)?;
    request["replace"] = true.into();
    let answer = bench.tell_as(&mut session, &new, request)?;
    if answer["kind"] == "done" && answer["stored"] == "no" {
        bench.expect_hit(&mut session, &old)?;
        return session.close().map(|_| ());
    }
    require!(
        answer["kind"] == "done" && answer["stored"] == "yes",
        "`replace` was answered: {}",
        short(&answer)
    );
    let answer = bench.ask(&mut session, &new)?;
    let kept = answer["kind"] == "hit" && old.difference(&answer).is_none();
    require!(!kept, "the answer was `yes`, but the old entry is still there");
    expect_hit(&answer, &new)?;
    session.close()?;
    let mut session = bench.session()?;
    bench.expect_hit(&mut session, &new)?;
    session.close().map(|_| ())
}

fn verified_first(bench: &mut Bench<'_>) -> Outcome {
    let mut session = bench.session()?;
    let mut lying = bench.entry("digest")?;
    lying.pieces[0].digest = crate::wire::digest(b"something else");
    lying.reseal();
    let answer = bench.tell(&mut session, &lying)?;
    require!(!says_stored(&answer), "a file with a wrong digest was transformed and stored");
    let mut short_file = bench.entry("size")?;
    short_file.pieces[0].size += 1;
    short_file.reseal();
    let answer = bench.tell(&mut session, &short_file)?;
    require!(!says_stored(&answer), "a file with a wrong size was transformed and stored");
    session.close().map(|_| ())
}

fn wrong_size(bench: &mut Bench<'_>) -> Outcome {
    let mut session = bench.session()?;
    for (label, change) in [("longer", 1), ("shorter", -1)] {
        let mut entry = bench.entry(label)?;
        entry.pieces[0].size = entry.pieces[0].size.saturating_add_signed(change);
        entry.reseal();
        let answer = bench.tell(&mut session, &entry)?;
        require!(!says_stored(&answer), "a {label} `size` than the file's was accepted");
    }
    session.close().map(|_| ())
}

fn missing_file(bench: &mut Bench<'_>) -> Outcome {
    let mut session = bench.session()?;
    for index in 0..2 {
        let entry = bench.entry(&format!("gone {index}"))?;
        fs::remove_file(&entry.pieces[index].path)?;
        let answer = bench.tell(&mut session, &entry)?;
        require!(
            !says_stored(&answer),
            "file {index} does not exist, the answer is {}",
            short(&answer)
        );
        bench.expect_no_hit(&mut session, &entry)?;
    }
    let whole = bench.entry("whole")?;
    let answer = bench.tell(&mut session, &whole)?;
    expect_stored(&answer)?;
    session.close().map(|_| ())
}
