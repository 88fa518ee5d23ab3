//! The record of an entry: what a store keeps beside the content of the files.
//!
//! It is written as one line of JSON and the digest of that line, so that any damage (cut
//! short, zeros after a power cut, edited by hand) is found and the entry counts as a miss. It
//! is no defence against someone who can write to the store.
//!
//! Members are only ever added, and are left out where they say nothing, so every store reads
//! what it wrote before. A change that older programs would misunderstand needs another
//! version in the name under which a store keeps its records.

use std::path::PathBuf;

use buildhook_protocol::limits::MAX_FILES;
use buildhook_protocol::name::check_unique;
use buildhook_protocol::{Digest, EntryName, FileRecord, Key, Lease, Purpose, Seal};
use serde::{Deserialize, Serialize};

use crate::{Built, Call};

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Record {
    /// Under which it is found, with the purpose.
    pub key: Key,
    /// Under which it is found, with the key.
    pub purpose: Purpose,
    /// As it came.
    pub seal: Seal,
    /// What building took, in milliseconds, when it was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_ms: Option<u64>,
    /// At least one, with names that differ.
    pub files: Vec<StoredFile>,
    /// What was done to content that is kept as one piece. See [`crate::remote`].
    #[serde(default, skip_serializing_if = "Encoding::is_plain")]
    pub encoding: Encoding,
    /// The object that holds the content of the last files, when there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pack: Option<Pack>,
}

/// An object with the content of several files. See [`crate::remote`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Pack {
    /// Of the object, as it is kept.
    pub digest: Digest,
    /// Of the object, in bytes.
    pub size: u64,
    /// How many files it holds: the last ones of the record.
    pub files: usize,
}

/// One file of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct StoredFile {
    /// Its name in the entry.
    pub name: EntryName,
    /// Of the content, in bytes.
    pub size: u64,
    /// Of the content, however it is encoded.
    pub digest: Digest,
    /// Whether it is a program.
    pub executable: bool,
}

/// How the bytes that are kept relate to the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// They are the content.
    #[default]
    Plain,
    /// They are the content compressed with zstd.
    Zstd,
}

impl Encoding {
    fn is_plain(&self) -> bool {
        *self == Self::Plain
    }
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

impl StoredFile {
    /// What an answer says of it when its content is at `path`.
    #[must_use]
    pub fn offer(&self, path: PathBuf, lease: Lease) -> FileRecord {
        FileRecord {
            name: self.name.clone(),
            path,
            size: self.size,
            digest: self.digest,
            executable: self.executable,
            lease,
        }
    }
}

impl Record {
    /// That of what was built, with these files.
    #[must_use]
    pub fn new(call: &Call, built: &Built, files: Vec<StoredFile>) -> Self {
        Self {
            key: call.key,
            purpose: call.purpose,
            seal: built.seal.clone(),
            cost_ms: built.cost_ms,
            files,
            encoding: Encoding::Plain,
            pack: None,
        }
    }

    /// Whether it is the entry that `call` asks for: a store may have been mixed up.
    #[must_use]
    pub fn answers(&self, call: &Call) -> bool {
        self.key == call.key && self.purpose == call.purpose
    }

    /// What is to be kept.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut text = serde_json::to_string(self).expect("text, numbers and flags only");
        let digest = Digest::of(text.as_bytes());
        text.push('\n');
        text.push_str(&digest.to_string());
        text.push('\n');
        text.into_bytes()
    }

    /// What `content` says; `None` when it is not whole, or no entry could be like that.
    #[must_use]
    pub fn decode(content: &[u8]) -> Option<Self> {
        Self::decode_from(content).filter(|(_, rest)| rest.is_empty()).map(|(record, _)| record)
    }

    /// The record that `content` begins with, and what follows it.
    #[must_use]
    pub fn decode_from(content: &[u8]) -> Option<(Self, &[u8])> {
        let (json, rest) = line(content)?;
        let (digest, rest) = line(rest)?;
        if std::str::from_utf8(digest).ok()?.parse() != Ok(Digest::of(json)) {
            return None;
        }
        let record: Self = serde_json::from_slice(json).ok()?;
        let names = check_unique(record.files.iter().map(|file| &file.name));
        let packed = record.pack.map_or(0, |pack| pack.files);
        let is_sound = names.is_ok()
            && (1..=MAX_FILES).contains(&record.files.len())
            && packed <= record.files.len();
        is_sound.then_some((record, rest))
    }
}

/// The first line of `content` and what follows it.
fn line(content: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = content.iter().position(|byte| *byte == b'\n')?;
    Some((&content[..end], &content[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file(name: &str) -> StoredFile {
        StoredFile {
            name: EntryName::new(name).unwrap(),
            size: 3,
            digest: Digest::of(b"abc"),
            executable: true,
        }
    }

    fn sample() -> Record {
        let pack = Pack { digest: Digest::of(b"pack"), size: 9, files: 1 };
        Record {
            key: Key(Digest::of(b"key")),
            purpose: Purpose::Inputs,
            seal: Seal("any \"text\"\n".to_owned()),
            cost_ms: Some(12),
            files: vec![file("out/ü b"), file("out/packed")],
            encoding: Encoding::Zstd,
            pack: Some(pack),
        }
    }

    /// Entries that earlier versions have stored must stay readable.
    #[test]
    fn the_form_is_fixed() {
        let digest = Digest::of(b"abc");
        let files = vec![file("out/a")];
        let record =
            Record { cost_ms: None, files, encoding: Encoding::Plain, pack: None, ..sample() };
        let text = String::from_utf8(record.encode()).unwrap();
        let expected = format!(
            "{{\"key\":\"{}\",\"purpose\":\"inputs\",\"seal\":\"any \\\"text\\\"\\n\",\
             \"files\":[{{\"name\":\"out/a\",\"size\":3,\"digest\":\"{digest}\",\
             \"executable\":true}}]}}",
            Digest::of(b"key"),
        );
        assert_eq!(text.lines().next(), Some(expected.as_str()));
    }

    #[test]
    fn no_files_or_two_of_a_name_or_a_pack_of_more_are_no_entry() {
        let a = || file("out/a");
        for (files, pack) in [(vec![], None), (vec![a(), a()], None), (vec![], sample().pack)] {
            assert_eq!(Record::decode(&Record { files, pack, ..sample() }.encode()), None);
        }
        let pack = sample().pack.map(|pack| Pack { files: 3, ..pack });
        assert_eq!(Record::decode(&Record { pack, ..sample() }.encode()), None);
    }

    #[test]
    fn what_follows_a_record_is_given_back() {
        let whole = [sample().encode(), b"\xff\n".to_vec()].concat();
        assert_eq!(Record::decode(&whole), None);
        assert_eq!(Record::decode_from(&whole), Some((sample(), &b"\xff\n"[..])));
    }

    proptest! {
        #[test]
        fn one_changed_or_missing_byte_is_found(at in 0usize..1000, flip in 1u8..) {
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
