//! Stand-ins: projects that depend on what is to be built and hold nothing else.
//!
//! Their own crates do not compile, on purpose: Cargo builds all that they depend on, and
//! nothing of a stand-in can ever be stored.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io;
use std::path::{Component, Path, PathBuf};

use fs_err as fs;
use serde_json::Value;

use super::batch::{Batch, most_common};
use super::flags::Flags;
use super::lock::{Lock, Source};
use super::wants::{Package, Wanted};

/// The name of a stand-in.
pub(super) const NAME: &str = "buildhook-stand-in";
/// The source of each of its crates.
const SOURCE: &str = "compile_error!(\"a stand-in, which is not meant to compile\");\n";

/// One dependency.
struct Dependency<'a> {
    package: &'a str,
    version: &'a str,
    source: Source,
    features: BTreeSet<&'a str>,
    default_features: bool,
}

impl Dependency<'_> {
    /// A line of `[dependencies]`. The name, which nothing uses, is another for each version,
    /// and the same in all tables, as Cargo asks.
    fn line(&self) -> String {
        let Self { package, version, default_features, .. } = self;
        let features: Vec<_> = self.features.iter().map(|f| format!("{f:?}")).collect();
        let source = self.source.member();
        let name = format!("{package}-{version}").replace(['.', '+'], "_");
        format!(
            "{name} = {{ package = {package:?}, version = \"={version}\", \
             default-features = {default_features}, features = [{}]{source} }}\n",
            features.join(", ")
        )
    }
}

/// The manifest of `batch`, into `folder`. `lock` knows where packages come from.
pub(super) fn write_batch(folder: &Path, batch: &Batch<'_>, lock: Option<&Lock>) -> io::Result<()> {
    let of = |units: &BTreeMap<String, &Wanted>| {
        let mut lines = String::new();
        for unit in units.values() {
            let source = lock.and_then(|lock| lock.source(&unit.package, &unit.version));
            let dependency = Dependency {
                package: &unit.package,
                version: &unit.version,
                source: source.cloned().unwrap_or_default(),
                features: unit.features().collect(),
                default_features: false,
            };
            lines += &dependency.line();
        }
        lines
    };
    // A script whose library is not wanted, as of a package that is a program.
    let mut normal = batch.normal.clone();
    for (stem, script) in &batch.scripts {
        let is_known = |unit: &&Wanted| unit.id() == script.id();
        if !batch.normal.values().chain(batch.host.values()).any(is_known) {
            normal.insert(stem.clone(), script);
        }
    }
    write(folder, &of(&normal), &of(&batch.host))
}

/// A manifest with each package of `lock`, with its default features.
pub(super) fn write_lock(folder: &Path, lock: &Lock) -> io::Result<()> {
    let mut lines = String::new();
    for (package, version, source) in lock.packages() {
        let source = source.clone();
        let features = BTreeSet::new();
        let dependency = Dependency { package, version, source, features, default_features: true };
        lines += &dependency.line();
    }
    write(folder, &lines, "")
}

fn write(folder: &Path, normal: &str, host: &str) -> io::Result<()> {
    let mut manifest = format!(
        "[package]\nname = \"{NAME}\"\nversion = \"0.0.0\"\nedition = \"2021\"\n\
         publish = false\n[workspace]\nresolver = \"2\"\n"
    );
    let _ = write!(manifest, "[dependencies]\n{normal}[build-dependencies]\n{host}");
    fs::create_dir_all(folder.join("src"))?;
    fs::write(folder.join("Cargo.toml"), manifest)?;
    // A program, as most that depend on libraries: link-time optimisation asks.
    fs::write(folder.join("src/main.rs"), SOURCE)?;
    if !host.is_empty() {
        fs::write(folder.join("build.rs"), SOURCE)?;
    }
    Ok(())
}

