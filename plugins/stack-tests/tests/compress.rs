//! `buildhook-compress` above local-dir, and above a child that lies.

use std::ffi::OsString;
use std::path::Path;

use buildhook_sdk::protocol::{FileRecord, Lease};
use buildhook_sdk::testing::{contents, record};
use buildhook_stack_tests::{Setup, session};
use serde_json::{Value, json};

#[test]
fn what_compresses_is_stored_smaller_and_comes_back() {
    let setup = Setup::new();
    let noise: Vec<u8> = (0..2000u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).rotate_left(n).to_le_bytes())
        .collect();
    let files = [
        setup.fixture.file("out/large", &[7; 1_000_000], true),
        setup.fixture.file("out/small", b"x", false),
        setup.fixture.file("out/empty", b"", false),
        setup.fixture.file("out/noise", &noise, false),
    ];
    let command = setup.above("compress", &["--level", "1"], setup.local_dir());
    let mut filter = session(&command);
    let mut request = setup.fixture.built("k", &files);
    for file in request["files"].as_array_mut().unwrap() {
        file["x-more"] = true.into();
    }
    let done = filter.ask(request.clone());
    assert_eq!((&done["stored"], &done["relocated"]), (&json!("yes"), &Value::Null));

    let hit = filter.ask(setup.fixture.want("k"));
    assert_eq!(hit["seal"], request["seal"]);
    let found = contents(&hit);
    assert_eq!(found[1], ("out/large".to_owned(), vec![7; 1_000_000], true));
    assert_eq!(found[2].1, noise);
    let large = hit["files"].as_array().unwrap().iter().find(|f| f["name"] == "out/large").unwrap();
    assert_eq!(large["lease"], "owned");

    let below = session(&setup.local_dir()).ask(setup.fixture.want("k"));
    let sizes: Vec<_> = below["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| (&f["name"], f["size"].as_u64().unwrap()))
        .collect();
    assert!(
        sizes.iter().any(|(name, size)| **name == "@zstd/out/large" && *size < 1000),
        "{sizes:?}"
    );
    assert!(sizes.iter().any(|(name, _)| **name == "out/small"), "{sizes:?}");
}

#[test]
fn what_is_not_what_was_promised_is_not_stored() {
    let setup = Setup::new();
    let mut filter = session(&setup.above("compress", &[], setup.local_dir()));
    let mut file = setup.fixture.file("out/x", &[7; 5000], false);
    fs_err::write(&file.path, [8; 5000]).unwrap();
    let lie = setup.fixture.built("k", std::slice::from_ref(&file));
    assert_eq!(filter.ask(lie)["kind"], "error");
    file.size = 4999;
    let lie = setup.fixture.built("k", std::slice::from_ref(&file));
    assert_eq!(filter.ask(lie)["kind"], "error");
    assert_eq!(filter.ask(setup.fixture.want("k"))["kind"], "miss");
}

/// A child that answers its first request with a hit of these files.
fn liar(setup: &Setup, files: &[FileRecord]) -> Vec<OsString> {
    let answer = json!({"id": 1, "kind": "hit", "seal": "s", "files": files});
    let path = setup.path("answer");
    fs_err::write(&path, format!("{answer}\n")).unwrap();
    let hello = r#"{"v":[1],"plugin":{"name":"liar","version":"1"},"hooks":["want-to-build"]}"#;
    let script = format!("echo '{hello}'; read -r line; cat '{}'; cat >/dev/null", path.display());
    ["sh", "-c", &script].map(OsString::from).to_vec()
}

fn packed(path: &Path, content: &[u8]) -> FileRecord {
    fs_err::write(path, content).unwrap();
    record("@zstd/out/x", path, content, false, Lease::Shared)
}

#[test]
fn damage_bombs_and_lies_are_misses() {
    let setup = Setup::new();
    let path = setup.path("packed");
    let frame = |content: &[u8]| zstd::bulk::compress(content, 3).unwrap();
    let good = frame(&[1; 100_000]);
    let without_size = zstd::stream::encode_all(&[1u8; 1000][..], 3).unwrap();
    let mut claims_less = good.clone();
    // The size stands in the last bytes of the header: 4 of them for this content.
    let position = claims_less.windows(4).position(|w| w == 100_000u32.to_le_bytes()).unwrap();
    claims_less[position..position + 4].copy_from_slice(&50_000u32.to_le_bytes());

    let hit = ask(&setup, &[packed(&path, &good)], &[]);
    assert_eq!(contents(&hit)[0].1, [1; 100_000]);
    let cases: Vec<(Vec<u8>, &[&str])> = vec![
        (good[..good.len() - 3].to_vec(), &[]),
        (b"no frame at all".to_vec(), &[]),
        (b"".to_vec(), &[]),
        (without_size, &[]),
        (claims_less, &[]),
        (good.clone(), &["--max-size", "99KB"]),
        (frame(&vec![0; 20_000_000]), &["--max-size", "10MB"]),
    ];
    for (content, arguments) in cases {
        let miss = ask(&setup, &[packed(&path, &content)], arguments);
        assert_eq!(miss["reason"]["code"], "corrupt", "{miss}");
    }
    let mut lying = packed(&path, &good);
    lying.digest = buildhook_sdk::protocol::Digest::of(b"another");
    assert_eq!(ask(&setup, &[lying], &[])["reason"]["code"], "corrupt");
    // Two small bombs: the bound is on the entry.
    let one = packed(&path, &good);
    let mut two = one.clone();
    two.name = "@zstd/out/y".parse().unwrap();
    let miss = ask(&setup, &[one, two], &["--max-size", "150KB"]);
    assert_eq!(miss["reason"]["code"], "corrupt");
}

fn ask(setup: &Setup, files: &[FileRecord], arguments: &[&str]) -> Value {
    let mut filter = session(&setup.above("compress", arguments, liar(setup, files)));
    filter.ask(setup.fixture.want("k"))
}

#[test]
fn what_was_found_broken_is_replaced() {
    let setup = Setup::new();
    let mut filter = session(&setup.above("compress", &[], setup.local_dir()));
    // Below, under this key, is something that only looks compressed.
    let mut below = session(&setup.local_dir());
    let broken = [setup.fixture.file("@zstd/out/x", b"no frame at all", false)];
    below.ask(setup.fixture.built("k", &broken));
    assert_eq!(filter.ask(setup.fixture.want("k"))["reason"]["code"], "corrupt");
    let files = [setup.fixture.file("out/x", &[7; 5000], false)];
    assert_eq!(filter.ask(setup.fixture.built("k", &files))["stored"], "yes");
    assert_eq!(contents(&filter.ask(setup.fixture.want("k")))[0].1, [7; 5000]);
}
