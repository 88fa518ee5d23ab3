//! `shelf DIR`: a complete store in a hundred lines, to start from.
//!
//! Each entry has a folder of its own for its files, and one JSON file that names them,
//! written last and renamed into place: an entry is there whole or not at all. Nothing is
//! ever removed; two entries with the same content keep it twice.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use buildhook_sdk::files::{copy_verified, unique_name, verify};
use buildhook_sdk::protocol::{FileRecord, Lease, Purpose, ReasonCode, Seal, Stored};
use buildhook_sdk::{About, Built, Call, Done, Error, Hit, Plugin, StartError, Want, cli};

/// A store in a folder.
#[derive(clap::Parser)]
struct Args {
    /// The folder; made when it does not exist.
    dir: PathBuf,
}

struct Shelf {
    dir: PathBuf,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Entry {
    seal: Seal,
    cost_ms: Option<u64>,
    files: Vec<FileRecord>,
}

impl Shelf {
    fn open(dir: &Path) -> std::io::Result<Self> {
        fs_err::create_dir_all(dir)?;
        Ok(Self { dir: std::path::absolute(dir)? })
    }

    /// Key and purpose, nothing else, say which entry is meant.
    fn path(&self, call: &Call) -> PathBuf {
        let purpose = if call.purpose == Purpose::Inputs { "inputs" } else { "outputs" };
        self.dir.join(format!("{purpose}-{}.json", call.key.0.to_hex()))
    }
}

impl Plugin for Shelf {
    fn about(&self) -> About {
        About::new("shelf", "1.0.0").both_hooks().max_in_flight(8)
    }

    fn want_to_build(&self, call: &Call) -> Result<Want, Error> {
        let content = match fs_err::read(self.path(call)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Want::not_found()),
            other => other?,
        };
        let Ok(entry) = serde_json::from_slice::<Entry>(&content) else {
            return Ok(Want::miss(ReasonCode::CORRUPT, "the entry's record is damaged"));
        };
        for file in &entry.files {
            if let Err(error) = verify(file) {
                return Ok(Want::miss(ReasonCode::CORRUPT, error.to_string()));
            }
        }
        Ok(Want::Hit(Hit { seal: entry.seal, files: entry.files, cost_ms: entry.cost_ms }))
    }

    fn built_a_thing(&self, call: &Call, built: &Built) -> Result<Done, Error> {
        let folder = self.dir.join(unique_name());
        fs_err::create_dir(&folder)?;
        let mut files = Vec::new();
        for (number, file) in built.files.iter().enumerate() {
            let path = folder.join(number.to_string());
            copy_verified(file, &path)?;
            // Never written to again, so the host may link to it.
            files.push(FileRecord { path, lease: Lease::Shared, ..file.clone() });
        }
        let entry = Entry { seal: built.seal.clone(), cost_ms: built.cost_ms, files };
        let content = serde_json::to_vec(&entry).map_err(std::io::Error::from)?;
        let temporary = folder.join("entry");
        fs_err::write(&temporary, content)?;
        fs_err::rename(&temporary, self.path(call))?;
        Ok(Done::stored(Stored::Yes))
    }
}

fn main() -> ExitCode {
    buildhook_sdk::main("shelf", "1.0.0", || {
        let args: Args = cli::parse()?;
        Shelf::open(&args.dir).map_err(|error| StartError::Config(error.to_string()))
    })
}
