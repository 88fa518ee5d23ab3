//! From the file to the command.

use std::ffi::OsString;
use std::ops::Range;
use std::path::Path;

use buildhook_sdk::{StartError, config};
use serde::Deserialize;
use toml::{Spanned, Table, Value};

use crate::find::Finder;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stack {
    #[serde(default)]
    filter: Vec<Spanned<Filter>>,
    cache: Vec<Spanned<Cache>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Filter {
    plugin: Vec<String>,
}

/// A cache, with what `buildhook-tier` is to know when there are several.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Cache {
    plugin: Vec<String>,
    name: Option<String>,
    read: Option<bool>,
    write: Option<bool>,
    back_fill: Option<bool>,
    background: Option<bool>,
    timeout_ms: Option<u32>,
    patience_ms: Option<u32>,
}

/// The command of the stack in `file`, program first.
///
/// # Errors
/// The file cannot be read, or a line of it is wrong.
pub(crate) fn read(file: &Path, finder: &Finder) -> Result<Vec<OsString>, StartError> {
    // fs-err names the path.
    let text =
        fs_err::read_to_string(file).map_err(|error| StartError::Config(error.to_string()))?;
    let stack: Stack = config::parse_toml(file, &text)?;
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let reader = Reader { file, text: &text, folder, finder };
    let mut command = Vec::new();
    for filter in &stack.filter {
        command.extend(reader.words(&filter.get_ref().plugin, filter.span())?);
        command.push("--".into());
    }
    command.extend(reader.caches(&stack.cache)?);
    Ok(command)
}

struct Reader<'a> {
    file: &'a Path,
    text: &'a str,
    folder: &'a Path,
    finder: &'a Finder,
}

impl Reader<'_> {
    /// The words of one plugin, its program found.
    fn words(&self, plugin: &[String], span: Range<usize>) -> Result<Vec<OsString>, StartError> {
        let Some((name, arguments)) = plugin.split_first() else {
            return Err(self.wrong(span, "`plugin` is empty"));
        };
        let program =
            self.finder.find(name, self.folder).map_err(|what| self.wrong(span.clone(), &what))?;
        if arguments.iter().any(|argument| argument == "--") {
            let what = "`--` stands between the plugins of a stack and is put there by itself";
            return Err(self.wrong(span, what));
        }
        Ok(std::iter::once(program.into()).chain(arguments.iter().map(OsString::from)).collect())
    }

    fn caches(&self, caches: &[Spanned<Cache>]) -> Result<Vec<OsString>, StartError> {
        match caches {
            [] => Err(self.wrong(0..0, "a stack ends in at least one `[[cache]]`")),
            [only] if !only.get_ref().is_tier() => self.words(&only.get_ref().plugin, only.span()),
            several => self.tiers(several),
        }
    }

    fn tiers(&self, caches: &[Spanned<Cache>]) -> Result<Vec<OsString>, StartError> {
        let span = caches[0].span();
        let mut command = self.words(&["tier".to_owned()], span)?;
        for cache in caches {
            let words = self.words(&cache.get_ref().plugin, cache.span())?;
            let table =
                cache.get_ref().table(&words).map_err(|what| self.wrong(cache.span(), &what))?;
            command.push("--tier".into());
            command.push(Value::Table(table).to_string().into());
        }
        Ok(command)
    }

    fn wrong(&self, span: Range<usize>, what: &str) -> StartError {
        let line = config::line_of(self.text, span.start);
        StartError::Config(format!("{}:{line}: {what}", self.file.display()))
    }
}

impl Cache {
    /// Whether it says anything that only `buildhook-tier` understands.
    fn is_tier(&self) -> bool {
        let flags = [self.read, self.write, self.back_fill, self.background];
        let times = [self.timeout_ms, self.patience_ms];
        flags.iter().any(Option::is_some) || times.iter().any(Option::is_some)
    }

