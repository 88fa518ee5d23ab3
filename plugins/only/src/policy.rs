//! The rules. Those of different options must all allow a unit; of the values of one option
//! one must.

use buildhook_sdk::files::read_verified;
use buildhook_sdk::protocol::FileRecord;
use buildhook_sdk::{Built, Call, cli};
use clap::builder::PossibleValuesParser;
use glob::Pattern;
use serde_json::Value;

/// Largest manifest that is looked at, in bytes: far above what a unit with ten thousand
/// inputs has. A larger one is not allowed.
const MAX_MANIFEST_BYTES: u64 = 64 * 1024 * 1024;
/// The words of the protocol for where a package comes from.
const ORIGINS: [&str; 4] = ["registry", "git", "path", "workspace"];
/// The words of the protocol for what is built.
const TYPES: [&str; 9] =
    ["lib", "proc-macro", "bin", "test", "build-script", "cdylib", "dylib", "staticlib", "example"];

#[derive(Debug, clap::Args)]
pub(crate) struct Policy {
    /// Where the package comes from: registry, git, path, workspace.
    #[arg(long, value_name = "ORIGIN", value_delimiter = ',',
          value_parser = PossibleValuesParser::new(ORIGINS))]
    origin: Vec<String>,
    /// The crate's name, with `*` and `?`.
    #[arg(long = "crate", value_name = "GLOB", value_delimiter = ',', value_parser = pattern)]
    crates: Vec<Pattern>,
    /// Not these crates.
    #[arg(long, value_name = "GLOB", value_delimiter = ',', value_parser = pattern)]
    not_crate: Vec<Pattern>,
    /// What is built: lib, proc-macro, bin, test, ….
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',',
          value_parser = PossibleValuesParser::new(TYPES))]
    types: Vec<String>,
    /// The target triple, with `*` and `?`.
    #[arg(long, value_name = "GLOB", value_delimiter = ',', value_parser = pattern)]
    target: Vec<Pattern>,
    /// Not units whose manifest names something like this: a file, a variable, a flag.
    #[arg(long, value_name = "GLOB", value_delimiter = ',', value_parser = pattern)]
    not_input: Vec<Pattern>,
    /// Store only entries of at least this size, for example `10KB`.
    #[arg(long, value_name = "SIZE", value_parser = cli::parse_bytes)]
    min_size: Option<u64>,
    /// Store only entries up to this size, for example `100MB`.
    #[arg(long, value_name = "SIZE", value_parser = cli::parse_bytes)]
    max_size: Option<u64>,
    /// Store only what took at least so many milliseconds to build.
    #[arg(long, value_name = "MS")]
    min_cost_ms: Option<u64>,
}

impl Policy {
    pub(crate) fn needs_manifest(&self) -> bool {
        !self.not_input.is_empty()
    }

    /// The rule that forbids a unit, as a sentence.
    pub(crate) fn forbids(&self, call: &Call) -> Option<String> {
        let unit = &call.unit;
        one_of("origin", &self.origin, unit.origin.as_deref())
            .or_else(|| one_of("type", &self.types, unit.unit_type.as_deref()))
            .or_else(|| one_like("crate", &self.crates, unit.name.as_deref()))
            .or_else(|| none_like("not-crate", &self.not_crate, unit.name.as_deref()))
            .or_else(|| one_like("target", &self.target, unit.target.as_deref()))
            .or_else(|| self.forbids_inputs(call.manifest.as_ref()))
    }

    /// The rule that forbids to store a result, as a sentence.
    pub(crate) fn forbids_result(&self, built: &Built) -> Option<String> {
        let size = built.files.iter().map(|file| file.size).fold(0, u64::saturating_add);
        if let Some(min) = self.min_size.filter(|min| size < *min) {
            return Some(format!("--min-size {min}: the entry has {size} bytes"));
        }
        if let Some(max) = self.max_size.filter(|max| size > *max) {
            return Some(format!("--max-size {max}: the entry has {size} bytes"));
        }
        let min = self.min_cost_ms?;
        match built.cost_ms {
            Some(cost) if cost >= min => None,
            Some(cost) => Some(format!("--min-cost-ms {min}: building took {cost} ms")),
            None => Some(format!("--min-cost-ms {min}: the host did not say what building took")),
        }
    }

    fn forbids_inputs(&self, manifest: Option<&FileRecord>) -> Option<String> {
        if self.not_input.is_empty() {
            return None;
        }
        let Some(manifest) = manifest else {
            return Some("--not-input: the host gave no manifest".to_owned());
        };
        match read(manifest) {
            Ok(value) => find(&value, &self.not_input)
                .map(|(pattern, text)| format!("--not-input {pattern}: the unit uses {text}")),
            Err(why) => Some(format!("--not-input: the manifest cannot be read: {why}")),
        }
    }
}

fn pattern(text: &str) -> Result<Pattern, String> {
    Pattern::new(text).map_err(|error| error.to_string())
}

fn one_of(option: &str, allowed: &[String], value: Option<&str>) -> Option<String> {
    let fits = allowed.is_empty() || value.is_some_and(|value| allowed.iter().any(|a| a == value));
    (!fits)
        .then(|| format!("--{option} {}: this is {}", allowed.join(","), value.unwrap_or("unsaid")))
}

fn one_like(option: &str, allowed: &[Pattern], value: Option<&str>) -> Option<String> {
    let fits =
        allowed.is_empty() || value.is_some_and(|value| allowed.iter().any(|p| p.matches(value)));
    let allowed = || allowed.iter().map(Pattern::as_str).collect::<Vec<_>>().join(",");
    (!fits).then(|| format!("--{option} {}: this is {}", allowed(), value.unwrap_or("unsaid")))
}

fn none_like(option: &str, forbidden: &[Pattern], value: Option<&str>) -> Option<String> {
    if forbidden.is_empty() {
        return None;
    }
    let Some(value) = value else { return Some(format!("--{option}: the name is unsaid")) };
    let found = forbidden.iter().find(|pattern| pattern.matches(value))?;
    Some(format!("--{option} {found}: this is {value}"))
}

fn read(manifest: &FileRecord) -> Result<Value, String> {
    if manifest.size > MAX_MANIFEST_BYTES {
        return Err(format!("it has {} bytes", manifest.size));
    }
    let mut content = Vec::new();
    read_verified(manifest, &mut content).map_err(|error| error.to_string())?;
    serde_json::from_slice(&content).map_err(|error| error.to_string())
}

/// The first text in `value`, member names included, that a pattern matches. What a manifest
/// holds is the host's affair, so all of it is looked at.
fn find<'a>(value: &'a Value, patterns: &'a [Pattern]) -> Option<(&'a Pattern, &'a str)> {
    let like = |text: &'a str| {
        patterns.iter().find(|pattern| pattern.matches(text)).map(|pattern| (pattern, text))
    };
    match value {
        Value::String(text) => like(text),
        Value::Array(items) => items.iter().find_map(|item| find(item, patterns)),
        Value::Object(members) => {
            members.iter().find_map(|(name, member)| like(name).or_else(|| find(member, patterns)))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}
