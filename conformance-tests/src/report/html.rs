//! `report.html`: one file that needs nothing else.

use std::fmt::Write as _;

use super::{CheckResult, Report, escape};
use crate::evidence::{Direction, Evidence};
use crate::registry;
use crate::verdict::Verdict;

const STYLE: &str = "
body{font:15px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}
pre{background:#f4f4f4;padding:.6rem;overflow:auto;font-size:12px;max-height:30rem}
details{border-top:1px solid #ddd;padding:.4rem 0}summary{cursor:pointer}
.v{display:inline-block;min-width:9rem;font-weight:600}
.pass{color:#176b2c}.fail,.suite-error,.unexpected-pass,.untestable{color:#b00020}
.warn,.expected-failure{color:#8a5a00}.not-applicable{color:#666}
.sent{color:#0b4f8a}.stderr{color:#8a5a00}.note{color:#666}
blockquote{border-left:3px solid #bbb;margin:.4rem 0;padding-left:.8rem}
@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}pre{background:#242424}details{border-color:#333}
.pass{color:#6fcf84}.fail,.suite-error,.unexpected-pass,.untestable{color:#ff7b8a}.warn,.expected-failure{color:#e0b050}
.sent{color:#7db8ee}.stderr{color:#e0b050}.note,.not-applicable{color:#999}}
";

/// The report as one HTML page.
pub(crate) fn render(report: &Report) -> String {
    let verdict = if report.conformant { "conformant" } else { "not conformant" };
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <title>{suite}: {verdict}</title><style>{STYLE}</style></head><body>\n\
         <h1>{suite} suite: {verdict}</h1>\n<pre>{command}</pre>\n<p>",
        suite = escape(&report.suite),
        command = escape(&report.command),
    );
    for verdict in Verdict::ALL {
        let count = report.counts.get(verdict.name()).copied().unwrap_or(0);
        if count > 0 {
            let name = verdict.name();
            // Writing to a string cannot fail.
            let _ = write!(html, "<span class=\"{name}\">{count} {name}</span> · ");
        }
    }
    let _ = writeln!(
        html,
        "profile {:?} · seed {} · {} ms · version {}</p>",
        report.profile,
        report.seed,
        report.duration_ms,
        escape(&report.suite_version)
    );
    if let Some(times) = &report.performance {
        let text = serde_json::to_string_pretty(times).unwrap_or_default();
        let _ = writeln!(html, "<h2>Measured, not judged</h2><pre>{}</pre>", escape(&text));
    }
    html.push_str("<h2>Checks</h2>\n");
    for result in &report.results {
        check(&mut html, result);
    }
    html.push_str("</body></html>\n");
    html
}

fn check(html: &mut String, result: &CheckResult) {
    let open =
        if matches!(result.verdict, Verdict::Pass | Verdict::NotApplicable) { "" } else { " open" };
    let name = result.verdict.name();
    let _ = writeln!(
        html,
        "<details id=\"{id}\"{open}><summary><span class=\"v {name}\">{name}</span> \
         <code>{id}</code> {title}</summary>",
        id = escape(&result.check),
        title = escape(&result.title),
    );
    if let Some(row) = registry::find(&result.requirement) {
        let _ = writeln!(
            html,
            "<blockquote>{} ({}; {}): {}</blockquote>",
            escape(&row.id),
            escape(&row.clause),
            format!("{:?}", row.level).to_uppercase(),
            escape(&row.sentence)
        );
    }
    if !result.message.is_empty() {
        let _ = writeln!(html, "<p>{}</p>", escape(&result.message));
    }
    let _ = writeln!(html, "<pre>{}</pre>", escape(&result.reproduce));
    evidence(html, &result.evidence);
    html.push_str("</details>\n");
}

fn evidence(html: &mut String, evidence: &Evidence) {
    if !evidence.events.is_empty() {
        html.push_str("<pre>");
        for event in &evidence.events {
            let (class, mark) = match event.direction {
                Direction::Sent => ("sent", "→"),
                Direction::Received => ("received", "←"),
                Direction::Stderr => ("stderr", "stderr"),
                Direction::Note => ("note", "·"),
            };
            let _ = writeln!(
                html,
                "<span class=\"{class}\">{:>6} ms  #{} {mark} {}</span>",
                event.at_ms,
                event.session,
                escape(&event.text)
            );
        }
        if evidence.events_dropped > 0 {
            let _ = writeln!(html, "… {} more", evidence.events_dropped);
        }
        html.push_str("</pre>\n");
    }
    for (title, lines) in [("before", &evidence.tree_before), ("after", &evidence.tree_after)] {
        if !lines.is_empty() {
            let _ = writeln!(html, "<p>Store {title}</p><pre>{}</pre>", escape(&lines.join("\n")));
        }
    }
}
