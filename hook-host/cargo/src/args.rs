//! The rustc command line: what is asked, and whether we understand all of it.
//!
//! Anything that is not understood means: do not cache (an unknown flag may change the
//! output in a way that the key would not show). Parsing never fails a build; the worst
//! answer is [`Parsed::Untouched`], upon which the compiler runs exactly as called.
//!
//! Facts relied on (rustc 1.95, `rustc --help -v`): options take their value as the next
//! argument, after `=`, or, for the one-letter ones, directly; `@file` stands for the
//! lines of a UTF-8 file, without recursion.

use std::path::{Path, PathBuf};

/// What a call of the wrapper asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parsed {
    /// Not a compile that we could ever cache: a probe, standard input, `-o`. Run it as it is.
    Untouched(&'static str),
    /// A compile. `refusal` is set when it must not be cached.
    Compile(Box<Compile>),
}

/// One compile of one crate.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Compile {
    /// The programs before the arguments: `[rustc]`, or `[clippy-driver, rustc]`.
    pub launcher: Vec<String>,
    /// `--crate-name`.
    pub crate_name: String,
    /// `--crate-type`, in order.
    pub crate_types: Vec<String>,
    /// The kinds in `--emit`, in order.
    pub emit: Vec<String>,
    /// The crate's root file as given.
    pub source: PathBuf,
    /// `--out-dir`.
    pub out_dir: PathBuf,
    /// `--extern`, in order.
    pub externs: Vec<Extern>,
    /// `-L`, in order, as (kind, path).
    pub search: Vec<(String, PathBuf)>,
    /// `-C incremental`.
    pub incremental: Option<PathBuf>,
    /// `--target`, when given.
    pub target: Option<String>,
    /// `--sysroot`, when given.
    pub sysroot: Option<PathBuf>,
    /// `--test`.
    pub test: bool,
    /// `feature="…"` among `--cfg`.
    pub features: Vec<String>,
    /// `-C target-cpu=native` or `-C target-feature` that depends on this machine.
    pub native_cpu: bool,
    /// Paths cannot be remapped without losing something: unpacked debug info, coverage.
    pub keep_paths: bool,
    /// Every other argument, in order, in one canonical spelling (`-C opt-level=3`).
    pub rest: Vec<String>,
    /// Why the unit is not cached, if it is not: a code and the argument.
    pub refusal: Option<(&'static str, String)>,
}

/// One `--extern [options:]name[=path]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extern {
    /// `priv`, `noprelude`, …, as given, or empty.
    pub options: String,
    /// The name that the crate is imported under.
    pub name: String,
    /// The file, when named.
    pub path: Option<PathBuf>,
}

impl Compile {
    /// Whether the result is linked: a program, a dynamic library or a macro.
    #[must_use]
    pub fn links(&self) -> bool {
        self.emit.iter().any(|kind| kind == "link")
            && (self.test
                || self.crate_types.is_empty()
                || self.crate_types.iter().any(|kind| !matches!(kind.as_str(), "lib" | "rlib")))
    }

    /// The file name stem of the outputs: crate name and `-C extra-filename`.
    #[must_use]
    pub fn stem(&self) -> String {
        let extra = self.rest.iter().find_map(|arg| arg.strip_prefix("-C extra-filename="));
        format!("{}{}", self.crate_name, extra.unwrap_or_default())
    }
}

/// Long options with a value whose canonical text alone goes into the key.
const PLAIN_VALUED: &[&str] = &[
    "--edition",
    "--cfg",
    "--check-cfg",
    "--cap-lints",
    "--error-format",
    "--json",
    "--color",
    "--diagnostic-width",
    "--remap-path-prefix",
    "--remap-path-scope",
    "--allow",
    "--warn",
    "--deny",
    "--forbid",
    "--force-warn",
    "--env-set",
];
/// One-letter options with a value, and the long word for each.
const SHORT_VALUED: &[(&str, &str)] = &[
    ("-A", "--allow"),
    ("-W", "--warn"),
    ("-D", "--deny"),
    ("-F", "--forbid"),
    ("-C", "--codegen"),
    ("-L", "-L"),
    ("-l", "-l"),
    ("-Z", "-Z"),
];
/// Options whose presence means a question rather than a compile.
const QUESTIONS: &[&str] =
    &["-vV", "-V", "-Vv", "--version", "--print", "--explain", "-h", "--help"];

