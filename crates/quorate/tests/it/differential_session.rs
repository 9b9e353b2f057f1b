//! The scripts of sessions do what the pure functions do.

use std::time::Duration;

use proptest::prelude::*;
use quorate::session::{Change, Claim, Found, IdDigest, NewSession, RevokedWhy, Rotated, Serial};
use quorate_testing::servers::ServerKind;

use crate::agreement::{Home, Subject, agree, options};

/// Steps are so long that the real time which passes on the server between two of them is nothing.
const HOUR: Duration = Duration::from_secs(3600);

#[derive(Clone, Debug)]
enum Step {
    Create {
        serial: u8,
        digest: u8,
        hours: u32,
        absolute: Option<u32>,
        most: usize,
        fields: Vec<Change>,
    },
    Get(u8, Option<u8>),
    Touch(u8, Option<u8>, Option<u32>),
    Update(u8, Option<u8>, Vec<Change>),
    Rotate(u8, Option<u8>, u8, u32),
    Delete(u8, Option<u8>, Option<u64>),
    Clear(Option<u8>),
    List,
    Elapse {
        halves: u32,
    },
}

fn set() -> impl Strategy<Value = Change> {
    let value = proptest::collection::vec(any::<u8>(), 0..4);
    ("[a-c]", value, proptest::option::of(1..4_u32)).prop_map(|(name, value, hours)| Change::Set {
        name,
        value: value.into(),
        ttl: hours.map(|hours| HOUR * hours),
    })
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => set(),
        1 => "[a-c]".prop_map(|name| Change::Remove { name }),
        2 => "[a-c]".prop_map(|name| Change::Take { name }),
        // Two of them are too much.
        1 => "[a-c]".prop_map(|name| Change::Set { name, value: vec![0; 40_000].into(), ttl: None }),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let serial = || 0..4_u8;
    let digest = || proptest::option::weighted(0.8, 0..4_u8);
    let step = prop_oneof![
        5 => (
            serial(),
            0..4_u8,
            1..5_u32,
            proptest::option::of(1..7_u32),
            1..5_usize,
            proptest::collection::vec(set(), 0..3),
        )
            .prop_map(|(serial, digest, hours, absolute, most, fields)| Step::Create {
                serial, digest, hours, absolute, most, fields,
            }),
        3 => (serial(), digest()).prop_map(|(serial, digest)| Step::Get(serial, digest)),
        5 => (serial(), digest(), proptest::option::weighted(0.3, 1..5_u32))
            .prop_map(|(serial, digest, hours)| Step::Touch(serial, digest, hours)),
        5 => (serial(), digest(), proptest::collection::vec(change(), 1..4))
            .prop_map(|(serial, digest, changes)| Step::Update(serial, digest, changes)),
        4 => (serial(), digest(), 0..4_u8, 0..3_u32)
            .prop_map(|(serial, digest, new, hours)| Step::Rotate(serial, digest, new, hours)),
        1 => (serial(), digest(), proptest::option::of(0..3_u64))
            .prop_map(|(serial, digest, changes)| Step::Delete(serial, digest, changes)),
        1 => proptest::option::of(serial()).prop_map(Step::Clear),
        2 => Just(Step::List),
        // Odd halves: a moment never falls on an end, where microseconds would decide.
        2 => (0..3_u32).prop_map(|halves| Step::Elapse { halves: 2 * halves + 1 }),
    ];
    proptest::collection::vec(step, 1..60)
}

fn serial(number: u8) -> Serial {
    Serial::from_bytes([number; 16])
}

fn digest(number: u8) -> IdDigest {
    IdDigest::from_bytes([number + 1; 32])
}

fn claim(number: u8, by: Option<u8>) -> Claim {
    Claim {
        serial: serial(number),
        digest: by.map(digest),
    }
}

fn halves(time: Duration) -> f64 {
    (time.as_secs_f64() / 1800.0).round()
}

