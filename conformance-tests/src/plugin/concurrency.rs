//! Many processes, one store.

use std::sync::Barrier;
use std::thread;

use serde_json::Value;

use super::bench::{Bench, expect_hit, says_stored};
use super::entry::Entry;
use super::{Check, Need, Run};
use crate::session::{Session, short};
use crate::verdict::{Outcome, Stop, require};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "many-sessions",
        requirement: "BH-END-005",
        title: "six sessions at once store and find their own and each other's entries",
        needs: &[Need::Built, Need::Want],
        run: Run::Active(many_sessions),
    },
    Check {
        id: "readers-see-whole-entries",
        requirement: "BH-BUILT-003",
        title: "while one session replaces an entry, two others see the old or the new one",
        needs: &[Need::Built, Need::Want],
        run: Run::Active(readers),
    },
    Check {
        id: "writers-do-not-mix",
        requirement: "BH-BUILT-006",
        title: "four sessions store different entries under one key at once; one is left whole",
        needs: &[Need::Built, Need::Want],
        run: Run::Active(writers),
    },
    Check {
        id: "in-flight-requests",
        requirement: "BH-REQ-001",
        title: "as many requests as `max-in-flight` allows, at once, get their own answers",
        needs: &[Need::Entries, Need::Parallel],
        run: Run::Active(in_flight),
    },
];

/// Runs `work` on one thread per item, started together.
fn at_once<T: Send, R: Send>(items: Vec<T>, work: impl Fn(T) -> R + Sync) -> Outcome<Vec<R>> {
    let barrier = Barrier::new(items.len());
    thread::scope(|scope| {
        let handles: Vec<_> = items
            .into_iter()
            .map(|item| {
                let (barrier, work) = (&barrier, &work);
                scope.spawn(move || {
                    barrier.wait();
                    work(item)
                })
            })
            .collect();
        let join = |handle: thread::ScopedJoinHandle<'_, R>| {
            handle.join().map_err(|_| Stop::Suite("a thread of the suite panicked".to_owned()))
        };
        handles.into_iter().map(join).collect()
    })
}

fn many_sessions(bench: &mut Bench<'_>) -> Outcome {
    const SESSIONS: usize = 6;
    const ENTRIES: usize = 4;
    let mut work = Vec::new();
    let mut all = Vec::new();
    for session in 0..SESSIONS {
        let mut requests = Vec::new();
        for index in 0..ENTRIES {
            let entry = bench.entry(&format!("{session}-{index}"))?;
            requests.push((bench.built(&entry)?, bench.want(&entry)?, entry.clone()));
            all.push(entry);
        }
        work.push(requests);
    }
    let launch = bench.launch();
    let bench_ref = &*bench;
    let results = at_once(work, |requests| -> Outcome {
        let mut session = bench_ref.session_from(&launch)?;
        for (built, want, entry) in requests {
            let answer = session.ask(built)?;
            super::bench::expect_stored(&answer)?;
            expect_hit(&session.ask(want)?, &entry)?;
        }
        session.close().map(|_| ())
    })?;
    results.into_iter().collect::<Outcome<Vec<()>>>()?;
    let mut session = bench.session()?;
    for entry in &all {
        bench.expect_hit(&mut session, entry)?;
    }
    session.close().map(|_| ())
}

/// Content large enough that taking it in is no single system call.
const TORN_BYTES: usize = 300_000;

/// Entries under one key, each with its own content under the same names.
fn rivals(bench: &mut Bench<'_>, label: &str, count: usize) -> Outcome<Vec<Entry>> {
    let (key, manifest) = bench.key(label)?;
    let mut rivals = Vec::new();
    for index in 0..count {
        let mut pieces = Vec::new();
        for name in ["out/one", "out/two", "out/three"] {
            // Sizes differ too, so that a mixture shows.
            let size = TORN_BYTES + index * 1_000;
            let content = bench.random.bytes(size);
            pieces.push(bench.piece(name, &content)?);
        }
        let mut entry = bench.entry_of(&format!("rival {index}"), pieces)?;
        entry.key.clone_from(&key);
        entry.manifest.clone_from(&manifest);
        entry.reseal();
        rivals.push(entry);
    }
    Ok(rivals)
}

