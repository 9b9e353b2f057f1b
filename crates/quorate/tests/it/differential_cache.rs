//! The cache's scripts do what the pure functions do.

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use quorate::cache::{CacheKey, FailedLoad, Fence, LoadId, Put, Stored, Take, Taken, Wish};
use quorate::{CacheSpec, CallOptions, Codec, Fleet, Micros, TestClock};
use quorate_testing::harness::{elapse_on_server, namespace};
use quorate_testing::servers::{ServerKind, shared};

const SEQUENCES: usize = 30;
/// Steps are so long that the real time which passes on the server between two of them is nothing.
const HOUR: Duration = Duration::from_secs(3600);

/// Stands for when what is there was stored.
const THIS: Micros = Micros::new(0);

/// A time when nothing was.
const ANOTHER: Micros = Micros::new(1);

const BYTES: CacheSpec<str, Bytes> = CacheSpec::with_codec("bytes", Codec::bytes());

#[derive(Clone, Debug)]
enum Step {
    Put {
        key: usize,
        value: u8,
        fresh: u32,
        more: u32,
        tags: Vec<u8>,
        /// Always, if absent, or of one of a few loads.
        fence: u8,
    },
    Take {
        key: usize,
        load: usize,
        minutes: u32,
        wish: Wish,
    },
    Renew {
        key: usize,
        load: usize,
        minutes: u32,
    },
    Fail {
        key: usize,
        load: usize,
        throttle: u32,
        told: u32,
        tags: Vec<u8>,
    },
    GiveUp {
        key: usize,
        load: usize,
    },
    EndLoad(usize),
    Remove(usize),
    Expire {
        key: usize,
        hours: u32,
    },
    Add {
        key: usize,
        by: i64,
    },
    Invalidate(Vec<u8>),
    Get,
    Elapse {
        halves: u32,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = || 0..3_usize;
    let tags = || proptest::collection::btree_set(0..3_u8, 0..3);
    let wish = prop_oneof![
        Just(Wish::Value),
        Just(Wish::Early(THIS)),
        Just(Wish::Early(ANOTHER)),
        Just(Wish::Anew),
    ];
    let step = prop_oneof![
        5 => (key(), any::<u8>(), 1..4_u32, 0..3_u32, tags(), 0..5_u8).prop_map(
            |(key, value, fresh, more, tags, fence)| Step::Put {
                key, value, fresh, more, tags: tags.into_iter().collect(), fence,
            }
        ),
        6 => (key(), 0..3_usize, 1..60_u32, wish)
            .prop_map(|(key, load, minutes, wish)| Step::Take { key, load, minutes, wish }),
        1 => (key(), 0..3_usize, 1..60_u32)
            .prop_map(|(key, load, minutes)| Step::Renew { key, load, minutes }),
        3 => (key(), 0..3_usize, 0..3_u32, 0..3_u32, tags()).prop_map(
            |(key, load, throttle, told, tags)| Step::Fail {
                key, load, throttle, told, tags: tags.into_iter().collect(),
            }
        ),
        1 => (key(), 0..3_usize).prop_map(|(key, load)| Step::GiveUp { key, load }),
        1 => key().prop_map(Step::EndLoad),
        1 => key().prop_map(Step::Remove),
        1 => (key(), 1..4_u32).prop_map(|(key, hours)| Step::Expire { key, hours }),
        1 => (key(), -3_i64..4).prop_map(|(key, by)| Step::Add { key, by }),
        2 => tags().prop_map(|tags| Step::Invalidate(tags.into_iter().collect())),
        2 => Just(Step::Get),
        // Odd halves: a moment never falls on an end, where milliseconds would decide.
        1 => (0..2_u32).prop_map(|halves| Step::Elapse { halves: 2 * halves + 1 }),
    ];
    proptest::collection::vec(step, 1..50)
}

/// One home under test.
struct Subject {
    fleet: Fleet,
    clock: TestClock,
}

/// Without fractions of an hour.
fn halves(time: Duration) -> String {
    format!(
        "{} halves of an hour",
        (time.as_secs_f64() / 1800.0).round()
    )
}

fn shown(stored: Option<Stored>) -> String {
    let Some(stored) = stored else {
        return "nothing".to_owned();
    };
    // A counter, and what is as fresh as it is kept, may say nothing of the time.
    format!("{:?} with {:?}", stored.value, stored.tags)
}

impl Subject {
    async fn on(url: &str) -> Self {
        let clock = TestClock::new();
        let builder = Fleet::builder().url(url).namespace(namespace());
        let fleet = builder.test_clock(clock.clone()).build().await.unwrap();
        Self { fleet, clock }
    }

    fn key(&self, key: usize, round: usize) -> CacheKey {
        let cache = self.fleet.cache(&BYTES);
        cache.entry_key(&format!("{round}:{key}")).unwrap()
    }

