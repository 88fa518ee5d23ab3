//! `buildhook-log --to FILE -- next-plugin args…`: writes down every exchange and its time.
//!
//! One JSON object per line, appended in whole lines, so that several processes can share the
//! file, after the answer has gone on:
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

use std::path::PathBuf;
use std::process::ExitCode;

use buildhook_sdk::filter::{self, Depth, Filter, Next};
use buildhook_sdk::protocol::{Hook, Message};
use buildhook_sdk::{About, Call, Error, StartError};

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
}

impl Filter for Log {
    fn about(&self, next: &Next) -> About {
        next.about(NAME, VERSION, &[Hook::WantToBuild, Hook::BuiltAThing])
    }

    fn answer(&mut self, call: &Call, outcome: Result<Message, Error>) -> Result<Message, Error> {
        self.exchange(call, &outcome);
        outcome
    }

    fn rest(&mut self) {
        self.flush();
    }

    fn end(&mut self) {
        self.summarise();
    }
}

fn main() -> ExitCode {
    let depth = std::env::var_os(Depth::VARIABLE);
    filter::main(NAME, VERSION, || {
        let (args, next) = filter::start::<Args>(depth)?;
        let mut log =
            Log::open(&args.to).map_err(|error| StartError::Config(format!("--to: {error}")))?;
        log.hello(next.hello());
        Ok((log, next))
    })
}
