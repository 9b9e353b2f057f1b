//! What becomes of a group, told one thing at a time.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::queue::group::Condition;
use crate::queue::job::MemberOf;

const HOUR: Duration = Duration::from_secs(3600);

fn id(number: u8) -> JobId {
    JobId::from_bytes([number; 16])
}

fn left(number: u8, after: Option<(Condition, &[u8])>) -> Left {
    let job = NewJob {
        id: id(number),
        input: Bytes::new(),
        delay: Duration::ZERO,
        priority: 0,
        group: String::new(),
        attempts: 1,
        expires: None,
        keep: HOUR,
        member_of: Some(MemberOf {
            queue: "mail".to_owned(),
            group: id(0),
        }),
        unique: None,
    };
    let gate = |(condition, on): (Condition, &[u8])| Gate {
        condition,
        on: on.iter().copied().map(id).collect(),
    };
    Left {
        queue: "mail".to_owned(),
        job,
        after: after.map(gate),
    }
}

fn ended(number: u8, end: MemberEnd, left: Vec<Left>, said: Vec<Said>) -> MemberEnded {
    MemberEnded {
        group: id(0),
        id: id(number),
        end,
        left,
        said,
    }
}

fn done(number: u8) -> MemberEnded {
    ended(number, MemberEnd::Succeeded, Vec::new(), Vec::new())
}

fn dead(number: u8) -> MemberEnded {
    ended(number, MemberEnd::Dead, Vec::new(), Vec::new())
}

/// Which jobs are queued by that; `None` if it changes nothing.
fn queued(group: &mut Group, it: MemberEnded) -> Option<Vec<JobId>> {
    let before = group.clone();
    let queued = group.end(it);
    if queued.is_none() {
        assert_eq!(*group, before);
    }
    queued.map(|jobs| jobs.into_iter().map(|(_, job)| job.id).collect())
}

/// A group whose first job left these.
fn group(left: Vec<Left>) -> Group {
    let mut group = Group::new(id(0), HOUR);
    let first = ended(0, MemberEnd::Succeeded, left, Vec::new());
    assert!(queued(&mut group, first).is_some());
    group
}

#[test]
fn a_group_is_over_when_its_last_member_has_ended() {
    let mut group = group(vec![left(1, None), left(2, None)]);
    assert_eq!((group.view().open, group.view().succeeded), (2, 1));
    let more = ended(1, MemberEnd::Succeeded, vec![left(3, None)], Vec::new());
    assert_eq!(queued(&mut group, more.clone()), Some(vec![id(3)]));
    assert_eq!(queued(&mut group, more), None);
    assert_eq!(queued(&mut group, dead(2)), Some(vec![]));
    assert!(!group.is_over());
    assert_eq!(queued(&mut group, done(3)), Some(vec![]));
    let view = group.view();
    assert!(view.is_over());
    assert_eq!((view.succeeded, view.dead), (3, 1));
    assert_eq!(queued(&mut group, done(3)), None);
}

#[test]
fn who_waits_for_all_is_queued_once_when_all_have_ended() {
    let gate = |condition| Some((condition, &[1, 2][..]));
    let mut group = group(vec![
        left(1, None),
        left(2, None),
        left(3, gate(Condition::AllDone)),
        left(4, gate(Condition::AllSucceeded)),
        left(5, gate(Condition::Succeeded(1))),
    ]);
    assert_eq!(queued(&mut group, done(1)), Some(vec![id(5)]));
    assert_eq!(group.view().open, 4);
    // It never succeeds now that all do.
    assert_eq!(queued(&mut group, dead(2)), Some(vec![id(3)]));
    let view = group.view();
    assert_eq!((view.open, view.cancelled), (2, 1));
}

#[test]
fn who_waits_for_one_that_never_is_is_cancelled_as_well() {
    let mut group = group(vec![
        left(1, None),
        left(2, Some((Condition::AllSucceeded, &[1]))),
        left(3, Some((Condition::AllSucceeded, &[2]))),
        left(4, Some((Condition::AllDone, &[3]))),
    ]);
    assert_eq!(queued(&mut group, dead(1)), Some(vec![id(4)]));
    assert_eq!((group.view().open, group.view().cancelled), (1, 2));
}

