//! Invariants of groups, whatever happens to them.

use std::collections::HashSet;

use proptest::prelude::*;

use super::super::super::log::{AppendReply, Keep};
use super::*;

const MINUTE: Duration = Duration::from_secs(60);
const GROUP: &str = "billing";
const LIMIT: PageLimit = PageLimit {
    messages: 4,
    bytes: 1 << 20,
};

fn take_id(number: u64) -> TakeId {
    TakeId::from_bytes(number.to_be_bytes())
}

fn append(log: &mut Log, now: Micros, messages: u32) -> u64 {
    let keep = Keep {
        time: MINUTE * 60,
        messages,
        bytes: 1 << 20,
    };
    let id = u128::from(log.last() + 1).to_be_bytes();
    match log.append(now, id, &[0; 64], keep, None) {
        AppendReply::Appended { position, .. } => position.offset(),
        other => panic!("{other:?}"),
    }
}

fn take(log: &mut Log, now: Micros, id: u64) -> Vec<Handed> {
    let take = Take {
        id: take_id(id),
        limit: LIMIT,
        visibility: MINUTE,
        again: None,
    };
    match log.take(now, GROUP, &take) {
        TakeReply::Taken(taken) => taken.deliveries,
        TakeReply::Deleted => panic!("it was not deleted"),
    }
}

fn settle(log: &mut Log, now: Micros, (id, offset): (u64, u64), settle: Settle) -> bool {
    let settlement = Settlement {
        offset,
        take: take_id(id),
        settle,
    };
    log.settle(now, GROUP, &[settlement], false)[0]
}

#[test]
fn a_stale_delivery_changes_nothing() {
    let mut log = Log::default();
    let now = Micros::new(1_000_000);
    log.join(now, GROUP, From::Beginning);
    append(&mut log, now, 100);
    assert_eq!(take(&mut log, now, 1).len(), 1);
    let later = now.plus(MINUTE);
    let second = take(&mut log, later, 2);
    assert_eq!((second[0].offset, second[0].attempt), (1, 2));
    for verb in [
        Settle::Acknowledge,
        Settle::Extend(MINUTE),
        Settle::Retry(MINUTE),
        Settle::Return,
    ] {
        assert!(!settle(&mut log, later, (1, 1), verb));
    }
    assert!(settle(&mut log, later, (2, 1), Settle::Acknowledge));
    assert!(!settle(&mut log, later, (2, 1), Settle::Acknowledge));
    assert_eq!(log.group_status(GROUP).unwrap().pending, 0);
}

#[test]
fn a_group_that_began_before_the_topic_misses_nothing_and_sees_no_gap() {
    let mut log = Log::default();
    let now = Micros::new(1_000_000);
    assert!(log.join(now, GROUP, From::Latest(0)));
    assert!(!log.join(now, GROUP, From::Latest(0)));
    assert!(take(&mut log, now, 1).is_empty());
    append(&mut log, now, 100);
    let handed = take(&mut log, now, 2);
    assert!(matches!(&handed[..], [one] if one.offset == 1));
}

#[test]
fn a_lost_history_is_one_gap() {
    let mut log = Log::default();
    let now = Micros::new(1_000_000);
    log.join(now, GROUP, From::Beginning);
    append(&mut log, now, 100);
    take(&mut log, now, 1);
    let groups = std::mem::take(&mut log.groups);
    let now = now.plus(MINUTE * 2);
    log = Log::default();
    log.groups = groups;
    append(&mut log, now, 100);
    let handed = take(&mut log, now, 2);
    let offsets: Vec<_> = handed.iter().map(|it| (it.offset, &it.content)).collect();
    assert!(matches!(
        offsets[..],
        [(0, Content::Gone(None)), (1, Content::Message(_))]
    ));
    assert!(take(&mut log, now, 3).is_empty());
}

