use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use proptest::prelude::*;

use super::super::ask::Pushed;
use super::super::job::{MemberOf, NewJob};
use super::super::limits::QueueLimits;
use super::super::unique::{Unique, UniqueScope};
use super::*;

const SECOND: Duration = Duration::from_secs(1);
const LEASE: Duration = Duration::from_secs(30);

fn at(seconds: u64) -> Micros {
    Micros::new(1_000_000_000 + seconds * 1_000_000)
}

fn id(number: u8) -> JobId {
    JobId::from_bytes([number; 16])
}

fn job(number: u8) -> NewJob {
    NewJob {
        id: id(number),
        input: Bytes::copy_from_slice(&[number]),
        delay: Duration::ZERO,
        priority: 0,
        group: String::new(),
        attempts: 2,
        expires: None,
        keep: 60 * SECOND,
        member_of: None,
        unique: None,
    }
}

fn ask(worker: WorkerId, number: u64, want: usize) -> Ask {
    Ask {
        worker,
        number,
        settled: Vec::new(),
        want,
        lease: LEASE,
        takes_groups: false,
        limits: QueueLimits::NONE,
    }
}

fn settling(number: u64, it: &Delivered, settlement: Settlement) -> Ask {
    let (id, lease) = (it.id, it.lease);
    let settled = vec![Settled {
        id,
        lease,
        settlement,
    }];
    Ask {
        settled,
        ..ask(1, number, 0)
    }
}

fn succeeded() -> Settlement {
    Settlement::Succeeded {
        result: Bytes::from_static(b"sent"),
        keep: 60 * SECOND,
        work: None,
    }
}

fn failed(after: Duration) -> Settlement {
    let error = "no such mailbox".to_owned();
    Settlement::Failed { after, error }
}

/// What one more turn of the first worker delivers.
fn take(queue: &mut QueueState, now: Micros, number: u64) -> Delivered {
    let (turn, _) = queue.turn(now, &ask(1, number, 1));
    turn.delivered
        .into_iter()
        .next()
        .expect("something is ready")
}

#[test]
fn a_job_is_delivered_and_settled_once() {
    let mut queue = QueueState::default();
    let jobs = vec![job(1), job(1), job(2)];
    let (new, known) = (Pushed::New, Pushed::Known);
    assert_eq!(queue.push(at(0), jobs).0, [new, known, new]);
    let (turn, _) = queue.turn(at(1), &ask(1, 1, 5));
    let ids: Vec<_> = turn.delivered.iter().map(|it| it.id).collect();
    assert_eq!(ids, [id(1), id(2)]);
    let settle = |number| settling(number, &turn.delivered[0], succeeded());
    assert_eq!(queue.turn(at(2), &settle(2)).0.settled, [true]);
    assert_eq!(queue.turn(at(2), &settle(3)).0.settled, [false]);
    let end = JobEnd::Succeeded(Bytes::from_static(b"sent"));
    assert_eq!(queue.look(at(2), id(1)), Some(JobState::Ended(end)));
    assert_eq!(queue.push(at(3), vec![job(1)]).0, [known]);
    assert_eq!(queue.look(at(62), id(1)), None);
    assert_eq!(queue.push(at(62), vec![job(1)]).0, [new]);
}

/// A worker that dies each time takes its job's attempts with it.
#[test]
fn a_delivery_that_nobody_settles_counts() {
    let mut queue = QueueState::default();
    queue.push(at(0), vec![job(1)]);
    let first = take(&mut queue, at(0), 1);
    let second = take(&mut queue, at(31), 2);
    assert_eq!((first.attempt, second.attempt), (1, 2));
    assert!(second.lease > first.lease);
    let late = settling(3, &first, succeeded());
    assert_eq!(queue.turn(at(32), &late).0.settled, [false]);
    queue.turn(at(70), &ask(2, 1, 1));
    let dead = JobState::Ended(JobEnd::Dead(RAN_OUT.to_owned()));
    assert_eq!(queue.look(at(70), id(1)), Some(dead));
}

/// So that settling those that are not need not read them.
#[test]
fn odd_lease_numbers_are_of_jobs_that_are_bound() {
    let mut queue = QueueState::default();
    let bound = |number| NewJob {
        member_of: Some(MemberOf {
            queue: "mail".to_owned(),
            group: id(9),
        }),
        ..job(number)
    };
    queue.push(at(0), vec![job(1), bound(2), bound(3), job(4), job(5)]);
    let (turn, _) = queue.turn(at(0), &ask(1, 1, 5));
    let numbers: Vec<_> = turn.delivered.iter().map(|it| it.lease.get()).collect();
    let first = at(0).get();
    assert_eq!(first % 2, 0);
    assert_eq!(numbers, [0, 1, 3, 4, 6].map(|it| first + it));
}

