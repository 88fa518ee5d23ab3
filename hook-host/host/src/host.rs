//! The host: two questions, asked from any number of threads, that cannot fail.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use buildhook_protocol::limits::MAX_FILES;
use buildhook_protocol::name::check_unique;
use buildhook_protocol::{
    Answer, Digest, EntryName, FEATURE_MANIFEST, FileRecord, Hook, Key, Lease, Message, Purpose,
    Reason, Request, Seal, Stored, Unit, VERSION, Writer, seal,
};

use crate::copy::Copier;
use crate::entry::{Entry, RestoreError};
use crate::fault::{Fault, FaultKind};
use crate::launch::Launch;
use crate::limits::Limits;
use crate::plugin::Plugin;
use crate::reason;
use crate::relocated::is_copy_of;
use crate::report::{BuiltCounters, HookReport, WantCounters, count};
use crate::scratch::{Scratch, ScratchRoots};
use crate::session::Session;
use crate::sync::lock;
use crate::text::tame_reason;

/// The name of the manifest's file record.
const MANIFEST_NAME: &str = "manifest.json";

/// Which plugin serves which hook. One plugin for both is one session.
#[derive(Debug, Clone, Default)]
pub struct Hooks {
    /// Asked before each build unit.
    pub want_to_build: Option<Launch>,
    /// Told after each build unit.
    pub built_a_thing: Option<Launch>,
}

impl Hooks {
    /// The same plugin for both hooks.
    #[must_use]
    pub fn both(launch: Launch) -> Self {
        Self { want_to_build: Some(launch.clone()), built_a_thing: Some(launch) }
    }
}

/// A host for the length of one build.
pub struct Host {
    want: Option<Arc<Plugin>>,
    /// The same plugin as `want` when both hooks are configured alike.
    built: Option<Arc<Plugin>>,
    limits: Limits,
    scratch: ScratchRoots,
    copier: Arc<Copier>,
    want_counters: Arc<Mutex<WantCounters>>,
    built_counters: Mutex<BuiltCounters>,
}

/// What both questions say about a unit.
#[derive(Debug, Clone)]
pub struct Ask<'a> {
    /// The identity of the entry.
    pub key: Key,
    /// Which entry of that key.
    pub purpose: Purpose,
    /// What is built, for people and policies.
    pub unit: &'a Unit,
    /// Where the host may make a folder for this request: on the file system of what will be
    /// restored. Made if need be.
    pub scratch_root: &'a Path,
    /// The canonical manifest whose digest `key` is, for plugins that ask for it: needed
    /// when [`Host::wants_manifest`] says so.
    pub manifest: Option<&'a Path>,
}

/// The answer to "I want to build this". Every fault is a miss with a reason.
#[derive(Debug)]
pub enum Lookup {
    /// Restore it.
    Hit(Entry),
    /// Build it.
    Miss(Reason),
}

/// What was built.
#[derive(Debug, Clone)]
pub struct Built<'a> {
    /// All files of the entry.
    pub files: &'a [OfferedFile],
    /// What building took, in milliseconds of wall time.
    pub cost_ms: Option<u64>,
    /// The entry that is stored is damaged: this one takes its place.
    pub replace: bool,
}

/// A file that was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferedFile {
    /// Its name within the entry, `out/…` or `log/…`.
    pub name: EntryName,
    /// Where it is; absolute.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
    /// Of the content.
    pub digest: Digest,
    /// Whether the owner may execute it.
    pub executable: bool,
    /// What the plugin may do with it. `Owned` is taken for `Borrowed`: such a file would
    /// have to lie in a scratch folder that does not exist yet.
    pub lease: Lease,
}

/// The answer to "I built a thing".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The plugin has it, or (`Later`) will try.
    Stored {
        /// `Yes`, `Already` or `Later`.
        stored: Stored,
        /// Claims of the plugin that fit what was offered: for
        /// [`swap`](crate::relocated::swap), which verifies them.
        relocated: Vec<FileRecord>,
    },
    /// It has not, and this is why.
    NotStored(Reason),
}

impl Host {
    /// A host that starts its plugins when they are first needed.
    #[must_use]
    pub fn new(hooks: Hooks, limits: Limits) -> Self {
        let plugin = |launch: Launch, hooks: &[Hook]| {
            Arc::new(Plugin::new(launch, hooks.to_vec(), limits.clone()))
        };
        let (want, built) = match (hooks.want_to_build, hooks.built_a_thing) {
            (Some(want), Some(built)) if want.same(&built) => {
                let both = plugin(want, &[Hook::WantToBuild, Hook::BuiltAThing]);
                (Some(Arc::clone(&both)), Some(both))
            }
            (want, built) => (
                want.map(|launch| plugin(launch, &[Hook::WantToBuild])),
                built.map(|launch| plugin(launch, &[Hook::BuiltAThing])),
            ),
        };
        Self {
            want,
            built,
            limits,
            scratch: ScratchRoots::default(),
            copier: Arc::default(),
            want_counters: Arc::default(),
            built_counters: Mutex::default(),
        }
    }

