//! The way up: a hit of the next plugin becomes a hit or a miss.

use buildhook_sdk::files::read_verified;
use buildhook_sdk::protocol::{Answer, EntryName, ErrorKind, FileRecord, Message, Reason, Seal};
use buildhook_sdk::{Call, Error, Want};
use serde_json::Value;

use crate::{KeyName, MAX_SIGNATURE_BYTES, Moment, Signed, Subject, Trust, digest_of_files};

/// The folder of the signature files (BH-FILE-004).
const FOLDER: &str = "@sign";

/// Whether the file is a signature, of whatever key.
#[must_use]
pub fn is_signature(name: &EntryName) -> bool {
    name.strip_folder(FOLDER).is_some()
}

/// The name of the signature file of the key `name`.
#[must_use]
pub fn signature_name(name: &KeyName) -> EntryName {
    EntryName::new(format!("{FOLDER}/{name}")).expect("a key's name is a segment of a name")
}

/// The content of a signature file; `None` when it is not what its record says, or cannot be
/// one.
#[must_use]
pub fn read_signature(file: &FileRecord) -> Option<Vec<u8>> {
    if file.size > MAX_SIGNATURE_BYTES {
        return None;
    }
    let mut content = Vec::new();
    read_verified(file, &mut content).ok().map(|()| content)
}

/// Lets entries through that enough trusted operators have signed.
#[derive(Debug)]
pub struct Gate {
    trust: Trust,
    /// Who says that operators disagree, on standard error.
    reporter: &'static str,
}

impl Gate {
    /// A gate of the plugin called `reporter`.
    #[must_use]
    pub fn new(trust: Trust, reporter: &'static str) -> Self {
        Self { trust, reporter }
    }

    /// Who is trusted.
    #[must_use]
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// What to make of the next plugin's answer to a `want-to-build`.
    ///
    /// # Errors
    /// The answer is none: what this plugin cannot read must not be read by those above.
    pub fn admit(&self, call: &Call, mut answer: Message) -> Result<Want, Error> {
        match answer.parse() {
            Ok(Answer::Hit { seal, files, .. }) => match self.check(call, &seal, &files) {
                Ok(()) => {
                    strip(&mut answer);
                    Ok(Want::Forwarded(answer))
                }
                Err(reason) => Ok(Want::Miss(reason)),
            },
            Ok(Answer::Miss { .. } | Answer::Error { .. }) => Ok(Want::Forwarded(answer)),
            Ok(Answer::Done { .. }) => {
                Err(Error::new(ErrorKind::Child, "the next plugin answered `done` to a question"))
            }
            Err(error) => Err(Error::new(
                ErrorKind::Child,
                format!("the next plugin's answer is none: {error}"),
            )),
        }
    }

    fn check(&self, call: &Call, seal: &Seal, files: &[FileRecord]) -> Result<(), Reason> {
        let subject = Subject {
            key: &call.key,
            purpose: call.purpose,
            seal,
            files: digest_of_files(files),
            unit: &call.unit,
        };
        let signatures: Vec<Signed> = files.iter().filter_map(|file| self.signed(file)).collect();
        let report = |text: &str| eprintln!("buildhook-{}: {text}", self.reporter);
        self.trust.judge(&subject, &signatures, Moment::now(), report)
    }

    /// The file as a signature, when it is filed under a trusted key's name: no others are read.
    fn signed(&self, file: &FileRecord) -> Option<Signed> {
        let name = KeyName::new(file.name.strip_folder(FOLDER)?).ok()?;
        self.trust.key(&name)?;
        Some((name, read_signature(file)))
    }
}

/// Takes the signature files out of a hit.
fn strip(hit: &mut Message) {
    if let Some(Value::Array(files)) = hit.members_mut().get_mut("files") {
        let is_signature = |file: &Value| {
            let name = file.get("name").and_then(Value::as_str);
            name.and_then(|name| name.strip_prefix(FOLDER))
                .is_some_and(|rest| rest.starts_with('/'))
        };
        files.retain(|file| !is_signature(file));
    }
}
