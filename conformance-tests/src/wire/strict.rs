//! A JSON reader that keeps what it dislikes.
//!
//! An ordinary reader takes the last of two members with one name and does not
//! say that a number had a fraction. This one returns the value, so that a
//! test can go on, and the list of rules that the text broke.

use std::fmt;

use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::{MAX_CONTAINERS, MAX_DEPTH, MAX_FILES, MAX_INTEGER, MAX_LINE_BYTES};

/// One rule broken: the id in SPEC.md and what was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) requirement: &'static str,
    pub(crate) text: String,
}

impl Violation {
    pub(crate) fn new(requirement: &'static str, text: impl Into<String>) -> Self {
        Self { requirement, text: text.into() }
    }
}

/// Reads one line without its line feed.
///
/// # Errors
/// The violation that made the line unreadable as one JSON object.
pub(crate) fn parse(line: &[u8]) -> Result<(Value, Vec<Violation>), Violation> {
    let mut violations = Vec::new();
    if line.len() + 1 > MAX_LINE_BYTES {
        violations.push(Violation::new(
            "BH-WIRE-002",
            format!("a line of {} bytes; the most is {MAX_LINE_BYTES}", line.len() + 1),
        ));
    }
    let text = std::str::from_utf8(line)
        .map_err(|error| Violation::new("BH-WIRE-001", format!("a line is not UTF-8: {error}")))?;
    let trimmed = text.trim_matches([' ', '\t', '\r']);
    if !trimmed.starts_with('{') {
        let (requirement, what) = if trimmed.starts_with('[') {
            ("BH-WIRE-001", "an array where an object is due")
        } else {
            ("BH-WIRE-003", "something that is not a message")
        };
        return Err(Violation::new(requirement, format!("{what}: {}", excerpt(text, 80))));
    }
    let mut deserializer = serde_json::Deserializer::from_str(trimmed);
    let seed = Seed { depth: 1, violations: &mut violations };
    let unreadable = |error: serde_json::Error| {
        let message = error.to_string();
        let requirement = if message.contains("surrogate") || message.contains("hex escape") {
            "BH-WIRE-008"
        } else if message.contains("recursion limit") {
            "BH-WIRE-002"
        } else {
            "BH-WIRE-001"
        };
        Violation::new(requirement, format!("not one JSON object ({error}): {}", excerpt(text, 80)))
    };
    let value = seed.deserialize(&mut deserializer).map_err(unreadable)?;
    deserializer.end().map_err(unreadable)?;
    inspect(&value, &mut violations);
    Ok((value, violations))
}

/// The start of `text`, for messages.
pub(crate) fn excerpt(text: &str, most: usize) -> String {
    let mut short: String = text.chars().take(most).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

fn inspect(value: &Value, violations: &mut Vec<Violation>) {
    if let Some(files) = value["files"].as_array()
        && files.len() > MAX_FILES
    {
        violations.push(Violation::new(
            "BH-WIRE-002",
            format!("{} records in `files`; the most is {MAX_FILES}", files.len()),
        ));
    }
    let containers = containers(value);
    if containers > MAX_CONTAINERS {
        violations.push(Violation::new(
            "BH-WIRE-002",
            format!("{containers} objects and arrays; the most is {MAX_CONTAINERS}"),
        ));
    }
}

fn containers(value: &Value) -> usize {
    match value {
        Value::Object(members) => 1 + members.values().map(containers).sum::<usize>(),
        Value::Array(items) => 1 + items.iter().map(containers).sum::<usize>(),
        _ => 0,
    }
}

struct Seed<'a> {
    depth: usize,
    violations: &'a mut Vec<Violation>,
}

impl Seed<'_> {
    fn note(&mut self, requirement: &'static str, text: String) {
        self.violations.push(Violation::new(requirement, text));
    }

    fn deeper(&mut self) {
        if self.depth == MAX_DEPTH + 1 {
            self.note("BH-WIRE-002", format!("nested deeper than {MAX_DEPTH} levels"));
        }
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_i64<E>(mut self, value: i64) -> Result<Value, E> {
        self.note("BH-WIRE-007", format!("the integer {value} is below 0"));
        Ok(value.into())
    }

    fn visit_u64<E>(mut self, value: u64) -> Result<Value, E> {
        if value > MAX_INTEGER {
            self.note("BH-WIRE-007", format!("the integer {value} is above 2^53 - 1"));
        }
        Ok(value.into())
    }

    fn visit_f64<E>(mut self, value: f64) -> Result<Value, E> {
        self.note("BH-WIRE-007", format!("the number {value} has a fraction or an exponent"));
        Ok(value.into())
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<Value, A::Error> {
        self.deeper();
        let mut array = Vec::new();
        while let Some(item) =
            items.next_element_seed(Seed { depth: self.depth + 1, violations: self.violations })?
        {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<Value, A::Error> {
        self.deeper();
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members
                .next_value_seed(Seed { depth: self.depth + 1, violations: self.violations })?;
            if matches!(name.as_str(), "path" | "name")
                && value.as_str().is_some_and(|text| text.contains('\0'))
            {
                self.note("BH-WIRE-008", format!("`{name}` holds U+0000"));
            }
            if object.insert(name.clone(), value).is_some() {
                self.note("BH-WIRE-006", format!("the member `{name}` is there twice"));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let found: Vec<&str> = match parse(text.as_bytes()) {
            Ok((_, violations)) => violations.iter().map(|found| found.requirement).collect(),
            Err(violation) => vec![violation.requirement],
        };
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn every_rule_is_noticed() {
        check(r#"{"id":1,"kind":"miss"}"#, &[]);
        check("{\"id\":1}\r", &[]);
        check(r#"{"id":1}{"id":2}"#, &["BH-WIRE-001"]);
        check(r#"[1,2]"#, &["BH-WIRE-001"]);
        check("hello", &["BH-WIRE-003"]);
        check("", &["BH-WIRE-003"]);
        check(r#"{"id":1,"id":2}"#, &["BH-WIRE-006"]);
        check(r#"{"a":{"b":1,"b":1}}"#, &["BH-WIRE-006"]);
        check(r#"{"size":1.0}"#, &["BH-WIRE-007"]);
        check(r#"{"size":1e3}"#, &["BH-WIRE-007"]);
        check(r#"{"size":-1}"#, &["BH-WIRE-007"]);
        check(r#"{"size":9007199254740991}"#, &[]);
        check(r#"{"size":9007199254740992}"#, &["BH-WIRE-007"]);
        check(r#"{"a":"\ud800"}"#, &["BH-WIRE-008"]);
        check(r#"{"path":"/a\u0000b"}"#, &["BH-WIRE-008"]);
        check(&format!("{{\"a\":{}1{}}}", "[".repeat(31), "]".repeat(31)), &[]);
        check(&format!("{{\"a\":{}1{}}}", "[".repeat(32), "]".repeat(32)), &["BH-WIRE-002"]);
        check(&format!("{{\"a\":[{}[]]}}", "[],".repeat(65_533)), &[]);
        check(&format!("{{\"a\":[{}[]]}}", "[],".repeat(65_534)), &["BH-WIRE-002"]);
    }
}
