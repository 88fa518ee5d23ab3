//! `buildhook-wasm-hostile ATTACK [PATH…]`: a plugin that answers each request by attacking
//! what runs it.
//!
//! It answers with a miss whose reason says what came of the attack: `done: …` or `denied: …`.
//! Built natively it shows that an attack works where nothing stands against it; built for
//! `wasm32-wasip1` it is what the tests of `buildhook-wasm` put into the sandbox.

mod attacks;
mod turns;

use std::io::{BufRead as _, Write as _};
use std::process::ExitCode;

use serde_json::{Value, json};

const HELLO: &str = r#"{"v":[1],"plugin":{"name":"hostile","version":"1"},"hooks":["want-to-build","built-a-thing"]}"#;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let attack = arguments.first().map_or("", String::as_str);
    if attack == "hello" {
        say(&arguments[1]);
        std::thread::sleep(std::time::Duration::from_secs(3600));
    }
    say(HELLO);
    let mut calls = 0;
    while let Some(request) = read() {
        if request.get("kind").is_none() {
            // What the guest of a filter is told of its next plugin.
            continue;
        }
        calls += 1;
        match attack {
            "ahead" => turns::ahead(&request, calls),
            "behind" => turns::behind(&request),
            "hops" => turns::hops(&request, &arguments[1]),
            "other-call" => turns::other_call(&request),
            "answer" => say(&arguments[1].replace("ID", &request["id"].to_string())),
            "hit" => say(&hit(&request, &arguments[1]).to_string()),
            "exit" => return ExitCode::from(arguments[1].parse::<u8>().expect("a code")),
            "environment" => {
                let vars: Vec<_> = std::env::vars().collect();
                say(&miss(&request, &format!("done: {arguments:?} {vars:?}")).to_string());
            }
            "state" => say(&miss(&request, &format!("done: call {calls}")).to_string()),
            "request" => say(&miss(&request, &format!("done: {request}")).to_string()),
            _ => {
                let outcome = match attacks::run(attack, &arguments[1..], &request) {
                    Ok(what) => format!("done: {what}"),
                    Err(error) => format!("denied: {error}"),
                };
                say(&miss(&request, &outcome).to_string());
            }
        }
    }
    turns::at_the_end(attack, arguments.get(1).map_or("", String::as_str));
    ExitCode::SUCCESS
}

/// The next line.
fn read() -> Option<Value> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).expect("a line");
    (!line.is_empty()).then(|| serde_json::from_str(&line).expect("JSON"))
}

fn say(line: &str) {
    let mut out = std::io::stdout();
    // Nobody may be listening any more.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

fn miss(request: &Value, message: &str) -> Value {
    json!({
        "id": request["id"], "kind": "miss",
        "reason": {"code": "hostile", "message": message},
    })
}

/// A hit with one file of three bytes at `path`.
fn hit(request: &Value, path: &str) -> Value {
    json!({
        "id": request["id"], "kind": "hit", "seal": "blake3:0",
        "files": [{
            "name": "out/x", "path": path, "size": 3, "executable": false, "lease": "shared",
            "digest": "blake3:6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85",
        }],
    })
}
