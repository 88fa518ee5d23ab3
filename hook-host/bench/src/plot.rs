//! The figures as bars, in SVG.

use std::fmt::{self, Write as _};

use crate::figures::Figure;
use crate::run::Scenario;
use crate::tool::Tool;

const WIDTH: f64 = 720.0;
const LABELS: f64 = 130.0;
/// For the number behind the longest bar.
const NUMBERS: f64 = 90.0;
const BAR: f64 = 16.0;
const GAP: f64 = 6.0;
const HEAD: f64 = 34.0;
/// Keeps the scale finite.
const SHORTEST_S: f64 = 0.001;

/// One panel for each scenario, each with a scale of its own; lines show the extremes.
pub(crate) fn svg(title: &str, figures: &[Figure]) -> String {
    let mut body = String::new();
    let mut y = HEAD;
    for scenario in Scenario::ALL {
        let panel: Vec<&Figure> = figures.iter().filter(|f| f.scenario == scenario).collect();
        if !panel.is_empty() {
            // Writing to a String cannot fail.
            let _ = draw(&mut body, &mut y, scenario, &panel);
        }
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {y:.0}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"8\" y=\"20\" font-size=\"14\" font-weight=\"bold\">{}: seconds, less is \
         better</text>\n{body}</svg>\n",
        escaped(title)
    )
}

fn draw(body: &mut String, y: &mut f64, scenario: Scenario, panel: &[&Figure]) -> fmt::Result {
    let longest = panel.iter().map(|figure| figure.wall.max_s).fold(SHORTEST_S, f64::max);
    let scale = (WIDTH - LABELS - NUMBERS) / longest;
    writeln!(
        body,
        "<text x=\"8\" y=\"{:.1}\" font-weight=\"bold\">{}</text>",
        *y + BAR,
        scenario.name()
    )?;
    *y += BAR + GAP;
    for figure in panel {
        let middle = *y + BAR / 2.0;
        let [low, mid, high] = [figure.wall.min_s, figure.wall.median_s, figure.wall.max_s]
            .map(|s| LABELS + s * scale);
        writeln!(
            body,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\
             <rect x=\"{LABELS}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{BAR}\" fill=\"{}\"/>\
             <line x1=\"{low:.1}\" x2=\"{high:.1}\" y1=\"{middle:.1}\" y2=\"{middle:.1}\" \
             stroke=\"black\"/><text x=\"{:.1}\" y=\"{:.1}\">{:.2}</text>",
            LABELS - 6.0,
            middle + 4.0,
            figure.tool.name(),
            *y,
            mid - LABELS,
            colour(figure.tool),
            high + 6.0,
            middle + 4.0,
            figure.wall.median_s,
        )?;
        *y += BAR + GAP;
    }
    *y += GAP;
    Ok(())
}

/// The references are grey, this project stands out.
fn colour(tool: Tool) -> &'static str {
    match tool {
        Tool::Plain => "#999999",
        Tool::Oracle => "#cccccc",
        Tool::Buildhook | Tool::BuildhookRun | Tool::BuildhookHook => "#d55e00",
        Tool::Sccache | Tool::Kache | Tool::Mbx => "#56b4e9",
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Times;

    fn figure(tool: Tool, scenario: Scenario, median_s: f64) -> Figure {
        let wall = Times {
            median_s,
            min_s: median_s / 2.0,
            max_s: median_s * 2.0,
            to_plain: None,
            to_oracle: None,
        };
        Figure { tool, scenario, rounds: 3, wall, processor: None }
    }

    #[test]
    fn every_figure_has_a_bar_within_the_picture() {
        let figures = [
            figure(Tool::Plain, Scenario::Cold, 28.0),
            figure(Tool::Mbx, Scenario::Cold, 30.0),
            figure(Tool::Mbx, Scenario::Warm, 0.0),
        ];
        let svg = svg("a < b & c", &figures);
        assert_eq!(svg.matches("<line").count(), figures.len());
        assert!(svg.contains("a &lt; b &amp; c") && svg.contains(">30.00<"));
        let ends = svg.split("x2=\"").skip(1).map(|rest| rest.split('"').next().unwrap());
        assert!(
            ends.map(|end| end.parse::<f64>().unwrap()).all(|end| end <= WIDTH - NUMBERS + 0.1)
        );
    }
}
