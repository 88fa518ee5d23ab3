//! `buildhook-readonly -- next-plugin args…`: lets `want-to-build` through and offers no
//! `built-a-thing`, so that nothing is ever stored. For pull requests and untrusted machines.
//!
//! It keeps an honest host from writing, no more: whoever can start the next plugin can
//! start it without this one. A store that must not be written needs its own protection.

use std::process::ExitCode;

use buildhook_sdk::About;
use buildhook_sdk::filter::{self, Depth, Filter, Next};
use buildhook_sdk::protocol::Hook;

const NAME: &str = "readonly";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Lets nothing be stored in the next plugin.
#[derive(Debug, clap::Parser)]
#[command(name = "buildhook-readonly", version)]
struct Args {}

struct ReadOnly;

impl Filter for ReadOnly {
    fn about(&self, next: &Next) -> About {
        next.about(NAME, VERSION, &[Hook::WantToBuild])
    }
}

fn main() -> ExitCode {
    let depth = std::env::var_os(Depth::VARIABLE);
    filter::main(NAME, VERSION, || {
        let (_, next) = filter::start::<Args>(depth)?;
        Ok((ReadOnly, next))
    })
}
