//! The store's scripts and commands do what the pure function does.

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use quorate::store::{Expiry, Once, Remaining, StorePort, When, Write, WriteOptions};
use quorate::{CallOptions, Codec, Fleet, StoreSpec, TestClock};
use quorate_testing::harness::{elapse_on_server, namespace};
use quorate_testing::servers::{ServerKind, shared};

const SEQUENCES: usize = 20;
/// Steps are so long that the real time which passes on the server between two of them is nothing.
const HOUR: Duration = Duration::from_secs(3600);

const BYTES: StoreSpec<str, Bytes> = StoreSpec::with_codec("bytes", Codec::bytes());

#[derive(Clone, Debug)]
enum Step {
    Write {
        key: usize,
        write: Write,
        /// An id of a few, and how many hours it is remembered.
        once: Option<(u8, u32)>,
    },
    Look(usize),
    SetMany(Vec<(usize, Bytes)>, Option<u32>),
    Elapse {
        halves: u32,
    },
}

fn value() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        3 => (-3_i64..4).prop_map(|number| number.to_string().into()),
        1 => Just(i64::MAX.to_string().into()),
        1 => prop_oneof![Just("seven"), Just(""), Just("07"), Just("+1"), Just("-0")]
            .prop_map(Bytes::from),
    ]
}

fn expiry() -> impl Strategy<Value = Expiry> {
    prop_oneof![
        Just(Expiry::Keep),
        Just(Expiry::Never),
        (1..5_u32).prop_map(|hours| Expiry::After(HOUR * hours)),
        (1..5_u32).prop_map(|hours| Expiry::AfterIfNew(HOUR * hours)),
    ]
}

fn write() -> impl Strategy<Value = Write> {
    let when = || {
        prop_oneof![
            Just(When::Always),
            Just(When::Absent),
            value().prop_map(When::Equals)
        ]
    };
    prop_oneof![
        3 => (value(), expiry(), when())
            .prop_map(|(value, expiry, when)| Write::Set { value, expiry, when }),
        1 => when().prop_map(|when| Write::Delete { when }),
        3 => (-3_i64..4, expiry()).prop_map(|(by, expiry)| Write::Add { by, expiry }),
        1 => prop_oneof![Just(Expiry::Never), (1..5_u32).prop_map(|hours| Expiry::After(HOUR * hours))]
            .prop_map(|expiry| Write::Expire { expiry }),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let once = proptest::option::weighted(0.4, (0..3_u8, 1..4_u32));
    let step = prop_oneof![
        8 => (0..2_usize, write(), once)
            .prop_map(|(key, write, once)| Step::Write { key, write, once }),
        1 => (0..2_usize).prop_map(Step::Look),
        1 => (
            proptest::collection::vec((0..2_usize, value()), 1..3),
            proptest::option::of(1..4_u32),
        ).prop_map(|(entries, hours)| Step::SetMany(entries, hours)),
        // Odd halves: a moment never falls on an end, where milliseconds would decide.
        1 => (0..3_u32).prop_map(|halves| Step::Elapse { halves: 2 * halves + 1 }),
    ];
    proptest::collection::vec(step, 1..40)
}

/// One home under test.
struct Subject {
    fleet: Fleet,
    clock: TestClock,
}

impl Subject {
    async fn on(url: &str) -> Self {
        let clock = TestClock::new();
        let builder = Fleet::builder().url(url).namespace(namespace());
        let fleet = builder.test_clock(clock.clone()).build().await.unwrap();
        Self { fleet, clock }
    }

    /// What the home answers, without fractions of an hour.
    async fn answer(&self, step: &Step, round: usize) -> String {
        let port = self.fleet.store_port();
        let store = self.fleet.store(&BYTES);
        let key = |key: usize| store.entry_key(&format!("{round}:{key}")).unwrap();
        let call = CallOptions::until(tokio::time::Instant::now() + Duration::from_secs(5));
        match step {
            Step::Write {
                key: name,
                write,
                once,
            } => {
                let once = once.map(|(id, hours)| Once {
                    id: id.to_string(),
                    fingerprint: write.fingerprint(),
                    remember: HOUR * hours,
                });
                let options = WriteOptions::new(call).once(once);
                let (written, _) = port.write(&key(*name), write, options).await.unwrap();
                format!("{written:?}, {}", self.look(&*port, *name, round).await)
            }
            Step::Look(name) => self.look(&*port, *name, round).await,
            Step::SetMany(entries, hours) => {
                let entries: Vec<_> = entries
                    .iter()
                    .map(|(name, value)| (key(*name), value.clone()))
                    .collect();
                let ttl = hours.map(|hours| HOUR * hours);
                port.set_many(&entries, ttl, call).await.unwrap();
                "set".to_owned()
            }
            Step::Elapse { halves } => {
                let time = HOUR / 2 * *halves;
                if self.fleet.redis().is_ok() {
                    elapse_on_server(&self.fleet, &self.clock, time).await;
                } else {
                    self.clock.advance(time);
                }
                "elapsed".to_owned()
            }
        }
    }

    async fn look(&self, port: &dyn StorePort, name: usize, round: usize) -> String {
        let key = self
            .fleet
            .store(&BYTES)
            .entry_key(&format!("{round}:{name}"))
            .unwrap();
        let call = CallOptions::until(tokio::time::Instant::now() + Duration::from_secs(5));
        let value = port.get(&key, call).await.unwrap();
        let left = match port.remaining(&key, call).await.unwrap() {
            None => "no end, no entry".to_owned(),
            Some(Remaining::Forever) => "no end".to_owned(),
            Some(Remaining::For(left)) => {
                format!(
                    "{} halves of an hour",
                    (left.as_secs_f64() / 1800.0).round()
                )
            }
        };
        format!("{value:?} for {left}")
    }
}

async fn store_scripts_agree_with_the_pure_function(kind: ServerKind) {
    let server = shared(kind).await.unwrap();
    let here = Subject::on("memory:").await;
    let there = Subject::on(server.url()).await;
    let mut runner = TestRunner::deterministic();
    for round in 0..SEQUENCES {
        let steps = steps().new_tree(&mut runner).unwrap().current();
        for (number, step) in steps.iter().enumerate() {
            let expected = here.answer(step, round).await;
            let answer = there.answer(step, round).await;
            assert_eq!(answer, expected, "step {number} of {steps:#?}");
        }
    }
}

#[tokio::test]
async fn store_scripts_agree_on_redis() {
    store_scripts_agree_with_the_pure_function(ServerKind::Redis).await;
}

#[tokio::test]
async fn store_scripts_agree_on_valkey() {
    store_scripts_agree_with_the_pure_function(ServerKind::Valkey).await;
}

#[tokio::test]
async fn store_scripts_agree_on_a_cluster() {
    store_scripts_agree_with_the_pure_function(ServerKind::RedisCluster).await;
}
