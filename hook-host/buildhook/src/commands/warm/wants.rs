//! Reading what `buildhook-wants` has written: one unit per line.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

use buildhook_cargo::manifest::Action;
use buildhook_protocol::Unit;
use fs_err as fs;
use serde::Deserialize;

use super::super::Refusal;

/// The version of the lines that are understood.
const VERSION: u64 = 1;
/// Longest line, in bytes: the action of a unit with ten thousand flags.
const MAX_LINE_BYTES: u64 = 4 * 1024 * 1024;

/// A unit that was asked for, or that such a one depends on.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) package: String,
    pub(super) version: String,
    /// `debug`, `release` or another profile's folder.
    pub(super) profile: String,
    pub(super) unit_type: String,
    pub(super) action: Action,
    /// Missed, not only depended on.
    pub(super) is_miss: bool,
}

/// Name and version.
pub(super) type Package<'w> = (&'w str, &'w str);

/// What the files hold.
#[derive(Debug, Default)]
pub(super) struct Wants {
    /// Each once, in order.
    pub(super) units: Vec<Wanted>,
    /// Misses that no other machine can build, by where their packages come from.
    pub(super) unfetchable: std::collections::BTreeMap<String, u64>,
}

#[derive(Deserialize)]
struct Line {
    v: u64,
    why: Why,
    unit: Unit,
    action: Option<Action>,
}

#[derive(Deserialize, PartialEq, Eq, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
enum Why {
    Miss,
    Dependency,
}

impl Wanted {
    /// The name of its outputs without prefix and extension, such as `serde-1a2b`: the same
    /// when Cargo builds the same.
    pub(super) fn stem(&self) -> String {
        stem(&self.action)
    }

    /// The stems of its dependencies.
    pub(super) fn needs(&self) -> impl Iterator<Item = String> {
        self.action.externs.iter().filter_map(|dependency| stem_of_file(&dependency.file))
    }

    /// Which package it belongs to.
    pub(super) fn id(&self) -> Package<'_> {
        (&self.package, &self.version)
    }

    /// The values of `--cfg feature=…`.
    pub(super) fn features(&self) -> impl Iterator<Item = &str> {
        self.action.arguments.iter().filter_map(|word| {
            word.strip_prefix("--cfg feature=").map(|feature| feature.trim_matches('"'))
        })
    }

    /// For people.
    pub(super) fn label(&self) -> String {
        let Self { package, version, unit_type, .. } = self;
        match unit_type.as_str() {
            "lib" | "proc-macro" => format!("{package} {version}"),
            other => format!("{package} {version} ({other})"),
        }
    }
}

/// The name of a unit's outputs.
pub(super) fn stem(action: &Action) -> String {
    let extra = action.arguments.iter().find_map(|word| word.strip_prefix("-C extra-filename="));
    format!("{}{}", action.crate_name, extra.unwrap_or_default())
}

/// `serde-1a2b` for `libserde-1a2b.rmeta`.
pub(super) fn stem_of_file(file: &str) -> Option<String> {
    let (stem, _) = file.rsplit_once('.')?;
    Some(stem.strip_prefix("lib").unwrap_or(stem).to_owned())
}

/// Reads all files.
pub(super) fn read(paths: &[PathBuf]) -> Result<Wants, Refusal> {
    let mut wants = Wants::default();
    let mut known = HashMap::new();
    for path in paths {
        read_file(path, &mut wants, &mut known)?;
    }
    Ok(wants)
}

fn read_file(
    path: &Path,
    wants: &mut Wants,
    known: &mut HashMap<buildhook_protocol::Key, usize>,
) -> Result<(), Refusal> {
    let unreadable = |error: std::io::Error| Refusal::usage(format!("--from: {error}"));
    let mut file = BufReader::new(fs::File::open(path).map_err(unreadable)?);
    for number in 1_u64.. {
        let wrong = |what: String| {
            Refusal::usage(format!(
                "{}:{number}: not what buildhook-wants writes: {what}",
                path.display()
            ))
        };
        let mut text = String::new();
        let read = (&mut file).take(MAX_LINE_BYTES).read_line(&mut text);
        match read {
            Ok(0) => break,
            Ok(_) if text.len() as u64 == MAX_LINE_BYTES => {
                return Err(wrong("the line is too long".to_owned()));
            }
            Ok(_) => {}
            Err(error) => return Err(wrong(error.to_string())),
        }
        if text.trim().is_empty() {
            continue;
        }
        let line: Line = serde_json::from_str(&text).map_err(|error| {
            // The line of the file stands before it already.
            let error = error.to_string();
            wrong(error.split(" at line ").next().unwrap_or_default().to_owned())
        })?;
        if line.v != VERSION {
            return Err(wrong(format!("version {}, and this buildhook reads {VERSION}", line.v)));
        }
        add(line, wants, known).map_err(|what| wrong(what.to_owned()))?;
    }
    Ok(())
}

fn add(
    line: Line,
    wants: &mut Wants,
    known: &mut HashMap<buildhook_protocol::Key, usize>,
) -> Result<(), &'static str> {
    let Line { why, unit, action, .. } = line;
    let Some(action) = action else {
        if why == Why::Miss {
            *wants.unfetchable.entry(unit.origin.unwrap_or_default()).or_default() += 1;
        }
        return Ok(());
    };
    let text = |value: Option<String>, what| value.filter(|text| !text.is_empty()).ok_or(what);
    let wanted = Wanted {
        package: text(unit.package, "the unit has no `package`")?,
        version: text(unit.version, "the unit has no `version`")?,
        profile: text(unit.profile, "the unit has no `profile`")?,
        unit_type: text(unit.unit_type, "the unit has no `type`")?,
        action,
        is_miss: why == Why::Miss,
    };
    if !is_word(&wanted.package) || !is_word(&wanted.version) || !is_word(&wanted.profile) {
        return Err("a name holds what no name of Cargo's does");
    }
    match known.get(&wanted.action.key()) {
        Some(index) => wants.units[*index].is_miss |= wanted.is_miss,
        None => {
            known.insert(wanted.action.key(), wants.units.len());
            wants.units.push(wanted);
        }
    }
    Ok(())
}

/// Whether `text` can be written into a manifest: what names, versions and profiles are made of.
fn is_word(text: &str) -> bool {
    text.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '+'))
}
