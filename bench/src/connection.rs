//! `connection`: how many commands one connection carries, and what each costs.

use anyhow::Result;

use crate::context::{Context, Flavour};
use crate::measure::{Contender, Window};
use crate::peers::{FloorGet, FredGet, LinkGet, Place, RedisGet, RustisGet, VALUE_LENGTH};
use crate::report::{Better, Bound, Figure, compare};

const TASKS: [usize; 3] = [1, 64, 512];
const KEY: &str = "bench:connection";

/// Everybody who reads, ours first.
const CONTENDERS: usize = 5;

/// What the ratio to the floor ought to be.
const LEAST_OF_FLOOR: f64 = 0.7;
/// At 512 tasks on several threads, per second.
const LEAST_RATE: f64 = 1e6;
/// CPU per command, in microseconds.
const MOST_CPU: f64 = 0.8;

/// Measures.
///
/// # Errors
/// If anybody fails.
pub(crate) fn run(context: &Context) -> Result<Vec<Figure>> {
    let value = "x".repeat(VALUE_LENGTH);
    context.server.command_blocking(&["SET", KEY, &value])?;
    let mut figures = Vec::new();
    let cases: Vec<_> = Flavour::ALL
        .into_iter()
        .flat_map(|flavour| TASKS.map(|tasks| (flavour, tasks)))
        .map(|(flavour, tasks)| (flavour, tasks, format!("{}.tasks{tasks}", flavour.name())))
        .filter(|(_, _, case)| context.wants(&format!("connection.get.{case}")))
        .collect();
    context.expect(cases.len(), CONTENDERS);
    for (flavour, tasks, case) in cases {
        // A runtime of its own for each case: nobody's background tasks carry over.
        let measured = flavour.runtime()?.block_on(measure(context, &case, tasks));
        figures.extend(with_goals(measured?, flavour, tasks));
    }
    Ok(figures)
}

async fn measure(context: &Context, case: &str, tasks: usize) -> Result<Vec<Figure>> {
    let place = Place {
        port: context.server.port(),
        key: KEY.into(),
    };
    let contenders = vec![
        Contender::new("quorate", LinkGet::connect(&place).await?),
        Contender::new("floor", FloorGet::connect(&place).await?),
        Contender::new("redis", RedisGet::connect(&place).await?),
        Contender::new("fred", FredGet::connect(&place).await?),
        Contender::new("rustis", RustisGet::connect(&place).await?),
    ];
    debug_assert_eq!(contenders.len(), CONTENDERS);
    let name = format!("connection.get.{case}");
    let series = context.rounds(&name, contenders, tasks, 1).await?;
    let mut figures = compare(&name, "op/s", Better::More, &series, Window::rate)?;
    let name = format!("connection.cpu.{case}");
    let cpu = Window::cpu_micros;
    figures.extend(compare(&name, "µs/op", Better::Less, &series, cpu)?);
    Ok(figures)
}

fn with_goals(figures: Vec<Figure>, flavour: Flavour, tasks: usize) -> Vec<Figure> {
    let many = tasks == 512;
    let goal = |figure: Figure| {
        let floor = figure.reference == "floor";
        let rate = figure.unit == "op/s";
        match (rate, floor) {
            (true, true) if many && flavour == Flavour::MultiThread => figure
                .at_least(LEAST_OF_FLOOR)
                .within(Bound::AtLeast(LEAST_RATE)),
            (true, true) => figure.at_least(LEAST_OF_FLOOR),
            (true, false) if tasks == 1 => figure.at_least(1.0),
            (false, true) if many => figure.within(Bound::AtMost(MOST_CPU)),
            _ => figure,
        }
    };
    figures.into_iter().map(goal).collect()
}