    async fn answer(&self, step: &Step, round: usize, loads: &[LoadId]) -> String {
        let port = self.fleet.cache_port();
        let call = CallOptions::until(tokio::time::Instant::now() + Duration::from_secs(5));
        match step {
            Step::Put {
                key,
                value,
                fresh,
                more,
                tags,
                fence,
            } => {
                let put = Put {
                    value: format!("v{value}").into(),
                    fresh: HOUR * *fresh,
                    keep: HOUR * (fresh + more),
                    cost: Duration::from_millis(5),
                    tags: names(tags),
                    is_timed: false,
                };
                let fence = match fence {
                    0 => Fence::Always,
                    1 => Fence::Absent,
                    load => Fence::Load(loads[usize::from(*load) - 2]),
                };
                let kept = port.put(&self.key(*key, round), &put, fence, call).await;
                format!("kept {}", kept.unwrap())
            }
            Step::Take {
                key,
                load,
                minutes,
                wish,
            } => {
                let keys = [self.key(*key, round)];
                let there = port.get(&keys[0], call).await.unwrap();
                let wish = match (wish, there) {
                    (Wish::Early(THIS), Some(there)) => Wish::Early(there.stored),
                    _ => *wish,
                };
                let take = Take {
                    id: loads[*load],
                    lease: HOUR / 60 * *minutes,
                    wish,
                };
                match port.take(&keys, take, call).await.unwrap().remove(0) {
                    Taken::Fresh(stored) => format!("fresh {}", shown(Some(stored))),
                    Taken::Throttled(stored) => format!("throttled {}", shown(Some(stored))),
                    Taken::Failed(message) => format!("failed: {message}"),
                    Taken::Load(old) => format!("load, {}", shown(old)),
                    Taken::Wait(old, left) => format!("wait {}, {}", halves(left), shown(old)),
                }
            }
            Step::Renew { key, load, minutes } => {
                let (keys, lease) = ([self.key(*key, round)], HOUR / 60 * *minutes);
                let renewed = port.renew(&keys, loads[*load], lease, call).await;
                format!("renewed {:?}", renewed.unwrap())
            }
            Step::Fail {
                key,
                load,
                throttle,
                told,
                tags,
            } => {
                let failed = FailedLoad {
                    message: format!("it is away {load}"),
                    tags: names(tags),
                    throttle: HOUR * *throttle,
                    told: HOUR * *told,
                };
                let keys = [self.key(*key, round)];
                let found = port.fail(&keys, loads[*load], &failed, call).await;
                format!("failed, {}", shown(found.unwrap().remove(0)))
            }
            Step::GiveUp { key, load } => {
                let keys = [self.key(*key, round)];
                let given = port.give_up(&keys, loads[*load], call).await.unwrap();
                format!("given up {given:?}")
            }
            Step::EndLoad(key) => {
                let ended = port.end_loads(&[self.key(*key, round)], call).await;
                format!("ended {}", ended.unwrap())
            }
            Step::Remove(key) => {
                let removed = port.remove(&[self.key(*key, round)], call).await.unwrap();
                format!("removed {removed}")
            }
            Step::Expire { key, hours } => {
                let key = self.key(*key, round);
                let moved = port.expire(&key, HOUR * *hours, call).await.unwrap();
                format!("moved {moved}")
            }
            Step::Add { key, by } => {
                let added = port.add(&self.key(*key, round), *by, HOUR, call).await;
                format!("added {:?}", added.unwrap())
            }
            Step::Invalidate(tags) => {
                let namespace = self.fleet.namespace();
                port.invalidate(namespace, &names(tags), call)
                    .await
                    .unwrap();
                "invalidated".to_owned()
            }
            Step::Get => {
                let keys: Vec<_> = (0..3).map(|key| self.key(key, round)).collect();
                let mut seen = Vec::new();
                for (key, many) in keys.iter().zip(port.get_many(&keys, call).await.unwrap()) {
                    let one = shown(port.get(key, call).await.unwrap());
                    assert_eq!(one, shown(many), "alone, and with others");
                    let left = port.remaining(key, call).await.unwrap();
                    seen.push(format!("{one} for {:?}", left.map(halves)));
                }
                seen.join("; ")
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
}

fn names(tags: &[u8]) -> Vec<String> {
    tags.iter().map(|tag| format!("t{tag}")).collect()
}

async fn cache_scripts_agree_with_the_pure_functions(kind: ServerKind) {
    let server = shared(kind).await.unwrap();
    let here = Subject::on("memory:").await;
    let there = Subject::on(server.url()).await;
    let mut runner = TestRunner::deterministic();
    for round in 0..SEQUENCES {
        let steps = steps().new_tree(&mut runner).unwrap().current();
        let loads: Vec<_> = (0..3).map(|_| LoadId::random()).collect();
        for (number, step) in steps.iter().enumerate() {
            let expected = here.answer(step, round, &loads).await;
            let answer = there.answer(step, round, &loads).await;
            assert_eq!(answer, expected, "step {number} of {steps:#?}");
        }
    }
}

#[tokio::test]
async fn cache_scripts_agree_on_redis() {
    cache_scripts_agree_with_the_pure_functions(ServerKind::Redis).await;
}

#[tokio::test]
async fn cache_scripts_agree_on_valkey() {
    cache_scripts_agree_with_the_pure_functions(ServerKind::Valkey).await;
}

#[tokio::test]
async fn cache_scripts_agree_on_a_cluster() {
    cache_scripts_agree_with_the_pure_functions(ServerKind::RedisCluster).await;
}
