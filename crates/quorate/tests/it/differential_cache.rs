//! The cache's scripts do what the pure functions do.

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use quorate::cache::{CacheKey, FailedLoad, Fence, LoadId, Put, Stored, Take, Taken, Wish};
use quorate::{CacheSpec, Codec, Micros};
use quorate_testing::servers::ServerKind;

use crate::agreement::{Home, Subject, agree, halves, options};

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

fn shown(stored: Option<Stored>) -> String {
    let Some(stored) = stored else {
        return "nothing".to_owned();
    };
    // A counter, and what is as fresh as it is kept, may say nothing of the time.
    format!("{:?} with {:?}", stored.value, stored.tags)
}

/// Nothing is learned from its answers.
#[derive(Default)]
struct Caches;

impl Subject for Caches {
    type Step = Step;
    type Names = Vec<LoadId>;

    fn names() -> Self::Names {
        (0..3).map(|_| LoadId::random()).collect()
    }

    async fn answer(&mut self, home: &Home, step: &Step, loads: &Self::Names) -> String {
        let port = home.fleet.cache_port();
        let entry = |key: usize| entry_key(home, key);
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
                let kept = port.put(&entry(*key), &put, fence, options()).await;
                format!("kept {}", kept.unwrap())
            }
            Step::Take {
                key,
                load,
                minutes,
                wish,
            } => {
                let keys = [entry(*key)];
                let there = port.get(&keys[0], options()).await.unwrap();
                let wish = match (wish, there) {
                    (Wish::Early(THIS), Some(there)) => Wish::Early(there.stored),
                    _ => *wish,
                };
                let take = Take {
                    id: loads[*load],
                    lease: HOUR / 60 * *minutes,
                    wish,
                };
                match port.take(&keys, take, options()).await.unwrap().remove(0) {
                    Taken::Fresh(stored) => format!("fresh {}", shown(Some(stored))),
                    Taken::Throttled(stored) => format!("throttled {}", shown(Some(stored))),
                    Taken::Failed(message) => format!("failed: {message}"),
                    Taken::Load(old) => format!("load, {}", shown(old)),
                    Taken::Wait(old, left) => format!("wait {}, {}", halves(left), shown(old)),
                }
            }
            Step::Renew { key, load, minutes } => {
                let (keys, lease) = ([entry(*key)], HOUR / 60 * *minutes);
                let renewed = port.renew(&keys, loads[*load], lease, options()).await;
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
                let keys = [entry(*key)];
                let found = port.fail(&keys, loads[*load], &failed, options()).await;
                format!("failed, {}", shown(found.unwrap().remove(0)))
            }
            Step::GiveUp { key, load } => {
                let keys = [entry(*key)];
                let given = port.give_up(&keys, loads[*load], options()).await.unwrap();
                format!("given up {given:?}")
            }
            Step::EndLoad(key) => {
                let ended = port.end_loads(&[entry(*key)], options()).await;
                format!("ended {}", ended.unwrap())
            }
            Step::Remove(key) => {
                let removed = port.remove(&[entry(*key)], options()).await.unwrap();
                format!("removed {removed}")
            }
            Step::Expire { key, hours } => {
                let key = entry(*key);
                let moved = port.expire(&key, HOUR * *hours, options()).await.unwrap();
                format!("moved {moved}")
            }
            Step::Add { key, by } => {
                let added = port.add(&entry(*key), *by, HOUR, options()).await;
                format!("added {:?}", added.unwrap())
            }
            Step::Invalidate(tags) => {
                let namespace = home.fleet.namespace();
                port.invalidate(namespace, &names(tags), options())
                    .await
                    .unwrap();
                "invalidated".to_owned()
            }
            Step::Get => {
                let keys: Vec<_> = (0..3).map(entry).collect();
                let mut seen = Vec::new();
                for (key, many) in keys
                    .iter()
                    .zip(port.get_many(&keys, options()).await.unwrap())
                {
                    let one = shown(port.get(key, options()).await.unwrap());
                    assert_eq!(one, shown(many), "alone, and with others");
                    let left = port.remaining(key, options()).await.unwrap();
                    seen.push(format!("{one} for {:?}", left.map(halves)));
                }
                seen.join("; ")
            }
            Step::Elapse { halves } => home.elapse_with_keys(HOUR / 2 * *halves).await,
        }
    }
}

fn entry_key(home: &Home, key: usize) -> CacheKey {
    let cache = home.fleet.cache(&BYTES);
    cache.entry_key(&home.name(key)).unwrap()
}

fn names(tags: &[u8]) -> Vec<String> {
    tags.iter().map(|tag| format!("t{tag}")).collect()
}

async fn cache_scripts_agree_with_the_pure_functions(kind: ServerKind) {
    agree::<Caches>(kind, SEQUENCES, steps()).await;
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
