//! Where buildhook keeps its files: one cache folder, one configuration file, one state
//! folder for what the person has allowed.
//!
//! | | Linux and others | macOS | Windows |
//! |---|---|---|---|
//! | cache | `$XDG_CACHE_HOME` or `~/.cache` | `~/Library/Caches` | `%LOCALAPPDATA%` |
//! | configuration | `$XDG_CONFIG_HOME` or `~/.config` | `~/Library/Application Support` | `%APPDATA%` |
//! | state | `$XDG_STATE_HOME` or `~/.local/state` | `~/Library/Application Support` | `%LOCALAPPDATA%` |
//!
//! Each followed by `buildhook`. `BUILDHOOK_CACHE_DIR` names the cache folder itself,
//! `BUILDHOOK_CONFIG` the configuration file itself.
//!
//! The cache folder holds only what can be made again: `store/` (the embedded store) and
//! `host/` (reports, totals, manifests, digests, the recorder). What a person decided
//! lives elsewhere.

use std::path::{Path, PathBuf};

use crate::environment::Environment;

const APP: &str = "buildhook";

/// The folders of one person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Folders {
    /// Holds `store/` and `host/`.
    pub(crate) cache: PathBuf,
    /// The person's configuration file, which need not exist.
    pub(crate) user_config: PathBuf,
    /// What the person decided: the workspace files allowed.
    pub(crate) state: PathBuf,
}

/// There is nowhere to keep files.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no place for the {what}: set {variable}, or {home} to an absolute path")]
pub(crate) struct NoFolder {
    what: &'static str,
    variable: &'static str,
    home: &'static str,
}

/// How one kind of folder is found.
struct Rule {
    what: &'static str,
    /// The variable that people would set to choose the place.
    variable: &'static str,
    /// The base folder's variable where there is one.
    base: Option<&'static str>,
    /// The base folder below the home folder.
    below_home: &'static str,
}

const fn rule(
    what: &'static str,
    variable: &'static str,
    xdg: (&'static str, &'static str),
    macos: &'static str,
    windows: (&'static str, &'static str),
) -> Rule {
    let (base, below_home) = if cfg!(target_os = "macos") {
        (None, macos)
    } else if cfg!(windows) {
        (Some(windows.0), windows.1)
    } else {
        (Some(xdg.0), xdg.1)
    };
    Rule { what, variable, base, below_home }
}

const CACHE: Rule = rule(
    "cache folder",
    "BUILDHOOK_CACHE_DIR",
    ("XDG_CACHE_HOME", ".cache"),
    "Library/Caches",
    ("LOCALAPPDATA", "AppData/Local"),
);
const CONFIG: Rule = rule(
    "configuration",
    "BUILDHOOK_CONFIG",
    ("XDG_CONFIG_HOME", ".config"),
    "Library/Application Support",
    ("APPDATA", "AppData/Roaming"),
);
const STATE: Rule = rule(
    "list of allowed files",
    "XDG_STATE_HOME",
    ("XDG_STATE_HOME", ".local/state"),
    "Library/Application Support",
    ("LOCALAPPDATA", "AppData/Local"),
);

impl Folders {
    /// The folders for this environment; creates nothing.
    ///
    /// # Errors
    /// When no variable says where the person's files go.
    pub(crate) fn locate(env: &Environment) -> Result<Self, NoFolder> {
        let given = |name| env.get(name).map(|value| env.current_dir.join(value));
        Ok(Self {
            cache: given("BUILDHOOK_CACHE_DIR").map_or_else(|| app(env, &CACHE), Ok)?,
            user_config: given("BUILDHOOK_CONFIG")
                .map_or_else(|| Ok(app(env, &CONFIG)?.join("config.toml")), Ok)?,
            state: app(env, &STATE)?,
        })
    }

    /// The embedded store, unless configured elsewhere.
    pub(crate) fn store(&self) -> PathBuf {
        self.cache.join("store")
    }

    /// What the host remembers: reports, totals, manifests, digests.
    pub(crate) fn host(&self) -> PathBuf {
        self.cache.join("host")
    }

    /// The library that observes compiles, put there when first needed. A build that is at
    /// work has it loaded, so `clear` leaves it alone.
    pub(crate) fn recorder(&self) -> PathBuf {
        self.host().join("recorder")
    }

    /// The manifests behind recent keys, for `explain`.
    pub(crate) fn manifests(&self) -> PathBuf {
        self.host().join("manifests")
    }

    /// One report for each of the newest sessions.
    pub(crate) fn reports(&self) -> PathBuf {
        self.host().join("reports")
    }
}

fn app(env: &Environment, rule: &Rule) -> Result<PathBuf, NoFolder> {
    let from_home = || env.home().map(|home| home.join(rule.below_home));
    let base = rule.base.and_then(|name| env.absolute(name)).map(Path::to_path_buf);
    base.or_else(from_home).map(|base| base.join(APP)).ok_or(NoFolder {
        what: rule.what,
        variable: rule.variable,
        home: if cfg!(windows) { "USERPROFILE" } else { "HOME" },
    })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    fn cache_of(variables: &[(&str, &str)]) -> Result<PathBuf, NoFolder> {
        let variables: Vec<_> = variables.iter().map(|(n, v)| (*n, Path::new(*v))).collect();
        Folders::locate(&Environment { current_dir: "/w".into(), ..Environment::of(&variables) })
            .map(|folders| folders.cache)
    }

    #[test]
    fn nearest_variable_decides() {
        let home = ("HOME", "/h");
        let check = |variables: &[_], expected: &str| {
            assert_eq!(cache_of(variables), Ok(PathBuf::from(expected)));
        };
        check(&[home], "/h/.cache/buildhook");
        check(&[home, ("XDG_CACHE_HOME", "/x")], "/x/buildhook");
        check(&[home, ("XDG_CACHE_HOME", "not/absolute")], "/h/.cache/buildhook");
        check(&[home, ("XDG_CACHE_HOME", "/x"), ("BUILDHOOK_CACHE_DIR", "/b")], "/b");
        check(&[home, ("BUILDHOOK_CACHE_DIR", "rel")], "/w/rel");
    }

    #[test]
    fn says_what_to_set() {
        let error = cache_of(&[]).unwrap_err().to_string();
        assert_eq!(
            error,
            "no place for the cache folder: set BUILDHOOK_CACHE_DIR, or HOME to an absolute path"
        );
    }
}
