//! What was measured in all rounds, and the comparison.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::metric::{self, Better, Bound, GOALS, Metric};
use super::stats::Summary;
use crate::participant::{Kind, Participant};

/// All samples, in the order of the rounds.
#[derive(Debug, Default)]
pub(crate) struct Results(BTreeMap<(Kind, &'static str, Participant), Vec<f64>>);

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

    /// The comparison, in Markdown.
    pub(crate) fn table(&self) -> String {
        let mut text = String::new();
        for kind in [Kind::Classic, Kind::Quorum] {
            if !self.0.keys().any(|(of, ..)| *of == kind) {
                continue;
            }
            let _ = writeln!(text, "### {} queue\n", kind.name());
            text.push_str("| | LIMIT | RICH | coney | of LIMIT | of RICH | goal |\n");
            text.push_str("|---|---|---|---|---|---|---|\n");
            for metric in metric::ALL {
                self.row(&mut text, kind, metric);
            }
            text.push('\n');
        }
        text
    }

    fn row(&self, text: &mut String, kind: Kind, metric: &'static Metric) {
        let everybody = [Participant::Limit, Participant::Rich, Participant::Coney];
        let figures = everybody.map(|who| Summary::of(self.series(kind, metric, who)));
        if figures.iter().all(Option::is_none) {
            return;
        }
        let _ = write!(text, "| {} |", metric.name);
        for figure in figures {
            let _ = write!(text, " {} |", spread(figure, metric.digits));
        }
        for other in [Participant::Limit, Participant::Rich] {
            let ratio = Summary::of(&self.ratios(kind, metric, other));
            let _ = write!(text, " {} |", spread(ratio, 2));
        }
        let goals = GOALS.iter().filter(|goal| goal.metric == metric);
        let goals = goals.map(|goal| match goal.bound {
            Bound::Of(other, part) => format!("≥ {part:.2} of {}", other.name()),
            Bound::AtMost(most) => format!("≤ {most}"),
        });
        let goals: Vec<_> = goals.collect();
        let _ = writeln!(text, " {} |", goals.join(", "));
    }
}

/// Such as `0.81 (0.78..0.85)`.
fn spread(summary: Option<Summary>, digits: usize) -> String {
    summary.map_or_else(
        || "-".to_owned(),
        |Summary { median, min, max }| {
            format!("{median:.digits$} ({min:.digits$}..{max:.digits$})")
        },
    )
}