#[derive(Clone, Debug)]
enum Step {
    Append,
    Take,
    TakeAgain,
    Settle { which: usize, settle: Settle },
    Elapse { seconds: u64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let verbs = prop_oneof![
        4 => Just(Settle::Acknowledge),
        1 => Just(Settle::Extend(MINUTE)),
        1 => Just(Settle::Retry(MINUTE / 2)),
        1 => Just(Settle::Return),
    ];
    let step = prop_oneof![
        4 => Just(Step::Append),
        3 => Just(Step::Take),
        1 => Just(Step::TakeAgain),
        4 => (any::<prop::sample::Index>(), verbs)
            .prop_map(|(which, settle)| Step::Settle { which: which.index(64), settle }),
        1 => (1..90_u64).prop_map(|seconds| Step::Elapse { seconds }),
    ];
    proptest::collection::vec(step, 1..120)
}

proptest! {
    /// Whatever happens, at any time one take at most has a message, and in the end each was
    /// acknowledged or reported missing, once.
    #[test]
    fn every_message_is_acknowledged_or_missing(steps in steps(), kept in 1..12_u32) {
        let mut log = Log::default();
        let mut now = Micros::new(1_000_000_000);
        log.join(now, GROUP, From::Beginning);
        let mut holder: BTreeMap<u64, (u64, Micros)> = BTreeMap::new();
        let mut deliveries: Vec<(u64, u64)> = Vec::new();
        let (mut settled, mut missing) = (HashSet::new(), 0);
        let (mut published, mut id) = (0, 0);
        let drain = [Step::Elapse { seconds: 100 }, Step::Take, Step::Take];
        let end = std::iter::repeat_n(drain, 60).flatten();
        for (number, step) in steps.iter().cloned().chain(end).enumerate() {
            match step {
                Step::Append => published = append(&mut log, now, kept),
                Step::Elapse { seconds } => now = now.plus(Duration::from_secs(seconds)),
                Step::Take => {
                    id += 1;
                    for handed in take(&mut log, now, id) {
                        let before = holder.insert(handed.offset, (id, now.plus(MINUTE)));
                        prop_assert!(before.is_none_or(|(_, ends)| ends <= now));
                        if let Content::Gone(missed) = handed.content {
                            missing += missed.unwrap();
                            let done = settle(&mut log, now, (id, handed.offset), Settle::Acknowledge);
                            prop_assert!(done);
                            holder.remove(&handed.offset);
                        } else if number >= steps.len() {
                            let done = settle(&mut log, now, (id, handed.offset), Settle::Acknowledge);
                            prop_assert!(done && settled.insert(handed.offset));
                            holder.remove(&handed.offset);
                        } else {
                            deliveries.push((id, handed.offset));
                        }
                    }
                }
                Step::TakeAgain => {
                    let take = Take {
                        id: take_id(id),
                        limit: LIMIT,
                        visibility: MINUTE,
                        again: Some(Duration::ZERO),
                    };
                    let held: Vec<u64> = holder
                        .iter()
                        .filter(|(_, held)| **held == (id, now.plus(MINUTE)))
                        .map(|(offset, _)| *offset)
                        .collect();
                    if !held.is_empty() {
                        let TakeReply::Taken(taken) = log.take(now, GROUP, &take) else { unreachable!() };
                        let offsets: Vec<_> = taken.deliveries.iter().map(|it| it.offset).collect();
                        prop_assert_eq!(offsets, held);
                    }
                }
                Step::Settle { which, settle: verb } => {
                    let Some((id, offset)) = deliveries.get(which).copied() else { continue };
                    let held = holder.get(&offset).is_some_and(|held| held.0 == id);
                    let done = settle(&mut log, now, (id, offset), verb);
                    let given_back = matches!(verb, Settle::Retry(_) | Settle::Return);
                    prop_assert!(done || !held);
                    prop_assert!(held || !done || given_back);
                    if held {
                        match verb {
                            Settle::Acknowledge => {
                                prop_assert!(settled.insert(offset));
                                holder.remove(&offset);
                            }
                            Settle::Extend(length) => {
                                holder.insert(offset, (id, now.plus(length)));
                            }
                            Settle::Retry(_) | Settle::Return => {
                                holder.remove(&offset);
                            }
                        }
                    }
                }
            }
        }
        prop_assert_eq!(settled.len() as u64 + missing, published);
        prop_assert_eq!(log.group_status(GROUP).unwrap().pending, 0);
        prop_assert_eq!(log.group_status(GROUP).unwrap().lag, 0);
    }
}