    /// Whether a plugin asks for manifests. Starts the plugins that are not running.
    #[must_use]
    pub fn wants_manifest(&self) -> bool {
        let asks = |plugin: &Option<Arc<Plugin>>, hook| {
            plugin
                .as_ref()
                .and_then(|plugin| plugin.session(hook).ok())
                .is_some_and(|session| session.hello.has_feature(FEATURE_MANIFEST))
        };
        asks(&self.want, Hook::WantToBuild) || asks(&self.built, Hook::BuiltAThing)
    }

    /// "I want to build this": whether there is an entry, and why not.
    pub fn want_to_build(&self, ask: &Ask<'_>) -> Lookup {
        let started = Instant::now();
        let result = self.look_up(ask);
        let mut counters = lock(&self.want_counters);
        counters.timing.add(started.elapsed());
        match result {
            Ok(entry) => {
                counters.hits += 1;
                counters.hit_bytes += entry.files().iter().map(|file| file.size).sum::<u64>();
                Lookup::Hit(entry)
            }
            Err(reason) => {
                count(&mut counters.misses, &reason);
                Lookup::Miss(reason)
            }
        }
    }

    /// "I built a thing": whether it was stored, and why not.
    pub fn built_a_thing(&self, ask: &Ask<'_>, built: &Built<'_>) -> Outcome {
        let started = Instant::now();
        let result = self.store(ask, built);
        let mut counters = lock(&self.built_counters);
        counters.timing.add(started.elapsed());
        match result {
            Ok((stored, relocated)) => {
                counters.add_answer(stored, built.files.iter().map(|file| file.size).sum());
                Outcome::Stored { stored, relocated }
            }
            Err(reason) => {
                count(&mut counters.not_stored, &reason);
                Outcome::NotStored(reason)
            }
        }
    }

    /// What has happened so far.
    #[must_use]
    pub fn report(&self) -> HookReport {
        HookReport {
            plugins: self.plugins().iter().map(|plugin| plugin.report()).collect(),
            want_to_build: lock(&self.want_counters).clone(),
            built_a_thing: lock(&self.built_counters).clone(),
        }
    }

    /// Ends all plugins: closes their input, waits for what they ask for and the limits
    /// grant, then ends them by force. Calls after this are misses; closing twice is closing
    /// once.
    pub fn close(&self) -> HookReport {
        thread::scope(|scope| {
            for plugin in self.plugins() {
                // At once, so that the user waits for the slower one only.
                if thread::Builder::new().spawn_scoped(scope, || plugin.close()).is_err() {
                    plugin.close();
                }
            }
        });
        self.report()
    }

    fn plugins(&self) -> Vec<&Arc<Plugin>> {
        let shared = matches!((&self.want, &self.built), (Some(a), Some(b)) if Arc::ptr_eq(a, b));
        let built = self.built.iter().filter(|_| !shared);
        self.want.iter().chain(built).collect()
    }

    fn look_up(&self, ask: &Ask<'_>) -> Result<Entry, Reason> {
        let hook = Hook::WantToBuild;
        let plugin = configured(self.want.as_ref())?;
        let session = plugin.session(hook)?;
        let scratch = self.scratch(plugin, hook, ask)?;
        let request = self.request(plugin, &session, hook, ask, &scratch)?;
        let limit = self.limits.want;
        let answer =
            plugin.ask(&session, hook, limit, &scratch, |id, left| line(request, id, left))?;
        match answer {
            Answer::Hit { seal, files, cost_ms, .. } => {
                self.entry(plugin, &ask.key, &seal, files, cost_ms, scratch)
            }
            Answer::Miss { reason, .. } => Err(tame_reason(reason)),
            Answer::Done { .. } | Answer::Error { .. } => Err(misfit(plugin, hook, "done")),
        }
    }

    fn store(&self, ask: &Ask<'_>, built: &Built<'_>) -> Result<(Stored, Vec<FileRecord>), Reason> {
        let hook = Hook::BuiltAThing;
        let plugin = configured(self.built.as_ref())?;
        let unfit = |why: String| Reason::new(reason::UNFIT, why);
        if !(1..=MAX_FILES).contains(&built.files.len()) {
            return Err(unfit(format!("an entry has 1 to {MAX_FILES} files")));
        }
        check_unique(built.files.iter().map(|file| &file.name))
            .map_err(|error| unfit(error.to_string()))?;
        if let Some(file) = built.files.iter().find(|file| !file.name.is_host_owned()) {
            return Err(unfit(format!(
                "`{}` is not in `out` or `log`: no seal covers it",
                file.name
            )));
        }
        let session = plugin.session(hook)?;
        let scratch = self.scratch(plugin, hook, ask)?;
        let files: Vec<_> = built.files.iter().map(OfferedFile::record).collect();
        let request = Request {
            seal: Some(seal(&ask.key, &files)),
            files,
            cost_ms: built.cost_ms,
            replace: built.replace,
            ..self.request(plugin, &session, hook, ask, &scratch)?
        };
        let limit = self.limits.built;
        let answer =
            plugin.ask(&session, hook, limit, &scratch, |id, left| line(request, id, left))?;
        match answer {
            Answer::Done { stored: Stored::No, reason, .. } => Err(tame_reason(reason)),
            Answer::Done { stored, mut relocated, .. } => {
                relocated.retain(|record| built.files.iter().any(|mine| is_copy_of(record, mine)));
                Ok((stored, relocated))
            }
            Answer::Hit { .. } | Answer::Miss { .. } | Answer::Error { .. } => {
                Err(misfit(plugin, hook, "hit` or `miss"))
            }
        }
    }

