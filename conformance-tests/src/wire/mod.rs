//! Messages as bytes and JSON values.
//!
//! Nothing here is shared with the products under test: the rules are written
//! down a second time, from the text of the specification.

pub(crate) mod lint;
pub(crate) mod names;
pub(crate) mod strict;

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use serde_json::Value;

/// Longest message in bytes, line feed included (BH-WIRE-002).
pub(crate) const MAX_LINE_BYTES: usize = 16 * 1024 * 1024;
/// Deepest nesting; the message itself is level 1 (BH-WIRE-002).
pub(crate) const MAX_DEPTH: usize = 32;
/// Most objects and arrays in a message (BH-WIRE-002).
pub(crate) const MAX_CONTAINERS: usize = 65_536;
/// Most records in `files` (BH-WIRE-002).
pub(crate) const MAX_FILES: usize = 16_384;
/// Largest integer on the wire (BH-WIRE-007).
pub(crate) const MAX_INTEGER: u64 = (1 << 53) - 1;

/// BLAKE3 of `bytes`, as the protocol writes it.
pub(crate) fn digest(bytes: &[u8]) -> String {
    format!("blake3:{}", blake3::hash(bytes).to_hex())
}

/// BLAKE3 of a regular file's content, as the protocol writes it. Never waits
/// for a FIFO.
pub(crate) fn digest_file(path: &Path) -> io::Result<String> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let no_wait = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let mut file = File::options().read(true).custom_flags(no_wait).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok(format!("blake3:{}", hasher.finalize().to_hex()));
        }
        hasher.update(&buffer[..count]);
    }
}

/// Whether `text` is `blake3:` and 64 lower-case hex digits.
pub(crate) fn is_digest(text: &str) -> bool {
    text.strip_prefix("blake3:").is_some_and(|hex| {
        hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// The seal of SPEC.md §11 over the host's own files among `records`.
pub(crate) fn seal(key: &str, records: &[Value]) -> String {
    let mut lines: Vec<(&str, String)> = records
        .iter()
        .filter_map(|record| {
            let name = record["name"].as_str()?;
            if !name.starts_with("out/") && !name.starts_with("log/") {
                return None;
            }
            let mark = if record["executable"] == true { 'x' } else { '-' };
            let size = record["size"].as_u64()?;
            Some((name, format!("{size} {} {mark} {name}\n", record["digest"].as_str()?)))
        })
        .collect();
    lines.sort_by(|left, right| left.0.as_bytes().cmp(right.0.as_bytes()));
    let mut text = format!("buildhook-seal-v1\n{key}\n");
    for (_, line) in lines {
        text.push_str(&line);
    }
    digest(text.as_bytes())
}

/// The file records of a message, to be changed; none when it has no such list.
pub(crate) fn records_mut<'a>(
    message: &'a mut Value,
    list: &str,
) -> impl Iterator<Item = &'a mut Value> {
    message.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten()
}

/// One message with its line feed.
pub(crate) fn line(message: &Value) -> Vec<u8> {
    let mut bytes = message.to_string().into_bytes();
    bytes.push(b'\n');
    bytes
}

/// The same message with every character of every string and member name
/// written as a `\u` escape.
pub(crate) fn escaped_line(message: &Value) -> Vec<u8> {
    let mut text = String::new();
    write_escaped(message, &mut text);
    text.push('\n');
    text.into_bytes()
}

fn write_escaped(value: &Value, out: &mut String) {
    match value {
        Value::String(text) => escape(text, out),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_escaped(item, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            out.push('{');
            for (index, (name, item)) in members.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                escape(name, out);
                out.push(':');
                write_escaped(item, out);
            }
            out.push('}');
        }
        other => out.push_str(&other.to_string()),
    }
}

fn escape(text: &str, out: &mut String) {
    out.push('"');
    for unit in text.encode_utf16() {
        out.push_str(&format!("\\u{unit:04x}"));
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn escaped_lines_mean_the_same() {
        let message = json!({"a b": ["x/é\"", {"𝄞": 12, "n": null}]});
        let line = escaped_line(&message);
        assert!(line.is_ascii());
        assert_eq!(serde_json::from_slice::<Value>(&line).unwrap(), message);
    }

    #[test]
    fn seal_is_sorted_and_leaves_filters_files_out() {
        let zeros = digest(b"");
        let record =
            |name: &str| json!({"name": name, "size": 0, "digest": zeros, "executable": false});
        let one = seal("blake3:00", &[record("out/b"), record("out/a"), record("@sign/s")]);
        let two = seal("blake3:00", &[record("out/a"), record("out/b")]);
        assert_eq!(one, two);
        let text = format!("buildhook-seal-v1\nblake3:00\n0 {zeros} - out/a\n0 {zeros} - out/b\n");
        assert_eq!(one, digest(text.as_bytes()));
    }
}
