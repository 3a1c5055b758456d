//! Draws what grew: one chart above the other, for throughput, memory and start.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;

use super::Growth;

/// Units of figures, each with a chart of its own; the end of their names.
const UNITS: [&str; 3] = ["tasks/s", "MiB", "ms"];
const WIDTH: u32 = 720;
const HEIGHT: u32 = 280;
const COLOURS: [RGBColor; 3] = [
    RGBColor(31, 119, 180),
    RGBColor(214, 39, 40),
    RGBColor(44, 160, 44),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// The medians of one figure: the number of the step, and the height.
struct Line {
    name: &'static str,
    points: Vec<(f64, f64)>,
}

/// Writes the charts to a file.
pub(super) fn draw(growth: &Growth, file: &Path) -> Result<()> {
    let charts = UNITS.map(|unit| (unit, lines(growth, unit)));
    let charts: Vec<_> = charts
        .iter()
        .filter(|(_, lines)| !lines.is_empty())
        .collect();
    let height = HEIGHT * u32::try_from(charts.len())?;
    let image = SVGBackend::new(file, (WIDTH, height)).into_drawing_area();
    let drawn = image.fill(&WHITE).map_err(|error| anyhow!("{error}"));
    drawn?;
    let areas = image.split_evenly((charts.len(), 1));
    for ((unit, lines), area) in charts.into_iter().zip(areas) {
        chart(growth, unit, lines, &area).map_err(|error| anyhow!("{error}"))?;
    }
    image.present().map_err(|error| anyhow!("{error}"))
}

fn lines(growth: &Growth, unit: &str) -> Vec<Line> {
    let mut lines = Vec::<Line>::new();
    for (place, point) in growth.points.iter().enumerate() {
        let figures = point.figures.iter();
        for (&name, summary) in figures.filter(|(name, _)| name.ends_with(unit)) {
            let here = (place as f64, summary.median);
            match lines.iter_mut().find(|line| line.name == name) {
                Some(line) => line.points.push(here),
                None => lines.push(Line {
                    name,
                    points: vec![here],
                }),
            }
        }
    }
    lines
}

fn chart<'a>(
    growth: &Growth,
    unit: &str,
    lines: &[Line],
    area: &Area<'a>,
) -> Result<(), Box<dyn std::error::Error + 'a>> {
    let heights = lines.iter().flat_map(|line| &line.points);
    let highest = heights
        .map(|point| point.1)
        .fold(f64::MIN_POSITIVE, f64::max);
    let last = (growth.points.len() as f64 - 1.0).max(1.0);
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(72)
        .build_cartesian_2d(-0.2..last + 0.2, 0.0..highest * 1.25)?;
    // a label where a step is, nothing between
    let step = |place: &f64| {
        let whole = place.round();
        let at = growth.points.get(whole as usize);
        at.filter(|_| (place - whole).abs() < 0.01 && whole >= 0.0)
            .map_or_else(String::new, |point| grouped(point.step as f64))
    };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(growth.points.len() * 2)
        .x_label_formatter(&step)
        .y_label_formatter(&|height| grouped(*height))
        .x_desc(growth.label)
        .y_desc(unit)
        .draw()?;
    for (line, colour) in lines.iter().zip(COLOURS) {
        let points = line.points.iter().copied();
        chart
            .draw_series(LineSeries::new(points.clone(), colour.stroke_width(2)))?
            .label(line.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
        chart.draw_series(points.map(|point| Circle::new(point, 3, colour.filled())))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.8))
        .draw()?;
    Ok(())
}

/// Such as `20,000`.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped() {
        let texts = [0.0, 999.4, 1000.0, 1_234_567.0].map(grouped);
        assert_eq!(texts, ["0", "999", "1,000", "1,234,567"]);
    }
}
