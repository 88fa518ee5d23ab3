//! `report.html`: one file that needs nothing else.

use std::fmt::Write as _;

use super::{CheckResult, Report, escape, seconds};
use crate::evidence::{Direction, Evidence};
use crate::plugin::performance::Performance;
use crate::registry;
use crate::verdict::Verdict;

/// Colours follow the reader's setting; a choice of verdicts hides the others.
const STYLE: &str = "
:root{color-scheme:light dark;--text:#1f2328;--soft:#656d76;--page:#fff;--box:#f6f8fa;--line:#d1d9e0;
--good:#1a7f37;--bad:#cf222e;--mild:#8a5a00;--sent:#0b4f8a}
@media(prefers-color-scheme:dark){:root{--text:#d8dee4;--soft:#8b949e;--page:#151a20;--box:#1f262e;--line:#343d47;
--good:#6fcf84;--bad:#ff7b8a;--mild:#e0b050;--sent:#7db8ee}}
body{font:15px/1.5 system-ui,sans-serif;max-width:68rem;margin:2rem auto;padding:0 1rem;color:var(--text);background:var(--page)}
h1{font-size:1.5rem;margin:0 0 .5rem;padding-left:.7rem;border-left:.4rem solid var(--bad)}h1.yes{border-color:var(--good)}
h2{font-size:1.1rem;margin:1.6rem 0 .5rem}
pre{background:var(--box);border-radius:6px;padding:.6rem;overflow:auto;font-size:12px;max-height:30rem;margin:.5rem 0}
pre.wrap{white-space:pre-wrap;overflow-wrap:anywhere}
table{border-collapse:collapse}td,th{text-align:left;font-weight:400;padding:.15rem 1.2rem .15rem 0}th{color:var(--soft)}
td.n{text-align:right;font-variant-numeric:tabular-nums}
details{border-top:1px solid var(--line);padding:.35rem 0}summary{cursor:pointer}
.v{display:inline-block;min-width:9rem;font-weight:600}.time{float:right;color:var(--soft)}.meta{color:var(--soft)}
.pass{color:var(--good)}.fail,.suite-error,.unexpected-pass,.untestable{color:var(--bad)}
.warn,.expected-failure,.stderr{color:var(--mild)}.not-applicable,.note{color:var(--soft)}.sent{color:var(--sent)}
blockquote{border-left:3px solid var(--line);margin:.4rem 0;padding-left:.8rem}
button{font:inherit;color:inherit;background:var(--box);border:1px solid var(--line);border-radius:1rem;padding:.1rem .8rem;margin:0 .3rem .3rem 0;cursor:pointer}
button[aria-pressed=true]{border-color:currentcolor;font-weight:600}
";

/// Shows the checks of one verdict, or all; the page is whole without it.
const SCRIPT: &str = "
const buttons=[...document.querySelectorAll('button')],checks=[...document.querySelectorAll('details')];
function show(wanted){for(const b of buttons)b.setAttribute('aria-pressed',b.dataset.v===wanted);
for(const c of checks)c.hidden=wanted==='bad'?!('bad' in c.dataset):wanted!==''&&c.dataset.v!==wanted}
for(const b of buttons)b.onclick=()=>show(b.dataset.v);show('');
";

/// The report as one HTML page.
pub(crate) fn render(report: &Report) -> String {
    let (verdict, class) =
        if report.conformant { ("conformant", "yes") } else { ("not conformant", "no") };
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <title>{suite}: {verdict}</title><style>{STYLE}</style></head><body>\n\
         <h1 class=\"{class}\">{suite} suite: {verdict}</h1>\n<pre class=\"wrap\">{command}</pre>\n",
        suite = escape(&report.suite),
        command = escape(&report.command),
    );
    let profile = format!("{:?}", report.profile).to_lowercase();
    // Writing to a string cannot fail.
    let _ = writeln!(
        html,
        "<p class=\"meta\">profile {profile} · seed {} · {} s · version {}</p>",
        report.seed,
        seconds(report.duration_ms),
        escape(&report.suite_version)
    );
    choices(&mut html, report);
    if let Some(times) = &report.performance {
        performance(&mut html, times);
    }
    html.push_str("<h2>Checks</h2>\n");
    let trees = match report.suite.as_str() {
        "cache" => ["Target folder without the cache", "Target folder with the cache"],
        _ => ["Store before", "Store after"],
    };
    // What a reader looks for comes first.
    let (bad, good): (Vec<_>, Vec<_>) = report.results.iter().partition(|result| is_bad(result));
    for result in bad.into_iter().chain(good) {
        check(&mut html, result, trees);
    }
    let _ = writeln!(html, "<script>{SCRIPT}</script></body></html>");
    html
}

/// Neither passed nor out of the question.
fn is_bad(result: &CheckResult) -> bool {
    !matches!(result.verdict, Verdict::Pass | Verdict::NotApplicable)
}

/// How many checks have which verdict, as a choice.
fn choices(html: &mut String, report: &Report) {
    let mut button = |verdict: &str, class: &str, count: usize, name: &str| {
        let _ =
            write!(html, "<button data-v=\"{verdict}\" class=\"{class}\">{count} {name}</button>");
    };
    button("", "", report.results.len(), "checks");
    let bad = report.results.iter().filter(|result| is_bad(result)).count();
    if bad > 0 {
        button("bad", "fail", bad, "not passed");
    }
    for verdict in Verdict::ALL {
        let name = verdict.name();
        let count = report.counts.get(name).copied().unwrap_or(0);
        if count > 0 {
            button(name, name, count, name);
        }
    }
    html.push('\n');
}

fn performance(html: &mut String, times: &Performance) {
    html.push_str("<h2>Measured, not judged (medians)</h2>\n<table>");
    let rows = [
        ("start to hello", Some(times.hello_us)),
        ("start, one miss, end", times.one_shot_us),
        ("miss in a session", times.miss_us),
        ("store 3 kB in a session", times.store_us),
        ("hit of the same", times.hit_us),
    ];
    for (name, time) in rows {
        if let Some(time) = time {
            let _ = write!(html, "<tr><th>{name}</th><td class=\"n\">{time} µs</td></tr>");
        }
    }
    html.push_str("</table>\n");
}

fn check(html: &mut String, result: &CheckResult, trees: [&str; 2]) {
    let (open, bad) = if is_bad(result) { (" open", " data-bad") } else { ("", "") };
    let name = result.verdict.name();
    let _ = writeln!(
        html,
        "<details id=\"{id}\" data-v=\"{name}\"{bad}{open}><summary>\
         <span class=\"time\">{time} s</span><span class=\"v {name}\">{name}</span> \
         <code>{id}</code> {title}</summary>",
        id = escape(&result.check),
        title = escape(&result.title),
        time = seconds(result.duration_ms),
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
        let _ = writeln!(html, "<p class=\"{name}\">{}</p>", escape(&result.message));
    }
    let _ = writeln!(html, "<pre class=\"wrap\">{}</pre>", escape(&result.reproduce));
    evidence(html, &result.evidence, trees);
    html.push_str("</details>\n");
}

fn evidence(html: &mut String, evidence: &Evidence, trees: [&str; 2]) {
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
    for (title, lines) in trees.into_iter().zip([&evidence.tree_before, &evidence.tree_after]) {
        if !lines.is_empty() {
            let _ = writeln!(
                html,
                "<p class=\"meta\">{title}</p><pre>{}</pre>",
                escape(&lines.join("\n"))
            );
        }
    }
}
