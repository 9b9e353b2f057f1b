//! What the differential tests share: a server and the pure functions are given the same random steps, and must
//! answer the same.

use std::fmt::{Debug, Display};
use std::time::Duration;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use quorate::{CallOptions, Fleet, Key, TestClock};
use quorate_testing::harness::{elapse_on_server, namespace};
use quorate_testing::servers::{ServerKind, shared};

/// One home under test.
pub(crate) struct Home {
    pub(crate) fleet: Fleet,
    pub(crate) clock: TestClock,
    round: usize,
}

impl Home {
    async fn on(url: &str) -> Self {
        let clock = TestClock::new();
        let builder = Fleet::builder().url(url).namespace(namespace());
        let fleet = builder.test_clock(clock.clone()).build().await.unwrap();
        Self {
            fleet,
            clock,
            round: 0,
        }
    }

    /// A name of this round's own.
    pub(crate) fn name(&self, name: impl Display) -> String {
        format!("{name}-{}", self.round)
    }

    /// The key of such a name.
    pub(crate) fn key(&self, name: &str) -> Key {
        Key::new(self.fleet.namespace(), &self.name(name)).unwrap()
    }

    /// Time passes.
    pub(crate) fn elapse(&self, time: Duration) -> String {
        self.clock.advance(time);
        "elapsed".to_owned()
    }

    /// The same where a server's own clock ends keys.
    pub(crate) async fn elapse_with_keys(&self, time: Duration) -> String {
        if self.fleet.redis().is_err() {
            return self.elapse(time);
        }
        elapse_on_server(&self.fleet, &self.clock, time).await;
        "elapsed".to_owned()
    }

    /// Somebody sets the clock back.
    pub(crate) fn set_back(&self, time: Duration) -> String {
        self.clock.set_back(time);
        "set back".to_owned()
    }
}

/// Without fractions of half an hour.
pub(crate) fn halves(time: Duration) -> String {
    let halves = (time.as_secs_f64() / 1800.0).round();
    format!("{halves} halves of an hour")
}

pub(crate) fn options() -> CallOptions {
    CallOptions::until(tokio::time::Instant::now() + Duration::from_secs(5))
}

/// What is asked of a home, and what was learned from its answers in one round.
pub(crate) trait Subject: Default {
    type Step: Debug;

    /// What steps name, the same for both homes, such as leases.
    type Names;

    fn names() -> Self::Names;

    /// What the home answers, without what may differ between homes.
    async fn answer(&mut self, home: &Home, step: &Self::Step, names: &Self::Names) -> String;
}

/// Gives the same steps to a server of this kind and to the home in process, in so many rounds.
pub(crate) async fn agree<S: Subject>(
    kind: ServerKind,
    rounds: usize,
    steps: impl Strategy<Value = Vec<S::Step>>,
) {
    let server = shared(kind).await.unwrap();
    let mut here = Home::on("memory:").await;
    let mut there = Home::on(server.url()).await;
    let (mut runner, rounds) = cases(rounds);
    for round in 0..rounds {
        let steps = steps.new_tree(&mut runner).unwrap().current();
        let names = S::names();
        (here.round, there.round) = (round, round);
        let (mut expecting, mut answering) = (S::default(), S::default());
        for (number, step) in steps.iter().enumerate() {
            let expected = expecting.answer(&here, step, &names).await;
            let answer = answering.answer(&there, step, &names).await;
            assert_eq!(
                answer, expected,
                "round {round}, step {number} of {steps:#?}"
            );
        }
    }
}

/// A change is judged by the same sequences each time; `cargo xtask deep agreement` looks for new ones, and many.
fn cases(rounds: usize) -> (TestRunner, usize) {
    match std::env::var("QUORATE_AGREEMENT_ROUNDS") {
        Ok(many) => {
            let many = many.parse().expect("QUORATE_AGREEMENT_ROUNDS is a number");
            (TestRunner::default(), many)
        }
        Err(_) => (TestRunner::deterministic(), rounds),
    }
}
