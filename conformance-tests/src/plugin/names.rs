//! Names, paths, and what must survive storing and restoring.

use std::fs;

use serde_json::json;

use super::bench::Bench;
use super::entry::Piece;
use super::{Check, Need, Run};
use crate::verdict::Outcome;

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "empty-files-survive",
        requirement: "BH-FILE-014",
        title: "empty files survive",
        needs: &[Need::Entries],
        run: Run::Active(empty),
    },
    Check {
        id: "executable-bit-survives",
        requirement: "BH-FILE-014",
        title: "the executable bit survives, set and not set",
        needs: &[Need::Entries],
        run: Run::Active(executable),
    },
    Check {
        id: "names-survive",
        requirement: "BH-FILE-014",
        title: "spaces, non-ASCII letters, quotes, deep and long names survive",
        needs: &[Need::Entries],
        run: Run::Active(survive),
    },
    Check {
        id: "source-paths-survive",
        requirement: "BH-FILE-014",
        title: "files are read from paths with spaces, quotes, backslashes and line feeds",
        needs: &[Need::Built],
        run: Run::Active(odd_paths),
    },
    Check {
        id: "hostile-names",
        requirement: "BH-FILE-013",
        title: "names and keys with `..` or a leading `/` write nothing outside the store",
        needs: &[Need::Built],
        run: Run::Active(hostile),
    },
];

fn round_trip(bench: &mut Bench<'_>, pieces: Vec<Piece>) -> Outcome {
    let mut session = bench.session()?;
    let entry = bench.entry_of("names", pieces)?;
    bench.seed(&mut session, &entry)?;
    bench.expect_hit(&mut session, &entry)?;
    session.close()?;
    let mut session = bench.session()?;
    bench.expect_hit(&mut session, &entry)?;
    session.close().map(|_| ())
}

fn empty(bench: &mut Bench<'_>) -> Outcome {
    let pieces = vec![
        bench.piece("out/libfoo.rmeta", b"")?,
        bench.piece("out/foo.d", b"x")?,
        bench.piece("log/stderr", b"")?,
    ];
    round_trip(bench, pieces)?;
    let only = vec![bench.piece("out/empty", b"")?];
    let mut session = bench.session()?;
    let entry = bench.entry_of("only empty", only)?;
    bench.seed(&mut session, &entry)?;
    bench.expect_hit(&mut session, &entry)?;
    session.close().map(|_| ())
}

fn executable(bench: &mut Bench<'_>) -> Outcome {
    let (first, second) = (bench.input_path(), bench.input_path());
    let pieces = vec![
        Piece::write("out/run", first, b"#!/bin/sh\necho run\n", true)?,
        Piece::write("out/data", second, b"#!/bin/sh\necho data\n", false)?,
    ];
    round_trip(bench, pieces)
}

fn survive(bench: &mut Bench<'_>) -> Outcome {
    let long = format!("out/{}", "x".repeat(255));
    let long_text = format!("out/{}", "ü".repeat(127));
    // Below the limits of BH-FILE-001 by what a few filters add to a name.
    let deep = format!("out/{}", ["d"; 11].join("/"));
    let longest = format!("out/{}", ["y".repeat(255), "y".repeat(255), "y".repeat(255)].join("/"));
    let names = [
        "out/with space",
        "out/two  spaces/and 'quotes'",
        "out/über/straße",
        "out/日本語/クレート",
        "out/\u{1f980}",
        // The same letter, composed and not: two different names.
        "out/caf\u{e9}",
        "out/cafe\u{301}",
        "out/-rf",
        "out/.hidden",
        "out/$HOME;`id`&#%",
        "out/a=b,c+d~e!f@g^h(i)[j]{k}",
        "log/@at",
        &long,
        &long_text,
        &deep,
        &longest,
    ];
    let pieces = names.iter().enumerate().map(|(index, name)| {
        let content = format!("content of file {index}");
        bench.piece(name, content.as_bytes())
    });
    let pieces = pieces.collect::<Outcome<Vec<_>>>()?;
    round_trip(bench, pieces)
}

fn odd_paths(bench: &mut Bench<'_>) -> Outcome {
    let names =
        ["input with \"quotes\"", "input back\\slash", "input line\nfeed", "input ünï\u{1f980}"];
    let mut pieces = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let path = bench.folder.join("inputs").join(name);
        let content = format!("content {index}");
        pieces.push(Piece::write(&format!("out/{index}"), path, content.as_bytes(), false)?);
    }
    round_trip(bench, pieces)
}

/// The verdict comes from what is found outside the store afterwards and from
/// the names of later hits.
fn hostile(bench: &mut Bench<'_>) -> Outcome {
    let mut session = bench.session()?;
    let names = [
        "../escape",
        "../../../../escape",
        "out/../../../../escape",
        "/conformance-escape",
        "out/a\u{1}b",
    ];
    for (index, name) in names.iter().enumerate() {
        let mut entry = bench.entry(&format!("name {index}"))?;
        entry.pieces[0].name = (*name).to_owned();
        entry.reseal();
        bench.tell(&mut session, &entry)?;
        bench.ask(&mut session, &entry)?;
    }
    for (index, key) in
        ["../escape", "../../../../escape", "/conformance-escape", ""].iter().enumerate()
    {
        let mut entry = bench.entry(&format!("key {index}"))?;
        entry.key = (*key).to_owned();
        entry.reseal();
        bench.tell(&mut session, &entry)?;
        bench.ask(&mut session, &entry)?;
    }
    let entry = bench.entry("purpose")?;
    let mut request = bench.want(&entry)?;
    request["purpose"] = json!("../../../escape");
    session.ask(request)?;
    session.close()?;
    if fs::symlink_metadata("/conformance-escape").is_ok() {
        fs::remove_file("/conformance-escape")?;
        crate::verdict::fail!("the file /conformance-escape was written");
    }
    bench.check_strays();
    let broken = bench.log.violations();
    match broken.iter().find(|violation| violation.requirement == "BH-FILE-013") {
        Some(violation) => crate::verdict::fail!("{}", violation.text),
        None => Ok(()),
    }
}
