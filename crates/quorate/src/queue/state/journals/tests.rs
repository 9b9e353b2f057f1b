use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use proptest::prelude::*;

use super::super::super::ask::Ask;
use super::super::super::job::{Delivered, NewJob, Settled, Settlement};
use super::super::super::limits::QueueLimits;
use super::*;

const SECOND: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
enum Step {
    Push(u8),
    /// What the worker says of all that it has, and how many it wants.
    Turn(u8, usize),
    /// How many entries before the end, and how many these are, for what the worker has had at some time.
    Append(usize, u64, usize),
    Tell(u8),
    Rewind(u8, u64),
    Remove(u8),
    Wait(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..6_u8).prop_map(Step::Push),
        5 => (0..6_u8, 0..4_usize).prop_map(|(how, want)| Step::Turn(how, want)),
        9 => (0..9_usize, prop_oneof![4 => Just(0), 1 => 1..3_u64], 1..4_usize)
            .prop_map(|(whose, before, number)| Step::Append(whose, before, number)),
        4 => (0..6_u8).prop_map(Step::Tell),
        1 => (0..6_u8, 0..4_u64).prop_map(|(id, entries)| Step::Rewind(id, entries)),
        1 => (0..6_u8).prop_map(Step::Remove),
        2 => (0..40_u8).prop_map(Step::Wait),
    ];
    proptest::collection::vec(step, 1..120)
}

fn id(number: u8) -> JobId {
    // In the order of their names, some of them are behind those of all that is kept beside jobs.
    JobId::from_bytes([number * 50; 16])
}

fn job(number: u8) -> NewJob {
    NewJob {
        id: id(number),
        input: Bytes::new(),
        delay: Duration::ZERO,
        priority: 0,
        group: String::new(),
        attempts: 2,
        expires: None,
        keep: SECOND * u32::from(number % 3) * 10,
        member_of: None,
        unique: None,
    }
}

fn settlement(how: u8) -> Settlement {
    match how {
        0 => Settlement::Succeeded {
            result: Bytes::new(),
            keep: 10 * SECOND,
            work: None,
        },
        1 => Settlement::Dead("never".to_owned()),
        2 => Settlement::Failed {
            after: SECOND,
            error: "not now".to_owned(),
        },
        3 => Settlement::Cancelled,
        _ => Settlement::Waiting {
            after: 20 * SECOND,
            seen: u64::from(how - 4),
        },
    }
}

/// Writes down what changed, and returns what would be there if the home were opened again.
fn reopened(queue: &mut QueueState, rows: &mut BTreeMap<String, Vec<u8>>) -> QueueState {
    for name in queue.take_changed() {
        match queue.side_row(&name) {
            Some(row) => rows.insert(name, row),
            None => rows.remove(&name),
        };
    }
    let mut again = queue.row().map_or_else(QueueState::default, |row| {
        QueueState::from_row(&row).expect("it reads what it wrote")
    });
    for (name, row) in rows {
        again.take_side(name, row).expect("it reads what it wrote");
    }
    again
}

proptest! {
    /// Of each job that is known, what deliveries that counted wrote, in its order; of no other, and nothing else in a file.
    #[test]
    fn journals_are_what_was_written(steps in steps()) {
        let (mut queue, mut now, mut number) = (QueueState::default(), Micros::new(1), 0);
        let mut rows = BTreeMap::new();
        let mut had: Vec<Delivered> = Vec::new();
        let mut written: ById<Vec<Bytes>> = ById::default();
        let mut entry = 0_u64;
        for step in steps {
            match step {
                Step::Push(nth) => {
                    if queue.look(now, id(nth)).is_none() {
                        // Who comes after one that was to be kept no longer begins anew.
                        written.remove(&id(nth));
                    }
                    drop(queue.push(now, vec![job(nth)]));
                }
                Step::Turn(how, want) => {
                    number += 1;
                    let mut seen = HashSet::new();
                    let latest = had.iter().rev().filter(|it| seen.insert(it.id));
                    let settled = latest.map(|it| Settled {
                        id: it.id,
                        lease: it.lease,
                        settlement: settlement(how),
                    });
                    let ask = Ask {
                        worker: 1,
                        number,
                        settled: settled.collect(),
                        want,
                        lease: 30 * SECOND,
                        takes_groups: false,
                        limits: QueueLimits::NONE,
                    };
                    let (turn, _) = queue.turn(now, &ask);
                    for it in &turn.delivered {
                        let begun = !queue.journals.entries(it.id).is_empty();
                        prop_assert!(!begun || it.checkpoint.is_some());
                    }
                    had.extend(turn.delivered);
                }
                Step::Append(whose, before, many) if !had.is_empty() => {
                    let it = &had[had.len() - 1 - whose % had.len()];
                    let length = queue.journals.entries(it.id).len() as u64;
                    let entries: Vec<_> = (entry..).take(many).map(|it| Bytes::from(it.to_string())).collect();
                    entry += many as u64;
                    let append = Append {
                        id: it.id,
                        lease: it.lease,
                        at: length.saturating_sub(before),
                        entries: entries.clone(),
                    };
                    let holds = queue.holds(now, it.id, it.lease).is_some();
                    let appends = [append];
                    let done = queue.append(now, &appends)[0];
                    let expected = match (holds, before.min(length)) {
                        (false, _) => Appended::Lost,
                        (true, 0) => Appended::Written(now),
                        _ => Appended::Conflict,
                    };
                    prop_assert_eq!(done, expected);
                    if let Appended::Written(_) = done {
                        written.entry(it.id).or_default().extend(entries);
                        prop_assert_eq!(queue.append(now, &appends)[0], done, "repeated");
                        prop_assert_eq!(queue.jobs[&it.id].tries, 0);
                    }
                }
                Step::Append(..) => {}
                Step::Tell(nth) => {
                    let before = queue.journals.messages(id(nth)).len();
                    let (told, _) = queue.tell(now, id(nth), Bytes::new());
                    let is_open = told.unwrap().is_some_and(|it| !matches!(it, JobState::Ended(_)));
                    let after = queue.journals.messages(id(nth)).len();
                    prop_assert_eq!(after, before + usize::from(is_open));
                }
                Step::Rewind(nth, entries) => {
                    if let (Ok(true), _) = queue.rewind(now, id(nth), entries) {
                        let first = usize::try_from(entries).unwrap();
                        written.entry(id(nth)).or_default().truncate(first);
                    }
                }
                Step::Remove(nth) => drop(queue.remove(now, &[id(nth)])),
                Step::Wait(seconds) => now = now.plus(SECOND * u32::from(seconds)),
            }
            written.retain(|id, _| queue.has(*id));
            for nth in 0..6 {
                let entries: Vec<_> = queue.journals.entries(id(nth)).iter().map(|it| it.1.clone()).collect();
                let expected = written.get(&id(nth)).cloned().unwrap_or_default();
                prop_assert_eq!(entries, expected);
            }
            prop_assert_eq!(queue.journals.without(|id| queue.has(id)), []);
            let again = reopened(&mut queue, &mut rows);
            prop_assert_eq!(&again.journals.of, &queue.journals.of);
        }
        // When it is opened late, what is forgotten by then leaves nothing.
        let mut again = reopened(&mut queue, &mut rows);
        again.forget(now.plus(400 * 24 * 3600 * SECOND));
        prop_assert_eq!(again.journals.without(|id| again.has(id)), []);
    }
}
