//! `buildhook clear`: an empty store, and nothing remembered.

use std::path::PathBuf;

use buildhook_local_dir::{DEFAULT_MAX_SIZE_BYTES, LocalDir};
use serde::Serialize;

use super::{Answer, Refusal};
use crate::config::{self, Hooks};
use crate::environment::Environment;
use crate::report::render::Bytes;
use crate::tree;

/// What is printed.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Cleared {
    cleared: Vec<PathBuf>,
    bytes: u64,
    /// The store of a plugin is the plugin's affair.
    kept: Option<&'static str>,
}

pub(super) fn clear(env: &Environment, json: bool) -> Result<Answer, Refusal> {
    let config = config::load(env, &env.current_dir)?;
    let (store, kept) = match config.hooks {
        Hooks::Embedded { dir, .. } => (dir.value, None),
        Hooks::Commands { .. } => {
            let kept = "a hook is configured: what its plugin stores was left alone";
            (config.folders.store(), Some(kept))
        }
    };
    let mut bytes = 0;
    // A store removes what is its own; a folder that is none stays as it is.
    if store.is_dir() {
        bytes += LocalDir::open(&store, DEFAULT_MAX_SIZE_BYTES)?.clear()?;
    }
    let host = config.folders.host();
    bytes += tree::remove_all_but(&host, &config.folders.recorder())?;
    let cleared = Cleared { cleared: vec![store, host], bytes, kept };
    Ok(Answer::of(json, &cleared, |cleared| {
        let kept = cleared.kept.map(|kept| format!("note: {kept}\n")).unwrap_or_default();
        format!("removed {}\n{kept}", Bytes(cleared.bytes))
    }))
}
