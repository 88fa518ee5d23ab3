//! The executable `buildhook-opendal`. The only place that reads the environment: the
//! password. (What names a proxy is read by `reqwest`, and credentials of Google by `opendal`.)

use std::path::PathBuf;
use std::process::ExitCode;

use buildhook_opendal::{Options, Secret, Settings};
use buildhook_sdk::{StartError, cli, config};

/// Holds the password unless a file does.
const PASSWORD: &str = "BUILDHOOK_OPENDAL_PASSWORD";

/// A buildhook store in Redis, memcached, WebDAV, Google Cloud Storage or Azure Blob Storage.
#[derive(Debug, clap::Parser)]
#[command(name = "buildhook-opendal", version)]
struct Args {
    /// A TOML file with the same words as the options; an option on the command line wins.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    options: Options,
}

fn main() -> ExitCode {
    buildhook_sdk::main(buildhook_opendal::NAME, buildhook_opendal::VERSION, || {
        let args: Args = cli::parse()?;
        let options = match &args.config {
            Some(file) => args.options.over(config::read_toml(file)?),
            None => args.options,
        };
        let password = std::env::var_os(PASSWORD)
            .map(|text| text.into_string().map(Secret::new))
            .transpose()
            .map_err(|_| StartError::Config(format!("{PASSWORD} is not Unicode")))?;
        buildhook_opendal::store(&Settings::new(options, password)?)
    })
}
