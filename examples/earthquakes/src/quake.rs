//! What is published.

use anyhow::{Context, Result};
use quorate::TopicSpec;
use serde::{Deserialize, Serialize};

/// Where earthquakes are published.
pub const EARTHQUAKES: TopicSpec<Report> = TopicSpec::new("earthquakes");

/// The week, one earthquake a line: a public feed of the U.S. Geological Survey.
const WEEK: &str = include_str!("../data/earthquakes.jsonl");

/// An earthquake.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Quake {
    /// The network's name for it.
    pub id: String,
    /// When, in milliseconds since 1970.
    pub time: u64,
    /// Magnitude; below zero for the smallest that are measured.
    #[serde(rename = "mag")]
    pub magnitude: f64,
    /// Where, for people.
    pub place: String,
    /// Degrees east.
    pub lon: f64,
    /// Degrees north.
    pub lat: f64,
    /// Kilometres below sea level.
    pub depth: f64,
}

/// An earthquake as it is published: with its number, so that whoever watches can tell that none is
/// missing without trusting anybody.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Report {
    /// From 1.
    pub number: usize,
    /// How many there will be.
    pub of: usize,
    /// What happened.
    #[serde(flatten)]
    pub quake: Quake,
}

impl Report {
    pub(crate) fn new(number: usize, of: usize, quake: Quake) -> Self {
        Self { number, of, quake }
    }
}

/// All earthquakes of the week, oldest first.
///
/// # Errors
/// If a line of the data is not an earthquake.
pub fn week() -> Result<Vec<Quake>> {
    WEEK.lines()
        .enumerate()
        .map(|(at, line)| {
            serde_json::from_str(line).with_context(|| format!("line {} of the data", at + 1))
        })
        .collect()
}
