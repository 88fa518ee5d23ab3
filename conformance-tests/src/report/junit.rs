//! `junit.xml`, as CI systems read it.

use std::fmt::Write as _;

use super::{Report, escape, seconds};
use crate::verdict::Verdict;

/// The report as JUnit XML.
pub(crate) fn render(report: &Report) -> String {
    let failing = |verdict: Verdict| verdict.counts_as_failure(report.profile);
    let count = |wanted: &dyn Fn(Verdict) -> bool| {
        report.results.iter().filter(|result| wanted(result.verdict)).count()
    };
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    // Writing to a string cannot fail.
    let _ = writeln!(
        xml,
        "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\" time=\"{}\">",
        escape(&report.suite),
        report.results.len(),
        count(&failing),
        count(&|verdict| verdict == Verdict::SuiteError),
        count(&|verdict| verdict == Verdict::NotApplicable),
        seconds(report.duration_ms),
    );
    for result in &report.results {
        let _ = writeln!(
            xml,
            "    <testcase classname=\"{}\" name=\"{}\" time=\"{}\">",
            escape(&result.requirement),
            escape(&result.check),
            seconds(result.duration_ms),
        );
        let text = escape(&format!("{}: {}", result.verdict.name(), result.message));
        let body = escape(&format!("{}\n{}", result.title, result.reproduce));
        let _ = match result.verdict {
            Verdict::SuiteError => writeln!(xml, "      <error message=\"{text}\">{body}</error>"),
            Verdict::NotApplicable => writeln!(xml, "      <skipped message=\"{text}\"/>"),
            verdict if failing(verdict) => {
                writeln!(xml, "      <failure message=\"{text}\">{body}</failure>")
            }
            Verdict::Pass => Ok(()),
            _ => writeln!(xml, "      <system-out>{text}</system-out>"),
        };
        xml.push_str("    </testcase>\n");
    }
    xml.push_str("  </testsuite>\n</testsuites>\n");
    xml
}
