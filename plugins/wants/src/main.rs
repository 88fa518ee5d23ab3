//! `buildhook-wants --to FILE [--max-size 16MB] -- next-plugin args…`: writes down each miss,
//! with what is needed to build the unit elsewhere.
//!
//! `buildhook warm --from FILE` builds what is in such a file on any machine and fills the
//! cache with it. One JSON object per line:
//!
//! ```text
//! {"v":1,"why":"miss","at-ms":…,"key":"blake3:…","purpose":"inputs","reason":{…},"unit":{…},"action":{…}}
//! ```
//!
//! - `why`: `miss`, or `dependency` for a hit that a miss in the file depends on: which
//!   features a dependency has is decided by a whole build, so it belongs to the description;
//! - `action`: from the manifest, all that the host keys of the unit but what it read: compiler,
//!   arguments, dependencies. Only of packages that another machine can get, which are those of
//!   a registry or of git; a miss of another origin is a line without it.
//!
//! What is written down once is not written down again in the same session. The file holds what
//! the manifest holds, so no secrets (BH-FEAT-001), but names of packages and compiler flags.
//! Several processes may append to one file; a line is one write. When it would grow above
//! `--max-size`, it is renamed to `FILE.1`, over the one before, so both together stay below
//! twice that size. A file that cannot be written is told once and costs nothing else.
//!
//! Known gap: a unit that Cargo itself found fresh is never asked for, so it is in no file.

mod file;
mod units;

use std::path::PathBuf;
use std::process::ExitCode;

use buildhook_sdk::filter::{self, Depth, Filter, Next};
use buildhook_sdk::protocol::{FEATURE_MANIFEST, Hook, Message};
use buildhook_sdk::{About, Call, Error, StartError, cli};
use serde_json::{Value, json};

use file::WantsFile;
use units::Units;

const NAME: &str = "wants";
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Smallest `--max-size`: below it, one record could be all that a file holds.
const MIN_SIZE_BYTES: u64 = 64 * 1024;

/// Writes down each miss, with what is needed to build it elsewhere.
#[derive(Debug, clap::Parser)]
#[command(name = "buildhook-wants", version)]
struct Args {
    /// The file to append to.
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// When the file would grow above this, it is renamed to FILE.1 and begun anew.
    #[arg(long, value_name = "SIZE", default_value = "16MB", value_parser = max_size)]
    max_size: u64,
}

struct Wants {
    /// `None` once it could not be written.
    file: Option<WantsFile>,
    units: Units,
}

/// Why it is a miss; `None` for a hit.
fn reason(outcome: &Result<Message, Error>) -> Option<Value> {
    let error = |kind: &Value| json!({"code": "error", "message": kind});
    match outcome {
        Ok(answer) => match answer.kind() {
            Some("hit") => None,
            Some("miss") => Some(answer.members().get("reason").cloned().unwrap_or(json!({}))),
            _ => Some(error(
                &answer.members().get("error").map_or(Value::Null, |e| e["kind"].clone()),
            )),
        },
        Err(fault) => Some(error(&json!(fault.0.kind))),
    }
}

impl Filter for Wants {
    fn about(&self, next: &Next) -> About {
        next.about(NAME, VERSION, &[Hook::WantToBuild, Hook::BuiltAThing])
            // For itself: what it does with it needs nothing of the next plugin.
            .feature(FEATURE_MANIFEST)
    }

    fn answer(&mut self, call: &Call, outcome: Result<Message, Error>) -> Result<Message, Error> {
        if call.kind == Hook::WantToBuild
            && let Some(file) = &mut self.file
        {
            let lines = self.units.take(call, reason(&outcome));
            if let Err(error) = lines.iter().try_for_each(|line| file.append(line)) {
                eprintln!("buildhook-wants: nothing more is written down: {error}");
                self.file = None;
            }
        }
        outcome
    }
}

fn max_size(text: &str) -> Result<u64, String> {
    let bytes = cli::parse_bytes(text)?;
    if bytes < MIN_SIZE_BYTES {
        return Err(format!("at least {MIN_SIZE_BYTES} bytes, room for a record"));
    }
    Ok(bytes)
}

fn main() -> ExitCode {
    let depth = std::env::var_os(Depth::VARIABLE);
    filter::main(NAME, VERSION, || {
        let (args, next) = filter::start::<Args>(depth)?;
        let file = WantsFile::open(args.to, args.max_size)
            .map_err(|error| StartError::Config(format!("--to: {error}")))?;
        Ok((Wants { file: Some(file), units: Units::default() }, next))
    })
}
