//! Medians and ratios.

use std::time::Duration;

use serde::Serialize;

use crate::run::{Sample, Scenario};
use crate::tool::Tool;

/// What one tool needs in one scenario, over all rounds.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Figure {
    #[serde(serialize_with = "name")]
    pub(crate) tool: Tool,
    pub(crate) scenario: Scenario,
    pub(crate) rounds: usize,
    pub(crate) wall: Times,
    /// Of the build and its children; absent where it is not known.
    pub(crate) processor: Option<Times>,
}

/// Times of one kind, in seconds.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Times {
    pub(crate) median_s: f64,
    pub(crate) min_s: f64,
    pub(crate) max_s: f64,
    /// Median over the rounds of the ratio to a plain build in the same scenario, or to a
    /// cold one where plain builds have no cache to be warm.
    pub(crate) to_plain: Option<f64>,
    /// Median over the rounds of the ratio to the oracle in the same scenario.
    pub(crate) to_oracle: Option<f64>,
}

pub(crate) fn name<S: serde::Serializer>(tool: &Tool, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(tool.name())
}

/// The figures of all tools and scenarios that have samples.
pub(crate) fn figures(samples: &[Sample]) -> Vec<Figure> {
    let mut tools: Vec<Tool> = samples.iter().map(|sample| sample.tool).collect();
    tools.sort();
    tools.dedup();
    let pairs = tools.iter().flat_map(|tool| Scenario::ALL.map(|scenario| (*tool, scenario)));
    pairs.filter_map(|(tool, scenario)| figure(samples, tool, scenario)).collect()
}

fn figure(samples: &[Sample], tool: Tool, scenario: Scenario) -> Option<Figure> {
    let times = |time: &dyn Fn(&Sample) -> Option<Duration>| times(samples, tool, scenario, time);
    Some(Figure {
        tool,
        scenario,
        rounds: of(samples, tool, scenario).count(),
        wall: times(&|sample| Some(sample.wall))?,
        processor: times(&|sample| sample.processor),
    })
}

fn times(
    samples: &[Sample],
    tool: Tool,
    scenario: Scenario,
    time: &dyn Fn(&Sample) -> Option<Duration>,
) -> Option<Times> {
    let seconds = |sample: &Sample| time(sample).map(|time| time.as_secs_f64());
    let own: Vec<&Sample> = of(samples, tool, scenario).collect();
    let all: Vec<f64> = own.iter().map(|sample| seconds(sample)).collect::<Option<_>>()?;
    let ratio = |other: Tool, scenario: Scenario| {
        let pairs = own.iter().filter_map(|sample| {
            let mut others = of(samples, other, scenario);
            let other = others.find(|other| other.pairs_with(sample))?;
            // Processor time comes in steps and may be none at all.
            Some(seconds(sample)? / seconds(other)?).filter(|ratio| ratio.is_finite())
        });
        median(pairs.collect())
    };
    let plain_scenario = match scenario {
        Scenario::Warm | Scenario::Moved => Scenario::Cold,
        other => other,
    };
    Some(Times {
        median_s: median(all.clone())?,
        min_s: all.iter().copied().fold(f64::INFINITY, f64::min),
        max_s: all.iter().copied().fold(0.0, f64::max),
        to_plain: ratio(Tool::Plain, plain_scenario),
        to_oracle: ratio(Tool::Oracle, scenario),
    })
}

fn of(samples: &[Sample], tool: Tool, scenario: Scenario) -> impl Iterator<Item = &Sample> {
    samples.iter().filter(move |sample| sample.tool == tool && sample.scenario == scenario)
}

/// The middle of `values`, or the mean of the two in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        even if even % 2 == 0 => Some((values[middle - 1] + values[middle]) / 2.0),
        _ => Some(values[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let sample = |tool, scenario, round, seconds| Sample {
            tool,
            scenario,
            round,
            sweep: 0,
            wall: Duration::from_secs(seconds),
            processor: None,
        };
        // The machine was ten times slower in the second round.
        let samples = [
            sample(Tool::Plain, Scenario::Cold, 0, 20),
            sample(Tool::Plain, Scenario::Cold, 1, 200),
            sample(Tool::Oracle, Scenario::Warm, 0, 1),
            sample(Tool::Oracle, Scenario::Warm, 1, 10),
            sample(Tool::Mbx, Scenario::Warm, 0, 2),
            sample(Tool::Mbx, Scenario::Warm, 1, 20),
            sample(Tool::Mbx, Scenario::Warm, 2, 1000),
        ];
        let figures = figures(&samples);
        assert_eq!(figures.len(), 3);
        let mbx = &figures[2];
        assert_eq!((mbx.tool, mbx.rounds), (Tool::Mbx, 3));
        let expected = Times {
            median_s: 20.0,
            min_s: 2.0,
            max_s: 1000.0,
            to_plain: Some(0.1),
            to_oracle: Some(2.0),
        };
        assert_eq!((&mbx.wall, &mbx.processor), (&expected, &None));
        assert_eq!(figures[0].wall.to_oracle, None);
    }

    #[test]
    fn edits_are_compared_with_edits() {
        let sample = |tool, scenario, seconds| Sample {
            tool,
            scenario,
            round: 0,
            sweep: 0,
            wall: Duration::from_secs(seconds),
            processor: Some(Duration::from_secs(seconds / 2)),
        };
        let samples = [
            sample(Tool::Plain, Scenario::Cold, 100),
            sample(Tool::Plain, Scenario::Edit, 2),
            sample(Tool::Mbx, Scenario::Edit, 4),
        ];
        let mbx = &figures(&samples)[2];
        assert_eq!((mbx.wall.to_plain, mbx.processor.as_ref().unwrap().median_s), (Some(2.0), 2.0));
    }
}