    /// The inline table for `buildhook-tier`.
    fn table(&self, words: &[OsString]) -> Result<Table, String> {
        let missing = |what: &str| format!("with several caches each says `{what}`");
        let mut plugin = Vec::new();
        for word in words {
            let word = word.to_str().ok_or("the program's path is not Unicode")?;
            plugin.push(Value::String(word.to_owned()));
        }
        let mut table = Table::new();
        table.insert("plugin".to_owned(), Value::Array(plugin));
        let name = self.name.clone().ok_or_else(|| missing("name"))?;
        table.insert("name".to_owned(), Value::String(name));
        let flags = [("read", self.read), ("write", self.write), ("back-fill", self.back_fill)];
        for (key, flag) in flags {
            table.insert(key.to_owned(), Value::Boolean(flag.ok_or_else(|| missing(key))?));
        }
        if let Some(background) = self.background {
            table.insert("background".to_owned(), Value::Boolean(background));
        }
        for (key, ms) in [("timeout-ms", self.timeout_ms), ("patience-ms", self.patience_ms)] {
            if let Some(ms) = ms {
                table.insert(key.to_owned(), Value::Integer(ms.into()));
            }
        }
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(text: &str) -> Result<Vec<String>, String> {
        let dir = tempfile::tempdir().unwrap();
        for name in ["only", "local-dir", "tier"] {
            std::fs::write(dir.path().join(format!("buildhook-{name}")), "").unwrap();
        }
        std::fs::write(dir.path().join("own"), "").unwrap();
        let file = dir.path().join("s.toml");
        std::fs::write(&file, text).unwrap();
        let finder = Finder::new(Some(dir.path().join("buildhook-chain")), None);
        let root = format!("{}/", dir.path().display());
        let strip = |text: &str| text.replace(&root, "");
        match read(&file, &finder) {
            Ok(words) => Ok(words.iter().map(|word| strip(&word.to_string_lossy())).collect()),
            Err(error) => Err(strip(&error.to_string())),
        }
    }

    #[test]
    fn a_stack_is_a_command() {
        let words = command(
            "[[filter]]\nplugin = [\"only\", \"--origin\", \"git\"]\n\
             [[cache]]\nplugin = [\"./own\", \"x\"]\n",
        );
        let expected = ["buildhook-only", "--origin", "git", "--", "./own", "x"];
        assert_eq!(words.unwrap(), expected);

        let words = command(
            "[[cache]]\nname = \"a\"\nplugin = [\"local-dir\"]\nread = true\nwrite = false\n\
             back-fill = true\ntimeout-ms = 7\n",
        )
        .unwrap();
        assert_eq!(words[..2], ["buildhook-tier", "--tier"]);
        let table: Table = toml::from_str(&format!("t = {}", words[2])).unwrap();
        assert_eq!(table["t"]["write"], Value::Boolean(false));
        assert_eq!(table["t"]["timeout-ms"], Value::Integer(7));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line_and_the_nearest_word() {
        let cache = "[[cache]]\nplugin = [\"local-dir\"]\n";
        let cases = [
            (String::new(), "s.toml:1: missing field `cache`"),
            (format!("\n[[fliter]]\n{cache}"), "s.toml:2: unknown field `fliter`"),
            (format!("[[fliter]]\n{cache}"), "did you mean `filter`?"),
            (format!("[[filter]]\nplugins = []\n{cache}"), "s.toml:2: unknown field `plugins`"),
            (
                format!("\n\n[[filter]]\nplugin = [\"onyl\"]\n{cache}"),
                "s.toml:3: `buildhook-onyl` is not on PATH; did you mean `only`?",
            ),
            (format!("[[filter]]\nplugin = []\n{cache}"), "s.toml:1: `plugin` is empty"),
            (format!("[[filter]]\nplugin = [\"only\", \"--\"]\n{cache}"), "is put there by itself"),
            ("[[cache]]\nplugin = [\"./none\"]\n".to_owned(), "s.toml:1: there is no `./none`"),
            (format!("{cache}{cache}"), "s.toml:1: with several caches each says `name`"),
            (format!("{cache}read = 1\n"), "s.toml:3: invalid type"),
            ("cache = []".to_owned(), "a stack ends in at least one"),
            ("x = ".to_owned(), "s.toml:1: "),
        ];
        for (text, expected) in cases {
            let error = command(&text).unwrap_err();
            assert!(error.contains(expected), "{text:?}: {error}");
        }
    }
}
