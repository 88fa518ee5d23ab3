//! Private and public keys, as text.

use std::fmt;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use ed25519_dalek::{SECRET_KEY_LENGTH, Signature, Signer as _, SigningKey, VerifyingKey};
use fs_err::os::unix::fs::OpenOptionsExt as _;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::{KeyName, Statement};

/// The first word of a private key.
const PRIVATE: &str = "buildhook-ed25519-private";
/// What a public key begins with.
const PUBLIC: &str = "ed25519:";
/// Longest file of a private key that is read, in bytes: it is one line.
const MAX_FILE_BYTES: u64 = 1024;

/// Why a private key cannot be used. No message holds any of the key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read, written or made; the error names it.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// Others can read it.
    #[error("{}: others than you can read it (mode {mode:03o}); say `chmod 600`", path.display())]
    Readable {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It is somebody else's.
    #[error("{}: it belongs to another user", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// It is no key.
    #[error("{0}: this is no private key; `buildhook-sign keygen` makes one")]
    Malformed(String),
    /// The system gives no random numbers.
    #[error("no random numbers: {0}")]
    Random(String),
}

/// A private key and its name. In text: the word `buildhook-ed25519-private`, the name and 64
/// hex digits, with white space between them.
pub struct PrivateKey {
    name: KeyName,
    key: SigningKey,
}

/// Without the key.
impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({})", self.name)
    }
}

impl PrivateKey {
    /// A new key.
    ///
    /// # Errors
    /// [`KeyError::Random`].
    pub fn generate(name: KeyName) -> Result<Self, KeyError> {
        let mut secret = [0; SECRET_KEY_LENGTH];
        getrandom::fill(&mut secret).map_err(|error| KeyError::Random(error.to_string()))?;
        Ok(Self { name, key: SigningKey::from_bytes(&secret) })
    }

    /// Reads the file `path`, which must be this user's and closed to all others.
    ///
    /// # Errors
    /// All but [`KeyError::Random`].
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let file = fs_err::File::open(path)?;
        let meta = file.metadata()?;
        if meta.uid() != rustix::process::geteuid().as_raw() {
            return Err(KeyError::Foreign { path: path.to_owned() });
        }
        let mode = meta.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(KeyError::Readable { path: path.to_owned(), mode });
        }
        let mut text = String::new();
        file.take(MAX_FILE_BYTES).read_to_string(&mut text)?;
        Self::parse(&text, &path.display().to_string())
    }

    /// Reads `text`, which stands in `place`.
    ///
    /// # Errors
    /// [`KeyError::Malformed`].
    pub fn parse(text: &str, place: &str) -> Result<Self, KeyError> {
        let parse = || {
            let mut words = text.split_whitespace();
            let (PRIVATE, name, digits, None) =
                (words.next()?, words.next()?, words.next()?, words.next())
            else {
                return None;
            };
            let mut secret = [0; SECRET_KEY_LENGTH];
            hex::decode_to_slice(digits, &mut secret).ok()?;
            Some(Self { name: KeyName::new(name).ok()?, key: SigningKey::from_bytes(&secret) })
        };
        parse().ok_or_else(|| KeyError::Malformed(place.to_owned()))
    }

    /// Writes the key to the new file `path`, which only this user can read.
    ///
    /// # Errors
    /// [`KeyError::Io`]; an existing file is never written over.
    pub fn write_new(&self, path: &Path) -> Result<(), KeyError> {
        let mut options = fs_err::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(path)?;
        writeln!(file, "{PRIVATE} {} {}", self.name, hex::encode(self.key.to_bytes()))?;
        Ok(file.sync_all()?)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &KeyName {
        &self.name
    }

    /// The key that its signatures are verified with.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.key.verifying_key())
    }

    /// The signature file of `statement`.
    #[must_use]
    pub fn sign(&self, statement: &Statement) -> String {
        statement.file(&self.key.sign(statement.text().as_bytes()))
    }
}

