//! The cache suite against caches whose faults are known: a wrapper that
//! caches nothing and one that is right must pass every case, and each broken
//! one must die on the cases made for it.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use buildhook_conformance::cache::{self, CaseResult, Mutant, Options, Reuse, Verdict};

fn options(wrapper: PathBuf, env: Vec<(OsString, OsString)>) -> Options {
    Options {
        wrapper: Some(wrapper),
        env,
        start: None,
        stop: None,
        build_command: None,
        remaps: Vec::new(),
        only: Vec::new(),
        keep: false,
        jobs: 2,
        path: env::var_os("PATH").expect("PATH is set"),
        scratch: env::temp_dir(),
    }
}

/// The broken cache, with a fault or with none.
fn broken(fault: &str) -> Options {
    let env =
        [("BROKEN_ROOT", "{case}"), ("BROKEN_STORE", "{cache}/entries"), ("BROKEN_FAULT", fault)];
    options(
        PathBuf::from(env!("CARGO_BIN_EXE_broken-wrapper")),
        env.iter().map(|(k, v)| (k.into(), v.into())).collect(),
    )
}

fn run(options: &Options) -> Vec<CaseResult> {
    cache::run(options, &mut |_| ()).expect("the suite can run")
}

fn told(result: &CaseResult) -> String {
    let findings: Vec<_> = result.findings.iter().map(|f| f.message.as_str()).collect();
    format!("{}: {} ({})", result.id, result.verdict.name(), findings.join("; "))
}

#[test]
fn ids_are_unique_and_claims_are_sentences() {
    let mut seen = BTreeSet::new();
    for case in cache::cases() {
        assert!(seen.insert(case.id), "{} twice", case.id);
        assert!(case.id.starts_with("zoo/"), "{}", case.id);
        assert!(case.claim.ends_with('.'), "{}", case.id);
        assert!(!case.family.is_empty(), "{}", case.id);
        assert!(case.accept.contains(&Verdict::Correct), "{}", case.id);
    }
}

/// A case that nothing can fail says nothing.
#[test]
fn every_case_has_a_mutant_that_dies_on_it() {
    let killers: BTreeSet<String> = cache::mutants()
        .iter()
        .flat_map(|mutant| mutant.dies_on)
        .map(|id| format!("zoo/{id}"))
        .collect();
    let known: BTreeSet<String> = cache::cases().iter().map(|c| c.id.to_owned()).collect();
    let unknown: Vec<_> = killers.difference(&known).collect();
    assert!(unknown.is_empty(), "{unknown:#?}");
    let immortal: Vec<_> = known.difference(&killers).collect();
    assert!(immortal.is_empty(), "{immortal:#?}");
}

/// Two cases of each family: that cases raise no false alarm is tested for all of them with the
/// cache that is right, which compares with as many uncached builds.
#[test]
fn a_wrapper_that_caches_nothing_passes() {
    let mut only: Vec<String> = Vec::new();
    let mut seen = BTreeMap::new();
    for case in cache::cases() {
        let count: &mut u32 = seen.entry(case.family).or_default();
        *count += 1;
        if *count <= 2 {
            only.push(case.id.to_owned());
        }
    }
    let env = options(PathBuf::from("/usr/bin/env"), Vec::new());
    let results = run(&Options { only, ..env });
    let failed: Vec<_> = results.iter().filter(|r| !r.passed()).map(told).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(results.iter().all(|r| r.reuse != Reuse::Hit), "a hit without a cache");
}

#[test]
fn a_cache_that_is_right_passes_and_hits() {
    let results = run(&broken(""));
    let failed: Vec<_> = results.iter().filter(|r| !r.passed()).map(told).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(results.iter().any(|r| r.reuse == Reuse::Hit), "never a hit");
}

#[test]
fn every_mutant_dies_on_the_cases_made_for_it() {
    let alive: Vec<String> = cache::mutants().iter().flat_map(survived).collect();
    assert!(alive.is_empty(), "{alive:#?}");
}

/// The cases that a mutant should have died on and did not.
fn survived(mutant: &Mutant) -> Vec<String> {
    let wanted: Vec<String> = mutant.dies_on.iter().map(|id| format!("zoo/{id}")).collect();
    let results = run(&Options { only: wanted.clone(), ..broken(mutant.fault) });
    results
        .iter()
        .filter(|result| wanted.iter().any(|id| id == result.id))
        .filter(|r| {
            let dead = [Verdict::WrongHit, Verdict::FailedBuild, Verdict::PerpetuallyDirty];
            !dead.contains(&r.verdict) && r.verdict != Verdict::NotApplicable
        })
        .map(|result| format!("{} survives {}", mutant.fault, told(result)))
        .collect()
}
