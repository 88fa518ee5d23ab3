//! `buildhook-sign keygen`: a new private key in a file, and what others put in their trust
//! files on standard output.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use buildhook_sdk::{EXIT_FAULT, EXIT_USAGE, StartError, cli};
use buildhook_sign::{KeyName, PrivateKey};

/// Makes a private key, and prints its table for trust files.
#[derive(Debug, clap::Parser)]
#[command(name = "buildhook-sign keygen")]
struct Args {
    /// What the key is called: a-z, 0-9, `.`, `_` and `-`.
    #[arg(long, value_parser = KeyName::new)]
    name: KeyName,
    /// Who has the key, for example `ci.example.org`. Keys of one operator count once.
    #[arg(long)]
    operator: String,
    /// The new file for the private key.
    file: PathBuf,
}

pub(crate) fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let args: Args = match cli::parse_from(arguments) {
        Ok(args) => args,
        Err(StartError::Help(text)) => {
            print!("{text}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("buildhook-sign keygen: {error}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let made = PrivateKey::generate(args.name).and_then(|key| {
        key.write_new(&args.file)?;
        Ok(key)
    });
    match made {
        Ok(key) => {
            // A JSON string is a string of TOML too.
            let operator = serde_json::Value::from(args.operator);
            println!("[[key]]");
            println!("name = \"{}\"", key.name());
            println!("operator = {operator}");
            println!("public = \"{}\"", key.public());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("buildhook-sign keygen: {error}");
            ExitCode::from(EXIT_FAULT)
        }
    }
}
