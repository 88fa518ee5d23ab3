//! The trust file: whose signatures count, for what and when.
//!
//! ```toml
//! [[key]]
//! name = "ci-2026"
//! operator = "example.org"
//! public = "ed25519:…"
//! not-before = 2026-01-01
//! not-after = 2027-01-31T12:00:00Z
//! # revoked-at = 2026-11-20T18:30:00Z
//! # Left out, a scope and each list in it allow everything.
//! scope = { origins = ["registry"], crates = ["serde*"], targets = ["x86_64-*"] }
//! ```

use std::collections::{BTreeSet, HashSet};
use std::path::Path;

use buildhook_sdk::protocol::Unit;
use buildhook_sdk::{StartError, config};
use glob::Pattern;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::{KeyName, Moment, PublicKey};

/// More keys than any team has, and few enough that the signature files of an entry, of which
/// only those of known keys are read, stay cheap.
const MAX_KEYS: usize = 1024;

/// Whose signatures count, and how many.
#[derive(Debug)]
pub struct Trust {
    pub(crate) keys: Vec<TrustedKey>,
    /// So many different operators must have signed.
    pub(crate) require: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    #[serde(default)]
    key: Vec<TrustedKey>,
}

/// One public key.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TrustedKey {
    /// Names the signature file.
    pub name: KeyName,
    /// Who has the private key; all keys of one operator count once.
    pub operator: String,
    /// The key.
    pub public: PublicKey,
    /// What its signatures count for.
    #[serde(default)]
    pub scope: Scope,
    /// It counts from then on.
    pub not_before: Option<Moment>,
    /// It counts until then, for old signatures too.
    pub not_after: Option<Moment>,
    /// From then on it does not count, for no signature however old: who has stolen a key can
    /// sign with any date.
    pub revoked_at: Option<Moment>,
}

/// What a key's signatures count for: all that is given must fit, one of each list.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Scope {
    /// Where a package comes from.
    pub origins: Option<Vec<Origin>>,
    /// Names of packages as in their Cargo.toml, with `*` and `?`.
    #[serde(default, deserialize_with = "patterns")]
    pub crates: Option<Vec<Pattern>>,
    /// Target triples, with `*` and `?`.
    #[serde(default, deserialize_with = "patterns")]
    pub targets: Option<Vec<Pattern>>,
}

/// The words of the protocol for where a package comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// A registry.
    Registry,
    /// A git repository.
    Git,
    /// A folder outside the workspace.
    Path,
    /// The workspace that is built.
    Workspace,
}

impl Trust {
    /// Reads the trust file `path`; `require` different operators must have signed an entry.
    ///
    /// # Errors
    /// [`StartError::Config`]: the file is wrong, or has too few operators.
    pub fn load(path: &Path, require: usize) -> Result<Self, StartError> {
        let File { key: keys } = config::read_toml(path)?;
        Self::new(keys, require)
            .map_err(|what| StartError::Config(format!("{}: {what}", path.display())))
    }

    fn new(keys: Vec<TrustedKey>, require: usize) -> Result<Self, String> {
        if keys.is_empty() || keys.len() > MAX_KEYS {
            return Err(format!("it has {} keys; there must be 1 to {MAX_KEYS}", keys.len()));
        }
        let mut names = HashSet::new();
        let mut publics = HashSet::new();
        for key in &keys {
            if !names.insert(&key.name) {
                return Err(format!("two keys have the name `{}`", key.name));
            }
            // One private key would count as two operators.
            if !publics.insert(key.public.to_string()) {
                return Err(format!("`{}` is a key that is already there", key.name));
            }
            if key.operator.trim().is_empty() {
                return Err(format!("the operator of `{}` has no name", key.name));
            }
        }
        let operators: BTreeSet<_> = keys.iter().map(|key| &key.operator).collect();
        if operators.len() < require {
            let count = operators.len();
            return Err(format!("--require {require}: it names {count} operator(s) only"));
        }
        Ok(Self { keys, require })
    }

    /// The key called `name`.
    #[must_use]
    pub fn key(&self, name: &KeyName) -> Option<&TrustedKey> {
        self.keys.iter().find(|key| key.name == *name)
    }

    /// How many different operators must have signed.
    #[must_use]
    pub fn require(&self) -> usize {
        self.require
    }
}

impl Scope {
    /// What in the host's description of `unit` does not fit. What the host did not say does
    /// not fit: a limit must not be passed by silence.
    pub(crate) fn excludes(&self, unit: &Unit) -> Option<&'static str> {
        let name = unit.package.as_deref().or(unit.name.as_deref());
        let origin = unit.origin.as_deref();
        let is_origin = |allowed: &Vec<Origin>| allowed.iter().any(|a| Some(a.word()) == origin);
        if !self.origins.as_ref().is_none_or(is_origin) {
            Some("origin")
        } else if !fits(self.crates.as_deref(), name) {
            Some("crate")
        } else if !fits(self.targets.as_deref(), unit.target.as_deref()) {
            Some("target")
        } else {
            None
        }
    }
}