/// Settings over those of any manifest and configuration, so that units have the flags that
/// were wanted; `lto` is the kind of link-time optimisation, where flags do not tell it.
pub(super) fn profile(batch: &Batch<'_>, lto: &str) -> String {
    let name = profile_name(&batch.context.profile);
    let units = batch.host_only().chain(batch.normal.values().copied());
    let Some(base) = batch.base_flags().or_else(|| units.map(Flags::of).next()) else {
        return String::new();
    };
    let mut text = format!("[profile.{name:?}]\n");
    if !matches!(name, "dev" | "release") {
        let parent = if base.opt_level == "0" { "dev" } else { "release" };
        let _ = writeln!(text, "inherits = \"{parent}\"");
    }
    text += &base.profile(lto);

    // By package: what is said for one holds for programs and for build scripts and macros.
    let mut own: BTreeMap<Package<'_>, String> = BTreeMap::new();
    for unit in batch.normal.values().filter(|unit| unit.unit_type == "lib") {
        let overrides = Flags::of(unit).overrides(&base);
        if !overrides.is_empty() {
            own.insert(unit.id(), overrides);
        }
    }
    let usual = base.for_host();
    let others: Vec<_> = batch.host_only().filter(|unit| !own.contains_key(&unit.id())).collect();
    let host = if others.iter().any(|unit| Flags::of(unit).overrides(&usual).is_empty()) {
        usual.clone()
    } else {
        most_common(others.iter().map(|unit| Flags::of(unit))).unwrap_or_else(|| usual.clone())
    };
    let overrides = host.overrides(&usual);
    if !overrides.is_empty() {
        let _ = write!(text, "[profile.{name:?}.build-override]\n{overrides}");
    }
    for unit in others {
        let overrides = Flags::of(unit).overrides(&host);
        if !overrides.is_empty() {
            own.insert(unit.id(), overrides);
        }
    }
    for ((package, version), overrides) in own {
        let _ = write!(text, "[profile.{name:?}.package.\"{package}@{version}\"]\n{overrides}");
    }
    text
}

/// The name of the profile whose folder is `folder`.
pub(super) fn profile_name(folder: &str) -> &str {
    if folder == "debug" { "dev" } else { folder }
}

/// A copy of the workspace that `metadata` describes with all its manifests as they are, and
/// stand-ins for its crates. Gives the place of the manifest `root` in it.
pub(super) fn copy_workspace(folder: &Path, metadata: &Value, root: &Path) -> io::Result<PathBuf> {
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let own: Vec<_> = packages.filter(|package| package["source"].is_null()).collect();
    let path = |value: &Value| plain(Path::new(value.as_str().unwrap_or_default()));
    let manifests: Vec<_> = own.iter().map(|package| path(&package["manifest_path"])).collect();
    let targets =
        own.iter().flat_map(|package| package["targets"].as_array().into_iter().flatten());
    let sources: Vec<_> = targets.map(|target| path(&target["src_path"])).collect();
    let workspace = path(&metadata["workspace_root"]);
    let mut common = workspace.clone();
    // A source may lie outside of its package, and of the workspace.
    while !manifests.iter().chain(&sources).all(|file| file.starts_with(&common)) {
        if !common.pop() {
            return Err(io::Error::other("the packages have no folder in common"));
        }
    }
    // Nothing is ever written elsewhere: what lies there is a person's own.
    let place = |path: &Path| match plain(path).strip_prefix(&common) {
        Ok(inside) => Ok(folder.join(inside)),
        Err(_) => Err(io::Error::other(format!("{} is not in the workspace", path.display()))),
    };
    let copy = |path: &Path| {
        let to = place(path)?;
        fs::create_dir_all(to.parent().unwrap_or(folder))?;
        fs::copy(path, to).map(|_| ())
    };
    for manifest in
        manifests.iter().chain([&workspace.join("Cargo.toml"), &workspace.join("Cargo.lock")])
    {
        copy(manifest)?;
    }
    for source in &sources {
        let source = place(source)?;
        fs::create_dir_all(source.parent().unwrap_or(folder))?;
        fs::write(source, SOURCE)?;
    }
    place(root)
}

/// `path` without `.` and `..`, as Cargo leaves them in what a manifest says.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => _ = plain.pop(),
            other => plain.push(other),
        }
    }
    plain
}
