//! The entry record: one line of JSON and the digest of that line, so that any damage to the
//! object is a miss. It is no defence against someone who can write to the bucket.
//!
//! Small files stand in the record itself: an entry of small files is one object and one
//! round trip.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use buildhook_protocol::name::check_unique;
use buildhook_protocol::{Digest, EntryName, FileRecord, Key, Purpose, Seal};
use serde::{Deserialize, Serialize};

/// Longest record that is read, in bytes: the longest message of the protocol, which holds
/// any list of files, and room for what stands in the record.
pub(crate) const MAX_BYTES: u64 = 17 * 1024 * 1024;
/// Most content that stands in one record, in bytes. At 100 Mbit/s it takes 14 ms, less than
/// the round trip to most regions that it saves.
pub(crate) const MAX_INLINE_BYTES: u64 = 128 * 1024;

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
    #[serde(default, skip_serializing_if = "Encoding::is_plain")]
    pub(crate) encoding: Encoding,
    /// The content in Base64, when it stands here and not in a blob.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) content: Option<String>,
}

/// How the bytes of a blob relate to the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Encoding {
    #[default]
    Plain,
    Zstd,
}

impl Encoding {
    fn is_plain(&self) -> bool {
        *self == Self::Plain
    }
}

impl StoredFile {
    pub(crate) fn new(file: &FileRecord, encoding: Encoding) -> Self {
        Self {
            name: file.name.clone(),
            size: file.size,
            digest: file.digest,
            executable: file.executable,
            encoding,
            content: None,
        }
    }

    /// The same with its content in the record.
    pub(crate) fn inline(file: &FileRecord, content: &[u8]) -> Self {
        Self { content: Some(STANDARD.encode(content)), ..Self::new(file, Encoding::Plain) }
    }

    /// The content that stands here; `Some(None)` when it is not what it should be.
    pub(crate) fn inlined(&self) -> Option<Option<Vec<u8>>> {
        let text = self.content.as_ref()?;
        let content = STANDARD.decode(text).ok();
        let sound = |content: &Vec<u8>| {
            content.len() as u64 == self.size && Digest::of(content) == self.digest
        };
        Some(content.filter(sound))
    }
}

impl Record {
    /// The content of the object.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut text = serde_json::to_string(self).expect("text, numbers and flags only");
        let digest = Digest::of(text.as_bytes());
        text.push('\n');
        text.push_str(&digest.to_string());
        text.push('\n');
        text.into_bytes()
    }

    /// What `content` says, when it is whole and what may be asked of an entry.
    pub(crate) fn decode(content: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(content).ok()?;
        let (json, digest) = text.strip_suffix('\n')?.split_once('\n')?;
        if digest.parse() != Ok(Digest::of(json.as_bytes())) {
            return None;
        }
        let record: Self = serde_json::from_str(json).ok()?;
        let names = check_unique(record.files.iter().map(|file| &file.name));
        (names.is_ok() && !record.files.is_empty()).then_some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use buildhook_protocol::Lease;

    fn sample() -> Record {
        let file = FileRecord {
            name: EntryName::new("out/ü b").unwrap(),
            path: "/x".into(),
            size: 3,
            digest: Digest::of(b"abc"),
            executable: true,
            lease: Lease::Borrowed,
        };
        let blob = FileRecord { name: EntryName::new("out/c").unwrap(), ..file.clone() };
        Record {
            key: Key(Digest::of(b"key")),
            purpose: Purpose::Inputs,
            seal: Seal("any \"text\"\n".to_owned()),
            cost_ms: Some(12),
            files: vec![StoredFile::inline(&file, b"abc"), StoredFile::new(&blob, Encoding::Zstd)],
        }
    }

    #[test]
    fn any_changed_or_missing_byte_is_found() {
        let whole = sample().encode();
        assert_eq!(Record::decode(&whole), Some(sample()));
        for at in 0..whole.len() {
            assert_eq!(Record::decode(&whole[..at]), None, "cut at {at}");
            let mut changed = whole.clone();
            changed[at] ^= 1;
            assert_eq!(Record::decode(&changed), None, "changed at {at}");
        }
    }

    #[test]
    fn content_that_contradicts_its_record_is_found() {
        let mut file = sample().files.remove(0);
        assert_eq!(file.inlined(), Some(Some(b"abc".to_vec())));
        file.size = 4;
        assert_eq!(file.inlined(), Some(None));
        file.content = Some("not base64".to_owned());
        assert_eq!(file.inlined(), Some(None));
        file.content = None;
        assert_eq!(file.inlined(), None);
    }
}
