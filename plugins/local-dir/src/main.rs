//! The executable `buildhook-local-dir`.

use std::path::PathBuf;
use std::process::ExitCode;

use buildhook_local_dir::{DEFAULT_MAX_SIZE_BYTES, LocalDir};
use buildhook_sdk::{StartError, cli};

/// A buildhook store in a local directory.
#[derive(Debug, clap::Parser)]
#[command(name = "buildhook-local-dir", version)]
struct Args {
    /// Where the store is; made when it does not exist.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Above this size the least recently used entries are removed, for example `20GB`.
    #[arg(long, value_name = "SIZE", value_parser = cli::parse_bytes,
          default_value_t = DEFAULT_MAX_SIZE_BYTES)]
    max_size: u64,
}

fn main() -> ExitCode {
    buildhook_sdk::main("local-dir", env!("CARGO_PKG_VERSION"), || {
        let args: Args = cli::parse()?;
        LocalDir::open(&args.dir, args.max_size)
            .map_err(|error| StartError::Config(format!("--dir {}: {error}", args.dir.display())))
    })
}
