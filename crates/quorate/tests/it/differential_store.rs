//! The store's scripts and commands do what the pure function does.

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use quorate::store::{Expiry, Once, Remaining, StoreKey, StorePort, When, Write, WriteOptions};
use quorate::{Codec, FencingToken, StoreSpec};
use quorate_testing::servers::ServerKind;

use crate::agreement::{Home, Subject, agree, halves, options};

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
        token: Option<u64>,
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
        8 => (0..2_usize, write(), once, proptest::option::weighted(0.3, 8..12_u64))
            .prop_map(|(key, write, once, token)| Step::Write { key, write, once, token }),
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

/// Nothing is learned from its answers.
#[derive(Default)]
struct Stores;

impl Subject for Stores {
    type Step = Step;
    type Names = ();

    fn names() {}

    async fn answer(&mut self, home: &Home, step: &Step, (): &()) -> String {
        let port = home.fleet.store_port();
        match step {
            Step::Write {
                key,
                write,
                once,
                token,
            } => {
                let once = once.map(|(id, hours)| Once {
                    id: id.to_string(),
                    fingerprint: write.fingerprint(),
                    remember: HOUR * hours,
                });
                let key = entry_key(home, *key);
                let token = token.map(FencingToken::new);
                let write_options = WriteOptions::new(options()).once(once).token(token);
                let (written, _) = port.write(&key, write, write_options).await.unwrap();
                format!("{written:?}, {}", look(&*port, &key).await)
            }
            Step::Look(key) => look(&*port, &entry_key(home, *key)).await,
            Step::SetMany(entries, hours) => {
                let entries = entries.iter();
                let entries: Vec<_> = entries
                    .map(|(key, value)| (entry_key(home, *key), value.clone()))
                    .collect();
                let ttl = hours.map(|hours| HOUR * hours);
                port.set_many(&entries, ttl, options()).await.unwrap();
                "set".to_owned()
            }
            Step::Elapse { halves } => home.elapse_with_keys(HOUR / 2 * *halves).await,
        }
    }
}

fn entry_key(home: &Home, key: usize) -> StoreKey {
    let store = home.fleet.store(&BYTES);
    store.entry_key(&home.name(key)).unwrap()
}

/// The value and its end, without fractions of an hour.
async fn look(port: &dyn StorePort, key: &StoreKey) -> String {
    let value = port.get(key, options()).await.unwrap();
    let left = match port.remaining(key, options()).await.unwrap() {
        None => "no end, no entry".to_owned(),
        Some(Remaining::Forever) => "no end".to_owned(),
        Some(Remaining::For(left)) => halves(left),
    };
    format!("{value:?} for {left}")
}

async fn store_scripts_agree_with_the_pure_function(kind: ServerKind) {
    agree::<Stores>(kind, SEQUENCES, steps()).await;
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
