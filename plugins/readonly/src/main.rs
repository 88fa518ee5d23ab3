//! `buildhook-readonly -- next-plugin args…`: lets `want-to-build` through and offers no
//! `built-a-thing`, so that nothing is ever stored. For pull requests and untrusted machines.
//!
//! It keeps an honest host from writing, no more: whoever can start the next plugin can
//! start it without this one. A store that must not be written needs its own protection.

use std::ffi::OsString;
use std::process::ExitCode;

use buildhook_sdk::filter::{Depth, Next};
use buildhook_sdk::protocol::Hook;
use buildhook_sdk::{About, Call, Error, Plugin, Want, cli};

const NAME: &str = "readonly";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Lets nothing be stored in the next plugin.
#[derive(Debug, clap::Parser)]
#[command(name = "buildhook-readonly", version)]
struct Args {
    /// The next plugin and its arguments.
    #[arg(last = true, required = true, value_name = "NEXT")]
    next: Vec<OsString>,
}

struct ReadOnly {
    next: Next,
}

impl Plugin for ReadOnly {
    fn about(&self) -> About {
        self.next.about(NAME, VERSION, &[Hook::WantToBuild])
    }

    fn want_to_build(&self, call: &Call) -> Result<Want, Error> {
        self.next.want(call)
    }

    fn drain(&self) {
        self.next.close();
    }
}

fn main() -> ExitCode {
    let depth = std::env::var_os(Depth::VARIABLE);
    buildhook_sdk::main(NAME, VERSION, || {
        let args: Args = cli::parse()?;
        Ok(ReadOnly { next: Next::start(&args.next, Depth::new(depth)?)? })
    })
}
