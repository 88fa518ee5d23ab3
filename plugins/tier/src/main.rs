//! `buildhook-tier tiers.toml`: several caches in order, usually local before remote.
//!
//! ```toml
//! [[tier]]
//! name = "local"
//! plugin = ["buildhook-local-dir", "--dir", "/var/cache/buildhook"]
//! read = true
//! write = true
//! back-fill = true
//!
//! [[tier]]
//! name = "remote"
//! plugin = ["buildhook-s3", "--bucket", "builds"]
//! read = true
//! write = true
//! back-fill = false
//! background = true     # optional: written after the build has gone on
//! timeout-ms = 1000     # optional: how long one answer is waited for; when it is
//!                       # written, longer by what 10 MB/s and a file in 1 ms take
//! patience-ms = 1000    # optional: how long the build waits for it in vain, in all
//! ```
//!
//! The first tier that has an entry whole answers; earlier ones with `back-fill` are given it
//! in the background. What was built goes to each tier with `write`, at once or, with
//! `background`, later from copies that outlive the request. At the end what waits is
//! written within `--drain-ms`; what was not is counted on standard error.
//!
//! What a bad tier costs. Time counts in which at least one request waits for the tier in vain; a
//! hit pays for the time that it took and earns what building would have taken. When what is left
//! is more than `patience-ms`, a tier behind the first one is not asked any more, and what is
//! built is written to it in the background. So a tier that is late, hangs or lies makes a
//! build longer by at most `patience-ms`, what its hits have spared, and one answer
//! (`timeout-ms`). One that fails three times in a row, or has died, is left alone at once.
//!
//! A hit is passed on when its files are there with the sizes it says; that their content is
//! right the host verifies, and so does each tier that is given it.
//!
//! Known gaps, none of which makes a wrong hit: a record of inputs in an earlier tier hides a newer
//! one in a later tier, and is later written over it, so that units are built which the later tier
//! has; a tier that answers one request at a time is not asked while it is written to in the
//! background; a child that stops reading holds up whoever writes to it next for as long as the
//! first writer waits; copies for the background are bounded in number, not in bytes.

mod config;
mod member;
mod queue;
mod spool;
mod tiers;

use std::process::ExitCode;

use buildhook_sdk::cli;
use buildhook_sdk::filter::Depth;

use config::Args;
use tiers::Tiers;

const NAME: &str = "tier";
const VERSION: &str = env!("CARGO_PKG_VERSION");

fn main() -> ExitCode {
    let depth = std::env::var_os(Depth::VARIABLE);
    let temporary = std::env::temp_dir();
    buildhook_sdk::main(NAME, VERSION, || {
        let args: Args = cli::parse()?;
        let members = member::start(args.tiers()?, Depth::new(depth)?)?;
        Ok(Tiers::new(members, args.spool.unwrap_or(temporary), args.drain_ms))
    })
}
