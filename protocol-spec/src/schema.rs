//! The JSON Schemas of `schemas/`, made from the types.
//!
//! They describe a message whose null members have been taken away (BH-WIRE-015), and
//! allow members that they do not name (BH-WIRE-005).
//!
//! Known gaps: what a schema cannot say or says badly (the length in bytes, depth, unique
//! names, the characters of a name, that a path is absolute) is in SPEC.md alone.

use schemars::{Schema, SchemaGenerator};
use serde_json::{Value, json};

use crate::{Answer, Hello, Request};

/// Name, without `.json`, and content of each schema.
#[must_use]
pub fn all() -> [(&'static str, Value); 3] {
    let of = |make: fn(SchemaGenerator) -> Schema| {
        let mut schema = make(SchemaGenerator::default()).to_value();
        without_nulls(&mut schema);
        schema
    };
    [
        ("hello", of(SchemaGenerator::into_root_schema_for::<Hello>)),
        ("request", of(SchemaGenerator::into_root_schema_for::<Request>)),
        ("answer", of(SchemaGenerator::into_root_schema_for::<Answer>)),
    ]
}

/// Turns the schema of an enum whose words are open into one of any text.
pub(crate) fn open(schema: &mut Schema) {
    for closed in ["enum", "oneOf"] {
        schema.remove(closed);
    }
    schema.insert("type".to_owned(), json!("string"));
}

/// Takes away the null alternatives that optional members have got, and the formats
/// that no standard knows.
fn without_nulls(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(without_nulls),
        Value::Object(members) => {
            members.remove("format");
            if let Some(Value::Array(types)) = members.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = types.as_slice() {
                    members["type"] = only.clone();
                }
            }
            if let Some(Value::Array(choices)) = members.get_mut("anyOf") {
                choices.retain(|choice| *choice != json!({"type": "null"}));
                if let [Value::Object(only)] = choices.as_mut_slice() {
                    let only = std::mem::take(only);
                    members.remove("anyOf");
                    members.extend(only);
                }
            }
            members.values_mut().for_each(without_nulls);
        }
        _ => {}
    }
}
