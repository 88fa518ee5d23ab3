//! Hits and misses.

use super::bench::{Bench, expect_hit};
use super::entry::Piece;
use super::{Check, Need, Run};
use crate::verdict::{Outcome, require};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "hit-is-whole",
        requirement: "BH-WANT-001",
        title: "a hit has all files with names, sizes, digests, executable bits, content and seal",
        needs: &[Need::Entries],
        run: Run::Active(whole),
    },
    Check {
        id: "miss-when-absent",
        requirement: "BH-WANT-002",
        title: "no hit for keys under which nothing was stored, in an empty and in a filled store",
        needs: &[Need::Want],
        run: Run::Active(absent),
    },
    Check {
        id: "want-changes-nothing",
        requirement: "BH-WANT-010",
        title: "asking ten times, in two sessions, gives ten times the same",
        needs: &[Need::Entries],
        run: Run::Active(unchanged),
    },
    Check {
        id: "seal-is-opaque",
        requirement: "BH-SEAL-002",
        title: "a seal that the plugin cannot compute comes back unchanged",
        needs: &[Need::Built],
        run: Run::Active(opaque_seal),
    },
];

fn whole(bench: &mut Bench<'_>) -> Outcome {
    let mut session = bench.session()?;
    let sizes = [1, 17, 4_096, 65_535, 65_536, 65_537, 1_000_003];
    let mut pieces = Vec::new();
    for size in sizes {
        let content = bench.random.bytes(size);
        pieces.push(bench.piece(&format!("out/file-{size}"), &content)?);
    }
    let path = bench.input_path();
    pieces.push(Piece::write("out/build-script", path, b"#!/bin/sh\n", true)?);
    pieces.push(bench.piece("log/stderr", b"warning: unused\n")?);
    // Two files of the same content are still two files.
    pieces.push(bench.piece("log/stdout", b"warning: unused\n")?);
    let entry = bench.entry_of("whole", pieces)?;
    bench.seed(&mut session, &entry)?;
    bench.expect_hit(&mut session, &entry)?;
    session.close()?;
    let mut later = bench.session()?;
    bench.expect_hit(&mut later, &entry)?;
    later.close().map(|_| ())
}

fn absent(bench: &mut Bench<'_>) -> Outcome {
    let mut session = bench.session()?;
    let absent = bench.entry("absent")?;
    bench.expect_no_hit(&mut session, &absent)?;
    if bench.setup.capabilities.entries {
        let present = bench.entry("present")?;
        bench.seed(&mut session, &present)?;
        bench.expect_no_hit(&mut session, &absent)?;
    }
    for index in 0..5 {
        let other = bench.entry(&format!("absent {index}"))?;
        bench.expect_no_hit(&mut session, &other)?;
    }
    session.close().map(|_| ())
}

fn unchanged(bench: &mut Bench<'_>) -> Outcome {
    let present = bench.entry("present")?;
    let absent = bench.entry("absent")?;
    let mut session = bench.session()?;
    bench.seed(&mut session, &present)?;
    for _ in 0..2 {
        for round in 1..=5 {
            let answer = bench.ask(&mut session, &present)?;
            require!(answer["kind"] == "hit", "round {round}: a hit became {}", answer["kind"]);
            expect_hit(&answer, &present)?;
            bench.expect_no_hit(&mut session, &absent)?;
        }
        session.close()?;
        session = bench.session()?;
    }
    session.close().map(|_| ())
}

fn opaque_seal(bench: &mut Bench<'_>) -> Outcome {
    let mut session = bench.session()?;
    let mut entry = bench.entry("sealed")?;
    entry.seal = crate::wire::digest(&bench.random.bytes(16));
    bench.store(&mut session, &entry)?;
    bench.expect_hit(&mut session, &entry)?;
    let mut odd = bench.entry("odd")?;
    odd.seal = "x-seal \u{fc} \"of\" another host".to_owned();
    bench.store(&mut session, &odd)?;
    bench.expect_hit(&mut session, &odd)?;
    session.close().map(|_| ())
}
