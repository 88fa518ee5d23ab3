//! Large things.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;

use super::bench::{Bench, LONG_DEADLINE_MS, expect_hit, expect_stored};
use super::entry::Piece;
use super::{Check, Need, Run};
use crate::verdict::{Outcome, Stop, fail, require};
use crate::wire::digest_file;

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "line-of-one-mib",
        requirement: "BH-WIRE-005",
        title: "a request of 1 MiB, most of it unknown members, means the same",
        needs: &[Need::Entries],
        run: Run::Active(one_mib),
    },
    Check {
        id: "line-of-64-mib",
        requirement: "BH-WIRE-010",
        title: "64 MiB without a line feed are not answered with a hit or done, and end in time",
        needs: &[Need::Want],
        run: Run::Slow(sixty_four_mib),
    },
    Check {
        id: "ten-thousand-files",
        requirement: "BH-WANT-001",
        title: "an entry of ten thousand files comes back whole, or is declined",
        needs: &[Need::Built, Need::Want],
        run: Run::Slow(ten_thousand),
    },
    Check {
        id: "more-than-4-gib",
        requirement: "BH-FILE-014",
        title: "a sparse file of 4 GiB and 3 bytes survives with its size and content",
        needs: &[Need::Built, Need::Want],
        run: Run::Slow(four_gib),
    },
];

fn one_mib(bench: &mut Bench<'_>) -> Outcome {
    let mut session = bench.session()?;
    let entry = bench.entry("padded")?;
    bench.seed(&mut session, &entry)?;
    let mut request = bench.want(&entry)?;
    // Escapes and letters of several bytes, so that buffers break inside them.
    request["x-padding"] = "é\\\"\u{1f980}".repeat(100_000).into();
    expect_hit(&session.ask(request)?, &entry)?;
    bench.expect_hit(&mut session, &entry)?;
    session.close().map(|_| ())
}

fn sixty_four_mib(bench: &mut Bench<'_>) -> Outcome {
    let mut session = bench.session()?;
    let scratch = bench.scratch()?;
    let mut line = b"{\"v\":1,\"id\":7,\"kind\":\"want-to-build\",\"x-padding\":\"".to_vec();
    line.resize(64 << 20, b'x');
    line.push(b'\n');
    session.send_as(7, json!({"kind": "want-to-build", "scratch": scratch}), line);
    let limit = bench.limit(Duration::from_secs(20));
    if let Ok(Some((_, answer))) = session.next_answer(limit) {
        let kind = &answer["kind"];
        require!(kind != "hit" && kind != "done", "a line with no end was answered with {kind}");
    }
    drop(session);
    let mut session = bench.session()?;
    let entry = bench.entry("after")?;
    bench.expect_no_hit(&mut session, &entry)?;
    session.close().map(|_| ())
}

fn ten_thousand(bench: &mut Bench<'_>) -> Outcome {
    let mut pieces = Vec::new();
    for index in 0..10_000 {
        let content = format!("content {index}");
        pieces.push(bench.piece(&format!("out/{}/file-{index}", index % 97), content.as_bytes())?);
    }
    let entry = bench.entry_of("many", pieces)?;
    let mut session = bench.session()?;
    let mut request = bench.built(&entry)?;
    request["deadline-ms"] = LONG_DEADLINE_MS.into();
    let answer = session.ask(request)?;
    if answer["stored"] == "no" || answer["kind"] == "error" {
        return session.close().map(|_| ());
    }
    expect_stored(&answer)?;
    let mut request = bench.want(&entry)?;
    request["deadline-ms"] = LONG_DEADLINE_MS.into();
    expect_hit(&session.ask(request)?, &entry)?;
    session.close().map(|_| ())
}

/// Just above what 32 bits can count.
const HUGE_BYTES: u64 = (1 << 32) + 3;
/// Space for the copy in the store, if it is not sparse, and one in `scratch`.
const HUGE_SPACE_BYTES: u64 = 3 * HUGE_BYTES;

fn four_gib(bench: &mut Bench<'_>) -> Outcome {
    let space =
        rustix::fs::statvfs(&bench.folder).map_err(|error| Stop::Suite(error.to_string()))?;
    if space.f_bavail.saturating_mul(space.f_frsize) < HUGE_SPACE_BYTES {
        return Err(Stop::Untestable("less than 12 GiB of disk are free".to_owned()));
    }
    let path = bench.input_path();
    let file = fs::File::create(&path)?;
    file.set_len(HUGE_BYTES)?;
    std::os::unix::fs::FileExt::write_all_at(&file, b"end", HUGE_BYTES - 3)?;
    drop(file);
    let digest = digest_file(&path)?;
    let name = "out/huge".to_owned();
    let piece = Piece { name, path: path.clone(), size: HUGE_BYTES, digest, executable: false };
    let entry = bench.entry_of("huge", vec![piece])?;
    let mut session = bench.session()?;
    let mut request = bench.built(&entry)?;
    request["deadline-ms"] = LONG_DEADLINE_MS.into();
    let start = Instant::now();
    let answer = session.ask(request)?;
    if answer["stored"] == "no" || answer["kind"] == "error" {
        fail!(
            "a file of more than 4 GiB was declined after {} ms: {answer}",
            start.elapsed().as_millis()
        );
    }
    expect_stored(&answer)?;
    let mut request = bench.want(&entry)?;
    request["deadline-ms"] = LONG_DEADLINE_MS.into();
    expect_hit(&session.ask(request)?, &entry)?;
    session.close()?;
    // Gigabytes are not kept until the end of the run.
    fs::remove_file(&path)?;
    let scratch = bench.folder.join("scratch");
    for folder in [bench.store_folder(), bench.child_store(), scratch] {
        crate::evidence::walk(&folder, &mut |path, metadata| {
            if metadata.is_file() && metadata.len() > 1 << 30 {
                // What cannot be removed now goes with the folder.
                let _ = fs::remove_file(path);
            }
        });
    }
    Ok(())
}
