//! JSON read strictly: what serde accepts by default and the protocol does not.
//!
//! | serde_json by default | here |
//! |---|---|
//! | of two members of one name the last wins | refused (BH-WIRE-006) |
//! | an array is taken for a struct | refused, see [`object`] (BH-WIRE-009) |
//! | nesting up to 128 | up to [`MAX_DEPTH`] (BH-WIRE-002) |
//! | any number of objects, each of which takes 100 times its text | up to [`MAX_CONTAINERS`], arrays included (BH-WIRE-002) |
//! | any number | integers from 0 to [`MAX_INTEGER`] without fraction or exponent (BH-WIRE-007) |
//! | lone surrogates: refused in a `String` | the same (BH-WIRE-008) |
//! | a null member is not an absent one | the same as absent for the types (BH-WIRE-015) |

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::limits::{MAX_CONTAINERS, MAX_DEPTH, MAX_INTEGER};

/// Reads one JSON object under the rules above.
///
/// # Errors
/// What was wrong and where, in serde_json's words.
pub fn parse_object(line: &[u8]) -> Result<Map<String, Value>, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(line);
    let containers = Cell::new(0);
    let value = Strict { depth: 0, containers: &containers }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    match value {
        Value::Object(map) => Ok(map),
        _ => Err(serde_json::Error::custom("a message is a JSON object")),
    }
}

/// A typed view of `map`: null members count as absent, at any depth.
///
/// # Errors
/// Members missing or of the wrong type.
pub fn from_object<T: DeserializeOwned>(map: &Map<String, Value>) -> Result<T, serde_json::Error> {
    T::deserialize(without_nulls(map))
}

/// For `deserialize_with`: a struct that must come as an object, never as an array.
///
/// # Errors
/// When it is no object, or not one of `T`.
pub fn object<'de, D: Deserializer<'de>, T: DeserializeOwned>(d: D) -> Result<T, D::Error> {
    T::deserialize(Map::deserialize(d)?).map_err(D::Error::custom)
}

/// [`object`] for an optional member.
///
/// # Errors
/// Those of [`object`].
pub fn optional_object<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    d: D,
) -> Result<Option<T>, D::Error> {
    object(d).map(Some)
}

/// [`object`] for each element of an array.
///
/// # Errors
/// Those of [`object`].
pub fn objects<'de, D: Deserializer<'de>, T: DeserializeOwned>(d: D) -> Result<Vec<T>, D::Error> {
    let maps = Vec::<Map<String, Value>>::deserialize(d)?;
    maps.into_iter().map(|map| T::deserialize(map).map_err(D::Error::custom)).collect()
}

fn without_nulls(map: &Map<String, Value>) -> Map<String, Value> {
    fn prune(value: &Value) -> Value {
        match value {
            Value::Object(map) => Value::Object(without_nulls(map)),
            Value::Array(items) => Value::Array(items.iter().map(prune).collect()),
            other => other.clone(),
        }
    }
    map.iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| (name.clone(), prune(value)))
        .collect()
}

#[derive(Clone, Copy)]
struct Strict<'c> {
    depth: usize,
    /// Objects and arrays so far, in the whole message.
    containers: &'c Cell<usize>,
}

impl Strict<'_> {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth == MAX_DEPTH {
            return Err(E::custom(format_args!("nested deeper than {MAX_DEPTH} levels")));
        }
        self.containers.set(self.containers.get() + 1);
        if self.containers.get() > MAX_CONTAINERS {
            return Err(E::custom(format_args!("more than {MAX_CONTAINERS} objects and arrays")));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }
    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Value, E> {
        if value > MAX_INTEGER {
            return Err(E::custom("an integer above 2^53 - 1"));
        }
        Ok(Value::Number(value.into()))
    }
    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<Value, E> {
        Err(E::custom("a negative integer"))
    }
    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<Value, E> {
        // Also `1.0`, `1e3`, `-0` and integers above 2^64 − 1. A filter could not pass
        // these on unaltered.
        Err(E::custom("a number that is not a plain integer"))
    }
    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }
    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(inner)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut map = Map::new();
        while let Some(name) = access.next_key::<String>()? {
            let value = access.next_value_seed(inner)?;
            if map.contains_key(&name) {
                return Err(A::Error::custom(format_args!("the member `{name}` stands twice")));
            }
            map.insert(name, value);
        }
        Ok(Value::Object(map))
    }
}