/// A public key; in text `ed25519:` and 64 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Reads a key. Weak ones, for which signatures fit many messages, are refused.
    ///
    /// # Errors
    /// A sentence that says what a key is.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parse = || {
            let mut bytes = [0; 32];
            hex::decode_to_slice(text.strip_prefix(PUBLIC)?, &mut bytes).ok()?;
            VerifyingKey::from_bytes(&bytes).ok().filter(|key| !key.is_weak())
        };
        let what = || format!("`{text}` is no public key: write `{PUBLIC}` and 64 hex digits");
        parse().map(Self).ok_or_else(what)
    }

    /// The statement of a signature file, when this key has signed it.
    #[must_use]
    pub fn verify(&self, file: &[u8]) -> Option<Statement> {
        let (statement, signature): (_, Signature) = Statement::parse(file)?;
        self.0.verify_strict(statement.text().as_bytes(), &signature).ok()?;
        Some(statement)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PUBLIC}{}", hex::encode(self.0.as_bytes()))
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use buildhook_sdk::protocol::{Digest, Key, Purpose, Seal};

    use crate::Moment;

    fn key() -> PrivateKey {
        PrivateKey::generate(KeyName::new("ci").unwrap()).unwrap()
    }

    #[test]
    fn a_key_is_read_only_from_a_file_that_is_closed_to_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ci.key");
        let key = key();
        key.write_new(&path).unwrap();
        assert!(matches!(key.write_new(&path), Err(KeyError::Io(_))));
        let read = PrivateKey::read(&path).unwrap();
        assert_eq!((read.name(), read.public()), (key.name(), key.public()));

        for mode in [0o640, 0o604, 0o601] {
            let permissions = std::fs::Permissions::from_mode(mode);
            fs_err::set_permissions(&path, permissions).unwrap();
            let error = PrivateKey::read(&path).unwrap_err();
            assert!(error.to_string().contains(&format!("{mode:o}")), "{error}");
        }
    }

    #[test]
    fn what_is_no_key_is_refused_without_showing_it() {
        let secret = "5e".repeat(32);
        for bad in [
            String::new(),
            format!("{PRIVATE} ci {secret}00"),
            format!("{PRIVATE} CI {secret}"),
            format!("{PRIVATE} ci {secret} more"),
            format!("ci {secret}"),
        ] {
            let error = PrivateKey::parse(&bad, "F").unwrap_err().to_string();
            assert!(error.starts_with("F: ") && !error.contains("5e5e"), "{error}");
        }
    }

    #[test]
    fn one_changed_byte_of_a_signature_file_is_found() {
        let key = key();
        let statement = Statement {
            key: Key(Digest::of(b"key")),
            purpose: Purpose::Outputs,
            seal: Seal("seal".to_owned()),
            files: Digest::of(b"files"),
            created: Moment(1000),
            expires: Moment(2000),
            name: key.name().clone(),
        };
        let file = key.sign(&statement).into_bytes();
        assert_eq!(key.public().verify(&file), Some(statement));
        for at in 0..file.len() {
            let mut changed = file.clone();
            changed[at] ^= 1;
            assert_eq!(key.public().verify(&changed), None, "byte {at}");
        }
        let other = PrivateKey::generate(KeyName::new("ci").unwrap()).unwrap();
        assert_eq!(other.public().verify(&file), None);
    }

    #[test]
    fn weak_and_malformed_public_keys_are_refused() {
        let public = key().public();
        assert_eq!(PublicKey::parse(&public.to_string()), Ok(public));
        // The neutral element: any signature of a certain form fits any message.
        let weak = format!("{PUBLIC}01{}", "00".repeat(31));
        for bad in [weak.as_str(), "ed25519:", "5e", &public.to_string()[..70]] {
            assert!(PublicKey::parse(bad).is_err(), "{bad}");
        }
    }
}