/// Reads what follows the wrapper's own name.
///
/// `read_response` gives the text of a response file; `None` when it cannot be read.
pub fn parse(words: &[String], read_response: impl Fn(&Path) -> Option<String>) -> Parsed {
    let is_launcher = |word: &&String| {
        !word.starts_with(['-', '@']) && Path::new(word).extension().is_none_or(|e| e != "rs")
    };
    let launcher: Vec<String> = words.iter().take_while(is_launcher).cloned().collect();
    if launcher.is_empty() {
        return Parsed::Untouched("no compiler named");
    }
    let mut arguments = Vec::new();
    for word in &words[launcher.len()..] {
        match word.strip_prefix('@') {
            None => arguments.push(word.clone()),
            Some(path) => match read_response(Path::new(path)) {
                Some(text) => arguments.extend(text.lines().map(str::to_owned)),
                None => return Parsed::Untouched("a response file that cannot be read"),
            },
        }
    }
    let mut parser =
        Parser { compile: Compile { launcher, ..Compile::default() }, untouched: None };
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        parser.take(argument, &mut arguments);
    }
    parser.finish()
}

struct Parser {
    compile: Compile,
    untouched: Option<&'static str>,
}

impl Parser {
    fn take(&mut self, argument: String, following: &mut impl Iterator<Item = String>) {
        if QUESTIONS.iter().any(|q| argument == *q || argument.starts_with(&format!("{q}="))) {
            self.untouched = Some("a question, not a compile");
            return;
        }
        if argument == "-" {
            self.untouched = Some("source from standard input");
            return;
        }
        if argument == "-o" {
            self.untouched = Some("one output file named with -o");
            return;
        }
        if !argument.starts_with('-') {
            if self.compile.source.as_os_str().is_empty() {
                self.compile.source = PathBuf::from(argument);
            } else {
                self.refuse("unknown-flag", &argument);
            }
            return;
        }
        let (name, value) = match split(&argument) {
            (name, Some(value)) => (name.to_owned(), Some(value.to_owned())),
            (name, None) if takes_value(name) => (name.to_owned(), following.next()),
            (name, None) => (name.to_owned(), None),
        };
        match value {
            Some(value) => self.valued(&name, value),
            None => self.flag(&name),
        }
    }

    fn flag(&mut self, name: &str) {
        match name {
            "--test" => {
                self.compile.test = true;
                self.compile.rest.push(name.to_owned());
            }
            "-g" | "-O" | "-v" | "--verbose" => self.compile.rest.push(name.to_owned()),
            _ => self.refuse("unknown-flag", name),
        }
    }

    fn valued(&mut self, name: &str, value: String) {
        let compile = &mut self.compile;
        match name {
            "--crate-name" => compile.crate_name = value,
            "--crate-type" => {
                compile.crate_types.extend(value.split(',').map(str::to_owned));
            }
            "--emit" => {
                if value.contains('=') {
                    self.refuse("emit-to-named-file", &value);
                } else {
                    compile.emit.extend(value.split(',').map(str::to_owned));
                }
            }
            "--out-dir" => compile.out_dir = PathBuf::from(value),
            "--extern" => compile.externs.push(parse_extern(&value)),
            "--target" => {
                compile.target = Some(value);
            }
            "--sysroot" => compile.sysroot = Some(PathBuf::from(value)),
            "-L" => {
                let (kind, path) = match value.split_once('=') {
                    Some((kind @ ("dependency" | "crate" | "native" | "framework" | "all"), p)) => {
                        (kind, p)
                    }
                    _ => ("all", value.as_str()),
                };
                compile.search.push((kind.to_owned(), PathBuf::from(path)));
            }
            "-l" => compile.rest.push(format!("-l {value}")),
            "--codegen" => self.codegen(&value),
            "-Z" => compile.rest.push(format!("-Z {value}")),
            "--cfg" => {
                let feature = value.strip_prefix("feature=").map(|f| f.trim_matches('"'));
                compile.features.extend(feature.map(str::to_owned));
                compile.rest.push(format!("--cfg {value}"));
            }
            name if PLAIN_VALUED.contains(&name) => compile.rest.push(format!("{name} {value}")),
            _ => self.refuse("unknown-flag", name),
        }
    }

