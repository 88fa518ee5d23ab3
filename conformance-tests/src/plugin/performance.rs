//! How long things take. Reported, never judged.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::bench::Bench;
use crate::verdict::Outcome;

/// Requests of each kind.
const ROUNDS: usize = 40;

/// Medians over some repetitions, in microseconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Performance {
    /// From starting the process to its hello.
    pub(crate) hello_us: u64,
    /// A miss, within a session.
    pub(crate) miss_us: Option<u64>,
    /// Storing an entry of 3 kB, within a session.
    pub(crate) store_us: Option<u64>,
    /// A hit of the same, within a session.
    pub(crate) hit_us: Option<u64>,
    /// From starting the process over one miss to its end.
    pub(crate) one_shot_us: Option<u64>,
}

fn median(mut times: Vec<Duration>) -> Option<u64> {
    times.sort();
    let middle = times.get(times.len() / 2)?;
    u64::try_from(middle.as_micros()).ok()
}

/// Measures; what the plugin cannot do is left out.
pub(super) fn measure(bench: &mut Bench<'_>) -> Outcome<Performance> {
    let can = bench.setup.capabilities.clone();
    let (mut hellos, mut one_shots) = (Vec::new(), Vec::new());
    let absent = bench.entry("absent")?;
    for _ in 0..5 {
        let start = Instant::now();
        let mut session = bench.session()?;
        hellos.push(start.elapsed());
        if can.want {
            bench.ask(&mut session, &absent)?;
        }
        session.close()?;
        one_shots.push(start.elapsed());
    }
    let mut session = bench.session()?;
    let (mut misses, mut stores, mut hits) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let entry = bench.entry(&format!("{round}"))?;
        if can.want {
            let request = bench.want(&entry)?;
            misses.push(timed(|| session.ask(request))?);
        }
        if can.built {
            let request = bench.built(&entry)?;
            stores.push(timed(|| session.ask(request))?);
        }
        if can.built && can.want {
            let request = bench.want(&entry)?;
            hits.push(timed(|| session.ask(request))?);
        }
    }
    session.close()?;
    Ok(Performance {
        hello_us: median(hellos).unwrap_or(0),
        miss_us: median(misses),
        store_us: median(stores),
        hit_us: median(hits),
        one_shot_us: if can.want { median(one_shots) } else { None },
    })
}

fn timed<T>(work: impl FnOnce() -> Outcome<T>) -> Outcome<Duration> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed())
}
