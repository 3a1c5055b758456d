//! The comparison, for people and for programs.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::machine::Setting;
use super::metric::{self, Better, Metric};
use super::results::Results;
use super::stats::Summary;
use crate::participant::{Kind, Participant};

const EVERYBODY: [Participant; 3] = [Participant::Limit, Participant::Rich, Participant::Coney];
/// Whom coney is compared with.
const OTHERS: [Participant; 2] = [Participant::Limit, Participant::Rich];

/// The comparison in Markdown.
pub(crate) fn markdown(setting: &Setting, rounds: usize, results: &Results) -> String {
    let mut text = setting.markdown();
    let _ = writeln!(
        text,
        "* medians of {rounds} rounds, with the least and the greatest; \"of\" is how well coney does, 1 being as well as \
         the other and more being better"
    );
    for kind in [Kind::Classic, Kind::Quorum] {
        if results.has(kind) {
            let _ = write!(text, "\n### On a {} queue\n\n", kind.name());
            text.push_str(&aligned(&figures(kind, results)));
            text.push('\n');
            text.push_str(&aligned(&goals(kind, results)));
        }
    }
    text
}

fn figures(kind: Kind, results: &Results) -> Vec<Vec<String>> {
    let head = ["", "LIMIT", "RICH", "coney", "of LIMIT", "of RICH"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for metric in metric::ALL {
        let figures = EVERYBODY.map(|who| Summary::of(results.series(kind, metric, who)));
        if figures.iter().all(Option::is_none) {
            continue;
        }
        let mut row = vec![metric.name.to_owned()];
        row.extend(figures.map(|figure| spread(figure, metric.digits)));
        row.extend(OTHERS.map(|other| {
            let ratios = results.ratios(kind, metric, other);
            spread(Summary::of(&ratios), 2)
        }));
        rows.push(row);
    }
    rows
}

fn goals(kind: Kind, results: &Results) -> Vec<Vec<String>> {
    let head = ["goal", "", "figure", ""];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for verdict in results.verdicts(kind) {
        let met = if verdict.met { "met" } else { "**not met**" };
        let figure = format!("{:.2}", verdict.figure);
        rows.push(vec![
            verdict.name.to_owned(),
            verdict.goal,
            figure,
            met.to_owned(),
        ]);
    }
    rows
}

/// A table in Markdown whose columns can be read without a program for it; the first row is its head.
pub(crate) fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..columns).map(width).collect();
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(text, "| {cell:<width$} ");
        }
        text.push_str("|\n");
        if number == 0 {
            for width in &widths {
                let _ = write!(text, "|{:-<1$}", "", width + 2);
            }
            text.push_str("|\n");
        }
    }
    text
}

/// Such as `0.81 (0.78..0.85)`.
fn spread(summary: Option<Summary>, digits: usize) -> String {
    let text = |Summary { median, min, max }| {
        format!("{median:.digits$} ({min:.digits$}..{max:.digits$})")
    };
    summary.map_or_else(|| "-".to_owned(), text)
}

/// Everything, with the figures of each round.
pub(crate) fn json(setting: &Setting, rounds: usize, results: &Results) -> Value {
    let kinds = [Kind::Classic, Kind::Quorum];
    let kinds: Vec<_> = kinds.into_iter().filter(|&k| results.has(k)).collect();
    let figures: Vec<_> = kinds
        .iter()
        .flat_map(|&kind| metric::ALL.iter().map(move |metric| (kind, metric)))
        .map(|(kind, metric)| figure(kind, metric, results))
        .collect();
    let goals: Vec<_> = kinds.iter().flat_map(|&k| results.verdicts(k)).collect();
    json!({ "setting": setting, "rounds": rounds, "figures": figures, "goals": goals })
}

fn figure(kind: Kind, metric: &Metric, results: &Results) -> Value {
    let told = |series: &[f64]| json!({ "summary": Summary::of(series), "rounds": series });
    let by_name = |pairs: &[(Participant, Vec<f64>)]| -> Map<String, Value> {
        pairs
            .iter()
            .map(|(who, series)| (who.name().to_owned(), told(series)))
            .collect()
    };
    let measured = EVERYBODY.map(|who| (who, results.series(kind, metric, who).to_vec()));
    let ratios = OTHERS.map(|other| (other, results.ratios(kind, metric, other)));
    json!({
        "queue": kind,
        "workload": format!("{:?}", metric.workload).to_lowercase(),
        "metric": metric.id,
        "name": metric.name,
        "higher_is_better": metric.better == Better::Higher,
        "measured": by_name(&measured),
        "coney_of": by_name(&ratios),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["", "µs"], ["long", "1"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(
            aligned(&rows),
            "|      | µs |\n|------|----|\n| long | 1  |\n"
        );
    }
}
