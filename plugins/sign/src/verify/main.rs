//! `buildhook-verify --trust FILE [--require N] -- next-plugin args…`: lets only those entries
//! through that enough trusted operators have signed.
//!
//! What is unsigned, expired, revoked, out of scope, altered or contested is a miss with a
//! reason that says so; the library's documentation has the rules.
//!
//! It offers no `built-a-thing`: an entry that is stored without a signature would never be
//! given back. Who has a private key puts `buildhook-sign --trust FILE` in its place.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;

use buildhook_sdk::filter::{self, Depth, Next};
use buildhook_sdk::protocol::Hook;
use buildhook_sdk::{About, Call, Error, Plugin, Want};
use buildhook_sign::{Gate, Trust};

const NAME: &str = "verify";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Lets only signed entries of the next plugin through.
#[derive(Debug, clap::Parser)]
#[command(name = "buildhook-verify", version)]
struct Args {
    /// Whose signatures count: a TOML file.
    #[arg(long, value_name = "FILE")]
    trust: PathBuf,
    /// So many different operators must have signed the same files.
    #[arg(long, value_name = "N", default_value = "1")]
    require: NonZeroUsize,
}

struct Verify {
    next: Next,
    gate: Gate,
}

impl Plugin for Verify {
    fn about(&self) -> About {
        self.next.about(NAME, VERSION, &[Hook::WantToBuild])
    }

    fn want_to_build(&self, call: &Call) -> Result<Want, Error> {
        self.gate.admit(call, self.next.forward(call)?)
    }

    fn drain(&self) {
        self.next.close();
    }
}

fn main() -> ExitCode {
    let depth = std::env::var_os(Depth::VARIABLE);
    buildhook_sdk::main(NAME, VERSION, || {
        let (args, next) = filter::start::<Args>(depth)?;
        let trust = Trust::load(&args.trust, args.require.get())?;
        Ok(Verify { next, gate: Gate::new(trust, NAME) })
    })
}