impl Origin {
    fn word(self) -> &'static str {
        match self {
            Self::Registry => "registry",
            Self::Git => "git",
            Self::Path => "path",
            Self::Workspace => "workspace",
        }
    }
}

fn fits(allowed: Option<&[Pattern]>, value: Option<&str>) -> bool {
    let Some(allowed) = allowed else { return true };
    value.is_some_and(|value| allowed.iter().any(|pattern| pattern.matches(value)))
}

fn patterns<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<Pattern>>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    let pattern = |text: &String| {
        Pattern::new(text).map_err(|error| D::Error::custom(format!("`{text}`: {error}")))
    };
    texts.iter().map(pattern).collect::<Result<_, _>>().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PrivateKey;

    fn public() -> PublicKey {
        PrivateKey::generate(KeyName::new("k").unwrap()).unwrap().public()
    }

    fn load(text: &str, require: usize) -> Result<Trust, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("trust.toml");
        fs_err::write(&path, text).unwrap();
        Trust::load(&path, require)
            .map_err(|error| error.to_string().replace(&path.display().to_string(), "F"))
    }

    #[test]
    fn mistakes_are_told_by_line_with_the_nearest_word() {
        let (a, b) = (public(), public());
        let key = |name: &str, operator: &str, public: &PublicKey, more: &str| {
            format!(
                "[[key]]\nname = \"{name}\"\noperator = \"{operator}\"\npublic = \"{public}\"\n{more}\n"
            )
        };
        let good = key("a", "o", &a, "not-before = 2026-01-01\n[key.scope]\norigins = [\"git\"]");
        assert_eq!(load(&good, 1).unwrap().key(&KeyName::new("a").unwrap()).unwrap().operator, "o");
        let cases = [
            (key("a", "o", &a, "not-befor = 2026-01-01"), "F:5: ", "did you mean `not-before`?"),
            (key("a", "o", &a, "scope = { crate = [] }"), "F:5: ", "did you mean `crates`?"),
            (
                key("a", "o", &a, "scope = { origins = [\"registri\"] }"),
                "F:5: ",
                "did you mean `registry`?",
            ),
            (key("a", "o", &a, "scope = { crates = [\"[\"] }"), "F:5: ", "`[`: "),
            (key("a", "o", &a, "not-after = 2026-01-01T00:00:00"), "F:5: ", "no point in time"),
            (key("A", "o", &a, ""), "F:2: ", "cannot be a key's name"),
            (key("a", " ", &a, ""), "F: ", "has no name"),
            ("[[keys]]\n".to_owned(), "F:1: ", "did you mean `key`?"),
            (key("a", "o", &a, "") + &key("a", "o", &b, ""), "F: ", "two keys"),
            (key("a", "o", &a, "") + &key("b", "p", &a, ""), "F: ", "already there"),
            (String::new(), "F: ", "0 keys"),
        ];
        for (text, start, end) in cases {
            let error = load(&text, 1).unwrap_err();
            assert!(error.starts_with(start) && error.contains(end), "{text}: {error}");
        }
        let two_of_one = key("a", "o", &a, "") + &key("b", "o", &b, "");
        assert!(load(&two_of_one, 2).unwrap_err().contains("1 operator(s) only"));
    }

    #[test]
    fn what_is_not_said_is_not_in_scope() {
        let scope: Scope = toml::from_str(
            "origins = [\"registry\", \"git\"]\ncrates = [\"serde*\"]\ntargets = [\"x86_64-*\"]",
        )
        .unwrap();
        let unit = Unit {
            name: Some("build_script_build".to_owned()),
            package: Some("serde_core".to_owned()),
            origin: Some("registry".to_owned()),
            target: Some("x86_64-unknown-linux-gnu".to_owned()),
            ..Unit::default()
        };
        assert_eq!(scope.excludes(&unit), None);
        let cases = [
            (Unit { origin: Some("workspace".to_owned()), ..unit.clone() }, "origin"),
            (Unit { origin: None, ..unit.clone() }, "origin"),
            (Unit { package: Some("tokio".to_owned()), ..unit.clone() }, "crate"),
            (Unit { package: None, name: None, ..unit.clone() }, "crate"),
            (Unit { target: None, ..unit.clone() }, "target"),
        ];
        for (unit, what) in cases {
            assert_eq!(scope.excludes(&unit), Some(what), "{unit:?}");
        }
        assert_eq!(Scope::default().excludes(&Unit::default()), None);
        let nothing: Scope = toml::from_str("crates = []").unwrap();
        assert_eq!(nothing.excludes(&unit), Some("crate"));
    }
}
