//! TOML configuration: unknown keys are refused, with the file, the line and the nearest
//! valid word. Types that use it say `#[serde(deny_unknown_fields)]`.

use std::path::Path;

use serde::de::DeserializeOwned;

use crate::StartError;

/// At which likeness (0 to 1, Jaro-Winkler) a word is offered as the one that was meant.
const LIKENESS: f64 = 0.75;

/// Reads the TOML file at `path`.
///
/// # Errors
/// [`StartError::Config`]: the file cannot be read, or a line is wrong.
pub fn read_toml<T: DeserializeOwned>(path: &Path) -> Result<T, StartError> {
    // fs-err names the path.
    let text =
        fs_err::read_to_string(path).map_err(|error| StartError::Config(error.to_string()))?;
    parse_toml(path, &text)
}

/// Reads `text`, which stands in the file `path`.
///
/// # Errors
/// [`StartError::Config`]: a line is wrong.
pub fn parse_toml<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, StartError> {
    toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_of(text, span.start));
        let message = error.message();
        let hint =
            hint(message).map(|word| format!("; did you mean `{word}`?")).unwrap_or_default();
        StartError::Config(format!("{}:{line}: {message}{hint}", path.display()))
    })
}

/// The candidate nearest to `word`, if one is near enough to be what was meant.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(likeness, _)| *likeness >= LIKENESS)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// The line, from 1, of the byte at `offset`: for what is wrong beyond the grammar.
#[must_use]
pub fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes()[..offset.min(text.len())].iter().filter(|byte| **byte == b'\n').count() + 1
}

/// Serde says "unknown field `x`, expected one of `a`, `b`": the words in backquotes are what
/// was written and what could have been.
fn hint(message: &str) -> Option<&str> {
    if !message.starts_with("unknown ") {
        return None;
    }
    let mut quoted = message.split('`').skip(1).step_by(2);
    let written = quoted.next()?;
    nearest(written, quoted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "kebab-case")]
    #[expect(dead_code, reason = "only its refusals are looked at")]
    struct Sample {
        level: Option<u8>,
        max_size: Option<u64>,
    }

    #[test]
    fn names_file_line_and_nearest_word() {
        let cases = [
            (
                "level = 3\nmax-sise = 5\n",
                "f.toml:2: unknown field `max-sise`, expected `level` or `max-size`; \
                 did you mean `max-size`?",
            ),
            ("level = 300", "f.toml:1: invalid value: integer `300`, expected u8"),
        ];
        for (text, expected) in cases {
            let error = parse_toml::<Sample>(Path::new("f.toml"), text).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
    }
}
