//! Attacks of a plugin that does not keep to its turn: it speaks unasked, goes on when it has
//! answered, or does not end.

use std::fs::{self, OpenOptions};
use std::io::Write as _;

use serde_json::{Value, json};

use crate::{miss, read, say};

/// Answers, and then everything that could be asked next, as if it were the next instance.
pub(crate) fn ahead(request: &Value, calls: u32) {
    say(&miss(request, &format!("done: call {calls}")).to_string());
    for line in [r#"{"hop":"ended"}"#, crate::HELLO] {
        say(line);
    }
    for id in 1..10 {
        say(&miss(&json!({"id": id}), "done: ahead").to_string());
    }
}

/// Says what it has found after its last answer, and goes on when it has answered.
pub(crate) fn behind(request: &Value) {
    let list = |folder: &str| {
        let items = fs::read_dir(folder).into_iter().flatten().flatten();
        items.map(|item| item.file_name().to_string_lossy().into_owned()).collect::<Vec<_>>()
    };
    let found = fs::read_to_string("/scratch/behind").unwrap_or_default();
    say(&miss(request, &format!("done: {:?} {found}", list("/scratch"))).to_string());
    // In an instance of its own it may have nothing to write to.
    let _ = fs::write("/scratch/behind", format!("{:?}", list("/request")));
}

/// Asks its next plugin so often.
pub(crate) fn hops(request: &Value, count: &str) {
    let mut answer = Value::Null;
    for _ in 0..count.parse().unwrap_or(0) {
        answer = ask_next(request.clone());
    }
    say(&miss(request, &format!("done: {}", answer["kind"])).to_string());
}

/// Asks its next plugin about what it was not asked.
pub(crate) fn other_call(request: &Value) {
    let mut other = request.clone();
    other["key"] = format!("blake3:{}", "0".repeat(64)).into();
    let answer = ask_next(other);
    say(&miss(request, &format!("done: {}", answer["kind"])).to_string());
}

fn ask_next(mut request: Value) -> Value {
    request["hop"] = "next".into();
    say(&request.to_string());
    read().unwrap_or_default()
}

/// What it does when nobody asks any more.
pub(crate) fn at_the_end(attack: &str, path: &str) {
    match attack {
        "babble" => loop {
            say("{}");
        },
        "pour-at-the-end" => {
            let file = OpenOptions::new().create(true).append(true).open(path);
            let Ok(mut file) = file else { return };
            let block = vec![b'x'; 64 << 10];
            loop {
                // What it may not write now it may be allowed to write later.
                let _ = file.write_all(&block);
                let _ = read();
            }
        }
        _ => {}
    }
}