/// Without moments, and fractions of an hour.
fn shown(found: &Found) -> String {
    let (now, record) = (found.now, &found.record);
    let fields: Vec<_> = record
        .fields
        .iter()
        .filter(|(_, field)| field.ends.is_none_or(|ends| ends > now))
        .map(|(name, field)| {
            let ends = field.ends.map(|ends| halves(ends.since(now)));
            format!("{name} {} {ends:?}", field.value.len())
        })
        .collect();
    format!(
        "{:?}, seen {}, ends {}, absolute {:?}, ttl {:?}, {} changes, {:?}, before {:?}, {fields:?}",
        halves(now.since(record.created)),
        halves(now.since(record.seen)),
        halves(record.ends.since(now)),
        record.absolute.map(|absolute| halves(absolute.since(now))),
        record.ttl,
        record.changes,
        record.digest.as_bytes()[0],
        record
            .before
            .map(|(digest, until)| (digest.as_bytes()[0], halves(until.since(now)))),
    )
}

#[derive(Default)]
struct Sessions;

impl Subject for Sessions {
    type Step = Step;
    type Names = ();

    fn names() {}

    async fn answer(&mut self, home: &Home, step: &Step, (): &()) -> String {
        let (port, key) = (home.fleet.session_port(), home.key("unit"));
        let answer = match step {
            Step::Create {
                serial: number,
                digest: by,
                hours,
                absolute,
                most,
                fields,
            } => {
                let new = NewSession {
                    serial: serial(*number),
                    digest: digest(*by),
                    ttl: HOUR * *hours,
                    absolute: absolute.map(|hours| HOUR * hours),
                    most: *most,
                    user: Some("alice".to_owned()),
                    device: None,
                    fields: fields.clone(),
                };
                let made = port.create(&key, &new, options()).await.unwrap();
                format!("{:?} {}", made.evicted, halves(made.ends.since(made.now)))
            }
            Step::Get(number, by) => {
                let found = port
                    .get(&key, &claim(*number, *by), options())
                    .await
                    .unwrap();
                format!("{:?}", found.as_ref().map(shown))
            }
            Step::Touch(number, by, hours) => {
                let (claim, ttl) = (claim(*number, *by), hours.map(|hours| HOUR * hours));
                let found = port.touch(&key, &claim, ttl, options()).await.unwrap();
                format!("{:?}", found.as_ref().map(shown))
            }
            Step::Update(number, by, changes) => {
                let claim = claim(*number, *by);
                format!(
                    "{:?}",
                    port.update(&key, &claim, changes, options()).await.unwrap()
                )
            }
            Step::Rotate(number, by, new, hours) => {
                let (claim, overlap) = (claim(*number, *by), HOUR * *hours);
                let rotated = port.rotate(&key, &claim, digest(*new), overlap, options());
                match rotated.await.unwrap() {
                    Rotated::Done { .. } => "done".to_owned(),
                    other => format!("{other:?}"),
                }
            }
            Step::Delete(number, by, changes) => {
                let (claim, why) = (claim(*number, *by), RevokedWhy::Deleted);
                let deleted = port.delete(&key, &claim, *changes, why, options());
                format!("{:?}", deleted.await.unwrap())
            }
            Step::Clear(keep) => {
                let gone = port.clear(&key, keep.map(serial), options());
                let mut gone = gone.await.unwrap();
                gone.sort_unstable();
                format!("{gone:?}")
            }
            Step::List => String::new(),
            Step::Elapse { halves } => home.elapse(HOUR / 2 * *halves),
        };
        let mut listed = port.list(&key, options()).await.unwrap();
        listed.sort_by_key(|(serial, _)| *serial);
        let count = port.count(&key, options()).await.unwrap();
        let listed: Vec<_> = listed
            .iter()
            .map(|(serial, found)| format!("{serial}: {}", shown(found)))
            .collect();
        format!("{answer}; {count}: {listed:#?}")
    }
}

const ROUNDS: usize = 40;

#[tokio::test]
async fn session_scripts_agree_on_redis() {
    agree::<Sessions>(ServerKind::Redis, ROUNDS, steps()).await;
}

#[tokio::test]
async fn session_scripts_agree_on_valkey() {
    agree::<Sessions>(ServerKind::Valkey, ROUNDS, steps()).await;
}

#[tokio::test]
async fn session_scripts_agree_on_a_cluster() {
    agree::<Sessions>(ServerKind::RedisCluster, ROUNDS, steps()).await;
}
