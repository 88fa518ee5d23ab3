//! One configuration file: TOML into a [`Layer`], with the line of every value.
//!
//! The tables and keys are few and closed: what is not known is a mistake.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::layer::{LIMITS, Layer};
use super::problem::{ConfigError, Place, Problem, nearest};
use super::value::{HookCommand, Source, Sourced};

const HOOKS: &str = "hooks";
const STORE: &str = "store";
const LIMITS_TABLE: &str = "limits";
const LOG: &str = "log";

/// The tables and their keys.
const TABLES: [(&str, &[&str]); 4] = [
    (HOOKS, &["hook", "want-to-build", "built-a-thing"]),
    (STORE, &["dir", "max-size"]),
    (LIMITS_TABLE, &["hello-ms", "want-to-build-ms", "built-a-thing-ms", "drain-ms", "faults"]),
    (LOG, &["file", "level"]),
];

/// The settings in `text`, the content of the file at `path` (absolute).
pub(super) fn parse(text: &str, path: &Path) -> Result<Layer, ConfigError> {
    let mut reader = Reader { text, path, layer: Layer::default(), problems: Vec::new() };
    match DeTable::parse(text) {
        Ok(table) => reader.tables(table.get_ref()),
        Err(error) => {
            let offset = error.span().map_or(0, |span| span.start);
            reader.problem(offset, format!("not TOML: {}", error.message()), None);
        }
    }
    if reader.problems.is_empty() {
        return Ok(reader.layer);
    }
    // A table is a map, so mistakes come in no particular order.
    reader.problems.sort_by_key(|problem| match problem.place {
        Place::File { line, .. } => line,
        Place::Variable(_) => 0,
    });
    Err(ConfigError { problems: reader.problems })
}

struct Reader<'a> {
    text: &'a str,
    path: &'a Path,
    layer: Layer,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn tables(&mut self, root: &DeTable<'_>) {
        for (name, value) in root {
            let valid = TABLES.map(|(table, _)| table);
            let Some((table, keys)) = TABLES.iter().find(|(table, _)| *table == name.get_ref())
            else {
                let message = format!("unknown table or key `{}`", name.get_ref());
                self.problem(name.span().start, message, Some(nearest(name.get_ref(), &valid)));
                continue;
            };
            let Some(entries) = value.get_ref().as_table() else {
                let help = format!("write `[{table}]` on a line of its own");
                let message = format!("`{table}` is a table");
                self.problem(name.span().start, message, Some(help));
                continue;
            };
            for (key, value) in entries {
                if keys.contains(&key.get_ref().as_ref()) {
                    self.setting(table, key.get_ref(), value);
                } else {
                    let message = format!("unknown key `{}` in [{table}]", key.get_ref());
                    let help = nearest(key.get_ref(), keys);
                    self.problem(key.span().start, message, Some(help));
                }
            }
        }
        self.layer.spread_hook();
    }

    fn setting(&mut self, table: &str, key: &str, value: &Spanned<DeValue<'_>>) {
        let base = self.path.parent().unwrap_or(Path::new("/"));
        let source = self.source(value.span().start);
        let result = match (table, key) {
            (HOOKS, "hook") => command(value, base).map(|v| set(&mut self.layer.hook, v, source)),
            (HOOKS, "want-to-build") => {
                command(value, base).map(|v| set(&mut self.layer.want_to_build, v, source))
            }
            (HOOKS, _) => {
                command(value, base).map(|v| set(&mut self.layer.built_a_thing, v, source))
            }
            (STORE, "dir") => {
                text(value, "a path").map(|v| set(&mut self.layer.store_dir, base.join(v), source))
            }
            (STORE, _) => text(value, "a size such as \"20GB\"")
                .and_then(parse_size)
                .map(|v| set(&mut self.layer.max_size, v, source)),
            (LOG, "file") => {
                text(value, "a path").map(|v| set(&mut self.layer.log_file, base.join(v), source))
            }
            (LOG, _) => text(value, "a level such as \"warn\"")
                .and_then(str::parse)
                .map(|v| set(&mut self.layer.log_level, v, source)),
            _ => integer(value).and_then(|number| {
                let limit = LIMITS.iter().position(|limit| limit.key == key).unwrap_or_default();
                let number = LIMITS[limit].check(number)?;
                set(&mut self.layer.limits[limit], number, source);
                Ok(())
            }),
        };
        if let Err(message) = result {
            self.problem(value.span().start, format!("`{key}`: {message}"), None);
        }
    }

    fn source(&self, offset: usize) -> Source {
        Source::Place(self.place(offset))
    }

    fn place(&self, offset: usize) -> Place {
        let before = &self.text.as_bytes()[..offset.min(self.text.len())];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        Place::File { path: self.path.to_path_buf(), line }
    }

    fn problem(&mut self, offset: usize, message: String, help: Option<String>) {
        self.problems.push(Problem { place: self.place(offset), message, help });
    }
}

fn set<T>(slot: &mut Option<Sourced<T>>, value: T, source: Source) {
    *slot = Some(Sourced { value, source });
}

fn command(value: &Spanned<DeValue<'_>>, base: &Path) -> Result<HookCommand, String> {
    const EXPECTED: &str = "a command line or an array of words";
    match value.get_ref() {
        DeValue::String(line) => HookCommand::split(line, base),
        DeValue::Array(words) => {
            let words = words.iter().map(|word| text(word, EXPECTED).map(str::to_owned));
            HookCommand::of(words.collect::<Result<_, _>>()?, base)
        }
        other => Err(expected(EXPECTED, other)),
    }
}

fn text<'v>(value: &'v Spanned<DeValue<'_>>, what: &str) -> Result<&'v str, String> {
    value.get_ref().as_str().ok_or_else(|| expected(what, value.get_ref()))
}

fn parse_size(text: &str) -> Result<u64, String> {
    match buildhook_sdk::cli::parse_bytes(text)? {
        0 => Err("a store of no size holds nothing".to_owned()),
        size => Ok(size),
    }
}

fn integer(value: &Spanned<DeValue<'_>>) -> Result<u64, String> {
    let Some(number) = value.get_ref().as_integer() else {
        return Err(expected("a whole number", value.get_ref()));
    };
    u64::from_str_radix(number.as_str(), number.radix())
        .map_err(|_| format!("{} is out of range", number.as_str()))
}

fn expected(what: &str, found: &DeValue<'_>) -> String {
    format!("expected {what}, found {}", found.type_str())
}
