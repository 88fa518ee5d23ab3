//! The values of settings, and where each comes from.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use buildhook_host::{Launch, PluginCommand};
use serde::{Serialize, Serializer};

use super::problem::{Place, nearest};

/// A value and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Sourced<T> {
    /// The value.
    pub(crate) value: T,
    /// Where it comes from.
    pub(crate) source: Source,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Source {
    /// Nobody set it.
    Default,
    /// A file or a variable.
    Place(Place),
}

impl<T> Sourced<T> {
    /// A value that nobody set.
    pub(crate) fn default_value(value: T) -> Self {
        Self { value, source: Source::Default }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Place(place) => place.fmt(f),
        }
    }
}

/// A program and its arguments. Never empty; no shell is involved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HookCommand {
    words: Vec<String>,
}

impl HookCommand {
    /// A command line split as a shell splits words.
    pub(crate) fn split(line: &str, base: &Path) -> Result<Self, String> {
        let words = shlex::split(line).ok_or("a quotation mark is not closed")?;
        Self::of(words, base)
    }

    /// A command of these words. A program given by a relative path is taken as relative to
    /// `base`; a bare name is looked up on PATH when it is started.
    pub(crate) fn of(mut words: Vec<String>, base: &Path) -> Result<Self, String> {
        let program = words.first().filter(|program| !program.is_empty());
        let program = Path::new(program.ok_or("a command needs a program")?);
        if program.components().count() > 1 && program.is_relative() {
            let program = base.join(program).into_os_string().into_string();
            words[0] = program.map_err(|_| "the path of the program is not Unicode")?;
        }
        if words.iter().any(|word| word.contains('\0')) {
            return Err("a command holds no NUL character".into());
        }
        Ok(Self { words })
    }

    /// How the host reaches it; the plugin gets exactly these variables.
    pub(crate) fn launch(
        &self,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Launch {
        Launch::Command(PluginCommand::new(&self.words[0], &self.words[1..], variables))
    }
}

impl fmt::Display for HookCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match shlex::try_join(self.words.iter().map(String::as_str)) {
            Ok(line) => f.write_str(&line),
            // Only NUL cannot be quoted, and `of` refuses it.
            Err(_) => write!(f, "{:?}", self.words),
        }
    }
}

impl Serialize for HookCommand {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.words.serialize(serializer)
    }
}

/// How much is written to the log file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LogLevel {
    /// Nothing.
    Off,
    /// Faults of plugins and of the system.
    Error,
    /// Also what buildhook did without.
    Warn,
    /// Also one line for each unit.
    Info,
    /// Also every decision on the way.
    Debug,
}

impl LogLevel {
    const WORDS: [(&'static str, Self); 5] = [
        ("off", Self::Off),
        ("error", Self::Error),
        ("warn", Self::Warn),
        ("info", Self::Info),
        ("debug", Self::Debug),
    ];
}

impl FromStr for LogLevel {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::WORDS.iter().find(|(word, _)| *word == text);
        found.map(|(_, level)| *level).ok_or_else(|| {
            let help = nearest(text, &Self::WORDS.map(|(word, _)| word));
            format!("`{text}` is no log level; {help}")
        })
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = Self::WORDS.iter().find(|(_, level)| level == self);
        f.write_str(word.map_or("off", |(word, _)| word))
    }
}

/// What `BUILDHOOK_LOG` says: a level, or a file that gets all of level `debug`.
pub(crate) fn parse_log(text: &str, base: &Path) -> Result<(LogLevel, Option<PathBuf>), String> {
    let path = Path::new(text);
    if path.is_absolute() || path.components().count() > 1 {
        return Ok((LogLevel::Debug, Some(base.join(path))));
    }
    Ok((text.parse::<LogLevel>().map_err(|why| format!("{why}; a file is named by a path"))?, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_split_and_resolved() {
        let check = |line: &str, expected: Result<&[&str], &str>| {
            let command = HookCommand::split(line, Path::new("/base"));
            let words = command.map(|command| command.words);
            assert_eq!(
                words,
                expected.map(|w| w.iter().map(ToString::to_string).collect()).map_err(String::from)
            );
        };
        check("plug --dir '/a b'", Ok(&["plug", "--dir", "/a b"]));
        check("./tools/plug x", Ok(&["/base/./tools/plug", "x"]));
        check("/abs/plug", Ok(&["/abs/plug"]));
        check("plug 'open", Err("a quotation mark is not closed"));
        check("  ", Err("a command needs a program"));
        check("'' a", Err("a command needs a program"));
    }

    #[test]
    fn log_is_a_level_or_a_path() {
        let base = Path::new("/base");
        assert_eq!(parse_log("warn", base), Ok((LogLevel::Warn, None)));
        assert_eq!(parse_log("./l.txt", base), Ok((LogLevel::Debug, Some("/base/./l.txt".into()))));
        insta::assert_snapshot!(parse_log("wran", base).unwrap_err(), @"`wran` is no log level; did you mean `warn`?; a file is named by a path");
        assert_eq!(LogLevel::Info.to_string(), "info");
    }
}
