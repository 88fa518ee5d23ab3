//! The kill matrix as a file: for every broken thing, the requirements that it
//! dies on, of all that its suite checks.
//!
//! A line is `name | made for | dies on | may die on`, ids separated by blanks.
//! What a thing *may* die on was seen to differ between runs: there a race has
//! two legal ends. Everything else is compared to the letter, both ways.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::matrix::Row;

const HEAD: &str = "\
# What every broken thing dies on: name | made for | dies on | may die on
#
# Compared by the tests; written by `self-test --matrix FILE --accept`, which keeps what is
# here and moves what went otherwise this time to the last column.
";

/// The matrix, by the names of its rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kills(BTreeMap<String, Line>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Line {
    made_for: String,
    dies: BTreeSet<String>,
    may: BTreeSet<String>,
}

impl Kills {
    /// Reads a file's content.
    ///
    /// # Errors
    /// The line that is none, counted from 1.
    pub(crate) fn parse(text: &str) -> Result<Self, usize> {
        let ids = |part: &str| part.split_whitespace().map(str::to_owned).collect();
        let mut lines = BTreeMap::new();
        for (index, line) in text.lines().enumerate() {
            if line.starts_with('#') || line.trim().is_empty() {
                continue;
            }
            let parts: Vec<&str> = line.split('|').map(str::trim).collect();
            let [name, made_for, dies, may] = parts[..] else { return Err(index + 1) };
            let line = Line { made_for: made_for.to_owned(), dies: ids(dies), may: ids(may) };
            if lines.insert(name.to_owned(), line).is_some() {
                return Err(index + 1);
            }
        }
        Ok(Self(lines))
    }

    /// The file's content.
    pub(crate) fn render(&self) -> String {
        let mut text = HEAD.to_owned();
        for (name, line) in &self.0 {
            let ids = |ids: &BTreeSet<String>| {
                ids.iter().map(String::as_str).collect::<Vec<_>>().join(" ")
            };
            let (dies, may) = (ids(&line.dies), ids(&line.may));
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{name} | {} | {dies} | {may}", line.made_for);
        }
        text
    }

    /// How several runs of one thing contradict the matrix; one that agrees in a
    /// cell is enough, for a busy machine keeps a check from its race, or lets a
    /// time run out.
    pub(crate) fn contradictions(&self, runs: &[Row]) -> Vec<String> {
        let Some(first) = runs.first() else { return Vec::new() };
        let Some(line) = self.0.get(&first.name) else {
            return vec![format!("{}: the matrix has no such row", first.name)];
        };
        let name = &first.name;
        let mut texts = Vec::new();
        if line.made_for != first.target.unwrap_or_default() {
            texts.push(format!("{name} is not made for {:?}", line.made_for));
        }
        let survives =
            |id: &&String| !runs.iter().any(|run| run.killed_by.contains(*id) || run.lacks(id));
        texts.extend(line.dies.iter().filter(survives).map(|id| format!("{name} survives {id}")));
        let always = |id: &&String| runs.iter().all(|run| run.killed_by.contains(*id));
        let known = |id: &&String| line.dies.contains(*id) || line.may.contains(*id);
        let new = first.killed_by.iter().filter(|id| always(id) && !known(id));
        texts.extend(new.map(|id| format!("{name} dies on {id}")));
        texts
    }

    /// Rows of things that there are not.
    pub(crate) fn strangers<'a>(&'a self, names: &'a BTreeSet<String>) -> Vec<&'a str> {
        self.0.keys().filter(|name| !names.contains(*name)).map(String::as_str).collect()
    }

    /// Takes a run in: what went otherwise than before may go either way. What could not be
    /// tried stays as it was.
    pub(crate) fn accept(&mut self, run: &Row) {
        let made_for = run.target.unwrap_or_default().to_owned();
        let new = Line { dies: run.killed_by.clone(), ..Line::default() };
        let line = self.0.entry(run.name.clone()).or_insert(new);
        line.made_for = made_for;
        let unlike = line.dies.symmetric_difference(&run.killed_by);
        let unlike: Vec<String> = unlike.filter(|id| !run.lacks(id)).cloned().collect();
        line.may.extend(unlike);
        line.dies.retain(|id| !line.may.contains(id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutant::matrix::Untried;

    fn run(killed_by: &[&str]) -> Row {
        Row {
            name: "banner".to_owned(),
            target: Some("A"),
            killed_by: killed_by.iter().map(|id| (*id).to_owned()).collect(),
            checks: BTreeSet::new(),
            untried: BTreeSet::new(),
        }
    }

    #[test]
    fn what_cannot_be_tried_here_contradicts_nothing() {
        let mut kills = Kills::default();
        kills.accept(&run(&["A", "B"]));
        let mut poor = run(&["B"]);
        assert_eq!(kills.contradictions(&[poor.clone()]), ["banner survives A"]);
        poor.untried.insert(Untried {
            check: "big".to_owned(),
            requirement: "A".to_owned(),
            why: "little disk".to_owned(),
        });
        assert!(kills.contradictions(&[poor.clone()]).is_empty());
        let before = kills.clone();
        kills.accept(&poor);
        assert_eq!(kills, before);
    }

    #[test]
    fn what_differs_between_runs_may_go_either_way() {
        let mut kills = Kills::default();
        kills.accept(&run(&["A", "B"]));
        kills.accept(&run(&["A", "C"]));
        kills.accept(&run(&["A"]));
        assert!(kills.render().ends_with("\nbanner | A | A | B C\n"), "{}", kills.render());
        assert_eq!(Kills::parse(&kills.render()), Ok(kills.clone()));
        assert!(kills.contradictions(&[run(&["A", "B"])]).is_empty());
        assert_eq!(
            kills.contradictions(&[run(&["B", "D"])]),
            ["banner survives A", "banner dies on D"]
        );
        assert!(kills.contradictions(&[run(&["D"]), run(&["A"])]).is_empty());
    }

    #[test]
    fn a_line_that_is_none_is_named() {
        assert_eq!(Kills::parse("# a\nbanner | A | B\n"), Err(2));
        assert_eq!(Kills::parse("a | A | A |\na | A | A |\n"), Err(2));
    }
}
