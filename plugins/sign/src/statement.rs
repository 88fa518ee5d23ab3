//! What is signed, as bytes.
//!
//! A signature file is text: the lines of the statement, which are what is signed, and one
//! line with the signature. There is one way to write a statement; what is written in any
//! other way is no statement.
//!
//! ```text
//! buildhook-signature-v1
//! key blake3:6437…
//! purpose outputs
//! seal "blake3:beaa…"
//! files blake3:91c2…
//! created 1795199415
//! expires 1802975415
//! name ci-2026
//! signature 5e0c…
//! ```
//!
//! The seal is opaque to plugins (BH-SEAL-002), so it is written as a JSON string and says
//! nothing about the files by itself: `files` does, whatever filters above have made of the
//! host's.

use std::fmt::{self, Write as _};

use buildhook_sdk::protocol::{Digest, EntryName, FileRecord, Key, Purpose, Seal};
use ed25519_dalek::Signature;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::Moment;

/// The first line; no other text that these keys sign begins so.
const DOMAIN: &str = "buildhook-signature-v1";
/// Begins the text whose digest stands for the files.
const FILES_DOMAIN: &str = "buildhook-signed-files-v1\n";
/// Longest signature file, in bytes: the longest seal takes 256 bytes, six times that when
/// each has to be escaped, and the other lines less than 600.
pub const MAX_SIGNATURE_BYTES: u64 = 2560;
/// Longest name of a key, in bytes.
const MAX_NAME_BYTES: usize = 64;

/// The name of a key: 1–64 of `a–z 0–9 . _ -`, good as a file's name. Lower case only, because
/// names of an entry that differ in case only are not allowed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyName(String);

impl KeyName {
    /// Checks a name.
    ///
    /// # Errors
    /// A sentence that says what a name is.
    pub fn new(text: &str) -> Result<Self, String> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
        let fits = text.len() <= MAX_NAME_BYTES && text.chars().all(plain);
        // Devices of Windows, `.` and the like.
        if !fits || EntryName::new(text).is_err() {
            return Err(format!(
                "`{text}` cannot be a key's name: it has 1 to {MAX_NAME_BYTES} characters of \
                 a-z, 0-9, `.`, `_` and `-`, and can be a file's name"
            ));
        }
        Ok(Self(text.to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for KeyName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// Stands for names, sizes, digests and executable bits of `files`, in whatever order, but for
/// signature files, which come and go.
#[must_use]
pub fn digest_of_files<'a>(files: impl IntoIterator<Item = &'a FileRecord>) -> Digest {
    let covered = files.into_iter().filter(|file| !crate::is_signature(&file.name));
    let mut covered: Vec<_> = covered.collect();
    covered.sort_by(|a, b| a.name.cmp(&b.name));
    let mut text = FILES_DOMAIN.to_owned();
    for FileRecord { name, size, digest, executable, .. } in covered {
        let executable = if *executable { 'x' } else { '-' };
        // Writing to a String cannot fail; a name holds no line feed.
        let _ = writeln!(text, "{size} {digest} {executable} {name}");
    }
    Digest::of(text.as_bytes())
}

/// "The entry under this key, for this purpose, has this seal and these files."
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The entry.
    pub key: Key,
    /// Which entry of that key; never [`Purpose::Other`].
    pub purpose: Purpose,
    /// What the host says the files are, before filters above this one.
    pub seal: Seal,
    /// [`digest_of_files`] of the files as they are stored.
    pub files: Digest,
    /// When it was signed, by the signer's clock.
    pub created: Moment,
    /// From then on it does not count.
    pub expires: Moment,
    /// The signer's key.
    pub name: KeyName,
}

impl Statement {
    /// The bytes that are signed.
    #[must_use]
    pub fn text(&self) -> String {
        let Self { key, purpose, seal, files, created, expires, name } = self;
        let seal = serde_json::Value::from(seal.0.as_str());
        let purpose = match purpose {
            Purpose::Inputs => "inputs",
            // The SDK lets no other purpose through.
            Purpose::Outputs | Purpose::Other => "outputs",
        };
        format!(
            "{DOMAIN}\nkey {key}\npurpose {purpose}\nseal {seal}\nfiles {files}\n\
             created {created}\nexpires {expires}\nname {name}\n"
        )
    }

    /// The signature file.
    #[must_use]
    pub fn file(&self, signature: &Signature) -> String {
        format!("{}signature {}\n", self.text(), hex::encode(signature.to_bytes()))
    }

    /// What a signature file says; nothing is verified.
    #[must_use]
    pub fn parse(file: &[u8]) -> Option<(Self, Signature)> {
        let text = std::str::from_utf8(file).ok()?;
        let mut lines = text.strip_prefix(DOMAIN)?.strip_prefix('\n')?.lines();
        let mut member = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
        let statement = Self {
            key: member("key")?.parse().ok()?,
            purpose: match member("purpose")? {
                "outputs" => Purpose::Outputs,
                "inputs" => Purpose::Inputs,
                _ => return None,
            },
            seal: serde_json::from_str(member("seal")?).ok()?,
            files: member("files")?.parse().ok()?,
            created: Moment(member("created")?.parse().ok()?),
            expires: Moment(member("expires")?.parse().ok()?),
            name: KeyName::new(member("name")?).ok()?,
        };
        let mut bytes = [0; Signature::BYTE_SIZE];
        hex::decode_to_slice(member("signature")?, &mut bytes).ok()?;
        let signature = Signature::from_bytes(&bytes);
        // Leading zeros, capital letters, more lines: another way to write the same.
        (statement.file(&signature) == text).then_some((statement, signature))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Statement {
        Statement {
            key: Key(Digest::of(b"key")),
            purpose: Purpose::Inputs,
            seal: Seal("of \"another\" host\n".to_owned()),
            files: Digest::of(b"files"),
            created: Moment(7),
            expires: Moment(1_795_199_415),
            name: KeyName::new("ci-2026").unwrap(),
        }
    }

    #[test]
    fn there_is_one_way_to_write_a_statement() {
        let signature = Signature::from_bytes(&[0xab; 64]);
        let file = sample().file(&signature);
        assert!((file.len() as u64) < MAX_SIGNATURE_BYTES / 2);
        assert_eq!(Statement::parse(file.as_bytes()), Some((sample(), signature)));

        let others = [
            file.replace("created 7", "created 07"),
            file.replace("created 7", "created +7"),
            file.replace("signature ab", "signature AB"),
            file.replace('\n', "\r\n"),
            file.replace("purpose inputs", "purpose graph"),
            file.replace("name ci-2026\n", ""),
            file.replace("v1", "v2"),
            format!("{file}\n"),
            format!("{file}more\n"),
            file.trim_end().to_owned(),
            format!(" {file}"),
            String::new(),
        ];
        for other in others {
            assert_eq!(Statement::parse(other.as_bytes()), None, "{other:?}");
        }
    }

    #[test]
    fn names_of_keys_are_names_of_files() {
        let longest = "x".repeat(64);
        for good in ["ci", "ci-2026_a.b", "0", &longest] {
            assert!(KeyName::new(good).is_ok(), "{good}");
        }
        let long = "x".repeat(65);
        for bad in ["", ".", "..", "a/b", "CI", "a b", "ü", "con", "end.", &long] {
            assert!(KeyName::new(bad).is_err(), "{bad}");
        }
    }
}
