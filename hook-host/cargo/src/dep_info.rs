//! Dep-info files (`*.d`): what rustc says it has read, and the paths in them.
//!
//! The format is make's, with rustc's additions: rules `target: prerequisite…` where spaces
//! are written `\ ` and backslashes stay as they are; then `# env-dep:NAME[=VALUE]` with
//! newlines, carriage returns and backslashes escaped (rustc 1.95, `escape_dep_env`).
//!
//! A stored file has tokens for folders and no values of variables: both are those of
//! the build that restores it. `../` in paths stays as rustc wrote it, since Cargo
//! compares the text.

use std::path::{Path, PathBuf};

use crate::environment::Environment;
use crate::roots::Roots;

/// What a dep-info file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DepInfo {
    /// Each rule: target and prerequisites, as written (unescaped).
    pub rules: Vec<(String, Vec<String>)>,
    /// `# env-dep:` lines: name, and whether the variable was set.
    pub variables: Vec<(String, bool)>,
    /// Other comment lines, as written (checksums of nightly compilers).
    pub comments: Vec<String>,
}

impl DepInfo {
    /// Reads `text`; `None` when it is not whole or not of the form described above.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut info = Self::default();
        if !text.ends_with('\n') {
            return None;
        }
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(variable) = line.strip_prefix("# env-dep:") {
                let (name, set) = match variable.split_once('=') {
                    Some((name, _)) => (name, true),
                    None => (variable, false),
                };
                info.variables.push((unescape_variable(name), set));
            } else if line.starts_with('#') {
                info.comments.push(line.to_owned());
            } else {
                let (target, sources) = split_rule(line)?;
                info.rules.push((unescape_path(target), split_paths(sources)));
            }
        }
        (!info.rules.is_empty()).then_some(info)
    }

    /// All files that were read, each once, made absolute in `cwd`.
    #[must_use]
    pub fn sources(&self, cwd: &Path) -> Vec<PathBuf> {
        let mut sources: Vec<_> =
            self.rules.iter().flat_map(|(_, sources)| sources).map(|s| cwd.join(s)).collect();
        sources.sort();
        sources.dedup();
        sources
    }

    /// The text with folders as tokens and no values, to be stored.
    #[must_use]
    pub fn to_stored(&self, roots: &Roots) -> String {
        let path = |path: &str| {
            let tokenised = roots.tokenise(Path::new(path));
            tokenised.to_str().map_or_else(|| path.to_owned(), str::to_owned)
        };
        self.write(path, |_| None, |comment| roots.tokenise_text(comment))
    }

    /// The text for this build: folders from `roots`, values from `env`.
    ///
    /// `None` when a token has no folder here.
    #[must_use]
    pub fn to_restored(&self, roots: &Roots, env: &Environment) -> Option<String> {
        let known = |path: &String| roots.resolve(Path::new(path)).is_some();
        if !self.rules.iter().all(|(t, sources)| known(t) && sources.iter().all(known)) {
            return None;
        }
        let path = |path: &str| {
            let resolved = roots.resolve(Path::new(path));
            resolved.and_then(|p| p.to_str().map(str::to_owned)).unwrap_or_default()
        };
        let value = |name: &str| env.text(name).map(str::to_owned);
        Some(self.write(path, value, |comment| roots.resolve_text(comment, str::to_owned)))
    }

    fn write(
        &self,
        path: impl Fn(&str) -> String,
        value: impl Fn(&str) -> Option<String>,
        comment: impl Fn(&str) -> String,
    ) -> String {
        let mut text = String::new();
        for (target, sources) in &self.rules {
            text.push_str(&escape_path(&path(target)));
            text.push(':');
            for source in sources {
                text.push(' ');
                text.push_str(&escape_path(&path(source)));
            }
            text.push('\n');
        }
        text.push('\n');
        for (name, set) in &self.variables {
            text.push_str("# env-dep:");
            text.push_str(&escape_variable(name));
            if let Some(value) = value(name).filter(|_| *set) {
                text.push('=');
                text.push_str(&escape_variable(&value));
            } else if *set {
                // Tells a set variable from an unset one in a stored file.
                text.push('=');
            }
            text.push('\n');
        }
        for line in &self.comments {
            text.push_str(&comment(line));
            text.push('\n');
        }
        text
    }
}

