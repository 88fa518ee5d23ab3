//! Configuration: the person's file, then the workspace's, then variables, each over the
//! one before. Every value remembers where it comes from.
//!
//! - Unknown tables and keys and wrong values are mistakes, told with file, line and the
//!   nearest valid word; nothing of a configuration with a mistake is used.
//! - A hook that is configured replaces the embedded store; if only one of the two is, the
//!   other request is sent to nobody (a cache that is only read, or only written).
//! - A workspace file may have come with somebody's sources. What it says on hooks, the
//!   store and the log file is used only when the person has allowed this very content.

mod allow;
mod file;
mod layer;
mod problem;
#[cfg(test)]
mod tests;
mod value;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use buildhook_local_dir::DEFAULT_MAX_SIZE_BYTES;
use fs_err as fs;
use serde::Serialize;

pub(crate) use allow::{Permission, allow, deny, permission};
pub(crate) use problem::{ConfigError, Place, Problem};
pub(crate) use value::{HookCommand, LogLevel, Sourced};

use crate::environment::Environment;
use crate::folders::Folders;
use layer::Layer;

/// The name of a workspace's configuration file.
pub(crate) const WORKSPACE_FILE: &str = "buildhook.toml";
/// A configuration larger than this is a mistake.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// The configuration in effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Config {
    /// Where buildhook keeps its files.
    pub(crate) folders: Folders,
    /// Who is asked and told.
    pub(crate) hooks: Hooks,
    /// How long and how often the host is patient.
    pub(crate) limits: Limits,
    /// The log.
    pub(crate) log: Log,
    /// The files that were read, in order.
    pub(crate) files: Vec<ConfigFile>,
}

/// Who is asked and told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Hooks {
    /// The store inside this program.
    Embedded {
        /// Its folder.
        dir: Sourced<PathBuf>,
        /// What it may grow to, in bytes.
        max_size: Sourced<u64>,
    },
    /// Other programs; at least one of the two is there.
    Commands {
        /// Asked before building.
        want_to_build: Option<Sourced<HookCommand>>,
        /// Told after building.
        built_a_thing: Option<Sourced<HookCommand>>,
    },
}

/// How long and how often the host is patient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limits {
    /// For a plugin's hello.
    pub(crate) hello_ms: Sourced<u64>,
    /// For the answer to `want-to-build`.
    pub(crate) want_to_build_ms: Sourced<u64>,
    /// For the answer to `built-a-thing`.
    pub(crate) built_a_thing_ms: Sourced<u64>,
    /// The longest drain time that a plugin is granted.
    pub(crate) drain_ms: Sourced<u64>,
    /// After so many faults a plugin is left alone for the rest of the build.
    pub(crate) faults: Sourced<u64>,
}

/// The log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Log {
    /// Where it is appended to.
    pub(crate) file: Sourced<PathBuf>,
    /// How much goes into it.
    pub(crate) level: Sourced<LogLevel>,
}

/// A configuration file that was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ConfigFile {
    /// Its absolute path.
    pub(crate) path: PathBuf,
    /// Settings in it that are not used because the person has not allowed the file.
    pub(crate) not_allowed: Vec<&'static str>,
    /// Whether another content of this file was allowed.
    pub(crate) changed_since_allowed: bool,
}

/// The configuration for a build that was started in `start_dir`.
///
/// # Errors
/// Every mistake found, by place.
pub(crate) fn load(env: &Environment, start_dir: &Path) -> Result<Config, ConfigError> {
    let folders =
        Folders::locate(env).map_err(|error| whole(Place::Variable("HOME".into()), &error))?;
    let mut problems = Vec::new();
    let mut files = Vec::new();
    let mut keep = |result: Result<Layer, ConfigError>| {
        result.unwrap_or_else(|error| {
            problems.extend(error.problems);
            Layer::default()
        })
    };
    let must_exist = env.get("BUILDHOOK_CONFIG").is_some();
    let user = keep(user_layer(&folders.user_config, must_exist, &mut files));
    let workspace = find_workspace_file(env, start_dir);
    let workspace = workspace.map(|path| workspace_layer(&folders, path, &mut files));
    let workspace = workspace.map(&mut keep).unwrap_or_default();
    let variables = keep(Layer::of_variables(env));
    if !problems.is_empty() {
        return Err(ConfigError { problems });
    }
    let cache_dir_is_given = env.get("BUILDHOOK_CACHE_DIR").is_some();
    Ok(effective(variables.over(workspace.over(user)), folders, files, cache_dir_is_given))
}

impl Config {
    /// What the person should know: settings that are not used, and how to have them used.
    pub(crate) fn notes(&self) -> Vec<String> {
        self.files.iter().filter_map(ConfigFile::note).collect()
    }
}

impl Limits {
    /// What the host makes of them; bounds that are not configured keep their defaults.
    pub(crate) fn for_host(&self) -> buildhook_host::Limits {
        buildhook_host::Limits {
            hello: Duration::from_millis(self.hello_ms.value),
            want: Duration::from_millis(self.want_to_build_ms.value),
            built: Duration::from_millis(self.built_a_thing_ms.value),
            drain: Duration::from_millis(self.drain_ms.value),
            faults_until_off: u32::try_from(self.faults.value).unwrap_or(u32::MAX),
            ..buildhook_host::Limits::default()
        }
    }
}

