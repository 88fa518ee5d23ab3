//! The way down: an entry is stored with a signature.

use std::path::{Path, PathBuf};
use std::time::Instant;

use buildhook_sdk::protocol::{
    Answer, Digest, EntryName, ErrorKind, FileRecord, Hook, Lease, Message, Purpose, Reason,
    ReasonCode,
};
use buildhook_sdk::{Built, Call, Done, Error};
use buildhook_sign::{
    Moment, Statement, Subject, digest_of_files, is_signature, read_signature, signature_name,
};
use serde_json::{Value, json};

use crate::Sign;
use crate::confirm::Entry;

/// Signatures of others that are kept when an entry is replaced: more than there are
/// operators who agree on anything.
const MAX_KEPT: usize = 16;

/// Folders for looking at what is stored and for offering it again.
const LOOKS: [(&str, &str); 3] =
    [("second-look", "second"), ("third-look", "third"), ("fourth-look", "fourth")];

/// An entry that is already there.
#[derive(Default)]
struct Existing {
    /// It is this very entry, with this key's signature, which will last.
    stands: bool,
    /// The signatures of others, by name.
    others: Vec<(EntryName, Vec<u8>)>,
}

impl Sign {
    pub(crate) fn store(&self, call: &Call, built: &Built) -> Result<Done, Error> {
        let name = signature_name(self.key.name());
        if built.files.iter().any(|file| file.name == name) {
            let what =
                format!("`{name}` is there already: a buildhook-sign above has the same key");
            return Ok(Done::declined(ReasonCode::POLICY, what));
        }
        let (started, now) = (Instant::now(), Moment::now());
        let statement = Statement {
            key: call.key,
            purpose: call.purpose,
            seal: built.seal.clone(),
            files: digest_of_files(&built.files),
            created: now,
            expires: now.plus_days(self.lifetime_days),
            name: self.key.name().clone(),
        };
        let signature = self.key.sign(&statement).into_bytes();
        let is_enough = match self.would_pass(call, &statement, &signature, now) {
            Ok(is_enough) => is_enough,
            Err(reason) => return Ok(declined(reason)),
        };
        let mut signatures = vec![(name, signature.clone())];
        if built.replace {
            // Records of inputs always come so; others may have signed the same one.
            signatures.extend(self.existing(call, "first-look", &statement)?.others);
        }
        let mut answer = self.offer(call, "first", &signatures, built.replace)?;
        // Who replaces an entry takes away what another has signed since it was looked at. So
        // each looks again and puts its own signature back, with all that it finds.
        let can_look = self.next.hello().has_hook(Hook::WantToBuild);
        let mut replaced = built.replace;
        for (look, offer) in LOOKS {
            let stored = answer.members().get("stored").and_then(Value::as_str);
            let may_lack = match stored {
                Some("already") => true,
                Some("yes") => replaced && can_look,
                _ => false,
            };
            if !may_lack {
                break;
            }
            let existing = self.existing(call, look, &statement)?;
            let has_all = signatures[1..]
                .iter()
                .all(|(name, _)| existing.others.iter().any(|(other, _)| other == name));
            if existing.stands && has_all {
                break;
            }
            for other in existing.others {
                if !signatures.iter().any(|(name, _)| *name == other.0) {
                    signatures.push(other);
                }
            }
            answer = self.offer(call, offer, &signatures, true)?;
            replaced = true;
        }
        if can_look && answer.members().get("stored").is_some_and(|stored| stored == "yes") {
            let mut request = description(&call.message);
            // Lent for the time of the request only.
            request.members_mut().remove("manifest");
            self.signed.add(Entry { request, statement, signature }, started.elapsed());
        }
        Ok(Done::Forwarded(upwards(answer, is_enough)))
    }

    /// Whether the entry would be given back with just this signature (`false`: not until
    /// others have signed it), or why it never would.
    fn would_pass(
        &self,
        call: &Call,
        statement: &Statement,
        signature: &[u8],
        now: Moment,
    ) -> Result<bool, Reason> {
        let Some(gate) = &self.gate else { return Ok(true) };
        let subject = Subject {
            key: &call.key,
            purpose: call.purpose,
            seal: &statement.seal,
            files: statement.files,
            unit: &call.unit,
        };
        let own = [(statement.name.clone(), Some(signature.to_vec()))];
        match gate.trust().judge(&subject, &own, now, |_| ()) {
            Ok(()) => Ok(true),
            Err(reason) if reason.code == ReasonCode::UNSIGNED => Ok(false),
            Err(reason) => Err(reason),
        }
    }

