//! `buildhook warm`: builds dependencies and fills the cache with them, on a machine that has
//! nothing of the project that needs them.
//!
//! - `--from FILE` builds what `buildhook-wants` has written down. The units are built by
//!   Cargo, from a project that depends on each package with exactly the features, the profile
//!   and the flags that its command line shows. Cargo does all that belongs to a build (order,
//!   build scripts, folders), and what it calls the outputs tells whether it came to the same.
//!   To run the recorded commands themselves would mean to do Cargo's work again: the
//!   variables of build scripts and what their output means are nowhere in a command line.
//! - `--lock FILE` builds all packages of a lock. With a Cargo.toml beside it the features and
//!   profiles are those of its workspace, whose manifests are copied; its sources are not
//!   looked at. Without one, each package has its default features. With `--from`, the lock
//!   only tells where packages come from and which commits and checksums they have.
//!
//! Nothing wrong is ever stored: what is stored is keyed by what was built, as in any build. A
//! unit that came out otherwise than it was wanted is said to be so, with a reason.
//!
//! Known gaps: `RUSTFLAGS` are rebuilt from what rustc was given, where `-Cx` and `-C x` look
//! alike, and Cargo tells them apart; a package that is in the project's own folder (vendored,
//! patched) is not there on another machine.

mod batch;
mod cargo;
mod flags;
mod lock;
mod standin;
mod toolchain;
mod verdict;
mod wants;

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fs_err as fs;

use super::run::{RunFolder, SESSIONS_LIMIT, refuse_other_wrapper, temporary_folder};
use super::{Answer, Refusal, exit};
use crate::config::{self, Config};
use crate::environment::Environment;

use batch::Batch;
use cargo::{Built, Call};
use lock::Lock;
use toolchain::Toolchain;
use verdict::{Reason, Summary};

/// The kinds of link-time optimisation that a library's flags do not tell apart, the usual one
/// first.
const LTO_KINDS: [&str; 2] = ["thin", "fat"];

/// What to build, and with what.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 all that can be built elsewhere was given to the cache; 1 some of \
                        it was not; 2 wrong usage, file or toolchain, and nothing was built."
)]
pub(crate) struct Args {
    /// A file that buildhook-wants has written; may be given several times.
    #[arg(long, value_name = "WANTS", required_unless_present = "lock")]
    from: Vec<PathBuf>,
    /// A Cargo.lock: all its packages, or, with --from, where packages come from.
    #[arg(long, value_name = "LOCK")]
    lock: Option<PathBuf>,
    /// Build with this compiler: a name that rustup knows, or the folder of a toolchain.
    #[arg(long, value_name = "NAME|DIR")]
    toolchain: Option<String>,
    /// Use no network.
    #[arg(long)]
    offline: bool,
    /// Print the summary as JSON.
    #[arg(long)]
    json: bool,
    /// With --lock alone, what Cargo is to do, such as `build --release` or `check --tests`.
    #[arg(last = true, value_name = "CARGO", conflicts_with = "from")]
    cargo: Vec<OsString>,
}

/// What all calls of Cargo share.
struct Warm<'a> {
    env: &'a Environment,
    args: &'a Args,
    config: Config,
    toolchain: Toolchain,
    lock: Option<Lock>,
    folder: RunFolder,
}

pub(super) fn warm(env: &Environment, args: &Args) -> Result<Answer, Refusal> {
    let config = config::load(env, &env.current_dir)?;
    refuse_other_wrapper(env)?;
    let words = cargo_words(&args.cargo)?;
    let wants = wants::read(&args.from)?;
    let lock = args.lock.as_deref().map(Lock::read).transpose()?;
    let toolchain = toolchain::find(env, args.toolchain.as_deref())?;
    let folder = RunFolder::make(&config.folders.host().join("runs"))
        .or_else(|_| RunFolder::make(&temporary_folder(env)))?;
    let warm = Warm { env, args, config, toolchain, lock, folder };
    let mut summary = Summary::default();
    match &warm.lock {
        Some(lock) if args.from.is_empty() => warm.of_lock(lock, words, &mut summary)?,
        _ => warm.of_wants(&wants, &mut summary)?,
    }
    let code = if summary.is_whole() { exit::OK } else { exit::WRONG };
    Ok(Answer::of(args.json, &summary, Summary::text).with_code(code))
}

/// The command for Cargo: `build` or `check`, which can go on after a crate that does not
/// compile.
fn cargo_words(words: &[OsString]) -> Result<Vec<OsString>, Refusal> {
    match words.first().and_then(|word| word.to_str()) {
        None => Ok(vec!["build".into()]),
        Some("build" | "b" | "check" | "c") => Ok(words.to_vec()),
        Some(other) => Err(Refusal::usage(format!(
            "`cargo {other}` cannot be warmed: write `-- build …` or `-- check …`, \
             with --tests for what tests need"
        ))),
    }
}

