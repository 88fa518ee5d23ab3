//! What a session is made of, from the configuration: the plugin and the front end.

use std::ffi::OsString;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use buildhook_cargo::Frontend;
use buildhook_host::{DigestCache, Hooks, Host, Launch, Limits};
use buildhook_local_dir::LocalDir;

use crate::config::{self, Config, HookCommand};
use crate::environment::Environment;

/// The parts of a session that can do something.
pub(crate) struct Build {
    /// Answers for Cargo.
    pub(crate) front: Frontend,
    /// Holds the plugin.
    pub(crate) host: Arc<Host>,
    /// Where things are kept.
    pub(crate) config: Config,
}

/// Makes the session's parts for a build that was started in `folder`; the recorder writes
/// below `records`.
///
/// # Errors
/// The configuration is wrong; in words for the summary.
pub(crate) fn build(env: &Environment, folder: &Path, records: &Path) -> Result<Build, String> {
    let config = config::load(env, folder).map_err(|error| error.to_string())?;
    let host_folder = config.folders.host();
    let host = Arc::new(Host::new(hooks(&config, env), limits(&config)));
    let digests = DigestCache::load(&digests_file(&config));
    let recorder = buildhook_recorder::install(&host_folder.join("recorder")).ok();
    let front =
        Frontend::new(Arc::clone(&host), digests, &host_folder, recorder, records.to_owned())
            .for_workspace(buildhook_cargo::workspace::name(folder));
    Ok(Build { front, host, config })
}

/// Where digests are remembered between sessions.
pub(crate) fn digests_file(config: &Config) -> std::path::PathBuf {
    config.folders.host().join("digests")
}

fn hooks(config: &Config, env: &Environment) -> Hooks {
    match &config.hooks {
        config::Hooks::Embedded { dir, max_size } => {
            let launch = embedded(&dir.value, max_size.value);
            Hooks { want_to_build: Some(launch.clone()), built_a_thing: Some(launch) }
        }
        config::Hooks::Commands { want_to_build, built_a_thing } => {
            let launch = |command: &config::Sourced<HookCommand>| {
                command.value.launch(plugin_environment(env))
            };
            Hooks {
                want_to_build: want_to_build.as_ref().map(launch),
                built_a_thing: built_a_thing.as_ref().map(launch),
            }
        }
    }
}

/// The store of this program, served in a thread through the same bytes as any plugin.
fn embedded(folder: &Path, max_size_bytes: u64) -> Launch {
    let folder = folder.to_owned();
    Launch::InMemory(Arc::new(move || {
        let store = LocalDir::open(&folder, max_size_bytes)?;
        let (ours, theirs) = UnixStream::pair()?;
        std::thread::spawn(move || {
            let Ok(reader) = theirs.try_clone() else { return };
            // Its faults reach the host as answers, or as the end of the stream.
            let _ = buildhook_sdk::serve(&store, reader, &theirs);
            let _ = theirs.shutdown(std::net::Shutdown::Both);
        });
        let reader = ours.try_clone()?;
        Ok((Box::new(reader), Box::new(Closing(ours))))
    }))
}

/// A socket whose other side sees the end of the stream when this is dropped, although the
/// reading half lives on.
struct Closing(UnixStream);

impl std::io::Write for Closing {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        // Fails only when the other side is gone.
        let _ = self.0.shutdown(std::net::Shutdown::Write);
    }
}

/// A plugin gets the person's variables, not those that Cargo sets for one unit: it serves
/// all of them. `LD_LIBRARY_PATH` is Cargo's here, and names folders of the build.
fn plugin_environment(env: &Environment) -> Vec<(OsString, OsString)> {
    let is_for_one_unit = |name: &str| {
        (name.starts_with("CARGO") && name != "CARGO_HOME")
            || matches!(name, "OUT_DIR" | "LD_LIBRARY_PATH" | "DYLD_FALLBACK_LIBRARY_PATH")
            || matches!(name, "RUSTC" | "MAKEFLAGS" | "MFLAGS")
    };
    let kept = env.variables.iter();
    kept.filter(|(name, _)| !name.to_str().is_some_and(is_for_one_unit))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn limits(config: &Config) -> Limits {
    let ms = |value: &config::Sourced<u64>| Duration::from_millis(value.value);
    let limits = &config.limits;
    Limits {
        hello: ms(&limits.hello_ms),
        want: ms(&limits.want_to_build_ms),
        built: ms(&limits.built_a_thing_ms),
        drain: ms(&limits.drain_ms),
        faults_until_off: u32::try_from(limits.faults.value).unwrap_or(u32::MAX),
        ..Limits::default()
    }
}