    fn entry(
        &self,
        plugin: &Arc<Plugin>,
        key: &Key,
        seal: &Seal,
        files: Vec<FileRecord>,
        cost_ms: Option<u64>,
        scratch: Arc<Scratch>,
    ) -> Result<Entry, Reason> {
        let counters = Arc::clone(&self.want_counters);
        let blamed = Arc::clone(plugin);
        let on_damage = Box::new(move |error: &RestoreError| {
            lock(&counters).damaged += 1;
            blamed.note(Some(Hook::WantToBuild), damaged(&error.to_string()));
        });
        let copier = Arc::clone(&self.copier);
        Entry::check(key, seal, files, cost_ms, scratch, copier, on_damage).map_err(|what| {
            let fault = damaged(&what);
            let reason = fault.reason();
            plugin.note(Some(Hook::WantToBuild), fault);
            reason
        })
    }

    /// A request without what only `built-a-thing` has, and without id and deadline.
    fn request(
        &self,
        plugin: &Plugin,
        session: &Session,
        hook: Hook,
        ask: &Ask<'_>,
        scratch: &Scratch,
    ) -> Result<Request, Reason> {
        let manifest = if session.hello.has_feature(FEATURE_MANIFEST) {
            let record = manifest(ask).map_err(|error| {
                let message = format!("the manifest that the plugin asks for is missing: {error}");
                own_trouble(plugin, hook, message)
            })?;
            Some(record)
        } else {
            None
        };
        Ok(Request {
            v: VERSION,
            id: 0,
            kind: hook,
            key: ask.key,
            purpose: ask.purpose,
            unit: ask.unit.clone(),
            scratch: scratch.path().to_owned(),
            deadline_ms: 0,
            manifest,
            seal: None,
            files: Vec::new(),
            cost_ms: None,
            replace: false,
        })
    }

    fn scratch(&self, plugin: &Plugin, hook: Hook, ask: &Ask<'_>) -> Result<Arc<Scratch>, Reason> {
        self.scratch.create(ask.scratch_root).map(Arc::new).map_err(|error| {
            let root = ask.scratch_root.display();
            own_trouble(plugin, hook, format!("no scratch folder can be made in {root}: {error}"))
        })
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.close();
    }
}

impl OfferedFile {
    fn record(&self) -> FileRecord {
        FileRecord {
            name: self.name.clone(),
            path: self.path.clone(),
            size: self.size,
            digest: self.digest,
            executable: self.executable,
            lease: match self.lease {
                Lease::Owned => Lease::Borrowed,
                lease => lease,
            },
        }
    }
}

fn configured(plugin: Option<&Arc<Plugin>>) -> Result<&Arc<Plugin>, Reason> {
    plugin.ok_or_else(|| Reason::new(reason::NO_PLUGIN, "no plugin is configured"))
}

/// The line of `request`, now that its id and the time left are known.
fn line(request: Request, id: u64, left: std::time::Duration) -> Result<Vec<u8>, Fault> {
    let deadline_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
    let request = Request { id, deadline_ms, ..request };
    let unfit = |error: &dyn std::fmt::Display| {
        Fault::new(FaultKind::Host, format!("the request cannot be written: {error}"))
    };
    let message = Message::of(&request).map_err(|error| unfit(&error))?;
    let mut line = Vec::new();
    Writer::new(&mut line).write(&message).map_err(|error| unfit(&error))?;
    Ok(line)
}

fn manifest(ask: &Ask<'_>) -> io::Result<FileRecord> {
    let path = ask.manifest.ok_or_else(|| io::Error::other("none was made"))?;
    let name = EntryName::new(MANIFEST_NAME).map_err(io::Error::other)?;
    Ok(FileRecord {
        name,
        path: path.to_owned(),
        size: path.metadata()?.len(),
        // By definition of a key.
        digest: ask.key.0,
        executable: false,
        lease: Lease::Borrowed,
    })
}

/// A fault of the host's own, noted where it shows.
fn own_trouble(plugin: &Plugin, hook: Hook, message: String) -> Reason {
    let fault = Fault::new(FaultKind::Host, message);
    let reason = fault.reason();
    plugin.note(Some(hook), fault);
    reason
}

fn misfit(plugin: &Plugin, hook: Hook, answer: &str) -> Reason {
    let message = format!("answered `{}` with `{answer}`", hook.as_str());
    let fault = Fault::new(FaultKind::Answer, message);
    let reason = fault.reason();
    plugin.note(Some(hook), fault);
    reason
}

fn damaged(what: &str) -> Fault {
    Fault::new(FaultKind::Corrupt, format!("gave a damaged entry: {what}"))
}