    fn codegen(&mut self, option: &str) {
        let compile = &mut self.compile;
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        match name {
            "incremental" => {
                compile.incremental = Some(PathBuf::from(value));
                compile.rest.push("-C incremental".to_owned());
                return;
            }
            // What they write is named by no option and would not be stored.
            "save-temps" | "remark-dir" | "profile-generate" => {
                return self.refuse("side-outputs", option);
            }
            // Debuggers find `.dwo` files, and coverage tools sources, by real paths only.
            "split-debuginfo" if value == "unpacked" => compile.keep_paths = true,
            "instrument-coverage" if !matches!(value, "off" | "no" | "n" | "false" | "0") => {
                compile.keep_paths = true;
            }
            "target-cpu" if value == "native" => compile.native_cpu = true,
            _ => {}
        }
        compile.rest.push(format!("-C {option}"));
    }

    fn refuse(&mut self, code: &'static str, argument: &str) {
        self.compile.refusal.get_or_insert((code, argument.to_owned()));
    }

    fn finish(mut self) -> Parsed {
        let compile = &self.compile;
        if let Some(why) = self.untouched {
            return Parsed::Untouched(why);
        }
        if compile.source.as_os_str().is_empty() || compile.crate_name.is_empty() {
            return Parsed::Untouched("no crate named");
        }
        if compile.out_dir.as_os_str().is_empty() || compile.emit.is_empty() {
            return Parsed::Untouched("no output folder or no emit kinds named");
        }
        // Human diagnostics depend on the terminal, and nobody but people calls so.
        if !compile.rest.iter().any(|arg| arg == "--error-format json") {
            return Parsed::Untouched("diagnostics for a terminal");
        }
        if !compile.emit.iter().any(|kind| kind == "dep-info") {
            self.refuse("no-dep-info", "--emit");
        }
        let odd = |kind: &&String| !matches!(kind.as_str(), "dep-info" | "metadata" | "link");
        if let Some(kind) = self.compile.emit.iter().find(odd).cloned() {
            self.refuse("emit-kind", &kind);
        }
        Parsed::Compile(Box::new(self.compile))
    }
}

fn takes_value(name: &str) -> bool {
    const OWN: &[&str] = &[
        "--crate-name",
        "--crate-type",
        "--emit",
        "--out-dir",
        "--extern",
        "--target",
        "--sysroot",
        "--codegen",
    ];
    OWN.contains(&name)
        || PLAIN_VALUED.contains(&name)
        || SHORT_VALUED.iter().any(|(_, long)| *long == name)
}

/// The option in its long spelling, and the value when it is part of the argument.
fn split(argument: &str) -> (&str, Option<&str>) {
    if argument.starts_with("--") {
        return match argument.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (argument, None),
        };
    }
    for (short, long) in SHORT_VALUED {
        if let Some(value) = argument.strip_prefix(short) {
            return (long, (!value.is_empty()).then_some(value));
        }
    }
    (argument, None)
}

