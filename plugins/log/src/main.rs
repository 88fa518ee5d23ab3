//! `buildhook-log --to FILE -- next-plugin args…`: writes down every exchange and its time.
//!
//! One JSON object per line, appended in one write each, so that several processes can share
//! the file:
//!
//! ```text
//! {"hello":{…}}                                           what the next plugin said of itself
//! {"at-ms":…,"took-us":…,"request":{…},"answer":{…}}      one exchange, both messages whole
//! {"summary":{"answers":{"hit":3,"miss not-found":1},"took-us":…}}      at the end
//! ```
//!
//! `at-ms` is milliseconds since 1970. Messages hold no secrets (BH-FEAT-001, BH-ERR-003), but
//! paths and names. A file that cannot be written is told once and costs nothing else.

mod log;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use buildhook_sdk::filter::{Depth, Next};
use buildhook_sdk::protocol::{Hook, Message};
use buildhook_sdk::{About, Built, Call, Done, Error, Plugin, StartError, Want, cli};

use log::Log;

const NAME: &str = "log";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Writes down every exchange with the next plugin and its time.
#[derive(Debug, clap::Parser)]
#[command(name = "buildhook-log", version)]
struct Args {
    /// The file to append to.
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// The next plugin and its arguments.
    #[arg(last = true, required = true, value_name = "NEXT")]
    next: Vec<OsString>,
}

struct Logger {
    next: Next,
    log: Log,
}

impl Logger {
    fn exchange(&self, call: &Call) -> Result<Message, Error> {
        let exchange = self.log.begin();
        let outcome = self.next.forward(call);
        self.log.end(exchange, call, &outcome);
        outcome
    }
}

impl Plugin for Logger {
    fn about(&self) -> About {
        self.next.about(NAME, VERSION, &[Hook::WantToBuild, Hook::BuiltAThing])
    }

    fn want_to_build(&self, call: &Call) -> Result<Want, Error> {
        self.exchange(call).map(Want::Forwarded)
    }

    fn built_a_thing(&self, call: &Call, _: &Built) -> Result<Done, Error> {
        self.exchange(call).map(Done::Forwarded)
    }

    fn drain(&self) {
        self.next.close();
        self.log.summarise();
    }
}

fn main() -> ExitCode {
    let depth = std::env::var_os(Depth::VARIABLE);
    buildhook_sdk::main(NAME, VERSION, || {
        let args: Args = cli::parse()?;
        let log =
            Log::open(&args.to).map_err(|error| StartError::Config(format!("--to: {error}")))?;
        let next = Next::start(&args.next, Depth::new(depth)?)?;
        log.hello(next.hello());
        Ok(Logger { next, log })
    })
}
