//! Whether the signatures of an entry are enough.

use std::collections::BTreeMap;

use buildhook_sdk::protocol::{Digest, Key, Purpose, Reason, ReasonCode, Seal, Unit};

use crate::moment::DAY_S;
use crate::{KeyName, Moment, Statement, Trust, TrustedKey};

/// How far a signer's clock may be ahead of this machine's, in seconds: more than machines
/// that set their clocks by the network differ, less than any lifetime of a signature.
const CLOCK_SKEW_S: u64 = 300;

/// What the signatures are to be about.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The entry.
    pub key: &'a Key,
    /// Which entry of that key.
    pub purpose: Purpose,
    /// The seal that is offered.
    pub seal: &'a Seal,
    /// Stands for the files that are offered, see [`digest_of_files`](crate::digest_of_files).
    pub files: Digest,
    /// What the host says it builds.
    pub unit: &'a Unit,
}

/// A signature file: the key's name that it is filed under, and its content, when it could be
/// read and had the digest that was promised.
pub type Signed = (KeyName, Option<Vec<u8>>);

/// Why a signature does not count, the most telling last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    OutOfScope(&'static str),
    NotYet,
    Expired {
        days: u64,
    },
    KeyExpired,
    Revoked,
    /// Of this entry, but not of what is offered.
    OtherFiles,
    OtherEntry,
    Forged,
}

impl Fault {
    fn code(self) -> &'static str {
        match self {
            Self::OutOfScope(_) => ReasonCode::OUT_OF_SCOPE,
            Self::NotYet | Self::Expired { .. } | Self::KeyExpired => ReasonCode::EXPIRED,
            Self::Revoked => ReasonCode::REVOKED,
            Self::OtherFiles | Self::OtherEntry | Self::Forged => ReasonCode::CORRUPT,
        }
    }

    fn sentence(self, name: &KeyName) -> String {
        match self {
            Self::OutOfScope(what) => format!("`{name}` may not sign for this {what}"),
            Self::NotYet => format!("the signature or the key of `{name}` is not valid yet"),
            Self::Expired { days } => format!("the signature of `{name}` expired {days} days ago"),
            Self::KeyExpired => format!("the key `{name}` has expired"),
            Self::Revoked => format!("the key `{name}` is revoked"),
            Self::OtherFiles => format!("`{name}` has signed other files than these"),
            Self::OtherEntry => format!("the signature of `{name}` is one of another entry"),
            Self::Forged => format!("the signature of `{name}` is not one"),
        }
    }
}

impl Trust {
    /// Whether enough trusted operators have signed just this.
    ///
    /// Of several signatures of one operator the latest counts. With a `require` above 1, one
    /// operator whose signature counts and who has signed other files under this key is
    /// enough for a miss, `disagreement`; otherwise that is reported and one word is enough.
    ///
    /// `report` is given a sentence when operators disagree.
    ///
    /// # Errors
    /// The reason for a miss.
    pub fn judge(
        &self,
        subject: &Subject<'_>,
        signatures: &[Signed],
        now: Moment,
        report: impl FnOnce(&str),
    ) -> Result<(), Reason> {
        let mut latest: BTreeMap<&str, Statement> = BTreeMap::new();
        let mut faults = Vec::new();
        for (name, content) in signatures {
            // Other teams may share the store.
            let Some(key) = self.key(name) else { continue };
            match statement(key, subject, content.as_deref(), now) {
                Ok(statement) => {
                    let last = latest.entry(&key.operator).or_insert_with(|| statement.clone());
                    if last.created < statement.created {
                        *last = statement;
                    }
                }
                Err(fault) => faults.push((fault, name.clone())),
            }
        }
        let of = |agrees: bool| {
            let votes = latest.iter().filter(|(_, s)| (s.seal == *subject.seal) == agrees);
            votes.map(|(operator, _)| *operator).collect::<Vec<_>>()
        };
        let (agreeing, others) = (of(true), of(false));
        let disagree = !agreeing.is_empty() && !others.is_empty();
        if disagree {
            let text = disagreement(subject, &agreeing, &others);
            report(&text);
            if self.require > 1 {
                return Err(Reason::new(ReasonCode::DISAGREEMENT, text));
            }
        }
        if agreeing.len() >= self.require {
            return Ok(());
        }
        let other_files = latest.into_values().filter(|s| s.seal != *subject.seal);
        faults.extend(other_files.map(|s| (Fault::OtherFiles, s.name)));
        faults.sort();
        Err(too_few(agreeing.len(), self.require, faults.last()))
    }
}

/// What `key` has signed about the entry, when it counts; it may be about another seal.
fn statement(
    key: &TrustedKey,
    subject: &Subject<'_>,
    content: Option<&[u8]>,
    now: Moment,
) -> Result<Statement, Fault> {
    let statement = content.and_then(|file| key.public.verify(file)).ok_or(Fault::Forged)?;
    let is_of_entry = statement.key == *subject.key
        && statement.purpose == subject.purpose
        && statement.name == key.name;
    if !is_of_entry {
        return Err(Fault::OtherEntry);
    }
    if statement.seal == *subject.seal && statement.files != subject.files {
        return Err(Fault::OtherFiles);
    }
    if key.revoked_at.is_some_and(|at| at <= now) {
        return Err(Fault::Revoked);
    }
    if key.not_after.is_some_and(|at| at <= now || at <= statement.created) {
        return Err(Fault::KeyExpired);
    }
    if statement.expires <= now {
        return Err(Fault::Expired { days: (now.0 - statement.expires.0) / DAY_S });
    }
    let soon = Moment(now.0 + CLOCK_SKEW_S);
    if statement.created > soon || key.not_before.is_some_and(|at| statement.created < at) {
        return Err(Fault::NotYet);
    }
    match key.scope.excludes(subject.unit) {
        Some(what) => Err(Fault::OutOfScope(what)),
        None => Ok(statement),
    }
}

fn disagreement(subject: &Subject<'_>, agreeing: &[&str], others: &[&str]) -> String {
    let what = subject.unit.name.as_deref().unwrap_or("a unit");
    format!(
        "{what}, key {}: {} signed these files and {} others; the build is not reproducible, \
         or somebody lies",
        subject.key,
        agreeing.join(", "),
        others.join(", ")
    )
}

fn too_few(count: usize, require: usize, worst: Option<&(Fault, KeyName)>) -> Reason {
    let count = if require > 1 {
        format!("{count} of {require} operators have signed it")
    } else {
        "no trusted key has signed it".to_owned()
    };
    match worst {
        Some((fault, name)) => {
            Reason::new(fault.code(), format!("{count}: {}", fault.sentence(name)))
        }
        None => Reason::new(ReasonCode::UNSIGNED, count),
    }
}

#[cfg(test)]
mod tests;
