//! Wants sorted into batches, each of which one call of Cargo can build.
//!
//! Which features a package has, and whether a library is built for programs or for build
//! scripts and macros, is decided by a whole build. A batch is a part of such a build: some
//! units that nobody in the file depends on, and all that they depend on.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::flags::{self, Flags};
use super::wants::{Package, Wanted};

/// What one call of Cargo builds.
#[derive(Debug)]
pub(super) struct Batch<'w> {
    pub(super) context: Context,
    /// Libraries and macros for programs.
    pub(super) normal: BTreeMap<String, &'w Wanted>,
    /// Libraries for build scripts and macros.
    pub(super) host: BTreeMap<String, &'w Wanted>,
    /// Build scripts.
    pub(super) scripts: BTreeMap<String, &'w Wanted>,
}

/// What is the same for all units of one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Context {
    /// `debug`, `release` or another profile's folder.
    pub(super) profile: String,
    /// `--target`.
    pub(super) target: Option<String>,
    /// `cargo check`.
    pub(super) check: bool,
    /// `RUSTFLAGS`, in words.
    pub(super) rustflags: Vec<String>,
}

struct Graph<'w> {
    by_stem: HashMap<String, &'w Wanted>,
    scripts: HashMap<Package<'w>, Vec<&'w Wanted>>,
}

/// Sorts `units`.
pub(super) fn batches(units: &[Wanted]) -> Vec<Batch<'_>> {
    let mut graph = Graph { by_stem: HashMap::new(), scripts: HashMap::new() };
    for unit in units {
        graph.by_stem.insert(unit.stem(), unit);
        if is_script(unit) {
            graph.scripts.entry(unit.id()).or_default().push(unit);
        }
    }
    let needed: BTreeSet<String> = units.iter().flat_map(Wanted::needs).collect();
    let libraries: BTreeSet<Package<'_>> =
        units.iter().filter(|unit| !is_script(unit)).map(Wanted::id).collect();
    let bases = graph.base_flags(units);
    let mut batches: Vec<Batch<'_>> = Vec::new();
    for unit in units {
        // With what the script belongs to.
        let comes_along = is_script(unit) && libraries.contains(&unit.id());
        // A later line of the same unit for another content of the compiler.
        let is_latest = graph.by_stem.get(&unit.stem()).is_some_and(|it| std::ptr::eq(*it, unit));
        if comes_along || needed.contains(&unit.stem()) || !is_latest {
            continue;
        }
        let flags = Flags::of(unit);
        let for_host = bases
            .get(&context_of(unit))
            .is_some_and(|base| flags != *base && flags == base.for_host());
        let batch = graph.batch_of(unit, for_host);
        match batches.iter_mut().find(|other| other.takes(&batch)) {
            Some(other) => other.add(batch),
            None => batches.push(batch),
        }
    }
    batches
}

fn is_script(unit: &Wanted) -> bool {
    unit.unit_type == "build-script"
}

fn is_macro(unit: &Wanted) -> bool {
    unit.unit_type == "proc-macro"
}

/// What units of one build have in common: profile, target, compiler.
type Common<'w> = (&'w str, Option<&'w str>, &'w str);

fn context_of(unit: &Wanted) -> Common<'_> {
    (&unit.profile, unit.action.target.as_deref(), &unit.action.compiler_version)
}

impl<'w> Graph<'w> {
    /// The flags of most libraries that no build script or macro needs.
    fn base_flags(&self, units: &'w [Wanted]) -> BTreeMap<Common<'w>, Flags> {
        let mut for_host: BTreeSet<String> = BTreeSet::new();
        let mut next: Vec<&Wanted> =
            units.iter().filter(|unit| is_script(unit) || is_macro(unit)).collect();
        while let Some(unit) = next.pop() {
            if for_host.insert(unit.stem()) {
                next.extend(unit.needs().filter_map(|stem| self.by_stem.get(&stem).copied()));
            }
        }
        let mut flags: BTreeMap<Common<'w>, Vec<Flags>> = BTreeMap::new();
        for unit in units.iter().filter(|unit| !for_host.contains(&unit.stem())) {
            flags.entry(context_of(unit)).or_default().push(Flags::of(unit));
        }
        let common =
            |(context, flags): (_, Vec<_>)| Some((context, most_common(flags.into_iter())?));
        flags.into_iter().filter_map(common).collect()
    }

    fn batch_of(&self, top: &'w Wanted, for_host: bool) -> Batch<'w> {
        let mut batch = Batch {
            context: Context {
                profile: top.profile.clone(),
                target: top.action.target.clone(),
                check: !top.action.emit.iter().any(|kind| kind == "link"),
                rustflags: Vec::new(),
            },
            normal: BTreeMap::new(),
            host: BTreeMap::new(),
            scripts: BTreeMap::new(),
        };
        let mut next = vec![(top, for_host)];
        while let Some((unit, for_host)) = next.pop() {
            let part = match (is_script(unit), for_host) {
                (true, _) => &mut batch.scripts,
                (false, true) => &mut batch.host,
                (false, false) => &mut batch.normal,
            };
            if part.insert(unit.stem(), unit).is_some() {
                continue;
            }
            let for_host = for_host || is_script(unit) || is_macro(unit);
            let needs = unit.needs().filter_map(|stem| self.by_stem.get(&stem).copied());
            next.extend(needs.map(|unit| (unit, for_host)));
            let scripts = self.scripts.get(&unit.id()).into_iter().flatten();
            let own = scripts.filter(|script| same_features(script, unit));
            next.extend(own.map(|script| (*script, true)));
        }
        batch.context.rustflags = self.rustflags(&batch);
        batch
    }

    /// `RUSTFLAGS` as units show them that no build script adds to: those of the batch, else
    /// those of the same build. With `--target`, units for the host have none.
    fn rustflags(&self, batch: &Batch<'w>) -> Vec<String> {
        let target = &batch.context.target;
        let shows = |unit: &&'w Wanted| {
            !self.scripts.contains_key(&unit.id()) && unit.action.target == *target
        };
        let own = common_added(batch.units().filter(shows));
        let same_build = |unit: &&'w Wanted| {
            let first = batch.units().next();
            first.is_some_and(|first| context_of(first) == context_of(unit))
        };
        let added = own.or_else(|| {
            common_added(self.by_stem.values().copied().filter(shows).filter(same_build))
        });
        flags::to_rustflags(added.unwrap_or_default())
    }
}