#[test]
fn what_is_deferred_is_no_attempt() {
    let mut queue = QueueState::default();
    queue.push(at(0), vec![job(1)]);
    for number in 0..5 {
        let it = take(&mut queue, at(number * 10), number * 2 + 1);
        assert_eq!(it.attempt, 1);
        let ask = settling(number * 2 + 2, &it, Settlement::Deferred(SECOND));
        assert_eq!(queue.turn(at(number * 10), &ask).0.settled, [true]);
    }
}

#[test]
fn a_cancelled_job_is_not_delivered_again() {
    let mut queue = QueueState::default();
    queue.push(at(0), vec![job(1), job(2)]);
    let it = take(&mut queue, at(0), 1);
    let (state, news) = queue.cancel(at(1), id(1));
    assert_eq!(state, Some(JobState::Active { cancelled: true }));
    assert_eq!(news, [News::Cancelled(id(1))]);
    let held = [(it.id, it.lease)];
    assert_eq!(queue.renew(at(1), &held, LEASE), [Renewed::Cancelled]);
    queue.turn(at(2), &settling(2, &it, failed(SECOND)));
    let cancelled = Some(JobState::Ended(JobEnd::Cancelled));
    assert_eq!(queue.look(at(2), id(1)), cancelled);
    assert_eq!(queue.cancel(at(2), id(2)).0, cancelled);
    assert_eq!(queue.turn(at(3), &ask(1, 3, 1)).0.delivered, []);
}

#[test]
fn what_nobody_began_in_time_makes_room_for_others() {
    let mut queue = QueueState::default();
    let late = |number| NewJob {
        expires: Some(SECOND),
        ..job(number)
    };
    queue.push(at(0), vec![late(1), late(2), job(3)]);
    assert_eq!(take(&mut queue, at(2), 1).id, id(3));
    let expired = Some(JobState::Ended(JobEnd::Expired));
    assert_eq!(queue.look(at(2), id(2)), expired);
}

#[test]
fn one_is_woken_and_wakes_the_next() {
    let mut queue = QueueState::default();
    queue.turn(at(0), &ask(1, 1, 1));
    queue.turn(at(0), &ask(2, 1, 1));
    let (_, news) = queue.push(at(1), vec![job(1), job(2)]);
    assert_eq!(news, [News::Wake(1)]);
    let (turn, news) = queue.turn(at(1), &ask(1, 2, 1));
    assert_eq!((turn.delivered.len(), news), (1, vec![News::Wake(2)]));
    // One that does not count any more is not woken.
    queue.turn(at(2), &ask(2, 2, 5));
    assert_eq!(queue.push(at(12), vec![job(3)]).1, []);
}

/// Who is idle knows when what was due is due, and is woken for what is due sooner.
#[test]
fn who_is_idle_is_told_of_what_is_due_sooner() {
    let mut queue = QueueState::default();
    let due = |number, seconds| NewJob {
        delay: SECOND * seconds,
        ..job(number)
    };
    queue.push(at(0), vec![due(1, 9)]);
    let (turn, _) = queue.turn(at(1), &ask(1, 1, 1));
    assert_eq!(turn.next, Some(8 * SECOND));
    assert_eq!(queue.push(at(1), vec![due(2, 20)]).1, []);
    assert_eq!(queue.push(at(1), vec![due(3, 5)]).1, [News::Wake(1)]);
}

#[test]
fn an_end_is_announced_to_who_waits_for_it() {
    let mut queue = QueueState::default();
    queue.push(at(0), vec![job(1), job(2)]);
    assert_eq!(queue.look_and_wait(at(0), id(1)), Some(JobState::Ready));
    let (one, two) = (take(&mut queue, at(0), 1), take(&mut queue, at(0), 2));
    let (_, news) = queue.turn(at(1), &settling(3, &one, succeeded()));
    assert_eq!(news, [News::Ended(id(1))]);
    assert_eq!(queue.turn(at(1), &settling(4, &two, succeeded())).1, []);
    queue.push(at(2), vec![job(3)]);
    queue.look_and_wait(at(2), id(3));
    let three = take(&mut queue, at(3), 5);
    assert_eq!(queue.turn(at(12), &settling(6, &three, succeeded())).1, []);
}

#[test]
fn a_paused_queue_delivers_nothing() {
    let mut queue = QueueState::default();
    queue.push(at(0), vec![job(1)]);
    queue.pause(at(0), true);
    let (turn, _) = queue.turn(at(0), &ask(1, 1, 1));
    assert_eq!((turn.delivered, turn.next), (Vec::new(), None));
    assert_eq!(queue.pause(at(1), false).1, [News::Wake(1)]);
    assert_eq!(take(&mut queue, at(1), 2).id, id(1));
}

