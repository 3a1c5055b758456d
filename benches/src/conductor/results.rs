//! What was measured in all rounds, and how the participants compare.

use std::collections::BTreeMap;

use serde::Serialize;

use super::metric::{Better, Bound, GOALS, Goal, Metric};
use super::stats::Summary;
use crate::participant::{Kind, Participant};

/// All samples, in the order of the rounds.
#[derive(Debug, Default)]
pub(crate) struct Results(BTreeMap<(Kind, &'static str, Participant), Vec<f64>>);

/// A goal, and what was achieved.
#[derive(Debug, Serialize)]
pub(crate) struct Verdict {
    pub(crate) queue: Kind,
    pub(crate) metric: &'static str,
    pub(crate) name: &'static str,
    /// Such as `≥ 0.70 of LIMIT`.
    pub(crate) goal: String,
    /// The ratio or figure that the goal is about.
    pub(crate) figure: f64,
    pub(crate) met: bool,
}

impl Results {
    /// Adds what one participant did in one round.
    pub(crate) fn add(
        &mut self,
        kind: Kind,
        participant: Participant,
        samples: &[(&'static Metric, f64)],
    ) {
        for (metric, value) in samples {
            let series = self.0.entry((kind, metric.id, participant)).or_default();
            series.push(*value);
        }
    }

    /// Whether anything was measured on this kind of queue.
    pub(crate) fn has(&self, kind: Kind) -> bool {
        self.0.keys().any(|(of, ..)| *of == kind)
    }

    /// The figures of one participant, round by round.
    pub(crate) fn series(&self, kind: Kind, metric: &Metric, participant: Participant) -> &[f64] {
        let series = self.0.get(&(kind, metric.id, participant));
        series.map_or(&[], Vec::as_slice)
    }

    /// How well coney does it, as a part of how well `other` does, round by round: 1 is as well, more is better.
    pub(crate) fn ratios(&self, kind: Kind, metric: &Metric, other: Participant) -> Vec<f64> {
        let own = self.series(kind, metric, Participant::Coney);
        let others = self.series(kind, metric, other);
        let pairs = own.iter().zip(others);
        pairs
            .map(|(own, other)| match metric.better {
                Better::Higher => own / other,
                Better::Lower => other / own,
            })
            .collect()
    }

    /// Which goals are met on this kind of queue, as far as their figures were measured.
    pub(crate) fn verdicts(&self, kind: Kind) -> Vec<Verdict> {
        let verdict = |goal: &Goal| {
            let metric = goal.metric;
            let figures = match goal.bound {
                Bound::Of(other, _) => self.ratios(kind, metric, other),
                Bound::AtMost(_) => self.series(kind, metric, Participant::Coney).to_vec(),
            };
            let figure = Summary::of(&figures)?.median;
            Some(Verdict {
                queue: kind,
                metric: metric.id,
                name: metric.name,
                goal: goal.bound.text(),
                figure,
                met: goal.bound.is_met_by(figure),
            })
        };
        GOALS.iter().filter_map(verdict).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conductor::metric;

    #[test]
    fn more_tasks_and_less_time_are_better() {
        let mut results = Results::default();
        let kind = Kind::Quorum;
        for (participant, rate, time) in [
            (Participant::Limit, 100.0, 10.0),
            (Participant::Coney, 75.0, 20.0),
        ] {
            let samples = [(&metric::PUBLISH_RATE, rate), (&metric::NAPS, time)];
            results.add(kind, participant, &samples);
        }
        let ratios = |metric| results.ratios(kind, metric, Participant::Limit);
        assert_eq!(ratios(&metric::PUBLISH_RATE), [0.75]);
        assert_eq!(ratios(&metric::NAPS), [0.5]);
        let met: Vec<_> = results
            .verdicts(kind)
            .iter()
            .map(|v| (v.metric, v.met))
            .collect();
        assert_eq!(met, [("w1_rate", true), ("w5_time", false)]);
    }
}
