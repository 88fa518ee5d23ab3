//! `buildhook-compress [--level N] -- next-plugin args…`: the next plugin stores files
//! compressed with zstd.
//!
//! A file `x` is sent on as `@zstd/x`, and comes back as `x`. What gets no smaller, and what
//! is too small to be worth it, is sent on as it is. Size and digest of every file are
//! verified in the same pass that changes its bytes, in both directions (BH-FILT-008).
//!
//! Decompression is bounded: each compressed file says how large its content is, and the
//! contents of one entry may not be larger than `--max-size` together. An entry that is
//! larger is stored uncompressed, and one that claims to be is a miss.
//!
//! Compressed files are lent to the next plugin as `borrowed` from the request's scratch
//! folder; decompressed ones are given to the host as `owned` there. `relocated` is dropped:
//! what the next plugin keeps is not what the host has (BH-BUILT-011).

mod pack;

use std::collections::HashSet;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

use buildhook_sdk::filter::{self, Depth, Next, folder_for_next};
use buildhook_sdk::protocol::{Answer, ErrorKind, Hook, Key, Message, Purpose, ReasonCode};
use buildhook_sdk::{About, Built, Call, Done, Error, Plugin, Want, cli};
use serde_json::Value;

use pack::{Packer, Unpacked};

const NAME: &str = "compress";
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Fast enough to add little to what a compiler takes, and a third of the size for rlibs;
/// zstd's own default.
const DEFAULT_LEVEL: i32 = 3;
/// More than the outputs of any unit that is known, and what a scratch folder can take.
const DEFAULT_MAX_SIZE_BYTES: u64 = 16_000_000_000;

/// Stores files compressed in the next plugin.
#[derive(Debug, clap::Parser)]
#[command(name = "buildhook-compress", version)]
struct Args {
    /// 1 (fast) to 19 (small).
    #[arg(long, value_name = "N", default_value_t = DEFAULT_LEVEL,
          value_parser = clap::value_parser!(i32).range(1..=19))]
    level: i32,
    /// Entries whose files are larger than this together are not compressed.
    #[arg(long, value_name = "SIZE", value_parser = cli::parse_bytes,
          default_value_t = DEFAULT_MAX_SIZE_BYTES)]
    max_size: u64,
}

struct Compress {
    next: Next,
    packer: Packer,
    /// Entries that the next plugin takes for whole and that are not: to be replaced.
    broken: Mutex<HashSet<(Key, Purpose)>>,
}

impl Plugin for Compress {
    fn about(&self) -> About {
        self.next.about(NAME, VERSION, &[Hook::WantToBuild, Hook::BuiltAThing])
    }

    fn want_to_build(&self, call: &Call) -> Result<Want, Error> {
        // Nothing is in the scratch folder yet, and what will be has names of its own.
        let mut answer = self.next.forward(call)?;
        // What is no proper hit is the host's to judge.
        let Ok(Answer::Hit { files, .. }) = answer.parse() else {
            return Ok(Want::Forwarded(answer));
        };
        match self.packer.unpack(&call.scratch, &files)? {
            Unpacked::Whole(changes) => {
                pack::apply(&mut answer, changes);
                Ok(Want::Forwarded(answer))
            }
            Unpacked::Corrupt(why) => {
                self.broken().insert((call.key, call.purpose));
                Ok(Want::miss(ReasonCode::CORRUPT, why))
            }
        }
    }

    fn built_a_thing(&self, call: &Call, built: &Built) -> Result<Done, Error> {
        let mut request = below(call)?;
        match self.packer.pack(&call.scratch, &built.files)? {
            Some(changes) => pack::apply(&mut request, changes),
            None => {
                return Ok(Done::declined(
                    ReasonCode::POLICY,
                    "a name is too long to be marked as compressed",
                ));
            }
        }
        if self.broken().remove(&(call.key, call.purpose)) {
            request.members_mut().insert("replace".to_owned(), Value::Bool(true));
        }
        let mut answer = self.next.exchange(call, request)?;
        answer.members_mut().remove("relocated");
        Ok(Done::Forwarded(answer))
    }

    fn drain(&self) {
        self.next.close();
    }
}

impl Compress {
    fn broken(&self) -> std::sync::MutexGuard<'_, HashSet<(Key, Purpose)>> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The request with a scratch folder of the next plugin's own.
fn below(call: &Call) -> Result<Message, Error> {
    let folder = folder_for_next(call)?;
    let folder = folder.to_str().ok_or_else(|| {
        Error::new(ErrorKind::BadRequest, "the scratch folder's path is not Unicode")
    })?;
    let mut message = call.message.clone();
    message.members_mut().insert("scratch".to_owned(), folder.into());
    Ok(message)
}

fn main() -> ExitCode {
    let depth = std::env::var_os(Depth::VARIABLE);
    buildhook_sdk::main(NAME, VERSION, || {
        let (args, next) = filter::start::<Args>(depth)?;
        let packer = Packer { level: args.level, max_size_bytes: args.max_size };
        Ok(Compress { next, packer, broken: Mutex::default() })
    })
}