/// The arguments that most of `units` were given after Cargo's own.
fn common_added<'w>(units: impl Iterator<Item = &'w Wanted>) -> Option<&'w [String]> {
    let mut counts: BTreeMap<&[String], usize> = BTreeMap::new();
    units.for_each(|unit| *counts.entry(flags::added_arguments(unit)).or_default() += 1);
    counts.into_iter().max_by_key(|(_, count)| *count).map(|(added, _)| added)
}

fn same_features(a: &Wanted, b: &Wanted) -> bool {
    a.features().eq(b.features())
}

impl<'w> Batch<'w> {
    /// All of its units.
    pub(super) fn units(&self) -> impl Iterator<Item = &'w Wanted> {
        let Self { normal, host, scripts, .. } = self;
        normal.values().chain(host.values()).chain(scripts.values()).copied()
    }

    /// Whether `other` can be built by the same call.
    fn takes(&self, other: &Batch<'_>) -> bool {
        self.context == other.context
            && self.units().next().map(|unit| unit.action.compiler)
                == other.units().next().map(|unit| unit.action.compiler)
            && agree(&self.normal, &other.normal)
            && agree(&self.host, &other.host)
            && versions_agree(self, other)
    }

    fn add(&mut self, other: Self) {
        self.normal.extend(other.normal);
        self.host.extend(other.host);
        self.scripts.extend(other.scripts);
    }

    /// The flags of most libraries for programs; of any unit, when there are none.
    pub(super) fn base_flags(&self) -> Option<Flags> {
        let libraries = self.normal.values().filter(|unit| !is_macro(unit));
        most_common(libraries.map(|unit| Flags::of(unit)))
    }

    /// What is for build scripts and macros only, and all macros.
    pub(super) fn host_only(&self) -> impl Iterator<Item = &'w Wanted> {
        let only = self.host.iter().filter(|(stem, _)| !self.normal.contains_key(*stem));
        let macros = self.normal.values().filter(|unit| is_macro(unit));
        only.map(|(_, unit)| *unit).chain(macros.copied())
    }
}

/// The one that comes most often.
pub(super) fn most_common(flags: impl Iterator<Item = Flags>) -> Option<Flags> {
    let mut counts: BTreeMap<Flags, usize> = BTreeMap::new();
    flags.for_each(|flags| *counts.entry(flags).or_default() += 1);
    counts.into_iter().max_by_key(|(_, count)| *count).map(|(flags, _)| flags)
}

/// No package is built in two ways.
fn agree(a: &BTreeMap<String, &Wanted>, b: &BTreeMap<String, &Wanted>) -> bool {
    let package = |unit: &Wanted| (unit.package.clone(), unit.version.clone());
    let known: HashMap<_, _> = a.iter().map(|(stem, unit)| (package(unit), stem)).collect();
    b.iter().all(|(stem, unit)| known.get(&package(unit)).is_none_or(|other| *other == stem))
}

/// Cargo takes one version of each that are compatible.
fn versions_agree(a: &Batch<'_>, b: &Batch<'_>) -> bool {
    let line = |unit: &Wanted| (unit.package.clone(), compatible_line(&unit.version).to_owned());
    let known: HashMap<_, _> = a.units().map(|unit| (line(unit), &unit.version)).collect();
    b.units().all(|unit| known.get(&line(unit)).is_none_or(|other| **other == unit.version))
}

/// `1` for `1.2.3`, `0.2` for `0.2.3`, `0.0.3` for `0.0.3`.
fn compatible_line(version: &str) -> &str {
    let version = version.split(['-', '+']).next().unwrap_or(version);
    let zeros = version.split('.').take_while(|part| *part == "0").count();
    let end = version.match_indices('.').nth(zeros).map_or(version.len(), |(at, _)| at);
    &version[..end]
}

#[cfg(test)]
mod tests {
    use super::compatible_line;

    #[test]
    fn lines_of_compatible_versions() {
        for (version, line) in
            [("1.2.3", "1"), ("0.2.3", "0.2"), ("0.0.3", "0.0.3"), ("1.0.0-rc.1", "1")]
        {
            assert_eq!(compatible_line(version), line);
        }
    }
}
