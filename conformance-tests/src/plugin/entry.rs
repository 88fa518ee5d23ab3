//! Entries to store: files with known content, made from the seed.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::wire;

/// A small generator (SplitMix64): the same seed gives the same bytes anywhere.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// One stream per seed and label.
    pub(crate) fn new(seed: u64, label: &str) -> Self {
        let hash = blake3::hash(format!("{seed}/{label}").as_bytes());
        let mut state = [0; 8];
        state.copy_from_slice(&hash.as_bytes()[..8]);
        Self(u64::from_le_bytes(state))
    }

    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Bytes that do not compress.
    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.next().to_le_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    }
}

/// A file of an entry.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) size: u64,
    pub(crate) digest: String,
    pub(crate) executable: bool,
}

impl Piece {
    /// Writes `content` to `path`.
    pub(crate) fn write(
        name: &str,
        path: PathBuf,
        content: &[u8],
        executable: bool,
    ) -> io::Result<Self> {
        fs::File::create(&path)?.write_all(content)?;
        let mode = if executable { 0o755 } else { 0o644 };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
        let (size, digest) = (content.len() as u64, wire::digest(content));
        Ok(Self { name: name.to_owned(), path, size, digest, executable })
    }

    /// The record of SPEC.md §4.
    pub(crate) fn record(&self, lease: &str) -> Value {
        json!({
            "name": self.name,
            "path": self.path,
            "size": self.size,
            "digest": self.digest,
            "executable": self.executable,
            "lease": lease,
        })
    }

    fn difference(&self, record: &Value) -> Option<String> {
        let wanted = self.record("");
        for member in ["size", "digest", "executable"] {
            if record[member] != wanted[member] {
                let (name, found, wanted) = (&self.name, &record[member], &wanted[member]);
                return Some(format!("`{member}` of {name:?} is {found}, stored was {wanted}"));
            }
        }
        let path = Path::new(record["path"].as_str().unwrap_or_default());
        match wire::digest_file(path) {
            Ok(digest) if digest == self.digest => None,
            Ok(_) => Some(format!("the content of {:?} is not what was stored", self.name)),
            Err(error) => Some(format!("{:?} cannot be read: {error}", self.name)),
        }
    }
}

/// One entry and where its files are.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    /// The manifest file whose BLAKE3 is the key.
    pub(crate) manifest: PathBuf,
    pub(crate) purpose: Option<&'static str>,
    pub(crate) seal: String,
    pub(crate) pieces: Vec<Piece>,
    pub(crate) lease: &'static str,
}

impl Entry {
    /// The records of all files.
    pub(crate) fn records(&self) -> Vec<Value> {
        self.pieces.iter().map(|piece| piece.record(self.lease)).collect()
    }

    /// Computes the seal anew, after key or pieces changed.
    pub(crate) fn reseal(&mut self) {
        self.seal = wire::seal(&self.key, &self.records());
    }

    /// Paths of all files.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.pieces.iter().map(|piece| piece.path.as_path())
    }

    /// How a hit differs from this entry, looking at the content of its files.
    pub(crate) fn difference(&self, hit: &Value) -> Option<String> {
        if hit["seal"] != self.seal {
            return Some(format!("the seal is {}, stored was {}", hit["seal"], self.seal));
        }
        let Some(files) = hit["files"].as_array() else {
            return Some("the hit has no files".to_owned());
        };
        let mut found: Vec<&str> =
            files.iter().map(|file| file["name"].as_str().unwrap_or("?")).collect();
        let mut wanted: Vec<&str> = self.pieces.iter().map(|piece| piece.name.as_str()).collect();
        found.sort_unstable();
        wanted.sort_unstable();
        if found != wanted {
            let (found, wanted) = (brief(&found), brief(&wanted));
            return Some(format!("its files are {found}, stored were {wanted}"));
        }
        let records: std::collections::BTreeMap<&str, &Value> =
            files.iter().filter_map(|file| Some((file["name"].as_str()?, file))).collect();
        self.pieces.iter().find_map(|piece| piece.difference(records.get(piece.name.as_str())?))
    }
}

fn brief(names: &[&str]) -> String {
    let shown: Vec<&&str> = names.iter().take(6).collect();
    let more =
        if names.len() > 6 { format!(" and {} more", names.len() - 6) } else { String::new() };
    crate::wire::strict::excerpt(&format!("{shown:?}{more}"), 400)
}
