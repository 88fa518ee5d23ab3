use super::*;
use crate::PrivateKey;

const NOW: Moment = Moment(1_000_000);

/// Two operators: `a`, with the keys `a1` and `a2`, and `b` with `b1`.
struct World {
    keys: Vec<PrivateKey>,
    key: Key,
    seal: Seal,
    files: Digest,
    unit: Unit,
}

impl World {
    fn new() -> Self {
        let names = ["a1", "a2", "b1"];
        let key = |name| PrivateKey::generate(KeyName::new(name).unwrap()).unwrap();
        Self {
            keys: names.map(key).into(),
            key: Key(Digest::of(b"key")),
            seal: Seal("seal".to_owned()),
            files: Digest::of(b"files"),
            unit: Unit { name: Some("serde".to_owned()), ..Unit::default() },
        }
    }

    /// The trust file with `more` in the table of `a1`.
    fn trust(&self, require: usize, more: &str) -> Trust {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("trust.toml");
        let mut text = String::new();
        for (key, more) in self.keys.iter().zip([more, "", ""]) {
            let name = key.name();
            text += &format!(
                "[[key]]\nname = \"{name}\"\noperator = \"{}\"\npublic = \"{}\"\n{more}\n",
                &name.as_str()[..1],
                key.public()
            );
        }
        fs_err::write(&path, text).unwrap();
        Trust::load(&path, require).unwrap()
    }

    fn statement(&self, key: usize) -> Statement {
        Statement {
            key: self.key,
            purpose: Purpose::Outputs,
            seal: self.seal.clone(),
            files: self.files,
            created: Moment(NOW.0 - 100),
            expires: Moment(NOW.0 + 100),
            name: self.keys[key].name().clone(),
        }
    }

    fn signed(&self, key: usize, change: impl FnOnce(&mut Statement)) -> Signed {
        let mut statement = self.statement(key);
        change(&mut statement);
        let file = self.keys[key].sign(&statement).into_bytes();
        (self.keys[key].name().clone(), Some(file))
    }

    /// The code of the miss, or `hit`, and whether a disagreement was reported.
    fn judge(&self, trust: &Trust, signatures: &[Signed]) -> (String, bool) {
        let subject = Subject {
            key: &self.key,
            purpose: Purpose::Outputs,
            seal: &self.seal,
            files: self.files,
            unit: &self.unit,
        };
        let mut reported = false;
        let verdict = trust.judge(&subject, signatures, NOW, |_| reported = true);
        (verdict.map_or_else(|reason| reason.code, |()| "hit".to_owned()), reported)
    }
}

#[test]
fn one_signature() {
    let world = World::new();
    let trust = world.trust(1, "");
    let code = |change: fn(&mut Statement)| world.judge(&trust, &[world.signed(0, change)]).0;
    assert_eq!(code(|_| ()), "hit");
    assert_eq!(world.judge(&trust, &[]).0, "unsigned");
    assert_eq!(code(|s| s.expires = NOW), "expired");
    assert_eq!(code(|s| s.created = Moment(NOW.0 + 301)), "expired");
    assert_eq!(code(|s| s.created = Moment(NOW.0 + 300)), "hit");
    assert_eq!(code(|s| s.seal = Seal("other".to_owned())), "corrupt");
    assert_eq!(code(|s| s.files = Digest::of(b"other")), "corrupt");
    assert_eq!(code(|s| s.key = Key(Digest::of(b"other"))), "corrupt");
    assert_eq!(code(|s| s.purpose = Purpose::Inputs), "corrupt");
    assert_eq!(code(|s| s.name = KeyName::new("b1").unwrap()), "corrupt");
}

#[test]
fn a_key_is_judged_by_the_trust_file() {
    // The moment 1,000,000 is 1970-01-12T13:46:40Z, and the statements are 100 s older.
    let cases = [
        ("not-before = 1970-01-12T13:45:00Z", "hit"),
        ("not-before = 1970-01-12T13:45:01Z", "expired"),
        ("not-after = 1970-01-12T13:46:41Z", "hit"),
        ("not-after = 1970-01-12T13:46:40Z", "expired"),
        ("revoked-at = 1970-01-12T13:46:41Z", "hit"),
        ("revoked-at = 1970-01-12T13:46:40Z", "revoked"),
        ("revoked-at = 1970-01-01", "revoked"),
        ("scope = { crates = [\"ser*\"] }", "hit"),
        ("scope = { crates = [\"tokio*\"] }", "out-of-scope"),
        ("scope = { origins = [\"registry\"] }", "out-of-scope"),
        // The most telling of two.
        ("scope = { crates = [\"tokio*\"] }\nrevoked-at = 1970-01-01", "revoked"),
    ];
    let world = World::new();
    for (more, expected) in cases {
        let trust = world.trust(1, more);
        assert_eq!(world.judge(&trust, &[world.signed(0, |_| ())]).0, expected, "{more}");
    }
}

#[test]
fn what_is_filed_under_a_name_must_be_by_that_key() {
    let world = World::new();
    let trust = world.trust(1, "");
    let (name, content) = world.signed(0, |_| ());
    let b1 = KeyName::new("b1").unwrap();
    assert_eq!(world.judge(&trust, &[(b1, content.clone())]).0, "corrupt");
    assert_eq!(world.judge(&trust, &[(name, None)]).0, "corrupt");
    let stranger = KeyName::new("stranger").unwrap();
    assert_eq!(world.judge(&trust, &[(stranger, content)]).0, "unsigned");
}

#[test]
fn operators_count_once_and_have_to_agree() {
    let world = World::new();
    let [one, two] = [1, 2].map(|require| world.trust(require, ""));
    let good = |key| world.signed(key, |_| ());
    let other = |key| world.signed(key, |s| s.seal = Seal("other".to_owned()));
    let late_other = |key| {
        world.signed(key, |s| {
            s.seal = Seal("other".to_owned());
            s.created = NOW;
        })
    };
    let packed = |key| world.signed(key, |s| s.files = Digest::of(b"other"));
    let expired = |key| world.signed(key, |s| s.expires = NOW);
    let cases = [
        (&two, vec![good(0)], "unsigned", false),
        (&two, vec![good(0), good(1)], "unsigned", false),
        (&two, vec![good(0), good(2)], "hit", false),
        (&two, vec![good(0), other(2)], "disagreement", true),
        // What the host has made is the same.
        (&two, vec![good(0), packed(2)], "corrupt", false),
        (&two, vec![other(0), other(2)], "corrupt", false),
        (&two, vec![good(0), expired(2)], "expired", false),
        (&one, vec![good(0), other(2)], "hit", true),
        (&one, vec![good(0), expired(2)], "hit", false),
        // The same operator has signed again.
        (&two, vec![other(0), good(2), late_other(1)], "disagreement", true),
        (&one, vec![good(0), late_other(1)], "corrupt", false),
    ];
    for (at, (trust, signatures, code, reported)) in cases.into_iter().enumerate() {
        assert_eq!(world.judge(trust, &signatures), (code.to_owned(), reported), "case {at}");
    }
}
