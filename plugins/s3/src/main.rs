//! The executable `buildhook-s3`. The only place that reads the environment: `AWS_*`, the
//! home folder that profiles are looked for in, and the variables that name a proxy.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::ExitCode;

use buildhook_s3::{Options, Settings, Surroundings};
use buildhook_sdk::{cli, config};

/// A buildhook store in a bucket of S3 or a server that speaks its protocol.
#[derive(Debug, clap::Parser)]
#[command(name = "buildhook-s3", version)]
struct Args {
    /// A TOML file with the same words as the options; an option on the command line wins.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    options: Options,
}

fn main() -> ExitCode {
    buildhook_sdk::main(buildhook_s3::NAME, buildhook_s3::VERSION, || {
        let args: Args = cli::parse()?;
        let options = match &args.config {
            Some(file) => args.options.over(config::read_toml(file)?),
            None => args.options,
        };
        Ok(buildhook_s3::store(&Settings::new(options, surroundings())?))
    })
}

fn surroundings() -> Surroundings {
    let variables: HashMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| name.starts_with("AWS_"))
        .collect();
    Surroundings { variables, home: std::env::home_dir(), proxy: ureq::Proxy::try_from_env() }
}
