//! What a person writes: the tiers, in a file or one by one on the command line.

use std::path::{Path, PathBuf};

use buildhook_sdk::{StartError, config};
use serde::Deserialize;

/// How long one answer of a tier is waited for when nothing is said, in milliseconds: a
/// remote cache answers in a tenth of it.
const DEFAULT_TIMEOUT_MS: u64 = 1000;
/// How long a build may wait for a tier that gives it nothing, in milliseconds: ten misses of
/// a remote cache in a tenth of a second each.
const DEFAULT_PATIENCE_MS: u64 = 1000;

/// Several caches in order: what is asked for is looked for in each until it is found.
#[derive(Debug, clap::Parser)]
#[command(name = "buildhook-tier", version)]
pub(crate) struct Args {
    /// A TOML file of `[[tier]]` tables.
    #[arg(value_name = "FILE", required_unless_present = "tier", conflicts_with = "tier")]
    file: Option<PathBuf>,
    /// One tier as an inline table, for example
    /// `{name="local", plugin=["buildhook-local-dir", "--dir", "/x"], read=true, write=true,
    /// back-fill=true}`.
    #[arg(long, value_name = "TABLE")]
    tier: Vec<String>,
    /// A folder for copies that wait to be written in the background; by default a fresh one
    /// among the temporary files.
    #[arg(long, value_name = "DIR")]
    pub(crate) spool: Option<PathBuf>,
    /// How long background writing may go on after the build, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 10_000)]
    pub(crate) drain_ms: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    tier: Vec<Tier>,
}

/// One cache.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Tier {
    /// For messages.
    pub(crate) name: String,
    /// The plugin's command, program first.
    pub(crate) plugin: Vec<String>,
    /// Is asked whether it has what is about to be built.
    pub(crate) read: bool,
    /// Is given what was built.
    pub(crate) write: bool,
    /// Is given what a later tier had.
    pub(crate) back_fill: bool,
    /// What was built is written to it after the build has gone on.
    #[serde(default)]
    pub(crate) background: bool,
    /// How long one answer is waited for.
    #[serde(default = "default_timeout_ms")]
    pub(crate) timeout_ms: u64,
    /// How long a build may wait for it in vain, all requests together.
    #[serde(default = "default_patience_ms")]
    pub(crate) patience_ms: u64,
}

fn default_timeout_ms() -> u64 {
    DEFAULT_TIMEOUT_MS
}

fn default_patience_ms() -> u64 {
    DEFAULT_PATIENCE_MS
}

impl Args {
    /// The tiers, first to last.
    pub(crate) fn tiers(&self) -> Result<Vec<Tier>, StartError> {
        let (source, tiers) = match &self.file {
            Some(file) => (file.display().to_string(), config::read_toml::<File>(file)?.tier),
            None => {
                let text = format!("tier = [{}]", self.tier.join(", "));
                let source = Path::new("--tier");
                ("--tier".to_owned(), config::parse_toml::<File>(source, &text)?.tier)
            }
        };
        check(&tiers).map_err(|what| StartError::Config(format!("{source}: {what}")))?;
        Ok(tiers)
    }
}

fn check(tiers: &[Tier]) -> Result<(), String> {
    if tiers.is_empty() {
        return Err("no tier is named".to_owned());
    }
    for (index, tier) in tiers.iter().enumerate() {
        let named = |what: &str| Err(format!("the tier `{}` {what}", tier.name));
        if tier.plugin.is_empty() {
            return named("names no plugin");
        }
        if !(tier.read || tier.write || tier.back_fill) {
            return named("is neither read nor written");
        }
        if tier.background && !tier.write {
            return named("is written in the background but not written");
        }
        if tiers[..index].iter().any(|other| other.name == tier.name) {
            return named("stands twice");
        }
    }
    Ok(())
}
