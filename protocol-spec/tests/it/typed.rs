//! The typed views: what each member must be.

use buildhook_protocol::{
    Answer, Checked, ErrorKind, Hello, Message, Purpose, Request, Scope, frame,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::transcript;

/// A valid message of a transcript as JSON, with everything optional in it.
fn full_hello() -> Value {
    json!({
        "v": [1], "plugin": {"name": "p", "version": "1"}, "hooks": ["want-to-build"],
        "features": ["manifest"], "max-in-flight": 4, "drain-ms": 10
    })
}

fn full_request() -> Value {
    let line = &transcript::named("manifest").messages[3].1;
    let mut request: Value = serde_json::from_str(line).unwrap();
    request["purpose"] = json!("inputs");
    request["cost-ms"] = json!(1);
    request["replace"] = json!(true);
    request["unit"] = json!({
        "name": "n", "package": "p", "version": "1", "origin": "registry", "type": "lib",
        "emit": ["link"], "target": "t", "profile": "debug", "toolchain": "r", "features": ["f"],
        "workspace": "w"
    });
    request
}

fn full_answers() -> [Value; 4] {
    let line = &transcript::named("hit").messages[2].1;
    let hit: Value = serde_json::from_str(line).unwrap();
    [
        json!({"kind": "miss", "id": 1, "reason": {"code": "c", "message": "m"}}),
        json!({"kind": "done", "id": 1, "stored": "no", "reason": {"code": "c"},
               "relocated": hit["files"]}),
        json!({"kind": "error", "id": 0, "error": {"kind": "auth", "message": "m",
               "scope": "session", "caused-by": ["c"]}}),
        hit,
    ]
}

fn read<T: Checked + DeserializeOwned>(value: &Value) -> Result<T, String> {
    let message = frame::parse(value.to_string().as_bytes()).map_err(|e| e.to_string())?;
    message.parse().map_err(|error| error.to_string())
}

/// Calls `change` with a copy of `value` and a pointer for each place in it.
fn each_place(value: &Value, change: &mut dyn FnMut(Value, &str)) {
    fn walk(root: &Value, value: &Value, pointer: &str, change: &mut dyn FnMut(Value, &str)) {
        change(root.clone(), pointer);
        let children: Vec<(String, &Value)> = match value {
            Value::Object(members) => members.iter().map(|(n, v)| (n.clone(), v)).collect(),
            Value::Array(items) => {
                items.iter().enumerate().map(|(i, v)| (i.to_string(), v)).collect()
            }
            _ => Vec::new(),
        };
        for (name, child) in children {
            walk(root, child, &format!("{pointer}/{name}"), change);
        }
    }
    walk(value, value, "", change);
}

/// Puts each of these in each place of `value`, and wants none to be accepted but those
/// of the same JSON type.
fn wrong_types_are_refused<T: Checked + DeserializeOwned>(value: &Value) {
    read::<T>(value).unwrap();
    let wrong = [json!([]), json!({}), json!(1), json!("text"), json!(true)];
    each_place(value, &mut |copy, pointer| {
        let here = copy.pointer(pointer).unwrap().clone();
        for wrong in &wrong {
            if std::mem::discriminant(wrong) == std::mem::discriminant(&here) {
                continue;
            }
            let mut changed = copy.clone();
            *changed.pointer_mut(pointer).unwrap() = wrong.clone();
            assert!(read::<T>(&changed).is_err(), "{pointer} = {wrong}");
        }
        // A derived struct would take its members as an array in their order.
        if let Value::Object(members) = &here {
            let mut changed = copy.clone();
            let items = members.values().cloned().collect();
            *changed.pointer_mut(pointer).unwrap() = Value::Array(items);
            assert!(read::<T>(&changed).is_err(), "{pointer} as an array");
        }
    });
}

#[test]
fn each_member_has_one_type_and_no_struct_comes_as_an_array() {
    wrong_types_are_refused::<Hello>(&full_hello());
    let error = json!({"kind": "config", "message": "m", "scope": "session", "caused-by": ["c"]});
    wrong_types_are_refused::<Hello>(
        &json!({"v": [1], "plugin": {"name": "p", "version": "1"}, "error": error}),
    );
    wrong_types_are_refused::<Request>(&full_request());
    for answer in full_answers() {
        wrong_types_are_refused::<Answer>(&answer);
    }
}

/// Null is as good as absent: what may be left out may be null, what may not may not.
#[test]
fn null_members_count_as_absent() {
    fn check<T: Checked + DeserializeOwned + PartialEq + std::fmt::Debug>(value: &Value) {
        each_place(value, &mut |copy, pointer| {
            let Some((parent, name)) = pointer.rsplit_once('/') else { return };
            if !copy.pointer(parent).unwrap().is_object() {
                return;
            }
            let (mut null, mut absent) = (copy.clone(), copy);
            null.pointer_mut(parent).unwrap()[name] = Value::Null;
            absent.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(name);
            match (read::<T>(&null), read::<T>(&absent)) {
                (Ok(null), Ok(absent)) => assert_eq!(null, absent, "{pointer}"),
                (Err(_), Err(_)) => {}
                (null, absent) => panic!("{pointer}: {null:?} and {absent:?}"),
            }
        });
    }
    check::<Hello>(&full_hello());
    check::<Request>(&full_request());
    full_answers().iter().for_each(check::<Answer>);
}

#[test]
fn unknown_members_change_nothing() {
    let mut value = full_request();
    let plain = read::<Request>(&value).unwrap();
    for pointer in ["", "/unit", "/files/0", "/manifest"] {
        value.pointer_mut(pointer).unwrap()["x-new"] = json!({"deep": [null, {"y": 1}]});
    }
    assert_eq!(read::<Request>(&value).unwrap(), plain);
    let kept = frame::parse(value.to_string().as_bytes()).unwrap();
    assert_eq!(serde_json::to_value(&kept).unwrap(), value);
}

#[track_caller]
fn refused<T: Checked + DeserializeOwned>(base: &Value, pointer: &str, wrong: Value, why: &str) {
    let mut value = base.clone();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    match value.pointer_mut(parent).unwrap() {
        Value::Array(items) => items[name.parse::<usize>().unwrap()] = wrong,
        object => object[name] = wrong,
    }
    match read::<T>(&value) {
        Ok(_) => panic!("accepted: {value}"),
        Err(error) => assert!(error.contains(why), "{error} does not say {why}"),
    }
}

#[cfg(unix)]
#[test]
fn paths_are_absolute_and_hold_no_nul() {
    let request = full_request();
    for pointer in ["/scratch", "/files/0/path", "/manifest/path"] {
        for relative in ["", "a", "./a", "../a", "~/a", "C:\\a", "file:///a"] {
            refused::<Request>(&request, pointer, json!(relative), "not absolute");
        }
        for nul in ["/a\0", "/\0/b", "\0"] {
            refused::<Request>(&request, pointer, json!(nul), "U+0000");
        }
    }
}

#[test]
fn rules_between_members_hold() {
    let hello = full_hello();
    refused::<Hello>(&hello, "/v", json!([]), "no version");
    refused::<Hello>(&hello, "/plugin/name", json!(""), "no name");
    refused::<Hello>(&hello, "/plugin/version", json!(""), "no version");
    refused::<Hello>(&hello, "/hooks", Value::Null, "exactly one");
    refused::<Hello>(
        &hello,
        "/error",
        json!({"kind": "x", "message": "m", "scope": "session"}),
        "exactly one",
    );
    refused::<Hello>(&hello, "/max-in-flight", json!(0), "between 1 and 256");
    refused::<Hello>(&hello, "/max-in-flight", json!(257), "between 1 and 256");

    let request = full_request();
    refused::<Request>(&request, "/id", json!(0), "`id`");
    refused::<Request>(&request, "/kind", json!("prefetch"), "unknown variant");
    refused::<Request>(&request, "/seal", Value::Null, "no `seal`");
    refused::<Request>(&request, "/seal", json!("x".repeat(257)), "256 bytes");
    refused::<Request>(&request, "/files", json!([]), "no `files`");
    refused::<Request>(&request, "/files/1", request["files"][0].clone(), "the same");
    refused::<Request>(&request, "/files/1/name", json!("OUT/libitoa-1a2b.RLIB"), "case only");
    refused::<Request>(&request, "/files/1/name", json!("out"), "folder");
    refused::<Request>(&request, "/files/0/name", json!("../out"), "`..`");
    refused::<Request>(&request, "/key", json!("blake3:AB"), "64 lower-case");

    let [miss, done, _, hit] = full_answers();
    refused::<Answer>(&miss, "/id", json!(0), "`id`");
    refused::<Answer>(&miss, "/kind", json!("maybe"), "unknown variant");
    refused::<Answer>(&done, "/stored", json!("perhaps"), "unknown variant");
    refused::<Answer>(&hit, "/files", json!([]), "no `files`");
    refused::<Answer>(&hit, "/files/1/name", json!("out/libitoa-1a2b.rlib"), "the same");
    refused::<Answer>(&hit, "/files/0/lease", json!("lent"), "unknown variant");
}

#[test]
fn open_lists_take_unknown_words() {
    let mut request = full_request();
    request["purpose"] = json!("graph");
    assert_eq!(read::<Request>(&request).unwrap().purpose, Purpose::Other);

    let error = json!({"kind": "error", "id": 1, "error": {"kind": "moon", "message": "m", "scope": "request"}});
    match read::<Answer>(&error).unwrap() {
        Answer::Error { error, .. } => {
            assert_eq!((error.kind, error.scope), (ErrorKind::Other, Scope::Request));
        }
        other => panic!("{other:?}"),
    }
    let mut hello = full_hello();
    hello["hooks"] = json!(["prefetch"]);
    hello["features"] = json!(["teleport"]);
    let hello: Hello = read(&hello).unwrap();
    assert!(hello.has_feature("teleport") && !hello.has_feature("manifest"));
    assert!(!hello.has_hook(buildhook_protocol::Hook::WantToBuild));
}

#[test]
fn id_and_kind_can_be_told_of_what_has_no_typed_view() {
    let of = |line: &str| {
        let message: Message = frame::parse(line.as_bytes()).unwrap();
        (message.id(), message.kind().map(str::to_owned))
    };
    assert_eq!(of(r#"{"id":7,"kind":"prefetch"}"#), (Some(7), Some("prefetch".to_owned())));
    assert_eq!(of(r#"{"id":"7","kind":1}"#), (None, None));
    assert_eq!(of(r#"{"id":null}"#), (None, None));
}
