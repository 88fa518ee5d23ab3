//! The committed schemas are those of the types, and the transcripts are valid.

use std::fs;
use std::path::Path;

use buildhook_protocol::schema;
use serde_json::{Value, json};

use crate::schema_check::fault;
use crate::transcript::{self, Speaker};

/// Set to write the schemas instead of comparing them.
const BLESS: &str = "BLESS";

fn schema(name: &str) -> Value {
    schema::all().into_iter().find(|(other, _)| *other == name).unwrap().1
}

#[test]
fn committed_schemas_are_those_of_the_types() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
    let bless = std::env::var_os(BLESS).is_some();
    for (name, schema) in schema::all() {
        let path = folder.join(name).with_extension("json");
        let text = format!("{:#}\n", schema);
        if bless {
            fs::write(&path, text).unwrap();
            continue;
        }
        assert!(
            fs::read_to_string(&path).unwrap_or_default() == text,
            "{} is out of date; write it with\n    {BLESS}=1 cargo test -p buildhook-protocol schemas",
            path.display()
        );
    }
}

/// BH-WIRE-015: the schemas are about messages without their null members.
fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(without_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(without_nulls),
        _ => {}
    }
}

#[test]
fn every_message_of_the_transcripts_is_valid_under_exactly_its_schema() {
    let all = schema::all();
    for transcript in transcript::all() {
        for (index, (speaker, line)) in transcript.messages.iter().enumerate() {
            let mut value: Value = serde_json::from_str(line).unwrap();
            without_nulls(&mut value);
            let own = match speaker {
                Speaker::Host => "request",
                Speaker::Plugin if index == 0 => "hello",
                Speaker::Plugin => "answer",
            };
            let refused = line.contains(r#""id":1,"id":2"#) || line.contains("prefetch\",\"key");
            for (name, schema) in &all {
                let fault = fault(schema, &value);
                let place = format!("{} as {name}: {fault:?}\n{line}", transcript.name);
                assert_eq!(fault.is_none(), *name == own && !refused, "{place}");
            }
        }
    }
}

/// Changes that the types refuse, and that the schemas refuse too.
#[test]
fn schemas_find_faults() {
    let first = |name: &str, index: usize| -> Value {
        serde_json::from_str(&transcript::named(name).messages[index].1).unwrap()
    };
    let hello = first("session", 0);
    let request = first("built", 1);
    let answer = first("hit", 2);
    let cases: &[(&str, &Value, &str, Value)] = &[
        ("hello", &hello, "/v", json!([])),
        ("hello", &hello, "/v", json!([-1])),
        ("hello", &hello, "/plugin", json!(["local-dir", "0.1.0"])),
        ("hello", &hello, "/plugin/name", json!("")),
        ("hello", &hello, "/error", json!({"kind": "config", "message": "both"})),
        ("hello", &hello, "/max-in-flight", json!(0)),
        ("hello", &hello, "/max-in-flight", json!(257)),
        ("request", &request, "/id", json!(0)),
        ("request", &request, "/id", json!("1")),
        ("request", &request, "/kind", json!("prefetch")),
        ("request", &request, "/key", json!("blake3:00")),
        ("request", &request, "/unit", json!([])),
        ("request", &request, "/files", json!([])),
        ("request", &request, "/files/0/name", json!("")),
        ("request", &request, "/files/0/lease", json!("stolen")),
        ("request", &request, "/files/0/size", json!(1u64 << 53)),
        ("request", &request, "/seal", json!("")),
        ("answer", &answer, "/kind", json!("perhaps")),
        ("answer", &answer, "/files", json!({})),
        ("answer", &answer, "/id", json!(0)),
    ];
    for (name, valid, pointer, wrong) in cases {
        let schema = schema(name);
        assert_eq!(fault(&schema, valid), None);
        let mut changed = (*valid).clone();
        let (parent, member) = pointer.rsplit_once('/').unwrap();
        changed.pointer_mut(parent).unwrap()[member] = wrong.clone();
        assert!(fault(&schema, &changed).is_some(), "{name} {pointer} {wrong}");
        let line = changed.to_string();
        let message = buildhook_protocol::frame::parse(line.as_bytes());
        let refused = match (*name, message) {
            (_, Err(_)) => true,
            ("hello", Ok(m)) => m.parse::<buildhook_protocol::Hello>().is_err(),
            ("request", Ok(m)) => m.parse::<buildhook_protocol::Request>().is_err(),
            (_, Ok(m)) => m.parse::<buildhook_protocol::Answer>().is_err(),
        };
        assert!(refused, "the type accepts {line}");
    }
    for member in ["seal", "files", "key", "unit", "scratch", "deadline-ms", "v"] {
        let mut changed = request.clone();
        changed.as_object_mut().unwrap().remove(member);
        assert!(fault(&schema("request"), &changed).is_some(), "{member}");
    }
}