#[test]
fn a_job_may_wait_for_the_one_that_leaves_it_but_not_for_strangers() {
    let mut group = Group::new(id(0), HOUR);
    let leaves = vec![
        left(1, Some((Condition::AllSucceeded, &[0]))),
        left(2, Some((Condition::AllSucceeded, &[9]))),
        left(3, Some((Condition::AllDone, &[9]))),
    ];
    let first = ended(0, MemberEnd::Succeeded, leaves, Vec::new());
    assert_eq!(queued(&mut group, first), Some(vec![id(3), id(1)]));
    assert_eq!(group.view().cancelled, 1);
}

#[test]
fn a_value_is_what_was_said_last_unless_it_is_fixed() {
    let mut group = group(vec![left(1, None), left(2, None), left(3, None)]);
    let value = |text: &'static str| Bytes::from_static(text.as_bytes());
    let mut say = |number, said| {
        group
            .end(ended(number, MemberEnd::Succeeded, Vec::new(), said))
            .unwrap();
        group.view().values
    };
    let values = say(1, vec![Said::Append(value("a")), Said::Append(value("b"))]);
    assert_eq!(values, ["a", "b"]);
    let values = say(2, vec![Said::Set(value("c")), Said::Append(value("d"))]);
    assert_eq!(values, ["c", "d"]);
    let fixed = vec![
        Said::Fix(value("e")),
        Said::Fix(value("f")),
        Said::Append(value("g")),
    ];
    assert_eq!(say(3, fixed), ["e"]);
    assert!(group.view().is_fixed && group.is_over());
}

#[test]
fn values_that_are_too_many_are_counted() {
    let mut group = group(vec![left(1, None)]);
    let large = || Said::Append(Bytes::from(vec![0; MAX_VALUES / 2]));
    group
        .end(ended(
            1,
            MemberEnd::Succeeded,
            Vec::new(),
            vec![large(), large(), large()],
        ))
        .unwrap();
    assert_eq!((group.view().values.len(), group.view().dropped), (2, 1));
}

fn condition() -> impl Strategy<Value = Condition> {
    prop_oneof![
        Just(Condition::AllDone),
        Just(Condition::AllSucceeded),
        (0..3_u32).prop_map(Condition::Done),
        (0..3_u32).prop_map(Condition::Succeeded),
    ]
}

fn leaves() -> impl Strategy<Value = Vec<Left>> {
    let gate = proptest::option::of((condition(), proptest::collection::btree_set(0..12_u8, 2..4)));
    let one = (1..12_u8, gate).prop_map(|(number, gate)| {
        let gate = gate.map(|(condition, on)| (condition, on.into_iter().collect::<Vec<_>>()));
        left(
            number,
            gate.as_ref().map(|(condition, on)| (*condition, &on[..])),
        )
    });
    proptest::collection::vec(one, 0..4)
}

proptest! {
    /// Whatever ends in whatever order, and however often that is told: each member is queued once at most and counted once, and the
    /// group is over when, and only when, each has ended.
    #[test]
    fn each_member_is_queued_and_counted_once(
        steps in proptest::collection::vec((0..12_u8, any::<bool>(), leaves()), 1..40)
    ) {
        let mut group = Group::new(id(0), HOUR);
        let (mut open, mut ever) = (BTreeSet::from([0]), BTreeMap::from([(id(0), 1)]));
        for (number, succeeds, left) in steps {
            let end = if succeeds { MemberEnd::Succeeded } else { MemberEnd::Dead };
            let left = if succeeds { left } else { Vec::new() };
            let was_open = open.remove(&number);
            let told = queued(&mut group, ended(number, end, left, Vec::new()));
            prop_assert_eq!(told.is_some(), was_open);
            for job in told.unwrap_or_default() {
                *ever.entry(job).or_insert(0) += 1;
                open.insert(job.bytes()[0]);
            }
            let view = group.view();
            let waiting = group.members.values().filter(|it| matches!(it, Member::Waiting(_)));
            prop_assert_eq!(view.open as usize, open.len() + waiting.count());
            prop_assert_eq!(view.is_over(), view.open == 0);
        }
        prop_assert!(ever.values().all(|times| *times == 1));
        // Whatever waits, waits for what is still to be done.
        while let Some(number) = open.pop_first() {
            let queued = queued(&mut group, done(number)).unwrap();
            open.extend(queued.into_iter().map(|job| job.bytes()[0]));
        }
        prop_assert!(group.is_over());
    }
}
