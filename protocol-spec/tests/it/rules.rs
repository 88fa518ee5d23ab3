//! What a line may hold: every decision of `strict`, each with its neighbour that is fine.

use buildhook_protocol::frame;
use buildhook_protocol::limits::{MAX_CONTAINERS, MAX_DEPTH, MAX_INTEGER};

/// Whether `line` is a message; says which rule broke in `Err`.
fn read(line: impl AsRef<[u8]>) -> Result<(), String> {
    frame::parse(line.as_ref()).map(drop).map_err(|error| error.to_string())
}

fn accepted(lines: &[&str]) {
    for line in lines {
        assert_eq!(read(line), Ok(()), "{line}");
    }
}

fn refused(lines: &[&str], because: &str) {
    for line in lines {
        let error = read(line).expect_err(line);
        assert!(error.contains(because), "{line}: {error}");
    }
}

#[test]
fn a_message_is_one_object() {
    accepted(&["{}", " {\"a\" : 1}\t", "{}\r", r#"{"a":{}}"#]);
    refused(&["[]", "1", "\"a\"", "null", "true", "[{}]"], "a message is a JSON object");
    refused(&["{}{}", "{} {}", "{},", "{}x", "{}\0"], "trailing characters");
    refused(&["", " ", "\r"], "EOF");
    refused(&["{", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":\""], "EOF");
    refused(&["\u{feff}{}", "hello", "// {}"], "expected");
    refused(&["{a:1}", "{'a':1}", "{1:1}", "{null:1}"], "key must be a string");
    refused(&["{\"a\":1,}"], "trailing comma");
    refused(&["{\"a\":NaN}", "{\"a\":Infinity}"], "expected value");
}

#[test]
fn a_name_stands_once_in_an_object() {
    accepted(&[r#"{"a":{"a":1},"b":[{"a":1},{"a":1}]}"#, r#"{"a":1,"A":1}"#]);
    refused(
        &[
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"b":2,"a":null}"#,
            r#"{"a":1,"\u0061":1}"#,
            r#"{"x":{"a":1,"a":1}}"#,
            r#"{"x":[[{"a":{},"a":{}}]]}"#,
            r#"{"":1,"":1}"#,
        ],
        "stands twice",
    );
    let deep = format!("{}{{\"a\":1,\"a\":1}}{}", r#"{"x":"#.repeat(31), "}".repeat(31));
    refused(&[&deep], "stands twice");
}

#[test]
fn nesting_has_a_bound() {
    // The message itself is the first level.
    let objects = |levels: usize| format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels));
    let arrays =
        |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));
    for nested in [objects, arrays] as [fn(usize) -> String; 2] {
        accepted(&[&nested(MAX_DEPTH)]);
        refused(&[&nested(MAX_DEPTH + 1), &nested(127), &nested(100_000)], "deeper than 32");
    }
}

#[test]
fn objects_and_arrays_have_a_bound() {
    let many = |each: &str, count: usize| format!("{{\"a\":[{}]}}", vec![each; count].join(","));
    // The message and the list are two of them.
    let most = MAX_CONTAINERS - 2;
    for each in ["{}", "[]", r#"{"":0}"#] {
        accepted(&[&many(each, most)]);
        refused(&[&many(each, most + 1)], "more than 65536 objects and arrays");
    }
    accepted(&[&many("0", 10 * MAX_CONTAINERS)]);
}

#[test]
fn numbers_are_plain_integers() {
    assert_eq!(MAX_INTEGER, 9_007_199_254_740_991);
    accepted(&[r#"{"a":0}"#, r#"{"a":9007199254740991}"#, r#"{"a":[1,2,3]}"#]);
    refused(
        &[
            r#"{"a":9007199254740992}"#,
            r#"{"a":18446744073709551615}"#,
            r#"{"x":[9007199254740993]}"#,
        ],
        "above 2^53 - 1",
    );
    refused(&[r#"{"a":-1}"#, r#"{"a":-9223372036854775808}"#], "negative");
    refused(
        &[
            r#"{"a":1.0}"#,
            r#"{"a":0.5}"#,
            r#"{"a":1e3}"#,
            r#"{"a":1E0}"#,
            r#"{"a":-0}"#,
            r#"{"a":-0.0}"#,
            r#"{"a":-1.5}"#,
            r#"{"a":18446744073709551616}"#,
            r#"{"a":-9223372036854775809}"#,
            r#"{"a":1e308}"#,
        ],
        "not a plain integer",
    );
    refused(&[r#"{"a":1e999}"#], "number out of range");
    refused(&[r#"{"a":01}"#, r#"{"a":+1}"#, r#"{"a":.5}"#, r#"{"a":1.}"#, r#"{"a":0x1}"#], "");
}

#[test]
fn text_is_unicode() {
    accepted(&[r#"{"a":"\ud83e\udd80"}"#, r#"{"a":"\u0000"}"#, r#"{"ünï":"\u00fc"}"#]);
    refused(
        &[
            r#"{"a":"\ud83e"}"#,
            r#"{"a":"\udd80"}"#,
            r#"{"a":"\ud83e\ud83e"}"#,
            r#"{"a":"\ud83ex"}"#,
            r#"{"\ud83e":1}"#,
        ],
        "",
    );
    refused(&["{\"a\":\"\t\"}", "{\"a\":\"\0\"}"], "control character");
    refused(&[r#"{"a":"\x41"}"#, r#"{"a":"\u12"}"#], "escape");
    for bytes in
        [b"\xff".as_slice(), b"\xc0\xaf", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xe2\x82"]
    {
        let value = [b"{\"a\":\"", bytes, b"\"}"].concat();
        let name = [b"{\"", bytes, b"\":1}"].concat();
        for line in [value, name] {
            let error = read(&line).expect_err("not UTF-8");
            assert!(error.contains("unicode") || error.contains("UTF"), "{line:x?}: {error}");
        }
    }
}
