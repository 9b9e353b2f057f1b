//! Figures, as a table for people and as lines for programs.

use anyhow::{Result, ensure};
use serde::Serialize;

use crate::measure::{Series, Window, median};

/// One figure of ours beside one of theirs.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figure {
    /// `capability.what.circumstances`.
    pub(crate) name: String,
    /// Of `ours` and `theirs`.
    pub(crate) unit: &'static str,
    /// The median of ours.
    pub(crate) ours: f64,
    /// Who they are.
    pub(crate) reference: &'static str,
    /// The median of theirs.
    pub(crate) theirs: f64,
    /// The median of the ratios of the pairs; above 1 ours is better.
    pub(crate) ratio: f64,
    /// What `ratio` ought to be at least.
    #[serde(skip)]
    pub(crate) least_ratio: Option<f64>,
    /// What `ours` ought to be at least, or at most.
    #[serde(skip)]
    pub(crate) bound: Option<Bound>,
}

/// Where a figure ought to lie.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bound {
    /// Not below.
    AtLeast(f64),
    /// Not above.
    AtMost(f64),
}

/// Whether more is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Better {
    /// Rates.
    More,
    /// Latencies, costs, sizes.
    Less,
}

impl Figure {
    /// Compares values of the same rounds.
    ///
    /// # Errors
    /// If there are none, or not as many of theirs as of ours.
    pub(crate) fn of_pairs(
        name: impl Into<String>,
        unit: &'static str,
        better: Better,
        ours: &[f64],
        (reference, theirs): (&'static str, &[f64]),
    ) -> Result<Self> {
        ensure!(ours.len() == theirs.len(), "unpaired values");
        let ratios = ours.iter().zip(theirs).map(|(ours, theirs)| match better {
            Better::More => ours / theirs,
            Better::Less => theirs / ours,
        });
        Ok(Self {
            name: name.into(),
            unit,
            ours: median(ours.to_vec())?,
            reference,
            theirs: median(theirs.to_vec())?,
            ratio: median(ratios.collect())?,
            least_ratio: None,
            bound: None,
        })
    }

    /// Says what the ratio ought to be at least.
    #[must_use]
    pub(crate) fn at_least(mut self, ratio: f64) -> Self {
        self.least_ratio = Some(ratio);
        self
    }

    /// Says where ours ought to lie.
    #[must_use]
    pub(crate) fn within(mut self, bound: Bound) -> Self {
        self.bound = Some(bound);
        self
    }

    /// One line of JSON. Figures have four digits: more would be noise.
    ///
    /// # Errors
    /// If a value is not a number.
    pub(crate) fn json(&self) -> Result<String> {
        ensure!(
            [self.ours, self.theirs, self.ratio]
                .iter()
                .all(|value| value.is_finite()),
            "{} against {} is not a number",
            self.name,
            self.reference
        );
        let short = Self {
            ours: four_digits(self.ours),
            theirs: four_digits(self.theirs),
            ratio: four_digits(self.ratio),
            ..self.clone()
        };
        Ok(serde_json::to_string(&short)?)
    }

    /// The goal in words, and whether it was reached; empty if there is none.
    fn goal(&self) -> String {
        let verdict = |reached: bool| if reached { "reached" } else { "MISSED" };
        let mut goals = Vec::new();
        if let Some(least) = self.least_ratio {
            goals.push(format!("≥ {least} × {}", verdict(self.ratio >= least)));
        }
        match self.bound {
            Some(Bound::AtLeast(least)) => {
                let reached = verdict(self.ours >= least);
                goals.push(format!("≥ {} {reached}", quantity(least, self.unit)));
            }
            Some(Bound::AtMost(most)) => {
                let reached = verdict(self.ours <= most);
                goals.push(format!("≤ {} {reached}", quantity(most, self.unit)));
            }
            None => {}
        }
        goals.join(", ")
    }
}

/// The figures of `ours` beside every other series.
///
/// # Errors
/// If a series is not as long as ours.
pub(crate) fn compare(
    name: &str,
    unit: &'static str,
    better: Better,
    series: &[Series],
    value: impl Fn(&Window) -> f64,
) -> Result<Vec<Figure>> {
    let values = |series: &Series| -> Vec<f64> { series.windows.iter().map(&value).collect() };
    let Some((ours, others)) = series.split_first() else {
        return Ok(Vec::new());
    };
    let ours = values(ours);
    others
        .iter()
        .map(|other| Figure::of_pairs(name, unit, better, &ours, (other.name, &values(other))))
        .collect()
}

/// A table of all figures.
#[must_use]
pub(crate) fn table(figures: &[Figure]) -> String {
    let header = ["figure", "ours", "beside", "theirs", "ratio", "goal"].map(str::to_owned);
    let rows: Vec<[String; 6]> = std::iter::once(header)
        .chain(figures.iter().map(|figure| {
            [
                figure.name.clone(),
                quantity(figure.ours, figure.unit),
                figure.reference.to_owned(),
                quantity(figure.theirs, figure.unit),
                format!("{:.2}", figure.ratio),
                figure.goal(),
            ]
        }))
        .collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or(0)
    };
    let widths: [usize; 6] = std::array::from_fn(width);
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<_> = row
            .iter()
            .zip(widths)
            .enumerate()
            .map(|(column, (cell, width))| match column {
                1 | 3 | 4 => format!("{cell:>width$}"),
                _ => format!("{cell:<width$}"),
            })
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// A value with its unit, with a prefix where it is large.
#[must_use]
pub(crate) fn quantity(value: f64, unit: &str) -> String {
    let larger = match unit {
        "µs" => Some("ms"),
        "ms" => Some("s"),
        _ => None,
    };
    if let (Some(larger), 1e4..) = (larger, value) {
        return quantity(value / 1e3, larger);
    }
    match value {
        value if value >= 1e6 => format!("{:.2} M{unit}", value / 1e6),
        value if value >= 1e4 => format!("{:.1} k{unit}", value / 1e3),
        value if value >= 100.0 => format!("{value:.0} {unit}"),
        value => format!("{value:.2} {unit}"),
    }
}

fn four_digits(value: f64) -> f64 {
    // By way of text: dividing by a power of ten would leave 0.30000000000000004.
    format!("{value:.3e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_above_one_is_better_for_us_whatever_is_measured() {
        let rate =
            Figure::of_pairs("a", "op/s", Better::More, &[20.0], ("floor", &[10.0])).unwrap();
        assert_eq!(rate.ratio, 2.0);
        let time = Figure::of_pairs("a", "µs", Better::Less, &[20.0], ("floor", &[10.0])).unwrap();
        assert_eq!(time.ratio, 0.5);
    }

    #[test]
    fn a_line_of_json_has_the_agreed_names() {
        let ours = [1_234_567.0];
        let figure = Figure::of_pairs(
            "events.publish.tasks64",
            "op/s",
            Better::More,
            &ours,
            ("floor", &[1_000_000.0]),
        );
        assert_eq!(
            figure.unwrap().at_least(0.7).json().unwrap(),
            r#"{"name":"events.publish.tasks64","unit":"op/s","ours":1235000.0,"reference":"floor","theirs":1000000.0,"ratio":1.235}"#
        );
    }

    #[test]
    fn long_times_have_a_larger_unit() {
        assert_eq!(quantity(950.0, "µs"), "950 µs");
        assert_eq!(quantity(29_900.0, "µs"), "29.90 ms");
        assert_eq!(quantity(10_700.0, "ms"), "10.70 s");
        assert_eq!(quantity(10_700.0, "B"), "10.7 kB");
    }

    #[test]
    fn no_number_is_an_error_and_not_a_figure() {
        let figure = Figure::of_pairs("a", "op/s", Better::More, &[0.0], ("floor", &[0.0]));
        assert!(figure.unwrap().json().is_err());
    }
}