    /// Offers the entry with these signature files to the next plugin.
    fn offer(
        &self,
        call: &Call,
        folder: &str,
        signatures: &[(EntryName, Vec<u8>)],
        replace: bool,
    ) -> Result<Message, Error> {
        let (own, next) = folders(call, folder)?;
        let mut request = call.message.clone();
        let members = request.members_mut();
        members.insert("scratch".to_owned(), text(&next)?.into());
        if replace {
            members.insert("replace".to_owned(), true.into());
        }
        let Some(Value::Array(files)) = members.get_mut("files") else {
            unreachable!("the SDK has read the files of the request");
        };
        for (at, (name, content)) in signatures.iter().enumerate() {
            if files.iter().any(|file| file["name"] == name.as_str()) {
                continue;
            }
            let path = own.join(at.to_string());
            fs_err::write(&path, content)?;
            let record = FileRecord {
                name: name.clone(),
                path,
                size: content.len() as u64,
                digest: Digest::of(content),
                executable: false,
                lease: Lease::Borrowed,
            };
            files.push(json!(record));
        }
        self.next.exchange(call, request)
    }

    /// Looks at the entry that the next plugin says it has.
    fn existing(
        &self,
        call: &Call,
        folder: &str,
        statement: &Statement,
    ) -> Result<Existing, Error> {
        if !self.next.hello().has_hook(Hook::WantToBuild) {
            return Ok(Existing::default());
        }
        let (_, next) = folders(call, folder)?;
        let mut request = description(&call.message);
        let members = request.members_mut();
        members.insert("kind".to_owned(), Hook::WantToBuild.as_str().into());
        members.insert("scratch".to_owned(), text(&next)?.into());
        let Ok(Answer::Hit { seal, files, .. }) = self.next.exchange(call, request)?.parse() else {
            return Ok(Existing::default());
        };
        let is_this = seal == statement.seal && digest_of_files(&files) == statement.files;
        let own = signature_name(&statement.name);
        let stands = is_this
            && files.iter().any(|file| file.name == own && self.lasts(call, file, statement));
        let signatures = files.iter().filter(|file| is_signature(&file.name) && file.name != own);
        let others = signatures.filter_map(|file| kept(file, statement)).take(MAX_KEPT).collect();
        Ok(Existing { stands, others })
    }

    /// Whether `file` says the same as the new statement and need not be renewed.
    fn lasts(&self, call: &Call, file: &FileRecord, new: &Statement) -> bool {
        let Some(content) = read_signature(file) else { return false };
        let Some(old) = self.key.public().verify(&content) else { return false };
        let now = new.created;
        let half = Moment(old.created.0.midpoint(old.expires.0));
        let renewed = Statement { created: now, expires: new.expires, ..old.clone() };
        renewed == *new
            && old.created <= now
            && now < half
            && self.would_pass(call, &old, &content, now).is_ok()
    }
}

/// The signature of somebody else, when it goes with the new entry. Whether it is genuine is
/// for those to say who have its public key.
fn kept(file: &FileRecord, new: &Statement) -> Option<(EntryName, Vec<u8>)> {
    let content = read_signature(file)?;
    let (old, _) = Statement::parse(&content)?;
    let is_of_entry = old.key == new.key
        && old.purpose == new.purpose
        && signature_name(&old.name) == file.name
        // Records of inputs grow: an older one does not contradict.
        && (old.seal == new.seal || new.purpose == Purpose::Outputs);
    is_of_entry.then(|| (file.name.clone(), content))
}

/// What a request that stores an entry says besides what is stored.
fn description(request: &Message) -> Message {
    let mut request = request.clone();
    for member in ["seal", "files", "cost-ms", "replace"] {
        request.members_mut().remove(member);
    }
    request
}

fn declined(reason: Reason) -> Done {
    Done::declined(&reason.code, reason.message.unwrap_or_default())
}

/// The answer without what the host knows nothing of; `later` when the entry has yet to be
/// signed by others before it is given back (BH-BUILT-001).
fn upwards(mut answer: Message, is_enough: bool) -> Message {
    let members = answer.members_mut();
    if let Some(Value::Array(files)) = members.get_mut("relocated") {
        let is_signature = |file: &Value| {
            let name = file["name"].as_str().and_then(|name| EntryName::new(name).ok());
            name.is_some_and(|name| is_signature(&name))
        };
        files.retain(|file| !is_signature(file));
    }
    if let Some(stored) = members.get_mut("stored")
        && !is_enough
        && (*stored == "yes" || *stored == "already")
    {
        *stored = "later".into();
    }
    answer
}

/// Two new folders in the request's scratch: one for this filter, one for the next plugin.
fn folders(call: &Call, name: &str) -> std::io::Result<(PathBuf, PathBuf)> {
    let own = call.scratch.join(format!("sign-{name}"));
    let next = call.scratch.join(format!("next-{name}"));
    fs_err::create_dir(&own)?;
    fs_err::create_dir(&next)?;
    Ok((own, next))
}

fn text(path: &Path) -> Result<&str, Error> {
    let what = "the scratch folder's path is not Unicode";
    path.to_str().ok_or_else(|| Error::new(ErrorKind::BadRequest, what))
}
