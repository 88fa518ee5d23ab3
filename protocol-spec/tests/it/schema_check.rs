//! As much of JSON Schema as our schemas use. A keyword that is not known here fails the
//! test, so nothing is passed over in silence.

use serde_json::{Map, Value};

/// Why `value` is not valid under `root`, or `None`.
pub(crate) fn fault(root: &Value, value: &Value) -> Option<String> {
    Checker { root }.fault(root, value)
}

struct Checker<'a> {
    root: &'a Value,
}

impl Checker<'_> {
    fn fault(&self, schema: &Value, value: &Value) -> Option<String> {
        let keywords = schema.as_object().expect("a schema is an object");
        keywords.iter().find_map(|(keyword, argument)| {
            let sound = self.holds(keywords, keyword, argument, value)?;
            Some(format!("{keyword} {argument}: {sound}"))
        })
    }

    fn valid(&self, schema: &Value, value: &Value) -> bool {
        self.fault(schema, value).is_none()
    }

    /// `None` when the keyword holds, else what broke it.
    fn holds(
        &self,
        keywords: &Map<String, Value>,
        keyword: &str,
        argument: &Value,
        value: &Value,
    ) -> Option<String> {
        let all = |ok: bool| (!ok).then(|| value.to_string());
        let length = value.as_str().map(|text| text.chars().count() as u64);
        let items = value.as_array().map(|items| items.len() as u64);
        match keyword {
            "$schema" | "$defs" | "title" | "description" | "default" | "then" => None,
            "type" => all(has_type(argument.as_str().unwrap(), value)),
            "const" => all(value == argument),
            "enum" => all(argument.as_array().unwrap().contains(value)),
            "minimum" => all(value.as_u64().is_none_or(|n| n >= argument.as_u64().unwrap())),
            "maximum" => all(value.as_u64().is_none_or(|n| n <= argument.as_u64().unwrap())),
            "minLength" => all(length.is_none_or(|n| n >= argument.as_u64().unwrap())),
            "maxLength" => all(length.is_none_or(|n| n <= argument.as_u64().unwrap())),
            "minItems" => all(items.is_none_or(|n| n >= argument.as_u64().unwrap())),
            "maxItems" => all(items.is_none_or(|n| n <= argument.as_u64().unwrap())),
            "pattern" => {
                assert_eq!(argument, "^blake3:[0-9a-f]{64}$");
                let text = value.as_str()?;
                all(text.parse::<buildhook_protocol::Digest>().is_ok())
            }
            "required" => argument
                .as_array()
                .unwrap()
                .iter()
                .find(|name| value.get(name.as_str().unwrap()).is_none())
                .map(|name| format!("{name} is not there")),
            "properties" => argument
                .as_object()
                .unwrap()
                .iter()
                .find_map(|(name, inner)| self.fault(inner, value.get(name)?)),
            "items" => value.as_array()?.iter().find_map(|item| self.fault(argument, item)),
            "oneOf" => {
                let choices = argument.as_array().unwrap();
                all(choices.iter().filter(|choice| self.valid(choice, value)).count() == 1)
            }
            "if" if self.valid(argument, value) => self.fault(&keywords["then"], value),
            "if" => None,
            "$ref" => {
                let pointer = argument.as_str().unwrap().strip_prefix('#').unwrap();
                self.fault(self.root.pointer(pointer).unwrap(), value)
            }
            other => panic!("the schemas use `{other}`, which this check does not know"),
        }
    }
}

fn has_type(name: &str, value: &Value) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64(),
        other => panic!("the type `{other}`"),
    }
}