#[test]
fn a_turn_that_was_overtaken_does_nothing() {
    let mut queue = QueueState::default();
    queue.push(at(0), vec![job(1)]);
    queue.turn(at(0), &ask(1, 2, 0));
    let before = queue.clone();
    let (turn, news) = queue.turn(at(1), &ask(1, 1, 1));
    assert_eq!((turn, news), (Turn::default(), Vec::new()));
    assert_eq!(queue, before);
}

#[test]
fn nothing_remains_of_a_queue_without_jobs() {
    let mut queue = QueueState::default();
    queue.push(at(0), vec![job(1)]);
    let it = take(&mut queue, at(0), 1);
    queue.turn(at(1), &settling(2, &it, succeeded()));
    assert_eq!(queue.forgotten_at(), Some(at(61)));
    queue.forget(at(61));
    assert_eq!(queue.forgotten_at(), Some(at(1).plus(RETENTION)));
    assert!(queue.jobs.is_empty());
}

#[derive(Clone, Debug)]
enum Step {
    Push(u8, u8, u8, u8, Option<u8>, Option<Unique>),
    /// Settles so many of what the worker has, and wants so many.
    Turn(u8, u8, usize, bool),
    Renew(u8),
    Cancel(u8),
    Look(u8),
    Pause(bool),
    Wait(u8),
}

fn unique() -> impl Strategy<Value = Unique> {
    let scope = prop_oneof![
        Just(UniqueScope::UntilEnded),
        Just(UniqueScope::UntilForgotten),
        Just(UniqueScope::Throttle(7 * SECOND)),
        Just(UniqueScope::Debounce),
    ];
    ("[a-b]", scope).prop_map(|(key, scope)| Unique { key, scope })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let expires = proptest::option::weighted(0.2, 1..9_u8);
    let unique = proptest::option::weighted(0.4, unique());
    let step = prop_oneof![
        5 => (0..20_u8, 0..3_u8, 0..10_u8, 1..4_u8, expires, unique)
            .prop_map(|(id, group, priority, attempts, expires, unique)| Step::Push(id, group, priority, attempts, expires, unique)),
        6 => (0..3_u8, 0..4_u8, 0..4_usize, any::<bool>())
            .prop_map(|(worker, how, want, again)| Step::Turn(worker, how, want, again)),
        1 => (0..3_u8).prop_map(Step::Renew),
        1 => (0..20_u8).prop_map(Step::Cancel),
        1 => (0..20_u8).prop_map(Step::Look),
        1 => any::<bool>().prop_map(Step::Pause),
        3 => (0..20_u8).prop_map(Step::Wait),
    ];
    proptest::collection::vec(step, 1..120)
}

/// A job is in the place that it says, and only there.
fn check(queue: &QueueState) {
    let mut places = BTreeMap::new();
    let mut put =
        |id: JobId, place: &'static str| places.entry(id).or_insert_with(Vec::new).push(place);
    queue.ready.iter().for_each(|(_, id)| put(*id, "ready"));
    queue.due.iter().for_each(|(_, id)| put(*id, "due"));
    let aside = queue.limiting.aside().iter();
    aside.for_each(|(_, id)| put(*id, "aside"));
    queue.active.iter().for_each(|(.., id)| put(*id, "active"));
    queue.ended.iter().for_each(|(_, id)| put(*id, "ended"));
    queue.dead.iter().for_each(|(_, id)| put(*id, "dead"));
    let kept = queue.jobs.len() + queue.over.len();
    assert_eq!(places.len(), kept, "none is nowhere");
    for id in queue.over.keys() {
        assert_eq!(places[id], ["ended"]);
    }
    for (id, job) in &queue.jobs {
        let place = match &job.place {
            Place::Ready(_) => "ready",
            Place::Due(_) => "due",
            Place::Limited(_) => "aside",
            Place::Active { .. } => "active",
            Place::Dead(..) => "dead",
        };
        assert_eq!(places[id], [place]);
        assert!(job.tries <= job.attempts);
        let is_dead = place == "dead";
        assert!(is_dead || job.tries < job.attempts);
    }
    assert_eq!(queue.awaited.len(), queue.awaited_by.len());
}

/// What a worker says of the delivery, in turn.
fn settlement(how: u8) -> Settlement {
    match how {
        0 => succeeded(),
        1 => failed(Duration::ZERO),
        2 => failed(3 * SECOND),
        _ => Settlement::Deferred(2 * SECOND),
    }
}

