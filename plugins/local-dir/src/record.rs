//! The entry file: one line of JSON and the digest of that line.
//!
//! The digest makes any damage to the file (cut short, zeros after a power cut, edited by
//! hand) a miss; it is no defence against someone who can write to the store.

use buildhook_protocol::{Digest, EntryName, FileRecord, Key, Purpose, Seal};
use serde::{Deserialize, Serialize};

/// Longest entry file that is read, in bytes. As long as the longest message: an entry that
/// came in one fits.
pub(crate) const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Record {
    pub(crate) key: Key,
    pub(crate) purpose: Purpose,
    pub(crate) seal: Seal,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cost_ms: Option<u64>,
    pub(crate) files: Vec<StoredFile>,
}

/// One file of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct StoredFile {
    pub(crate) name: EntryName,
    pub(crate) size: u64,
    pub(crate) digest: Digest,
    pub(crate) executable: bool,
}

impl From<&FileRecord> for StoredFile {
    fn from(file: &FileRecord) -> Self {
        Self {
            name: file.name.clone(),
            size: file.size,
            digest: file.digest,
            executable: file.executable,
        }
    }
}

impl Record {
    /// The content of the entry file.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut text = serde_json::to_string(self).expect("text, numbers and flags only");
        let digest = Digest::of(text.as_bytes());
        text.push('\n');
        text.push_str(&digest.to_string());
        text.push('\n');
        text.into_bytes()
    }

    /// What `content` says, when it is whole.
    pub(crate) fn decode(content: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(content).ok()?;
        let (json, digest) = text.strip_suffix('\n')?.split_once('\n')?;
        if digest.parse() != Ok(Digest::of(json.as_bytes())) {
            return None;
        }
        serde_json::from_str(json).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Record {
        Record {
            key: Key(Digest::of(b"key")),
            purpose: Purpose::Inputs,
            seal: Seal("any \"text\"\n".to_owned()),
            cost_ms: Some(12),
            files: vec![StoredFile {
                name: EntryName::new("out/ü b").unwrap(),
                size: 0,
                digest: Digest::of(b""),
                executable: true,
            }],
        }
    }

    proptest! {
        #[test]
        fn one_changed_or_missing_byte_is_found(at in 0usize..500, flip in 1u8..) {
            let whole = sample().encode();
            prop_assert_eq!(Record::decode(&whole), Some(sample()));
            let at = at % whole.len();
            prop_assert_eq!(Record::decode(&whole[..at]), None);
            let mut changed = whole;
            changed[at] ^= flip;
            prop_assert_eq!(Record::decode(&changed), None);
        }
    }
}