/// Splits at the first colon that ends a word: Windows paths hold colons, too.
fn split_rule(line: &str) -> Option<(&str, &str)> {
    let at = line.match_indices(':').find_map(|(at, _)| {
        let after = &line[at + 1..];
        (after.is_empty() || after.starts_with(' ')).then_some(at)
    })?;
    Some((&line[..at], &line[at + 1..]))
}

fn split_paths(text: &str) -> Vec<String> {
    let mut paths = vec![String::new()];
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let last = paths.len() - 1;
        match c {
            '\\' if chars.peek() == Some(&' ') => {
                paths[last].push(' ');
                chars.next();
            }
            ' ' => paths.push(String::new()),
            c => paths[last].push(c),
        }
    }
    paths.retain(|path| !path.is_empty());
    paths
}

fn unescape_path(text: &str) -> String {
    text.replace("\\ ", " ")
}

fn escape_path(path: &str) -> String {
    path.replace(' ', "\\ ")
}

fn escape_variable(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r")
}

fn unescape_variable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, true) => match chars.next() {
                Some('n') => out.push('\n'),
                Some('r') => out.push('\r'),
                Some(other) => out.push(other),
                None => out.push('\\'),
            },
            (c, false) => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "/ws/target/debug/deps/foo-1.d: src/lib.rs src/a\\ b.rs ../x.rs\n\n\
        /ws/target/debug/deps/libfoo-1.rlib: src/lib.rs src/a\\ b.rs ../x.rs\n\n\
        src/lib.rs:\nsrc/a\\ b.rs:\n../x.rs:\n\n# env-dep:OUT_DIR=/ws/target/debug/build/x/out\n\
        # env-dep:UNSET\n# env-dep:ODD=a\\nb\\\\c\n# checksum:sha256=1 file_len:2 /ws/a.rs\n";

    fn roots() -> Roots {
        Roots::new(
            Path::new("/ws"),
            Path::new("/c"),
            Path::new("/ws/target/debug/deps"),
            Path::new("/opt/rust"),
        )
    }

    #[test]
    fn reads_what_rustc_writes() {
        let info = DepInfo::parse(TEXT).unwrap();
        assert_eq!(
            info.sources(Path::new("/ws")),
            ["/ws/../x.rs", "/ws/src/a b.rs", "/ws/src/lib.rs"].map(PathBuf::from)
        );
        let expected = [("OUT_DIR", true), ("UNSET", false), ("ODD", true)];
        assert_eq!(info.variables, expected.map(|(n, s)| (n.to_owned(), s)));
    }

    #[test]
    fn moves_to_another_folder_and_takes_values_from_there() {
        let stored = DepInfo::parse(TEXT).unwrap().to_stored(&roots());
        assert!(!stored.contains("/ws"), "{stored}");
        let env: Environment = [("OUT_DIR", "/b/target/debug/build/x/out"), ("ODD", "a\nb\\c")]
            .map(|(n, v)| (n.into(), v.into()))
            .into_iter()
            .collect();
        let other = Roots::new(
            Path::new("/b"),
            Path::new("/c"),
            Path::new("/b/target/debug/deps"),
            Path::new("/opt/rust"),
        );
        let info = DepInfo::parse(&stored).unwrap();
        let restored = info.to_restored(&other, &env).unwrap();
        assert!(restored.contains("/b/target/debug/deps/libfoo-1.rlib: src/lib.rs src/a\\ b.rs"));
        assert!(restored.contains("# env-dep:OUT_DIR=/b/target/debug/build/x/out\n"));
        assert!(restored.contains("# env-dep:ODD=a\\nb\\\\c\n"));
        assert!(restored.contains("# env-dep:UNSET\n"));
        assert!(restored.ends_with("# checksum:sha256=1 file_len:2 /b/a.rs\n"));
    }

    #[test]
    fn half_a_file_is_none() {
        assert_eq!(DepInfo::parse(&TEXT[..40]), None);
        assert_eq!(DepInfo::parse(""), None);
        assert_eq!(DepInfo::parse("\n"), None);
    }

    proptest::proptest! {
        #[test]
        fn parsing_is_total(text: String) {
            let _ = DepInfo::parse(&text);
        }
    }
}