proptest! {
    #[test]
    fn every_job_is_in_one_place(steps in steps()) {
        let mut queue = QueueState::default();
        let mut now = 0;
        let mut numbers = [0_u64; 3];
        let mut held: [Vec<Delivered>; 3] = Default::default();
        let (mut last_lease, mut known) = (0, HashSet::new());
        for step in steps {
            match step {
                Step::Push(number, group, priority, attempts, expires, unique) => {
                    let new = NewJob {
                        priority,
                        group: group.to_string(),
                        attempts: attempts.into(),
                        delay: SECOND * u32::from(number % 3),
                        expires: expires.map(|it| SECOND * u32::from(it)),
                        keep: SECOND * u32::from(number % 4) * 5,
                        unique: unique.clone(),
                        ..job(number)
                    };
                    let was_known = queue.look(at(now), new.id).is_some();
                    let (pushed, _) = queue.push(at(now), vec![new.clone()]);
                    prop_assert_eq!(&queue.push(at(now), vec![new.clone()]).0[0], match &pushed[0] {
                        Pushed::New => &Pushed::Known,
                        again => again,
                    });
                    prop_assert!(!was_known || pushed == [Pushed::Known]);
                    prop_assert!(was_known || unique.is_some() || pushed == [Pushed::New]);
                    known.insert(id(number));
                }
                Step::Turn(worker, how, want, again) => {
                    let nth = usize::from(worker);
                    numbers[nth] += 1;
                    let settled = held[nth].drain(..).map(|it| {
                        let (id, lease) = (it.id, it.lease);
                        Settled { id, lease, settlement: settlement(how) }
                    });
                    let settled = settled.collect();
                    let ask = Ask { settled, ..ask(worker.into(), numbers[nth], want) };
                    let (turn, _) = queue.turn(at(now), &ask);
                    for it in &turn.delivered {
                        prop_assert!(it.lease.get() > last_lease, "numbers grow");
                        prop_assert!(it.attempt <= it.attempts);
                        last_lease = it.lease.get();
                    }
                    prop_assert!(turn.delivered.len() <= want);
                    if again {
                        let before = queue.clone();
                        let (repeated, news) = queue.turn(at(now), &ask);
                        prop_assert_eq!(&queue, &before);
                        prop_assert_eq!(news, []);
                        prop_assert_eq!(&repeated.delivered, &turn.delivered);
                        prop_assert_eq!(&repeated.settled, &turn.settled);
                    }
                    held[nth] = turn.delivered;
                }
                Step::Renew(worker) => {
                    let held: Vec<_> = held[usize::from(worker)].iter().map(|it| (it.id, it.lease)).collect();
                    queue.renew(at(now), &held, LEASE);
                }
                Step::Cancel(number) => drop(queue.cancel(at(now), id(number))),
                Step::Look(number) => drop(queue.look_and_wait(at(now), id(number))),
                Step::Pause(paused) => drop(queue.pause(at(now), paused)),
                Step::Wait(seconds) => now += u64::from(seconds),
            }
            check(&queue);
        }
        // Every key is held by a job or ends by itself.
        let held = ["a", "b"].map(|key| (key, queue.uniques.holder(key, at(now))));
        for (key, id) in held {
            let job = id.and_then(|id| queue.jobs.get(&id));
            let is_over = job.is_none_or(|job| matches!(job.place, Place::Dead(..)));
            let until = queue.uniques.get(key).and_then(|it| it.until);
            prop_assert!(id.is_none() || !is_over || until.is_some(), "{key} is held for ever");
        }
        // Nothing is lost: whoever goes on settles all that is left.
        queue.pause(at(now), false);
        for number in 1..200 {
            now += 40;
            let (turn, _) = queue.turn(at(now), &ask(9, number * 2, 10));
            let settled = turn.delivered.iter().map(|it| Settled {
                id: it.id,
                lease: it.lease,
                settlement: succeeded(),
            });
            let settled: Vec<_> = settled.collect();
            let all = vec![true; settled.len()];
            let ask = Ask { settled, ..ask(9, number * 2 + 1, 0) };
            prop_assert_eq!(queue.turn(at(now), &ask).0.settled, all);
            check(&queue);
            if turn.delivered.is_empty() && turn.next.is_none() {
                break;
            }
        }
        for id in known {
            let state = queue.look(at(now), id);
            prop_assert!(matches!(state, None | Some(JobState::Ended(_))), "{state:?}");
        }
        queue.forget(at(now).plus(KEEP_DEAD + SECOND * 60));
        prop_assert!(queue.jobs.is_empty() && queue.uniques.is_empty());
    }
}