impl ConfigFile {
    fn note(&self) -> Option<String> {
        if self.not_allowed.is_empty() {
            return None;
        }
        let why = if self.changed_since_allowed {
            "the file has changed since you allowed it"
        } else {
            "you have not allowed the file"
        };
        let path = self.path.display();
        let settings = self.not_allowed.join(", ");
        Some(format!("{path}: {settings} not used: {why}; read it, then `buildhook allow {path}`"))
    }
}

/// The content of a workspace file, and the names of the settings in it that need the
/// person's permission.
///
/// # Errors
/// Mistakes in the file.
pub(crate) fn privileged_settings(
    path: &Path,
) -> Result<(Vec<u8>, Vec<&'static str>), ConfigError> {
    let text = read(path).map_err(|error| unreadable(path, &error))?;
    let settings = file::parse(&text, path)?.take_privileged();
    Ok((text.into_bytes(), settings))
}

fn user_layer(
    path: &Path,
    must_exist: bool,
    files: &mut Vec<ConfigFile>,
) -> Result<Layer, ConfigError> {
    match read(path) {
        Ok(text) => {
            files.push(ConfigFile {
                path: path.to_path_buf(),
                not_allowed: Vec::new(),
                changed_since_allowed: false,
            });
            file::parse(&text, path)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound && !must_exist => {
            Ok(Layer::default())
        }
        Err(error) => Err(unreadable(path, &error)),
    }
}

fn workspace_layer(
    folders: &Folders,
    path: PathBuf,
    files: &mut Vec<ConfigFile>,
) -> Result<Layer, ConfigError> {
    // Read once: what was allowed is what is used.
    let text = read(&path).map_err(|error| unreadable(&path, &error))?;
    let mut layer = file::parse(&text, &path)?;
    let permission = permission(folders, &path, text.as_bytes());
    let not_allowed = match permission {
        Permission::Allowed => Vec::new(),
        Permission::Changed | Permission::Unknown => layer.take_privileged(),
    };
    let changed_since_allowed = permission == Permission::Changed;
    files.push(ConfigFile { path, not_allowed, changed_since_allowed });
    Ok(layer)
}

/// The nearest `buildhook.toml` at or above `start_dir`. The search ends at the root of
/// the workspace (a `.git`, or a `Cargo.toml` with `[workspace]`) and below the home folder.
pub(crate) fn find_workspace_file(env: &Environment, start_dir: &Path) -> Option<PathBuf> {
    // One file has one name here, whatever links lead to it; permission goes by name.
    let start_dir = fs::canonicalize(start_dir).ok()?;
    for dir in start_dir.ancestors() {
        if Some(dir) == env.home() {
            return None;
        }
        let candidate = dir.join(WORKSPACE_FILE);
        if candidate.symlink_metadata().is_ok() {
            return Some(candidate);
        }
        if dir.join(".git").symlink_metadata().is_ok() || is_workspace_root(dir) {
            return None;
        }
    }
    None
}

fn is_workspace_root(dir: &Path) -> bool {
    let manifest = read(&dir.join("Cargo.toml")).unwrap_or_default();
    toml::de::DeTable::parse(&manifest).is_ok_and(|root| root.get_ref().contains_key("workspace"))
}

fn effective(
    layer: Layer,
    folders: Folders,
    files: Vec<ConfigFile>,
    cache_dir_is_given: bool,
) -> Config {
    let hooks = if layer.want_to_build.is_some() || layer.built_a_thing.is_some() {
        Hooks::Commands { want_to_build: layer.want_to_build, built_a_thing: layer.built_a_thing }
    } else {
        let given = || Sourced {
            value: folders.store(),
            source: value::Source::Place(Place::Variable("BUILDHOOK_CACHE_DIR".into())),
        };
        let dir = if cache_dir_is_given { Some(given()) } else { layer.store_dir };
        Hooks::Embedded {
            dir: dir.unwrap_or_else(|| Sourced::default_value(folders.store())),
            max_size: layer.max_size.unwrap_or(Sourced::default_value(DEFAULT_MAX_SIZE_BYTES)),
        }
    };
    let [hello_ms, want_to_build_ms, built_a_thing_ms, drain_ms, faults] = layer.limits;
    let default = buildhook_host::Limits::default();
    let time = |limit: Option<Sourced<u64>>, default: Duration| {
        limit.unwrap_or_else(|| {
            Sourced::default_value(u64::try_from(default.as_millis()).unwrap_or(u64::MAX))
        })
    };
    Config {
        hooks,
        limits: Limits {
            hello_ms: time(hello_ms, default.hello),
            want_to_build_ms: time(want_to_build_ms, default.want),
            built_a_thing_ms: time(built_a_thing_ms, default.built),
            drain_ms: time(drain_ms, default.drain),
            faults: faults
                .unwrap_or_else(|| Sourced::default_value(u64::from(default.faults_until_off))),
        },
        log: Log {
            file: layer
                .log_file
                .unwrap_or_else(|| Sourced::default_value(folders.host().join("buildhook.log"))),
            level: layer.log_level.unwrap_or(Sourced::default_value(LogLevel::Error)),
        },
        folders,
        files,
    }
}

fn read(path: &Path) -> io::Result<String> {
    use io::Read as _;
    let mut text = String::new();
    fs::File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 1 MiB"));
    }
    Ok(text)
}

fn unreadable(path: &Path, error: &io::Error) -> ConfigError {
    whole(Place::File { path: path.to_path_buf(), line: 0 }, error)
}

fn whole(place: Place, error: &dyn std::fmt::Display) -> ConfigError {
    ConfigError { problems: vec![Problem { place, message: error.to_string(), help: None }] }
}
