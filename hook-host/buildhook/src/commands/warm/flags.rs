//! What Cargo's flags say of the profile that a unit was built with, and back.
//!
//! Facts relied on (Cargo 1.95, `build_base_args`): a setting at rustc's own default has no
//! flag; `debug-assertions` and `overflow-checks` have one where they differ from what the
//! optimisation level implies; flags of `RUSTFLAGS` follow `--cap-lints`, and those of a build
//! script follow them.

use super::wants::Wanted;

/// The settings of a profile that show in a unit's flags.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Flags {
    pub(super) opt_level: String,
    debug: String,
    codegen_units: Option<String>,
    debug_assertions: bool,
    overflow_checks: bool,
    strip: String,
    split_debuginfo: Option<String>,
    panic_abort: bool,
    rpath: bool,
    lto: Lto,
}

/// As far as a library's flags tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Lto {
    No,
    Off,
    /// `thin` or `fat`.
    Some,
}

impl Flags {
    pub(super) fn of(unit: &Wanted) -> Self {
        let own = own_arguments(unit);
        // They go into a file for Cargo: what is no such word says nothing.
        let is_word = |value: &&str| {
            value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        let value = |name: &str| {
            own.iter()
                .find_map(|word| word.strip_prefix("-C ")?.strip_prefix(name)?.strip_prefix('='))
                .filter(is_word)
        };
        let is_on = |name: &str| value(name).map(|value| value == "on");
        let has = |flag: &str| own.iter().any(|word| word == flag);
        let opt_level = value("opt-level").unwrap_or("0").to_owned();
        let debug_assertions = is_on("debug-assertions").unwrap_or(opt_level == "0");
        let lto = match value("lto") {
            Some("off") => Lto::Off,
            Some(_) => Lto::Some,
            None if has("-C linker-plugin-lto") || has("-C lto") => Lto::Some,
            None => Lto::No,
        };
        Self {
            debug: value("debuginfo").unwrap_or("0").to_owned(),
            codegen_units: value("codegen-units")
                .filter(|units| units.parse::<u32>().is_ok())
                .map(str::to_owned),
            debug_assertions,
            overflow_checks: is_on("overflow-checks").unwrap_or(debug_assertions),
            strip: value("strip").unwrap_or("none").to_owned(),
            split_debuginfo: value("split-debuginfo").map(str::to_owned),
            panic_abort: value("panic") == Some("abort"),
            rpath: has("-C rpath"),
            lto,
            opt_level,
        }
    }

    /// Whether link-time optimisation is on, of a kind that the flags do not tell.
    pub(super) fn has_lto(&self) -> bool {
        self.lto == Lto::Some
    }

    /// Members of `[profile.…]`; `lto` is the kind where the flags do not tell it.
    pub(super) fn profile(&self, lto: &str) -> String {
        let panic = if self.panic_abort { "abort" } else { "unwind" };
        let lto = match self.lto {
            Lto::No => "false".to_owned(),
            Lto::Off => "'off'".to_owned(),
            Lto::Some => format!("'{lto}'"),
        };
        let rest = format!("panic = '{panic}'\nrpath = {}\nlto = {lto}\n", self.rpath);
        lines(self.members()) + &rest
    }

    /// Members of `[profile.….package.…]`: those that differ from `usual`. Others must not be
    /// there: Cargo treats what is said for a package otherwise than what is not.
    pub(super) fn overrides(&self, usual: &Self) -> String {
        let usual = usual.members();
        lines(self.members().into_iter().filter(|member| !usual.contains(member)).collect())
    }

    /// What may be said for a package, too.
    fn members(&self) -> Vec<(&'static str, String)> {
        let quoted = |text: &String| {
            if text.parse::<u8>().is_ok() { text.clone() } else { format!("'{text}'") }
        };
        let mut members = vec![
            ("opt-level", quoted(&self.opt_level)),
            ("debug", quoted(&self.debug)),
            ("debug-assertions", self.debug_assertions.to_string()),
            ("overflow-checks", self.overflow_checks.to_string()),
            ("strip", format!("'{}'", self.strip)),
        ];
        members.extend(self.codegen_units.iter().map(|units| ("codegen-units", units.clone())));
        members.extend(self.split_debuginfo.iter().map(|s| ("split-debuginfo", format!("'{s}'"))));
        members
    }

    /// What Cargo gives libraries for build scripts and macros under this profile, when no
    /// program uses them too.
    pub(super) fn for_host(&self) -> Self {
        Self {
            opt_level: "0".to_owned(),
            debug: "0".to_owned(),
            codegen_units: None,
            ..self.clone()
        }
    }
}

fn lines(members: Vec<(&str, String)>) -> String {
    members.into_iter().map(|(name, value)| format!("{name} = {value}\n")).collect()
}

/// The arguments that are Cargo's.
fn own_arguments(unit: &Wanted) -> &[String] {
    let arguments = &unit.action.arguments;
    let end = arguments.iter().position(|word| word.starts_with("--cap-lints "));
    &arguments[..end.unwrap_or(arguments.len())]
}

/// What follows Cargo's own arguments: those of `RUSTFLAGS`, then those of a build script.
pub(super) fn added_arguments(unit: &Wanted) -> &[String] {
    let arguments = &unit.action.arguments;
    match arguments.iter().position(|word| word.starts_with("--cap-lints ")) {
        Some(at) => &arguments[at + 1..],
        None => &[],
    }
}

/// `arguments` as people write them in `RUSTFLAGS`, in words.
pub(super) fn to_rustflags(arguments: &[String]) -> Vec<String> {
    const SHORT: [(&str, &str); 4] =
        [("--allow", "-A"), ("--warn", "-W"), ("--deny", "-D"), ("--forbid", "-F")];
    let mut words = Vec::new();
    for argument in arguments {
        let (name, value) = argument.split_once(' ').unwrap_or((argument, ""));
        let name = SHORT.iter().find(|(long, _)| *long == name).map_or(name, |(_, short)| short);
        words.push(name.to_owned());
        if !value.is_empty() {
            words.push(value.to_owned());
        }
    }
    words
}