/// Whether a hit is one of `entries` whole; how it is not, otherwise.
fn is_one_of(answer: &Value, entries: &[Entry]) -> Outcome {
    if answer["kind"] != "hit" || entries.iter().any(|entry| entry.difference(answer).is_none()) {
        return Ok(());
    }
    // A shared file may vanish when its entry is replaced.
    let vanished = |record: &Value| {
        record["lease"] == "shared"
            && record["path"].as_str().is_some_and(|path| !std::path::Path::new(path).exists())
    };
    if answer["files"].as_array().is_some_and(|files| files.iter().any(vanished)) {
        return Ok(());
    }
    let closest = entries.iter().find(|entry| answer["seal"] == entry.seal.as_str());
    let difference = closest.and_then(|entry| entry.difference(answer));
    let difference =
        difference.unwrap_or_else(|| format!("no entry has the seal {}", answer["seal"]));
    Err(Stop::Fail(format!("a hit that is none of the stored entries: {difference}")))
}

fn readers(bench: &mut Bench<'_>) -> Outcome {
    const WRITES: usize = 12;
    let entries = rivals(bench, "contested", 3)?;
    let mut first = bench.session()?;
    bench.store(&mut first, &entries[0])?;
    first.close()?;
    let mut writes = Vec::new();
    for round in 0..WRITES {
        let mut request = bench.built(&entries[round % entries.len()])?;
        request["replace"] = true.into();
        writes.push(request);
    }
    let mut jobs = vec![writes];
    for _ in 0..2 {
        let reads =
            (0..WRITES * 3).map(|_| bench.want(&entries[0])).collect::<Outcome<Vec<_>>>()?;
        jobs.push(reads);
    }
    let launch = bench.launch();
    let bench_ref = &*bench;
    let results = at_once(jobs, |requests| -> Outcome {
        let mut session = bench_ref.session_from(&launch)?;
        session.shared_may_vanish = true;
        for request in requests {
            let answer = session.ask(request)?;
            is_one_of(&answer, &entries)?;
        }
        session.close().map(|_| ())
    })?;
    results.into_iter().collect::<Outcome<Vec<()>>>()?;
    let mut session = bench.session()?;
    let last = bench.ask(&mut session, &entries[0])?;
    require!(last["kind"] == "hit", "no entry is left: {}", short(&last));
    is_one_of(&last, &entries)?;
    session.close().map(|_| ())
}

fn writers(bench: &mut Bench<'_>) -> Outcome {
    const ROUNDS: usize = 4;
    for round in 0..ROUNDS {
        let entries = rivals(bench, &format!("contested {round}"), 4)?;
        let mut jobs = Vec::new();
        for entry in &entries {
            jobs.push((bench.session()?, bench.built(entry)?));
        }
        let results = at_once(jobs, |(mut session, request): (Session, Value)| -> Outcome<bool> {
            let answer = session.ask(request)?;
            session.close()?;
            Ok(says_stored(&answer))
        })?;
        let stored = results.into_iter().collect::<Outcome<Vec<bool>>>()?;
        let mut session = bench.session()?;
        let answer = bench.ask(&mut session, &entries[0])?;
        let any = stored.iter().any(|stored| *stored);
        require!(answer["kind"] == "hit" || !any, "stored, but not found: {}", short(&answer));
        is_one_of(&answer, &entries)?;
        session.close()?;
    }
    Ok(())
}

fn in_flight(bench: &mut Bench<'_>) -> Outcome {
    let mut session = bench.session()?;
    let count = session.max_in_flight().min(16);
    let mut entries = Vec::new();
    for index in 0..count {
        let entry = bench.entry(&format!("{index}"))?;
        if index % 2 == 0 {
            bench.seed(&mut session, &entry)?;
        }
        entries.push(entry);
    }
    let mut ids = Vec::new();
    for entry in &entries {
        let request = bench.want(entry)?;
        ids.push(session.send(request));
    }
    for (index, (id, entry)) in ids.into_iter().zip(&entries).enumerate() {
        let answer = session.answer(id)?;
        if index % 2 == 0 {
            expect_hit(&answer, entry)?;
        } else {
            require!(answer["kind"] != "hit", "a hit where nothing was stored: {}", short(&answer));
        }
    }
    session.close().map(|_| ())
}
