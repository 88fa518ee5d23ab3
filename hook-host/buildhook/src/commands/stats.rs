//! `buildhook stats`: what the cache did since the last `clear`.

use std::fmt::Write as _;
use std::path::PathBuf;

use buildhook_local_dir::LocalDir;
use serde::Serialize;

use super::{Answer, Refusal};
use crate::config::{self, Hooks};
use crate::environment::Environment;
use crate::report::render::{self, Bytes};
use crate::report::totals::{self, Totals};
use crate::report::{SessionReport, store};

/// What is printed.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Stats {
    totals: Totals,
    store: Option<StoreUse>,
    last_session: Option<SessionReport>,
    tell: Vec<String>,
}

/// What is in the embedded store.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct StoreUse {
    dir: PathBuf,
    entries: u64,
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
        Hooks::Embedded { dir, max_size } => store_use(dir.value, max_size.value),
        Hooks::Commands { .. } => None,
    };
    let totals = totals::read(&config.folders.host());
    Ok(Answer::of(json, &Stats { totals, store, last_session, tell }, text))
}

/// `None` when there is no store yet, or it cannot be read.
fn store_use(dir: PathBuf, max_bytes: u64) -> Option<StoreUse> {
    if !dir.is_dir() {
        return None;
    }
    let found = LocalDir::open(&dir, max_bytes).and_then(|store| store.stats()).ok()?;
    Some(StoreUse { dir, entries: found.outputs, bytes: found.size_bytes, max_bytes })
}

fn text(stats: &Stats) -> String {
    let mut text = render::totals(&stats.totals);
    if let Some(store) = &stats.store {
        let (bytes, max) = (Bytes(store.bytes), Bytes(store.max_bytes));
        let (entries, dir) = (store.entries, store.dir.display());
        let _ = writeln!(text, "  store: {entries} entries, {bytes} of at most {max}, in {dir}");
    }
    for line in &stats.tell {
        let _ = writeln!(text, "  {line}");
    }
    text
}
