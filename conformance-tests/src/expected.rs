//! Failures that the user knows of, and ids that the user writes.

use std::fs;
use std::path::Path;

use buildhook_conformance::cache::nearest;

use crate::host;
use crate::plugin;
use crate::registry;
use crate::report::CheckResult;
use crate::verdict::Verdict;

/// Every id that may be written: checks and requirements.
pub(crate) fn ids() -> Vec<&'static str> {
    let checks = plugin::checks().map(|check| check.id).chain(host::checks().map(|check| check.id));
    let cases = buildhook_conformance::cache::cases().iter().map(|case| case.id);
    checks.chain(cases).chain(registry::all().iter().map(|row| row.id.as_str())).collect()
}

/// That `id` is an id, or which one is nearest.
///
/// # Errors
/// What to tell the user.
pub(crate) fn known(id: &str) -> Result<(), String> {
    let ids = ids();
    if ids.contains(&id) {
        return Ok(());
    }
    let nearest = nearest(id, ids.into_iter()).unwrap_or_default();
    Err(format!("`{id}` is no check, case or requirement; nearest is `{nearest}`"))
}

/// Reads a file of expected failures.
///
/// # Errors
/// What is wrong, with file and line.
pub(crate) fn read(path: &Path) -> Result<Vec<String>, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    parse(&text).map_err(|(line, error)| format!("{}:{line}: {error}", path.display()))
}

fn parse(text: &str) -> Result<Vec<String>, (usize, String)> {
    let mut expected = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let id = line.split('#').next().unwrap_or_default().trim();
        if !id.is_empty() {
            known(id).map_err(|error| (index + 1, error))?;
            expected.push(id.to_owned());
        }
    }
    Ok(expected)
}

/// Turns failures that were expected, and passes that were not, into verdicts
/// of their own. A requirement passes unexpectedly when all its checks pass.
pub(crate) fn apply(results: &mut [CheckResult], expected: &[String]) {
    let bad = |verdict| matches!(verdict, Verdict::Fail | Verdict::Warn | Verdict::Untestable);
    for id in expected {
        let of = |result: &CheckResult| &result.check == id || &result.requirement == id;
        let any = results.iter().any(|result| of(result) && bad(result.verdict));
        for result in results.iter_mut().filter(|result| of(result)) {
            if bad(result.verdict) {
                result.verdict = Verdict::ExpectedFailure;
            } else if !any && result.verdict == Verdict::Pass {
                result.verdict = Verdict::UnexpectedPass;
                result.message = format!("`{id}` is listed as an expected failure; remove it");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_parsed_strictly() {
        assert_eq!(
            parse("# known\nBH-WIRE-005 # why\n\nwire-flush\n"),
            Ok(vec!["BH-WIRE-005".to_owned(), "wire-flush".to_owned()])
        );
        let (line, error) = parse("\nwire-flsh").unwrap_err();
        assert_eq!(line, 2);
        assert!(error.contains("`wire-flush`"), "{error}");
    }
}