fn parse_extern(value: &str) -> Extern {
    let (head, path) = match value.split_once('=') {
        Some((head, path)) => (head, Some(PathBuf::from(path))),
        None => (value, None),
    };
    let (options, name) = head.split_once(':').unwrap_or(("", head));
    Extern { options: options.to_owned(), name: name.to_owned(), path }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn compile(text: &str) -> Compile {
        match parse(&words(text), |_| None) {
            Parsed::Compile(compile) => *compile,
            Parsed::Untouched(why) => panic!("{text}: untouched: {why}"),
        }
    }

    const BASE: &str = "/t/bin/rustc --crate-name foo --edition=2021 src/lib.rs \
        --error-format=json --emit=dep-info,metadata,link --out-dir /w/target/debug/deps";

    #[test]
    fn a_call_of_cargo_is_understood() {
        let c = compile(&format!(
            "{BASE} --crate-type lib -C opt-level=3 -Cdebuginfo=2 -C extra-filename=-12 \
             --cfg feature=\"std\" -L dependency=/w/target/debug/deps \
             --extern bar=/w/target/debug/deps/libbar-1.rmeta --extern priv:baz=/x/libbaz.rlib \
             --extern proc_macro -C incremental=/w/target/debug/incremental --cap-lints warn"
        ));
        assert_eq!(c.launcher, ["/t/bin/rustc"]);
        assert_eq!(c.stem(), "foo-12");
        assert_eq!(c.externs.len(), 3);
        assert_eq!(c.externs[1].options, "priv");
        assert_eq!(c.externs[2].path, None);
        assert_eq!(c.incremental, Some(PathBuf::from("/w/target/debug/incremental")));
        assert_eq!(c.features, ["std"]);
        assert!(c.rest.contains(&"-C debuginfo=2".to_owned()), "{:?}", c.rest);
        assert_eq!(c.refusal, None);
        assert!(!c.links());
    }

    #[test]
    fn launchers_before_the_arguments() {
        let c = compile(&format!("clippy-driver {BASE} --test"));
        assert_eq!(c.launcher, ["clippy-driver", "/t/bin/rustc"]);
        assert!(c.links());
    }

    #[test]
    fn questions_run_untouched() {
        for text in [
            "rustc -vV",
            "rustc - --crate-name ___ --print=file-names --crate-type bin",
            "rustc --explain E0001",
            "rustc src/main.rs",
            "rustc src/main.rs -o main",
            "-vV",
        ] {
            assert!(matches!(parse(&words(text), |_| None), Parsed::Untouched(_)), "{text}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for (extra, code) in [
            ("--new-flag", "unknown-flag"),
            ("--new-flag=1", "unknown-flag"),
            ("-C save-temps", "side-outputs"),
            ("--emit=asm", "emit-kind"),
            ("--emit=link=/x/y", "emit-to-named-file"),
            ("second.rs", "unknown-flag"),
        ] {
            let c = compile(&format!("{BASE} {extra}"));
            assert_eq!(c.refusal.map(|r| r.0), Some(code), "{extra}");
        }
    }

    #[test]
    fn response_files_are_read_once() {
        let read =
            |path: &Path| (path == Path::new("args")).then(|| "--cfg\na b\n@args".to_owned());
        let mut call = words(BASE);
        call.push("@args".to_owned());
        let Parsed::Compile(c) = parse(&call, read) else { panic!() };
        assert!(c.rest.contains(&"--cfg a b".to_owned()));
        // `@args` inside is an argument of its own, and not one that we know.
        assert_eq!(c.refusal.map(|r| r.0), Some("unknown-flag"));
        assert!(matches!(parse(&words("rustc @gone"), read), Parsed::Untouched(_)));
    }

    proptest::proptest! {
        #[test]
        fn parsing_is_total(
            extra in proptest::collection::vec("(-[A-Za-z]|--[a-z-]{1,12})?[=:]?[ -~é]{0,8}", 0..8)
        ) {
            let mut call = words(BASE);
            call.extend(extra);
            let _ = parse(&call, |_| Some("-C\n@x".to_owned()));
        }
    }
}
