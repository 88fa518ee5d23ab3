//! `buildhook stats`: what the cache did since the last `clear`.

use std::fmt::Write as _;
use std::path::PathBuf;

use serde::Serialize;

use super::{Answer, Refusal};
use crate::config::{self, Hooks};
use crate::environment::Environment;
use crate::report::render::{self, Bytes};
use crate::report::totals::{self, Totals};
use crate::report::{SessionReport, store};
use crate::tree;

/// What is printed.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Stats {
    totals: Totals,
    store: Option<StoreSize>,
    last_session: Option<SessionReport>,
    tell: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct StoreSize {
    dir: PathBuf,
    bytes: u64,
    max_bytes: u64,
}

pub(super) fn stats(env: &Environment, json: bool) -> Result<Answer, Refusal> {
    let config = config::load(env, &env.current_dir)?;
    let last_session = store::newest_first(&config.folders.reports()).next();
    let mut tell: Vec<_> = config.notes().iter().map(|note| format!("note: {note}")).collect();
    for line in render::tell_once(last_session.as_slice()) {
        if !tell.contains(&line) {
            tell.push(line);
        }
    }
    let store = match config.hooks {
        Hooks::Embedded { dir, max_size } => Some(StoreSize {
            bytes: tree::size(&dir.value),
            dir: dir.value,
            max_bytes: max_size.value.0,
        }),
        Hooks::Commands { .. } => None,
    };
    let totals = totals::read(&config.folders.host());
    Ok(Answer::of(json, &Stats { totals, store, last_session, tell }, text))
}

fn text(stats: &Stats) -> String {
    let mut text = render::totals(&stats.totals);
    if let Some(store) = &stats.store {
        let (bytes, max) = (Bytes(store.bytes), Bytes(store.max_bytes));
        let _ = writeln!(text, "  store: {bytes} of at most {max} in {}", store.dir.display());
    }
    for line in &stats.tell {
        let _ = writeln!(text, "  {line}");
    }
    text
}
