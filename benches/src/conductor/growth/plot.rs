//! Draws what grew: one chart above the other, for throughput, memory and start-up.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;

use super::Growth;

/// How names of figures end, and with that what a chart shows.
const CHARTS: [&str; 4] = ["tasks/s", "workers, MiB", "broker, MiB", "ms"];
/// The greatest figure of a chart is so many times the least before its scale is logarithmic.
const WIDE: f64 = 20.0;
const WIDTH: u32 = 720;
const HEIGHT: u32 = 240;
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
    let charts = CHARTS.map(|name| (name, lines(growth, name)));
    let charts: Vec<_> = charts
        .iter()
        .filter(|(_, lines)| !lines.is_empty())
        .collect();
    let height = HEIGHT * u32::try_from(charts.len())?;
    let image = SVGBackend::new(file, (WIDTH, height)).into_drawing_area();
    let drawn = image.fill(&WHITE).map_err(|error| anyhow!("{error}"));
    drawn?;
    let areas = image.split_evenly((charts.len(), 1));
    for ((name, lines), area) in charts.into_iter().zip(areas) {
        chart(growth, name, lines, &area).map_err(|error| anyhow!("{error}"))?;
    }
    image.present().map_err(|error| anyhow!("{error}"))
}

fn lines(growth: &Growth, chart: &str) -> Vec<Line> {
    let mut lines = Vec::<Line>::new();
    for (place, point) in growth.points.iter().enumerate() {
        let figures = point.figures.iter();
        for (&name, summary) in figures.filter(|(name, _)| name.ends_with(chart)) {
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

/// Where figures are drawn: at their height, or at its logarithm.
#[derive(Clone, Copy)]
struct Scale {
    logarithmic: bool,
    bottom: f64,
    top: f64,
}

impl Scale {
    /// One that has room for all figures, and above them for their names.
    fn of(lines: &[Line]) -> Self {
        let figures = || lines.iter().flat_map(|line| &line.points);
        let highest = figures().map(|point| point.1).fold(1.0, f64::max);
        let lowest = figures().map(|point| point.1).fold(highest, f64::min);
        let logarithmic = lowest > 0.0 && highest / lowest > WIDE;
        if logarithmic {
            let (bottom, top) = (lowest.log10().floor(), highest.log10() + 0.2);
            let top = top + (top - bottom) * 0.6;
            return Self {
                logarithmic,
                bottom,
                top,
            };
        }
        Self {
            logarithmic,
            bottom: 0.0,
            top: highest * 1.6,
        }
    }

    fn height(self, figure: f64) -> f64 {
        if self.logarithmic {
            figure.log10()
        } else {
            figure
        }
    }

    /// What stands at a height.
    fn label(self, height: f64) -> String {
        let figure = if self.logarithmic {
            10.0_f64.powf(height)
        } else {
            height
        };
        grouped(figure)
    }
}

fn chart<'a>(
    growth: &Growth,
    name: &str,
    lines: &[Line],
    area: &Area<'a>,
) -> Result<(), Box<dyn std::error::Error + 'a>> {
    let scale = Scale::of(lines);
    let last = (growth.points.len() as f64 - 1.0).max(1.0);
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(72)
        .build_cartesian_2d(-0.2..last + 0.2, scale.bottom..scale.top)?;
    // a label where a step is, nothing between
    let step = |place: &f64| {
        let whole = place.round();
        let at = growth.points.get(whole as usize);
        at.filter(|_| (place - whole).abs() < 0.01 && whole >= 0.0)
            .map_or_else(String::new, |point| grouped(point.step as f64))
    };
    let whole_powers = (scale.top - scale.bottom).ceil() as usize;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .max_light_lines(0)
        .x_labels(growth.points.len() * 2)
        .y_labels(if scale.logarithmic { whole_powers } else { 6 })
        .x_label_formatter(&step)
        .y_label_formatter(&|height| scale.label(*height))
        .x_desc(growth.label)
        .y_desc(
            lines
                .first()
                .filter(|_| lines.len() == 1)
                .map_or(name, |line| line.name),
        )
        .draw()?;
    for (line, colour) in lines.iter().zip(COLOURS) {
        let points = line.points.iter().map(|&(x, y)| (x, scale.height(y)));
        chart
            .draw_series(LineSeries::new(points.clone(), colour.stroke_width(2)))?
            .label(line.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
        chart.draw_series(points.map(|point| Circle::new(point, 3, colour.filled())))?;
    }
    if lines.len() > 1 {
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .background_style(WHITE.mix(0.8))
            .draw()?;
    }
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
