//! SPEC.md, the registry, the checks and the broken things agree.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

const SPEC: &str = include_str!("../../protocol-spec/SPEC.md");
const REGISTRY: &str = include_str!("../../protocol-spec/requirements.toml");

fn rows() -> Vec<toml::Table> {
    let document: toml::Table = REGISTRY.parse().unwrap();
    let rows = document["requirement"].as_array().unwrap();
    rows.iter().map(|row| row.as_table().unwrap().clone()).collect()
}

fn text<'a>(row: &'a toml::Table, name: &str) -> &'a str {
    row.get(name).and_then(|value| value.as_str()).unwrap_or_default()
}

fn checks(row: &toml::Table) -> BTreeSet<String> {
    let checks = row.get("checks").and_then(|checks| checks.as_array());
    checks.into_iter().flatten().map(|check| check.as_str().unwrap().to_owned()).collect()
}

/// Ids in the text, where they are defined or closed.
fn ids() -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    for part in SPEC.split('[').skip(1) {
        let id = part.split(']').next().unwrap();
        if id.starts_with("BH-") {
            ids.insert(id.to_owned());
        }
    }
    ids
}

fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("[BH-") {
        plain.push_str(&rest[..start]);
        rest = &rest[start + rest[start..].find(']').unwrap() + 1..];
    }
    plain.push_str(rest);
    plain.replace("**", "").split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn every_id_has_a_row_and_every_row_an_id() {
    let rows = rows();
    let registered: BTreeSet<String> = rows.iter().map(|row| text(row, "id").to_owned()).collect();
    assert_eq!(registered.len(), rows.len(), "an id has two rows");
    assert_eq!(registered, ids());
}

#[test]
fn sentences_are_those_of_the_specification() {
    let spec = plain(SPEC);
    for row in rows() {
        let sentence = text(&row, "sentence");
        assert!(spec.contains(sentence), "{}: SPEC.md does not say: {sentence}", text(&row, "id"));
        let clause = text(&row, "clause");
        assert!(
            SPEC.contains(&format!("# {clause}\n")),
            "{}: no section {clause}",
            text(&row, "id")
        );
    }
}

/// The same the other way round: no MUST or SHOULD stands outside of all rows' sentences.
#[test]
fn every_must_and_should_is_in_the_sentence_of_a_row() {
    let spec = plain(SPEC);
    // Where the words themselves are explained.
    let explained = spec.find("The key words MUST").unwrap()..spec.find("Words used here").unwrap();
    let sentences: Vec<String> =
        rows().iter().map(|row| text(row, "sentence").to_owned()).collect();
    let covered = |place: usize| {
        sentences.iter().any(|sentence| {
            let mut starts = spec.match_indices(sentence.as_str()).map(|(start, _)| start);
            starts.any(|start| (start..start + sentence.len()).contains(&place))
        })
    };
    for word in ["MUST", "SHOULD"] {
        for (place, _) in spec.match_indices(word) {
            let around: String = spec[place..].chars().take(80).collect();
            let known = explained.contains(&place) || covered(place);
            assert!(known, "no row has the sentence with: {around}");
        }
    }
}

#[test]
fn levels_fit_the_words() {
    for row in rows() {
        let (id, sentence) = (text(&row, "id"), text(&row, "sentence"));
        assert!(
            sentence.contains(text(&row, "level")),
            "{id}: no {} in: {sentence}",
            text(&row, "level")
        );
    }
}

#[test]
fn every_must_and_should_has_a_check_or_a_reason() {
    for row in rows() {
        let tested = !checks(&row).is_empty() || row.contains_key("untestable");
        assert!(tested, "{} has neither a check nor a reason", text(&row, "id"));
    }
}

/// `list --json` gives every check and broken thing of the binary.
fn inventory() -> serde_json::Value {
    let output = Command::new(env!("CARGO_BIN_EXE_buildhook-conformance"))
        .args(["list", "--json"])
        .output()
        .unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn registry_and_binary_name_the_same_checks() {
    let mut registered = BTreeMap::new();
    for row in rows() {
        for check in checks(&row) {
            registered.insert(check, text(&row, "id").to_owned());
        }
    }
    let mut built_in = BTreeMap::new();
    for check in inventory()["checks"].as_array().unwrap() {
        let id = check["id"].as_str().unwrap().to_owned();
        let before = built_in.insert(id, check["requirement"].as_str().unwrap().to_owned());
        assert!(before.is_none(), "two checks are named {}", check["id"]);
    }
    assert_eq!(registered, built_in);
}

/// A requirement of both sides needs a broken plugin and a broken host if both
/// suites have a check of it.
#[test]
fn every_checked_requirement_has_a_broken_thing() {
    let inventory = inventory();
    let pairs = |list: &str| -> BTreeSet<(String, bool)> {
        let all = inventory[list].as_array().unwrap().iter();
        all.map(|one| {
            (one["requirement"].as_str().unwrap().to_owned(), one["host"].as_bool().unwrap())
        })
        .collect()
    };
    let checked = pairs("checks");
    let broken = pairs("mutants");
    let missing: Vec<_> = checked.difference(&broken).collect();
    assert!(missing.is_empty(), "checks that nothing broken proves: {missing:?}");
    let aimless: Vec<_> = broken.difference(&checked).collect();
    assert!(aimless.is_empty(), "broken things without a check: {aimless:?}");
}
