//! Figures as bars: a panel for each kind of figure, a group of bars for each circumstance.

use std::path::Path;

use anyhow::{Result, ensure};
use plotters::prelude::*;

use crate::report::{Figure, quantity};

const PANEL: (u32, u32) = (520, 320);
const COLUMNS: usize = 2;
/// Ours first; colours that are told apart also by those who do not see red and green.
const COLOURS: [RGBColor; 5] = [
    RGBColor(0, 114, 178),
    RGBColor(153, 153, 153),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(204, 121, 167),
];
const OURS: &str = "quorate";

/// Figures that share everything but the last part of their names.
struct Panel<'a> {
    title: &'a str,
    unit: &'static str,
    /// Last parts of the names, such as `tasks64`.
    groups: Vec<&'a str>,
    /// Who is shown, ours first.
    names: Vec<&'static str>,
    /// Group, name, value.
    bars: Vec<(usize, usize, f64)>,
}

/// Draws `figures` into an SVG file.
///
/// # Errors
/// If there is nothing to draw, or the file cannot be written.
pub(crate) fn svg(figures: &[Figure], file: &Path) -> Result<()> {
    let panels = panels(figures);
    ensure!(!panels.is_empty(), "there is nothing to draw");
    let rows = panels.len().div_ceil(COLUMNS);
    let columns = panels.len().min(COLUMNS);
    let size = (
        PANEL.0 * u32::try_from(columns)?,
        PANEL.1 * u32::try_from(rows)?,
    );
    let area = SVGBackend::new(file, size).into_drawing_area();
    area.fill(&WHITE)?;
    for (panel, area) in panels.iter().zip(area.split_evenly((rows, columns))) {
        draw(panel, &area)?;
    }
    Ok(area.present()?)
}

fn panels(figures: &[Figure]) -> Vec<Panel<'_>> {
    let mut panels: Vec<Panel<'_>> = Vec::new();
    for figure in figures {
        let (title, group) = figure
            .name
            .rsplit_once('.')
            .unwrap_or((&figure.name, "value"));
        let at = panels
            .iter()
            .position(|panel| panel.title == title && panel.unit == figure.unit)
            .unwrap_or_else(|| {
                panels.push(Panel {
                    title,
                    unit: figure.unit,
                    groups: Vec::new(),
                    names: vec![OURS],
                    bars: Vec::new(),
                });
                panels.len() - 1
            });
        let panel = &mut panels[at];
        let group = place(&mut panel.groups, group);
        let name = place(&mut panel.names, figure.reference);
        let known = panel.bars.iter().any(|bar| (bar.0, bar.1) == (group, 0));
        if !known {
            panel.bars.push((group, 0, figure.ours));
        }
        panel.bars.push((group, name, figure.theirs));
    }
    panels
}

/// Where `item` stands in `items`, at the end if it is new.
fn place<T: PartialEq>(items: &mut Vec<T>, item: T) -> usize {
    items
        .iter()
        .position(|known| *known == item)
        .unwrap_or_else(|| {
            items.push(item);
            items.len() - 1
        })
}

fn draw<'a, DB: DrawingBackend + 'a>(
    panel: &Panel<'_>,
    area: &DrawingArea<DB, plotters::coord::Shift>,
) -> Result<()>
where
    DB::ErrorType: 'static,
{
    let values = || panel.bars.iter().map(|bar| bar.2);
    let low = values().fold(f64::MAX, f64::min) / 2.0;
    // Above the tallest bar there is room for the names.
    let tallest = values().fold(f64::MIN_POSITIVE, f64::max);
    let high = low * (tallest / low).powf(1.5);
    let caption = format!("{} (logarithmic)", panel.title);
    let mut chart = ChartBuilder::on(area)
        .caption(caption, ("sans-serif", 16))
        .margin(10)
        .x_label_area_size(24)
        .y_label_area_size(88)
        .build_cartesian_2d(
            -0.5..index(panel.groups.len())? - 0.5,
            (low..high).log_scale(),
        )?;
    let group_name = |x: &f64| {
        let names = (0_u32..).zip(&panel.groups);
        let mut here = names.filter(|(at, _)| (x - f64::from(*at)).abs() < 0.01);
        here.next()
            .map_or_else(String::new, |(_, name)| (*name).to_owned())
    };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .y_labels(5)
        .x_labels(panel.groups.len() * 2 + 1)
        .x_label_formatter(&group_name)
        .y_label_formatter(&|value| quantity(*value, panel.unit))
        .draw()?;
    let width = 0.8 / index(panel.names.len())?;
    for (at, name) in panel.names.iter().enumerate() {
        let colour = COLOURS[at % COLOURS.len()];
        let offset = index(at)? * width - 0.4;
        let bars = panel
            .bars
            .iter()
            .filter(|bar| bar.1 == at)
            .map(|(group, _, value)| {
                let left = index(*group)? + offset;
                let corners = [(left, low), (left + width * 0.92, *value)];
                Ok(Rectangle::new(corners, colour.filled()))
            });
        chart
            .draw_series(bars.collect::<Result<Vec<_>>>()?)?
            .label(*name)
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 10, y + 5)], colour.filled()));
    }
    let tallest = |group| {
        let bars = panel.bars.iter().filter(|bar| bar.0 == group);
        bars.map(|bar| bar.2).fold(0.0, f64::max)
    };
    // Where the bars are shorter.
    let position = if tallest(0) > tallest(panel.groups.len() - 1) {
        SeriesLabelPosition::UpperRight
    } else {
        SeriesLabelPosition::UpperLeft
    };
    chart
        .configure_series_labels()
        .position(position)
        .background_style(WHITE.mix(0.8))
        .draw()?;
    Ok(())
}

fn index(at: usize) -> Result<f64> {
    Ok(f64::from(u32::try_from(at)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Better;

    #[test]
    fn one_panel_for_each_kind_of_figure_and_ours_drawn_once() {
        let figure = |name: &str, reference| {
            Figure::of_pairs(name, "op/s", Better::More, &[2.0], (reference, &[1.0])).unwrap()
        };
        let figures = [
            figure("a.get.tasks1", "floor"),
            figure("a.get.tasks1", "redis"),
            figure("a.get.tasks64", "floor"),
            figure("b.get.tasks1", "floor"),
        ];
        let panels = panels(&figures);
        let titles: Vec<_> = panels.iter().map(|panel| panel.title).collect();
        assert_eq!(titles, ["a.get", "b.get"]);
        assert_eq!(panels[0].groups, ["tasks1", "tasks64"]);
        assert_eq!(panels[0].names, ["quorate", "floor", "redis"]);
        assert_eq!(panels[0].bars.len(), 5);
    }
}
