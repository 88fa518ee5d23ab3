//! The compiler's command line, as far as this cache needs it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::fault::{Behaviour, Fault};

/// A compilation that can be cached.
#[derive(Debug)]
pub(crate) struct Call {
    /// Words before the first flag: wrappers and the compiler.
    pub(crate) programs: Vec<String>,
    /// Flags and their values as one word each (`-C opt-level=3` becomes
    /// `-Copt-level=3`, `--cfg x` becomes `--cfg=x`).
    pub(crate) flags: Vec<String>,
    pub(crate) crate_name: String,
    pub(crate) out_dir: PathBuf,
    /// What Cargo puts behind names of outputs.
    pub(crate) suffix: String,
    /// Whether a linker runs.
    pub(crate) links: bool,
}

/// Flags whose value may be the next word.
const TAKE_VALUE: &[&str] = &[
    "-A",
    "-C",
    "-D",
    "-F",
    "-L",
    "-W",
    "-Z",
    "-l",
    "--cap-lints",
    "--cfg",
    "--check-cfg",
    "--codegen",
    "--crate-name",
    "--crate-type",
    "--diagnostic-width",
    "--edition",
    "--emit",
    "--error-format",
    "--extern",
    "--json",
    "--out-dir",
    "--remap-path-prefix",
    "--sysroot",
    "--target",
];

impl Call {
    /// Reads a command line; `None` when it is to be run untouched.
    pub(crate) fn parse(words: &[OsString], fault: &Fault) -> Option<Self> {
        let mut words = words.iter().map(|w| w.to_str());
        let mut programs = vec![words.next()??.to_owned()];
        let mut flags = Vec::new();
        while let Some(word) = words.next() {
            let word = word?;
            if flags.is_empty() && !word.starts_with('-') && is_compiler(word) {
                programs.push(word.to_owned());
            } else if TAKE_VALUE.contains(&word) {
                let value = words.next()??;
                let joint = if word.starts_with("--") { "=" } else { "" };
                flags.push(format!("{word}{joint}{value}"));
            } else {
                flags.push(word.to_owned());
            }
        }
        let value =
            |flag: &str| flags.iter().find_map(|word| word.strip_prefix(flag)).map(str::to_owned);
        let asks = |word: &String| {
            ["-vV", "-V", "--version", "--explain"].contains(&word.as_str())
                || word.starts_with("--print")
                || word.starts_with("-o")
                || (word == "-" && !fault.is(Behaviour::CachesStdin))
        };
        if flags.iter().any(asks) {
            return None;
        }
        let types = ["bin", "dylib", "cdylib", "proc-macro", "staticlib"];
        Some(Self {
            crate_name: value("--crate-name=")?,
            out_dir: PathBuf::from(value("--out-dir=")?),
            suffix: value("-Cextra-filename=").unwrap_or_default(),
            links: flags.iter().any(|word| {
                word == "--test"
                    || word.strip_prefix("--crate-type=").is_some_and(|t| types.contains(&t))
            }),
            programs,
            flags,
        })
    }

    /// Files that `--extern` names, with the names they are called by.
    pub(crate) fn externs(&self) -> impl Iterator<Item = (&str, &Path)> {
        self.flags.iter().filter_map(|word| {
            let (name, path) = word.strip_prefix("--extern=")?.split_once('=')?;
            Some((name, Path::new(path)))
        })
    }

    /// Folders given with `-L`, with their kinds.
    pub(crate) fn search_folders(&self) -> impl Iterator<Item = (&str, &Path)> {
        self.flags.iter().filter_map(|word| {
            let value = word.strip_prefix("-L")?;
            Some(match value.split_once('=') {
                Some((kind, path)) => (kind, Path::new(path)),
                None => ("all", Path::new(value)),
            })
        })
    }

    /// Whether a file name in the output folder is an output of this call.
    pub(crate) fn owns(&self, file_name: &str) -> bool {
        let stem = format!("{}{}", self.crate_name, self.suffix);
        let rest = file_name.strip_prefix("lib").unwrap_or(file_name);
        [rest, file_name].iter().any(|name| {
            name.strip_prefix(stem.as_str())
                .is_some_and(|end| end.is_empty() || end.starts_with('.'))
        })
    }
}

fn is_compiler(word: &str) -> bool {
    let name = Path::new(word).file_name();
    name.is_some_and(|name| name == "rustc" || name == "clippy-driver")
}
