//! Files that answers lent: what they held is what they must hold to the end.

use std::path::PathBuf;

use serde_json::Value;

use super::Session;
use crate::wire;

/// Files of one answer that are watched until the end of the session.
const LEASES_WATCHED: usize = 100;
/// Largest file of an answer that is digested again at the end of the session.
const LEASE_DIGEST_BYTES: u64 = 8 << 20;

/// A file that an answer lent.
#[derive(Debug)]
pub(super) struct Lent {
    path: PathBuf,
    digest: String,
    shared: bool,
}

impl Session {
    pub(super) fn remember_leases(&mut self, answer: &Value) {
        let records = answer["files"].as_array().into_iter().flatten();
        for record in records.take(LEASES_WATCHED) {
            let (Some(path), Some(size)) = (record["path"].as_str(), record["size"].as_u64())
            else {
                continue;
            };
            let path = PathBuf::from(path);
            let shared = record["lease"] == "shared";
            if size > LEASE_DIGEST_BYTES || record["lease"] == "owned" || !path.is_file() {
                continue;
            }
            if let Ok(digest) = wire::digest_file(&path) {
                self.lent.push(Lent { path, digest, shared });
            }
        }
    }

    /// Whether the files of earlier answers still hold what they held.
    pub(crate) fn check_leases(&self) {
        for lent in &self.lent {
            match wire::digest_file(&lent.path) {
                Ok(digest) if digest == lent.digest => {}
                Err(_) if lent.shared => {}
                outcome => {
                    let what = if outcome.is_ok() { "changed" } else { "vanished" };
                    let (requirement, lease) = if lent.shared {
                        ("BH-FILE-011", "shared")
                    } else {
                        ("BH-FILE-010", "borrowed")
                    };
                    let text = format!("{} was {lease} and {what}", lent.path.display());
                    self.violate(requirement, text);
                }
            }
        }
    }
}
