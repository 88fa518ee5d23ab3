//! `buildhook-sign --key-file FILE (--trust FILE | --write-only) -- next-plugin args…`: signs
//! what is stored. `buildhook-sign keygen` makes keys.
//!
//! Who signs what was never verified launders forgeries: a host adds to the records of inputs
//! that it was given and stores the sum. So this filter gives nothing back that is not signed
//! by somebody in the trust file, as `buildhook-verify` does, or nothing at all.
//!
//! An entry that is already there is looked at: when this key's signature is missing, wrong
//! or in the second half of its life, the entry is replaced. Signatures of others go along as
//! far as they fit, also those for other files: operators who disagree are to be found out.

mod confirm;
mod keygen;
mod store;

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;

use buildhook_sdk::filter::{self, Depth, Next};
use buildhook_sdk::protocol::Hook;
use buildhook_sdk::{About, Built, Call, Done, Error, Plugin, StartError, Want};
use buildhook_sign::{Gate, PrivateKey, Trust};
use confirm::Signed;

const NAME: &str = "sign";
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The variable with the text of a private key.
const KEY_VARIABLE: &str = "BUILDHOOK_SIGN_KEY";
/// Longer than an entry is of use in most caches, short enough that a forgotten key ends.
const DEFAULT_LIFETIME_DAYS: u64 = 90;

/// Signs what is stored in the next plugin. `buildhook-sign keygen --help` tells of new keys.
#[derive(Debug, clap::Parser)]
#[command(name = "buildhook-sign", version)]
struct Args {
    /// The private key, in a file that only you can read. Without this option the variable
    /// `BUILDHOOK_SIGN_KEY` holds the key.
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Whose signatures count for what is given back: a TOML file.
    #[arg(long, value_name = "FILE", required_unless_present = "write_only")]
    trust: Option<PathBuf>,
    /// Give nothing back.
    #[arg(long, conflicts_with_all = ["trust", "require"])]
    write_only: bool,
    /// So many different operators must have signed the same files.
    #[arg(long, value_name = "N", default_value = "1")]
    require: NonZeroUsize,
    /// How long a signature counts.
    #[arg(long, value_name = "DAYS", default_value_t = DEFAULT_LIFETIME_DAYS,
          value_parser = clap::value_parser!(u64).range(1..=3650))]
    lifetime_days: u64,
}

struct Sign {
    next: Next,
    key: PrivateKey,
    lifetime_days: u64,
    /// `None`: nothing is given back.
    gate: Option<Gate>,
    signed: Signed,
    /// Where temporary files may be.
    temporary: PathBuf,
}

impl Plugin for Sign {
    fn about(&self) -> About {
        let hooks = [Hook::BuiltAThing, Hook::WantToBuild];
        let offered = if self.gate.is_some() { &hooks[..] } else { &hooks[..1] };
        let about = self.next.about(NAME, VERSION, offered);
        let drain_ms = about.drain_ms.saturating_add(confirm::LIMIT.as_millis() as u64);
        about.drain_ms(drain_ms)
    }

    fn want_to_build(&self, call: &Call) -> Result<Want, Error> {
        match &self.gate {
            Some(gate) => gate.admit(call, self.next.forward(call)?),
            None => Ok(Want::not_found()),
        }
    }

    fn built_a_thing(&self, call: &Call, built: &Built) -> Result<Done, Error> {
        self.store(call, built)
    }

    fn drain(&self) {
        self.signed.confirm(&self.next, &self.temporary);
        self.next.close();
    }
}

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|word| word == "keygen") {
        return keygen::main(std::env::args_os().skip(1));
    }
    let depth = std::env::var_os(Depth::VARIABLE);
    let variable = std::env::var_os(KEY_VARIABLE);
    buildhook_sdk::main(NAME, VERSION, || {
        let (args, next) = filter::start(depth)?;
        start(args, variable, next)
    })
}

fn start(args: Args, variable: Option<OsString>, next: Next) -> Result<Sign, StartError> {
    let config = |what: String| StartError::Config(what);
    let key = match (args.key_file, variable) {
        (Some(path), _) => PrivateKey::read(&path),
        (None, Some(text)) => PrivateKey::parse(&text.to_string_lossy(), KEY_VARIABLE),
        (None, None) => {
            let what = format!("no private key: give --key-file or set {KEY_VARIABLE}");
            return Err(config(what));
        }
    };
    let key = key.map_err(|error| config(error.to_string()))?;
    let load = |path: PathBuf| {
        let trust = Trust::load(&path, args.require.get())?;
        // What is stored must be given back (BH-BUILT-001).
        if trust.key(key.name()).is_none_or(|known| known.public != key.public()) {
            return Err(config(format!(
                "{}: it does not name the key that signs: `{}`, {}",
                path.display(),
                key.name(),
                key.public()
            )));
        }
        Ok(Gate::new(trust, NAME))
    };
    let gate = args.trust.map(load).transpose()?;
    if !next.hello().has_hook(Hook::BuiltAThing) {
        eprintln!("buildhook-{NAME}: the next plugin stores nothing, so nothing will be signed");
    }
    let (signed, temporary) = (Signed::default(), std::env::temp_dir());
    Ok(Sign { next, key, lifetime_days: args.lifetime_days, gate, signed, temporary })
}
