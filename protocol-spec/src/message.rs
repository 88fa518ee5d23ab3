//! The messages and their parts (SPEC.md §2–§9).
//!
//! Two views of one line: [`Message`] keeps every member, known or not, for whoever
//! forwards it; [`Hello`], [`Request`] and [`Answer`] are what a host or a plugin works
//! with. Unknown words in open lists become `Other` or stay text, never an error.
//!
//! Each view is checked whenever it crosses a pipe, in both directions ([`Checked`]):
//! what this crate writes, this crate reads.
//!
//! Known gap: an `Other` has forgotten its word. Whoever forwards a message forwards the
//! [`Message`].

use serde::Serialize;
use serde::de::{DeserializeOwned, Error as _};
use serde_json::{Map, Value};

use crate::limits::{MAX_CONTAINERS, MAX_DEPTH, MAX_FILES, MAX_INTEGER};
use crate::strict;

mod answer;
mod file;
mod hello;
mod request;

pub use answer::{Answer, ErrorBody, ErrorKind, Reason, ReasonCode, Scope, Stored};
pub use file::{FileRecord, Lease};
pub use hello::{Hello, PluginInfo};
pub use request::{Hook, Purpose, Request, Unit};

use file::{absolute, check_files};

/// One line, with all its members.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Message(Map<String, Value>);

/// What can stand on a line: [`Message`], [`Hello`], [`Request`], [`Answer`].
pub trait Checked: Serialize {
    /// The rules of the spec that the shape of the type does not express.
    ///
    /// # Errors
    /// The first rule broken, in words.
    fn check(&self) -> Result<(), &'static str>;
}

impl Message {
    pub(crate) fn from_members(members: Map<String, Value>) -> Self {
        Self(members)
    }

    /// The message that a typed value stands for.
    ///
    /// # Errors
    /// A path that is not Unicode cannot be written in JSON; a rule of [`Checked`].
    pub fn of<T: Checked>(typed: &T) -> Result<Self, serde_json::Error> {
        typed.check().map_err(serde_json::Error::custom)?;
        match serde_json::to_value(typed)? {
            Value::Object(members) => Ok(Self(members)),
            _ => Err(serde_json::Error::custom("a message is a JSON object")),
        }
    }

    /// The typed view: [`Hello`], [`Request`] or [`Answer`].
    ///
    /// A plugin looks at [`Message::kind`] first: a request of a kind that it does not
    /// know has no typed view, and its answer is `unknown-kind` (BH-REQ-007).
    ///
    /// # Errors
    /// Members missing or of the wrong type, or a rule of [`Checked`], in words for the
    /// other side.
    pub fn parse<T: Checked + DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        let typed: T = strict::from_object(&self.0)?;
        typed.check().map_err(serde_json::Error::custom)?;
        Ok(typed)
    }

    /// All members.
    #[must_use]
    pub fn members(&self) -> &Map<String, Value> {
        &self.0
    }

    /// All members, to change: for filters, which forward what they do not know.
    pub fn members_mut(&mut self) -> &mut Map<String, Value> {
        &mut self.0
    }

    /// How many file records there are, in the longest list of them.
    pub(crate) fn longest_list(&self) -> usize {
        let lists = ["files", "relocated"].map(|list| self.0.get(list).and_then(Value::as_array));
        lists.into_iter().flatten().map(Vec::len).max().unwrap_or(0)
    }

    /// The member `id`, if it is a proper one.
    #[must_use]
    pub fn id(&self) -> Option<u64> {
        self.0.get("id")?.as_u64()
    }

    /// The member `kind`, if it is text.
    #[must_use]
    pub fn kind(&self) -> Option<&str> {
        self.0.get("kind")?.as_str()
    }
}

impl Checked for Message {
    fn check(&self) -> Result<(), &'static str> {
        if self.longest_list() > MAX_FILES {
            return Err("more than 16384 file records");
        }
        let mut containers = MAX_CONTAINERS - 1;
        self.0.values().try_for_each(|value| check_value(value, MAX_DEPTH - 1, &mut containers))
    }
}

macro_rules! checked {
    ($($type:ty),*) => {$(
        impl Checked for $type {
            fn check(&self) -> Result<(), &'static str> {
                // The inherent method, which callers need not import a trait for.
                Self::check(self)
            }
        }
    )*};
}
checked!(Hello, Request, Answer);

/// What [`strict`] refuses to read, with `levels` of nesting and so many objects and arrays left.
fn check_value(value: &Value, levels: usize, containers: &mut usize) -> Result<(), &'static str> {
    let children: &mut dyn Iterator<Item = &Value> = match value {
        Value::Number(number) if number.as_u64().is_none_or(|n| n > MAX_INTEGER) => {
            return Err("a number that is not an integer from 0 to 2^53 - 1");
        }
        Value::Array(items) => &mut items.iter(),
        Value::Object(members) => &mut members.values(),
        _ => return Ok(()),
    };
    if levels == 0 {
        return Err("nested deeper than 32 levels");
    }
    *containers = containers.checked_sub(1).ok_or("more than 65536 objects and arrays")?;
    for child in children {
        check_value(child, levels - 1, containers)?;
    }
    Ok(())
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}
