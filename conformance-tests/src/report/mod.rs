//! Reports: what a run says to programs, to CI and to people.

pub(crate) mod html;
pub(crate) mod junit;
mod terminal;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

pub(crate) use terminal::{Progress, summary};

use crate::evidence::Evidence;
use crate::plugin::performance::Performance;
use crate::verdict::{Profile, Verdict};

/// The version of the shape of `report.json`.
pub(crate) const REPORT_VERSION: u32 = 1;

/// One check and what came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct CheckResult {
    /// Id of the check.
    pub(crate) check: String,
    /// Id of the requirement in SPEC.md, or of the case.
    pub(crate) requirement: String,
    /// What was done, in one line.
    pub(crate) title: String,
    pub(crate) verdict: Verdict,
    /// Why it is not a pass; empty for a pass.
    pub(crate) message: String,
    pub(crate) duration_ms: u64,
    /// A command line that does this check again.
    pub(crate) reproduce: String,
    pub(crate) evidence: Evidence,
}

/// A whole run.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Report {
    /// [`REPORT_VERSION`].
    pub(crate) report_version: u32,
    /// `plugin`, `host` or `cache`.
    pub(crate) suite: String,
    /// Version of this program.
    pub(crate) suite_version: String,
    /// The command line under test.
    pub(crate) command: String,
    pub(crate) profile: Profile,
    pub(crate) seed: u64,
    /// Whether nothing counts as a failure.
    pub(crate) conformant: bool,
    /// How many checks have which verdict.
    pub(crate) counts: BTreeMap<String, usize>,
    pub(crate) duration_ms: u64,
    /// Measured, not judged.
    pub(crate) performance: Option<Performance>,
    pub(crate) results: Vec<CheckResult>,
}

impl Report {
    /// A report with its counts.
    pub(crate) fn new(
        suite: &str,
        command: String,
        profile: Profile,
        seed: u64,
        results: Vec<CheckResult>,
    ) -> Self {
        let mut report = Self {
            report_version: REPORT_VERSION,
            suite: suite.to_owned(),
            suite_version: env!("CARGO_PKG_VERSION").to_owned(),
            command,
            profile,
            seed,
            conformant: false,
            counts: BTreeMap::new(),
            duration_ms: 0,
            performance: None,
            results,
        };
        report.count();
        report
    }

    /// Counts the verdicts anew, after some were changed.
    pub(crate) fn count(&mut self) {
        for verdict in Verdict::ALL {
            let count = self.results.iter().filter(|result| result.verdict == verdict).count();
            self.counts.insert(verdict.name().to_owned(), count);
        }
        let bad = |result: &CheckResult| {
            result.verdict == Verdict::SuiteError || result.verdict.counts_as_failure(self.profile)
        };
        self.conformant = !self.results.iter().any(bad);
    }

    /// Writes `report.json`, `junit.xml` and `report.html` into `folder`.
    ///
    /// # Errors
    /// When the folder or a file cannot be written.
    pub(crate) fn write(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        let mut json = serde_json::to_vec_pretty(self)?;
        json.push(b'\n');
        fs::write(folder.join("report.json"), json)?;
        fs::write(folder.join("junit.xml"), junit::render(self))?;
        fs::write(folder.join("report.html"), html::render(self))
    }
}

fn seconds(time_ms: u64) -> String {
    format!("{}.{:03}", time_ms / 1_000, time_ms % 1_000)
}

/// Text that is safe between tags and in attributes of XML and HTML.
fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '\n' | '\t' => safe.push(letter),
            // XML 1.0 has no way to write other control characters.
            _ if letter.is_control() || matches!(letter, '\u{fffe}' | '\u{ffff}') => {
                safe.push('\u{fffd}')
            }
            _ => safe.push(letter),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::{Direction, Event};

    fn sample() -> Report {
        let evidence = Evidence {
            events: vec![Event {
                at_ms: 3,
                session: 1,
                direction: Direction::Received,
                text: "</pre><script>\u{1}".to_owned(),
            }],
            ..Evidence::default()
        };
        let result = CheckResult {
            check: "a".to_owned(),
            requirement: "BH-WIRE-001".to_owned(),
            title: "t & <t>".to_owned(),
            verdict: Verdict::Fail,
            message: "\"m\"".to_owned(),
            duration_ms: 5,
            reproduce: "run 'it'".to_owned(),
            evidence,
        };
        Report::new("plugin", "cmd".to_owned(), Profile::Core, 7, vec![result])
    }

    #[test]
    fn nothing_breaks_out_of_the_markup() {
        let report = sample();
        for text in [html::render(&report), junit::render(&report)] {
            assert!(!text.contains("</pre><script>") && !text.contains('\u{1}'), "{text}");
            assert!(text.contains("&lt;t&gt;"), "{text}");
        }
        assert!(!report.conformant);
    }

    /// To accept a change: write the text that the failure shows to the file.
    #[test]
    fn schema_is_the_committed_one() {
        let schema = serde_json::to_value(schemars::schema_for!(Report)).unwrap();
        let committed: serde_json::Value =
            serde_json::from_str(include_str!("../../report.schema.json")).unwrap();
        assert_eq!(schema, committed, "{}", serde_json::to_string_pretty(&schema).unwrap());
    }
}
