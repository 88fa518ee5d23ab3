//! `buildhook-sign` and `buildhook-verify` above local-dir, and someone who writes to the store.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use buildhook_sdk::protocol::FileRecord;
use buildhook_sdk::testing::{Session, contents};
use buildhook_stack_tests::{Setup, example, program, session};
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::{Value, json};

/// The executable of `buildhook-<name>`: both are of one package.
fn executable(name: &str) -> PathBuf {
    program("sign").with_file_name(format!("buildhook-{name}"))
}

/// A store, keys and trust files.
struct Lab {
    setup: Setup,
}

impl Lab {
    fn new() -> Self {
        Self { setup: Setup::new() }
    }

    /// Makes the key `name` and returns its table.
    fn keygen(&self, name: &str, operator: &str) -> String {
        let output = Command::new(executable("sign"))
            .args(["keygen", "--name", name, "--operator", operator])
            .arg(self.setup.path(name))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn trust(&self, tables: &[&str]) -> PathBuf {
        let path = self.setup.path("trust.toml");
        fs_err::write(&path, tables.concat()).unwrap();
        path
    }

    /// A sign above the store that gives back what the trust file allows.
    fn sign(&self, key: &str, more: &[&str]) -> Session {
        let trust = self.setup.path("trust.toml");
        let mut arguments = vec!["--key-file".into(), self.setup.path(key).into_os_string()];
        arguments.extend(["--trust".into(), trust.into_os_string()]);
        arguments.extend(more.iter().map(OsString::from));
        session(&self.above("sign", arguments))
    }

    fn verify(&self, more: &[&str]) -> Session {
        let trust = self.setup.path("trust.toml").into_os_string();
        let mut arguments = vec!["--trust".into(), trust];
        arguments.extend(more.iter().map(OsString::from));
        session(&self.above("verify", arguments))
    }

    fn above(&self, name: &str, arguments: Vec<OsString>) -> Vec<OsString> {
        let mut command = vec![executable(name).into_os_string()];
        command.extend(arguments);
        command.push("--".into());
        command.extend(self.setup.local_dir());
        command
    }

    fn built(&self, key: &str, content: &[u8]) -> Value {
        let files = [
            self.setup.fixture.file("out/lib.rlib", content, false),
            self.setup.fixture.file("out/tool", b"#!", true),
            self.setup.fixture.file("log/stderr", b"", false),
        ];
        self.setup.fixture.built(key, &files)
    }

    fn want(&self, key: &str) -> Value {
        self.setup.fixture.want(key)
    }

    /// The code of the miss under `key`, or `hit`.
    fn outcome(&self, key: &str, more: &[&str]) -> String {
        let answer = self.verify(more).ask(self.want(key));
        let code = answer["reason"]["code"].as_str().unwrap_or("hit").to_owned();
        assert_eq!(answer["kind"], if code == "hit" { "hit" } else { "miss" }, "{answer}");
        code
    }

    /// The files that are stored under `key`, by name, as the store's owner sees them.
    fn stored(&self, key: &str) -> BTreeMap<String, Vec<u8>> {
        let hit = session(&self.setup.local_dir()).ask(self.want(key));
        contents(&hit).into_iter().map(|(name, content, _)| (name, content)).collect()
    }

    /// The signature file with other times, signed by the same key: what the key's owner can
    /// do. Made without the code that is tested.
    fn sign_again(&self, key: &str, file: &[u8], created: u64, expires: u64) -> Vec<u8> {
        let text = std::str::from_utf8(file).unwrap();
        let (statement, _) = text.split_once("signature ").unwrap();
        let statement = statement
            .replace(&format!("created {}", number(file, "created")), &format!("created {created}"))
            .replace(
                &format!("expires {}", number(file, "expires")),
                &format!("expires {expires}"),
            );
        let private = fs_err::read_to_string(self.setup.path(key)).unwrap();
        let digits = private.split_whitespace().last().unwrap();
        let mut secret = [0; 32];
        hex::decode_to_slice(digits, &mut secret).unwrap();
        let signature = SigningKey::from_bytes(&secret).sign(statement.as_bytes()).to_bytes();
        format!("{statement}signature {}\n", hex::encode(signature)).into_bytes()
    }

    /// Writes these files under `key`, with the seal that fits them or a given one.
    fn write(&self, key: &str, files: &BTreeMap<String, Vec<u8>>, seal_of: Option<&Value>) {
        let record = |(name, content): (&String, &Vec<u8>)| {
            self.setup.fixture.file(name, content, name == "out/tool")
        };
        let files: Vec<FileRecord> = files.iter().map(record).collect();
        let mut request = self.setup.fixture.built(key, &files);
        request["replace"] = true.into();
        if let Some(seal) = seal_of {
            request["seal"] = seal.clone();
        }
        let done = session(&self.setup.local_dir()).ask(request);
        assert_eq!(done["stored"], "yes", "{done}");
    }
}

#[track_caller]
fn stored(answer: &Value) -> &str {
    answer["stored"].as_str().unwrap_or_else(|| panic!("{answer}"))
}

#[test]
fn what_is_signed_comes_back_as_it_was() {
    let lab = Lab::new();
    lab.trust(&[&lab.keygen("ci", "example.org")]);
    let mode = fs_err::metadata(lab.setup.path("ci")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let mut request = lab.built("k", b"content");
    request["files"][0]["x-more"] = 7.into();
    let mut sign = lab.sign("ci", &[]);
    assert_eq!(sign.hello()["hooks"], json!(["built-a-thing", "want-to-build"]));
    let done = sign.ask(request.clone());
    assert_eq!(stored(&done), "yes");
    let relocated = done["relocated"].as_array().unwrap();
    assert!(relocated.iter().all(|file| !file["name"].as_str().unwrap().starts_with('@')));
    assert_eq!(relocated.len(), 3);

    assert!(lab.stored("k").contains_key("@sign/ci"));
    let mut verify = lab.verify(&[]);
    assert_eq!(verify.hello()["hooks"], json!(["want-to-build"]));
    for session in [&mut sign, &mut verify] {
        let hit = session.ask(lab.want("k"));
        assert_eq!(hit["seal"], request["seal"]);
        let expected = [
            ("log/stderr".to_owned(), b"".to_vec(), false),
            ("out/lib.rlib".to_owned(), b"content".to_vec(), false),
            ("out/tool".to_owned(), b"#!".to_vec(), true),
        ];
        assert_eq!(contents(&hit), expected);
    }
    assert_eq!(verify.ask(lab.want("other"))["reason"]["code"], "not-found");
    for session in [sign, verify] {
        let (status, stderr) = session.close();
        assert!(status.success() && stderr.is_empty(), "{stderr}");
    }
}

#[test]
fn an_entry_that_is_there_unsigned_is_signed_by_storing_it_again() {
    let lab = Lab::new();
    lab.trust(&[&lab.keygen("ci", "o")]);
    assert_eq!(stored(&session(&lab.setup.local_dir()).ask(lab.built("k", b"x"))), "yes");
    assert_eq!(lab.outcome("k", &[]), "unsigned");

    assert_eq!(stored(&lab.sign("ci", &[]).ask(lab.built("k", b"x"))), "yes");
    assert_eq!(lab.outcome("k", &[]), "hit");

    let before = lab.stored("k");
    assert_eq!(stored(&lab.sign("ci", &[]).ask(lab.built("k", b"x"))), "already");
    assert_eq!(lab.stored("k"), before);
    // What is there is not what was built: the signer believes itself.
    assert_eq!(stored(&lab.sign("ci", &[]).ask(lab.built("k", b"y"))), "yes");
    assert_eq!(lab.stored("k")["out/lib.rlib"], b"y");
}

#[test]
fn a_signature_counts_to_its_end_and_is_renewed_before() {
    let lab = Lab::new();
    lab.trust(&[&lab.keygen("ci", "o")]);
    lab.sign("ci", &["--lifetime-days", "1"]).ask(lab.built("k", b"x"));
    assert_eq!(lab.outcome("k", &[]), "hit");
    let made = number(&lab.stored("k")["@sign/ci"], "created");
    assert_eq!(number(&lab.stored("k")["@sign/ci"], "expires"), made + 86_400);

    let cases = [
        ("has expired", made - 1000, made, "expired", "yes"),
        ("in the second half of its life", made - 1000, made + 900, "hit", "yes"),
        ("in the first half of its life", made - 1000, made + 90_000, "hit", "already"),
        ("from the future", made + 50_000, made + 90_000, "expired", "yes"),
    ];
    for (what, created, expires, outcome, answer) in cases {
        let mut files = lab.stored("k");
        let signature = files.get_mut("@sign/ci").unwrap();
        *signature = lab.sign_again("ci", signature, created, expires);
        lab.write("k", &files, None);
        assert_eq!(lab.outcome("k", &[]), outcome, "{what}");
        assert_eq!(stored(&lab.sign("ci", &[]).ask(lab.built("k", b"x"))), answer, "{what}");
    }
}

/// The number on the line `name` of a signature file.
fn number(file: &[u8], name: &str) -> u64 {
    let text = std::str::from_utf8(file).unwrap();
    text.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().parse().unwrap()
}

#[test]
fn operators_add_their_signatures_and_are_held_against_each_other() {
    let lab = Lab::new();
    let tables = [lab.keygen("a", "anna"), lab.keygen("b", "bert")];
    lab.trust(&[&tables[0], &tables[1]]);
    let two = ["--require", "2"];

    // Not given back before another operator has signed it, and said so.
    assert_eq!(stored(&lab.sign("a", &two).ask(lab.built("k", b"x"))), "later");
    assert_eq!(lab.outcome("k", &[]), "hit");
    assert_eq!(lab.outcome("k", &two), "unsigned");
    lab.sign("b", &two).ask(lab.built("k", b"x"));
    assert_eq!(lab.outcome("k", &two), "hit");
    assert!(lab.stored("k").contains_key("@sign/a"));

    // One of them builds something else.
    lab.sign("b", &[]).ask(lab.built("k", b"evil"));
    let mut verify = lab.verify(&two);
    assert_eq!(verify.ask(lab.want("k"))["reason"]["code"], "disagreement");
    let (_, stderr) = verify.close();
    assert!(stderr.contains("bert signed these files and anna others"), "{stderr}");
    // Until they agree again.
    lab.sign("b", &[]).ask(lab.built("k", b"x"));
    assert_eq!(lab.outcome("k", &two), "hit");
}

#[test]
fn records_of_inputs_are_signed_and_grow() {
    let lab = Lab::new();
    let tables = [lab.keygen("a", "anna"), lab.keygen("b", "bert")];
    lab.trust(&[&tables[0], &tables[1]]);
    let record = |content: &[u8]| {
        let file = lab.setup.fixture.file("out/inputs.json", content, false);
        let mut request = lab.setup.fixture.built("action", &[file]);
        request["purpose"] = "inputs".into();
        request["replace"] = true.into();
        request
    };
    let mut want = lab.want("action");
    want["purpose"] = "inputs".into();

    lab.sign("a", &[]).ask(record(b"one"));
    assert_eq!(lab.verify(&[]).ask(want.clone())["kind"], "hit");
    assert_eq!(lab.outcome("action", &[]), "not-found");
    lab.sign("b", &[]).ask(record(b"one"));
    let mut verify = lab.verify(&["--require", "2"]);
    want["scratch"] = json!(lab.setup.fixture.scratch());
    assert_eq!(verify.ask(want.clone())["kind"], "hit");
    // One that has grown contradicts nobody.
    lab.sign("b", &[]).ask(record(b"one, two"));
    want["scratch"] = json!(lab.setup.fixture.scratch());
    assert_eq!(verify.ask(want)["reason"]["code"], "unsigned");
}

#[test]
fn what_is_done_to_the_store_is_a_miss() {
    let lab = Lab::new();
    lab.trust(&[&lab.keygen("ci", "o")]);
    let mut sign = lab.sign("ci", &[]);
    for (key, content) in [("k", b"one"), ("other", b"two")] {
        sign.ask(lab.built(key, content));
    }
    let (good, other) = (lab.stored("k"), lab.stored("other"));
    let seal_of = |key: &str| session(&lab.setup.local_dir()).ask(lab.want(key))["seal"].clone();
    let (good_seal, other_seal) = (seal_of("k"), seal_of("other"));
    type Files = BTreeMap<String, Vec<u8>>;
    let changed = |change: &dyn Fn(&mut Files)| {
        let mut files = good.clone();
        change(&mut files);
        files
    };
    let evil = changed(&|files| drop(files.insert("out/lib.rlib".to_owned(), b"evil".to_vec())));
    let more = changed(&|files| drop(files.insert("out/more".to_owned(), b"evil".to_vec())));
    let fewer = changed(&|files| drop(files.remove("log/stderr")));
    let bare = changed(&|files| drop(files.remove("@sign/ci")));
    let odd = changed(&|files| drop(files.insert("@odd/x".to_owned(), b"evil".to_vec())));
    let renamed = changed(&|files| {
        let signature = files.remove("@sign/ci").unwrap();
        files.insert("@sign/cj".to_owned(), signature);
    });
    let long = changed(&|files| drop(files.insert("@sign/ci".to_owned(), vec![b'x'; 5000])));
    let borrowed = changed(&|files| {
        files.insert("@sign/ci".to_owned(), other["@sign/ci"].clone());
    });
    let cases: [(&str, &Files, Option<&Value>, &str); 12] = [
        ("nothing", &good, None, "hit"),
        ("other content, sealed anew", &evil, None, "corrupt"),
        ("other content, old seal", &evil, Some(&good_seal), "corrupt"),
        ("a file more, sealed anew", &more, None, "corrupt"),
        ("a file more, old seal", &more, Some(&good_seal), "corrupt"),
        ("a file fewer", &fewer, None, "corrupt"),
        ("a file of a filter", &odd, None, "corrupt"),
        ("no signature", &bare, None, "unsigned"),
        ("the signature under another name", &renamed, None, "unsigned"),
        ("the signature too long", &long, None, "corrupt"),
        ("the signature of another entry", &borrowed, None, "corrupt"),
        ("another entry", &other, Some(&other_seal), "corrupt"),
    ];
    for (what, files, seal, expected) in cases {
        lab.write("k", files, seal);
        assert_eq!(lab.outcome("k", &[]), expected, "{what}");
    }
    lab.write("k", &other, None);
    assert_eq!(lab.outcome("k", &[]), "corrupt", "another entry, sealed anew");
}

/// One signer looks, another one stores, and the first writes what it had found: nothing.
#[test]
fn a_signature_that_is_written_over_is_put_back() {
    for purpose in ["outputs", "inputs"] {
        let lab = Lab::new();
        lab.trust(&[&lab.keygen("a", "one"), &lab.keygen("b", "two")]);
        let built = |content: &[u8]| {
            let mut built = lab.built("k", content);
            built["purpose"] = purpose.into();
            built["replace"] = true.into();
            built
        };
        let (held, go) = (lab.setup.path("held"), lab.setup.path("go"));
        let mut hold = vec![example("stack-tests", "hold").into_os_string()];
        hold.extend([held.clone().into(), go.clone().into(), "--".into()]);
        hold.extend(lab.setup.local_dir());
        let arguments = ["--key-file".into(), lab.setup.path("b").into_os_string()];
        let mut command = vec![executable("sign").into_os_string()];
        command.extend(arguments);
        command.extend(["--write-only".into(), "--".into()]);
        command.extend(hold);

        let mut slow = session(&command);
        let mut request = built(b"x");
        request["id"] = 1.into();
        slow.send(&request);
        wait_for(&held);
        let mut quick = lab.sign("a", &[]);
        assert_eq!(stored(&quick.ask(built(b"x"))), "yes");
        fs_err::write(&go, "").unwrap();
        assert_eq!(stored(&slow.receive().unwrap()), "yes");
        assert!(slow.close().0.success());
        assert!(quick.close().0.success());

        let mut want = lab.want("k");
        want["purpose"] = purpose.into();
        let answer = lab.verify(&["--require", "2"]).ask(want);
        assert_eq!(answer["kind"], "hit", "{purpose}: {answer}");
    }
}

fn wait_for(path: &std::path::Path) {
    let started = std::time::Instant::now();
    while !path.exists() {
        assert!(started.elapsed().as_secs() < 60, "{} does not come", path.display());
        std::thread::yield_now();
    }
}

/// Real processes, as they come.
#[test]
fn signers_at_once_are_all_in() {
    let lab = Lab::new();
    let names = ["a", "b", "c"];
    let tables: Vec<_> = names.iter().map(|name| lab.keygen(name, name)).collect();
    lab.trust(&tables.iter().map(String::as_str).collect::<Vec<_>>());
    let keys: Vec<_> = (0..8).map(|number| format!("key {number}")).collect();
    let build = |key: &String| lab.built(key, key.as_bytes());
    let all = std::sync::Barrier::new(names.len());
    std::thread::scope(|scope| {
        for name in names {
            let (mut sign, all) = (lab.sign(name, &[]), &all);
            let requests: Vec<_> = keys.iter().map(build).collect();
            scope.spawn(move || {
                all.wait();
                for request in requests {
                    assert_ne!(stored(&sign.ask(request)), "no");
                }
                assert!(sign.close().0.success());
            });
        }
    });
    for key in &keys {
        let outcome = lab.outcome(key, &["--require", "3"]);
        assert!(outcome == "hit" || outcome == "unsigned", "{key}: {outcome}");
        // One that stood still between a look and a write may have taken another's away:
        // whoever stores the entry then is in.
        for name in if outcome == "hit" { &[][..] } else { &names } {
            assert_ne!(stored(&lab.sign(name, &[]).ask(build(key))), "no");
        }
        assert_eq!(lab.outcome(key, &["--require", "3"]), "hit", "{key}");
    }
}

#[test]
fn what_would_not_be_given_back_is_not_stored() {
    let lab = Lab::new();
    lab.trust(&[&format!("{}scope = {{ crates = [\"k\"] }}\n", lab.keygen("ci", "o"))]);
    let mut sign = lab.sign("ci", &[]);
    let mut twice = lab.built("k", b"x");
    let file = lab.setup.fixture.file("@sign/ci", b"x", false);
    twice["files"].as_array_mut().unwrap().push(json!(file));
    let done = sign.ask(twice);
    assert_eq!((stored(&done), &done["reason"]["code"]), ("no", &json!("policy")));

    let done = sign.ask(lab.built("not in scope", b"x"));
    assert_eq!((stored(&done), &done["reason"]["code"]), ("no", &json!("out-of-scope")));
    assert_eq!(stored(&sign.ask(lab.built("k", b"x"))), "yes");
}

/// The hello's error of a plugin that does not start.
fn refusal(command: &[OsString], variable: Option<&str>) -> String {
    let mut process = Command::new(&command[0]);
    process.args(&command[1..]).env_remove("BUILDHOOK_SIGN_KEY");
    if let Some(value) = variable {
        process.env("BUILDHOOK_SIGN_KEY", value);
    }
    let session = Session::spawn(process);
    let error = session.hello()["error"].clone();
    assert_eq!(error["kind"], "config", "{error}");
    assert_eq!(session.close().0.code(), Some(2));
    error["message"].as_str().unwrap().to_owned()
}

#[test]
fn mistakes_are_told_at_once() {
    let lab = Lab::new();
    let (ci, other) = (lab.keygen("ci", "o"), lab.keygen("other", "o"));
    let trust = lab.trust(&[&ci]).into_os_string();
    let file = |name: &str| lab.setup.path(name).into_os_string();
    let sign = |arguments: Vec<OsString>| lab.above("sign", arguments);
    let own = || vec!["--key-file".into(), file("ci")];
    let with = |more: Vec<OsString>| [own(), more].concat();

    let bare = refusal(&sign(vec!["--write-only".into()]), None);
    assert!(bare.contains("give --key-file or set BUILDHOOK_SIGN_KEY"), "{bare}");
    let wrong = refusal(&sign(vec!["--write-only".into()]), Some("5e5e5e"));
    assert!(wrong.contains("BUILDHOOK_SIGN_KEY: this is no private key"), "{wrong}");
    assert!(!wrong.contains("5e5e5e"), "{wrong}");
    let open = refusal(&sign(own()), None);
    assert!(open.contains("--trust"), "{open}");
    let both =
        refusal(&sign(with(vec!["--write-only".into(), "--trust".into(), trust.clone()])), None);
    assert!(both.contains("cannot be used with"), "{both}");
    let few = refusal(
        &sign(with(vec!["--trust".into(), trust.clone(), "--require".into(), "2".into()])),
        None,
    );
    assert!(few.contains("1 operator(s) only"), "{few}");
    lab.trust(&[&other]);
    let stranger = refusal(&sign(with(vec!["--trust".into(), trust.clone()])), None);
    assert!(stranger.contains("does not name the key that signs: `ci`"), "{stranger}");
    lab.trust(&["[[key]]\nnmae = \"x\"\n"]);
    let typo = refusal(&lab.above("verify", vec!["--trust".into(), trust.clone()]), None);
    assert!(typo.contains("trust.toml:2: ") && typo.contains("did you mean `name`?"), "{typo}");
    fs_err::set_permissions(lab.setup.path("ci"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let readable = refusal(&sign(with(vec!["--write-only".into()])), None);
    assert!(readable.contains("chmod 600"), "{readable}");

    // A signer above a verifier, which only reads.
    lab.trust(&[&other]);
    let mut nested = vec![executable("sign").into_os_string()];
    nested.extend(["--key-file".into(), file("other"), "--write-only".into(), "--".into()]);
    nested.extend(lab.above("verify", vec!["--trust".into(), trust]));
    let nested = session(&nested);
    assert_eq!(nested.hello()["hooks"], json!([]));
    assert!(nested.close().1.contains("nothing will be signed"));
}

#[test]
fn other_filters_may_be_above_and_below() {
    let lab = Lab::new();
    let ci = lab.keygen("ci", "o");
    let trust = lab.trust(&[&ci]).into_os_string();
    let key: OsString = lab.setup.path("ci").into();
    let sign: Vec<OsString> = vec!["--key-file".into(), key, "--trust".into(), trust.clone()];
    let large = [7; 10_000];
    for above in [true, false] {
        let stack = |name: &str, arguments: &[OsString]| {
            let compress = |next| lab.setup.above("compress", &[], next);
            let store = lab.setup.local_dir_in(if above { "above" } else { "below" });
            let next = if above { store } else { compress(store) };
            let mut own = vec![executable(name).into_os_string()];
            own.extend_from_slice(arguments);
            own.push("--".into());
            own.extend(next);
            session(&if above { compress(own) } else { own })
        };
        assert_eq!(stored(&stack("sign", &sign).ask(lab.built("k", &large))), "yes");
        let hit = stack("verify", &["--trust".into(), trust.clone()]).ask(lab.want("k"));
        assert_eq!(contents(&hit)[1].1, large);
    }
}

#[test]
fn the_key_can_come_in_a_variable_and_reading_can_be_left_out() {
    let lab = Lab::new();
    lab.trust(&[&lab.keygen("ci", "o")]);
    let mut command = Command::new(executable("sign"));
    command.args(["--write-only", "--"]).args(lab.setup.local_dir());
    let key = fs_err::read_to_string(lab.setup.path("ci")).unwrap();
    command.env("BUILDHOOK_SIGN_KEY", key);
    let mut sign = Session::spawn(command);
    assert_eq!(sign.hello()["hooks"], json!(["built-a-thing"]));
    assert_eq!(stored(&sign.ask(lab.built("k", b"x"))), "yes");
    assert_eq!(lab.outcome("k", &[]), "hit");
}