impl Warm<'_> {
    fn of_wants(&self, wants: &wants::Wants, summary: &mut Summary) -> Result<(), Refusal> {
        for (origin, count) in &wants.unfetchable {
            summary.leave_out(origin, *count);
        }
        let is_named = self.args.toolchain.is_some();
        let (fit, other): (Vec<_>, Vec<_>) =
            wants.units.iter().cloned().partition(|unit| {
                is_named || unit.action.compiler_version == self.toolchain.version
            });
        for unit in other.iter().filter(|unit| unit.is_miss) {
            let theirs = &unit.action.compiler_version;
            let message = format!(
                "wanted with {theirs}, and this is {}: name one with --toolchain",
                self.toolchain.version
            );
            summary.add(unit.label(), Err(Reason::new("other-compiler", message)));
        }
        let mut built = Built::default();
        for (number, batch) in batch::batches(&fit).iter().enumerate() {
            built.add(self.build_batch(batch, number)?);
        }
        // All in the end: what one call has built is fresh for the next.
        let mut judged = HashSet::new();
        for unit in fit.iter().filter(|unit| unit.is_miss && judged.insert(unit.stem())) {
            summary.add(unit.label(), verdict::judge(unit, &built, is_named));
        }
        summary.leave_at_work(built.at_work);
        summary.tell(built.tell);
        Ok(())
    }

    fn build_batch(&self, batch: &Batch<'_>, number: usize) -> Result<Built, Refusal> {
        let place = cargo::place(&self.folder.path, number);
        standin::write_batch(&place, batch, self.lock.as_ref())?;
        if let Some(lock) = &self.lock {
            fs::copy(&lock.path, place.join("Cargo.lock"))?;
        }
        let context = &batch.context;
        let mut words: Vec<OsString> =
            vec![if context.check { "check" } else { "build" }.into(), "--profile".into()];
        words.push(standin::profile_name(&context.profile).into());
        if let Some(target) = &context.target {
            words.extend(["--target".into(), target.into()]);
        }
        let config = place.join("profile.toml");
        words.extend(["--config".into(), config.clone().into()]);
        let kinds = if batch.base_flags().is_some_and(|flags| flags.has_lto()) { 2 } else { 1 };
        let mut built = Built::default();
        for lto in &LTO_KINDS[..kinds] {
            fs::write(&config, standin::profile(batch, lto))?;
            let cwd = &self.env.current_dir;
            let manifest = place.join("Cargo.toml");
            built =
                self.call(cwd, &place, manifest, words.clone(), Some(&context.rustflags)).run()?;
            let mut libraries = batch.normal.values().filter(|unit| unit.unit_type == "lib");
            if libraries.any(|unit| built.stems.contains(&unit.stem())) {
                break;
            }
        }
        Ok(built)
    }

    fn of_lock(
        &self,
        lock: &Lock,
        words: Vec<OsString>,
        summary: &mut Summary,
    ) -> Result<(), Refusal> {
        let place = cargo::place(&self.folder.path, 0);
        let manifest = lock.path.with_file_name("Cargo.toml");
        let mut own = HashSet::new();
        let stand_in = if manifest.is_file() {
            let metadata = cargo::metadata(&self.toolchain, &manifest, self.args.offline)?;
            own = cargo::own_packages(&metadata);
            standin::copy_workspace(&place, &metadata, &manifest)?
        } else {
            standin::write_lock(&place, lock)?;
            fs::copy(&lock.path, place.join("Cargo.lock"))?;
            place.join("Cargo.toml")
        };
        let cwd = lock.path.parent().unwrap_or(&self.env.current_dir);
        let built = self.call(cwd, &place, stand_in, words, None).run()?;
        if let Some(error) = &built.error {
            return Err(Refusal::wrong(error.clone()));
        }
        for unit in built.units.iter().filter(|unit| !own.contains(&unit.package)) {
            summary.add(verdict::label(unit), verdict::of_report(unit));
        }
        summary.leave_at_work(built.at_work);
        summary.tell(built.tell);
        Ok(())
    }

    fn call<'a>(
        &'a self,
        cwd: &'a Path,
        place: &Path,
        manifest: PathBuf,
        mut words: Vec<OsString>,
        rustflags: Option<&'a [String]>,
    ) -> Call<'a> {
        if self.args.offline {
            words.push("--offline".into());
        }
        Call {
            env: self.env,
            toolchain: &self.toolchain,
            cwd,
            reports: place.join("reports"),
            target: self.folder.path.join("target"),
            manifest,
            words,
            rustflags,
            manifests: self.config.folders.manifests(),
            sessions_limit: SESSIONS_LIMIT
                + Duration::from_millis(self.config.limits.drain_ms.value),
        }
    }
}
