//! What may be done with a queue, at random.

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use quorate::queue::{JobPlace, Note, QueueLimits, StartRate, Unique, UniqueScope};

use super::journals::{Journaling, journaling};

/// Steps are so long that the real time which passes on the server between two of them is nothing.
pub(super) const HOUR: Duration = Duration::from_secs(3600);
pub(super) const WORKERS: u8 = 3;
pub(super) const IDS: u8 = 8;

#[derive(Clone, Debug)]
pub(super) enum Step {
    Push(Vec<Pushed>),
    /// Of one that is begun where it is pushed.
    Start(u8, Pushed, u32),
    Turn {
        worker: u8,
        /// What it says of the first of what it has or had, in order.
        settled: Vec<How>,
        want: usize,
        hours: u32,
        again: bool,
        limits: QueueLimits,
    },
    Renew(u8, u32),
    Cancel(u8),
    Look(u8, bool),
    Pause(bool),
    Redrive(Vec<u8>),
    RedriveDead(usize),
    Edit(u8, u8),
    Remove(Vec<u8>),
    Purge(JobPlace, usize),
    /// So many on a page.
    List(JobPlace, usize),
    Inspect(u8),
    Stats,
    /// Nothing is ever wrong.
    Fsck,
    /// Of the first that the worker has or had.
    Note(u8, Note),
    Journal(Journaling),
    /// A moment of a schedule, all of them long ago, and the one before; and what is queued then.
    Fire {
        schedule: String,
        after: Option<u8>,
        moment: u8,
        job: Option<Pushed>,
    },
    Unschedule(String),
    /// Whether somebody listens, until time elapses.
    Watch,
    Elapse {
        halves: u32,
    },
}

#[derive(Clone, Debug)]
pub(super) struct Pushed {
    pub(super) id: u8,
    pub(super) group: String,
    pub(super) priority: u8,
    pub(super) hours: u32,
    pub(super) attempts: u32,
    pub(super) expires: Option<u32>,
    pub(super) keep: u32,
    pub(super) is_member: bool,
    pub(super) unique: Option<Unique>,
}

#[derive(Clone, Debug)]
pub(super) enum How {
    Succeeded(u32),
    Failed(u32),
    Deferred(u32),
    /// How many messages it has seen.
    Waiting(u32, u64),
    Cancelled,
    Dead,
    /// Says nothing: its lease runs out.
    Silent,
}

fn pushed() -> impl Strategy<Value = Pushed> {
    let hours = prop_oneof![2 => Just(0), 1 => 1..4_u32];
    let expires = proptest::option::weighted(0.2, 1..6_u32);
    (
        0..IDS,
        "[a-c]?",
        0..4_u8,
        hours,
        1..4_u32,
        expires,
        0..4_u32,
        proptest::bool::weighted(0.2),
        proptest::option::weighted(0.3, unique()),
    )
        .prop_map(
            |(id, group, priority, hours, attempts, expires, keep, is_member, unique)| Pushed {
                id,
                group,
                priority,
                hours,
                attempts,
                expires,
                keep,
                is_member,
                unique,
            },
        )
}

/// Jobs that differ in nothing but their ids and attempts, which scripts take in without a look at each.
fn alike() -> impl Strategy<Value = Vec<Pushed>> {
    let ids = proptest::collection::vec((0..IDS, 1..4_u32), 1..5);
    let like = ("[a-c]?", prop_oneof![3 => Just(0), 1 => 1..4_u8], 0..4_u32);
    (ids, like).prop_map(|(ids, (group, priority, keep))| {
        let one = |(id, attempts)| Pushed {
            id,
            group: group.clone(),
            priority,
            hours: 0,
            attempts,
            expires: None,
            keep,
            is_member: false,
            unique: None,
        };
        ids.into_iter().map(one).collect()
    })
}

fn note() -> impl Strategy<Value = Note> {
    prop_oneof![
        (0..9_u8).prop_map(|value| Note::Progress(Bytes::from(vec![value]))),
        (0..9_u8).prop_map(|value| Note::Checkpoint(Bytes::from(vec![value; 9]))),
        (0..9_usize).prop_map(|times| Note::Log("é".repeat(times * 200))),
    ]
}

fn place() -> impl Strategy<Value = JobPlace> {
    proptest::sample::select(vec![
        JobPlace::Ready,
        JobPlace::Due,
        JobPlace::Limited,
        JobPlace::Active,
        JobPlace::Ended,
        JobPlace::Dead,
    ])
}

fn unique() -> impl Strategy<Value = Unique> {
    let scope = prop_oneof![
        Just(UniqueScope::UntilEnded),
        Just(UniqueScope::UntilForgotten),
        (1..4_u32).prop_map(|hours| UniqueScope::Throttle(HOUR * hours)),
        Just(UniqueScope::Debounce),
    ];
    ("[k-l]", scope).prop_map(|(key, scope)| Unique { key, scope })
}

fn fire() -> impl Strategy<Value = Step> {
    let job = proptest::option::weighted(0.7, pushed());
    (0..2_u8, proptest::option::of(0..3_u8), 1..3_u8, job).prop_map(
        |(schedule, after, later, job)| Step::Fire {
            schedule: schedule.to_string(),
            after,
            moment: after.unwrap_or(0) + later,
            job,
        },
    )
}

fn how() -> impl Strategy<Value = How> {
    prop_oneof![
        2 => (0..4_u32).prop_map(How::Succeeded),
        3 => (0..3_u32).prop_map(How::Failed),
        1 => (0..3_u32).prop_map(How::Deferred),
        2 => (0..3_u32, 0..4_u64).prop_map(|(hours, seen)| How::Waiting(hours, seen)),
        1 => Just(How::Cancelled),
        2 => Just(How::Dead),
        2 => Just(How::Silent),
    ]
}

/// Of an hour and more, so that a moment never falls on one when something may begin.
fn limits() -> impl Strategy<Value = QueueLimits> {
    let rate = || {
        let rate = (1..3_u64).prop_map(|burst| StartRate::new(1, HOUR).burst(burst));
        proptest::option::weighted(0.4, rate)
    };
    let number = || proptest::option::weighted(0.4, 1..4_u32);
    let limits =
        (number(), number(), rate(), rate()).prop_map(|(active, per, starts, of)| QueueLimits {
            active,
            active_per_group: per,
            starts,
            starts_per_group: of,
        });
    prop_oneof![Just(QueueLimits::NONE), limits]
}

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let settled = || proptest::collection::vec(how(), 0..4);
    let step = prop_oneof![
        4 => proptest::collection::vec(pushed(), 0..5).prop_map(Step::Push),
        3 => alike().prop_map(Step::Push),
        2 => (0..WORKERS, pushed(), 1..5_u32)
            .prop_filter("it is to wait", |(_, job, _)| {
                job.unique.as_ref().is_none_or(|it| it.scope != UniqueScope::Debounce)
            })
            .prop_map(|(worker, job, hours)| Step::Start(worker, job, hours)),
        7 => (0..WORKERS, settled(), 0..4_usize, 1..5_u32, proptest::bool::weighted(0.3), limits()).prop_map(
            |(worker, settled, want, hours, again, limits)| Step::Turn { worker, settled, want, hours, again, limits }
        ),
        1 => (0..WORKERS, 1..5_u32).prop_map(|(worker, hours)| Step::Renew(worker, hours)),
        1 => (0..IDS).prop_map(Step::Cancel),
        1 => (0..IDS, any::<bool>()).prop_map(|(id, wait)| Step::Look(id, wait)),
        1 => proptest::bool::weighted(0.3).prop_map(Step::Pause),
        1 => proptest::collection::vec(0..IDS, 1..4).prop_map(Step::Redrive),
        1 => (1..3_usize).prop_map(Step::RedriveDead),
        1 => (0..IDS, any::<u8>()).prop_map(|(id, input)| Step::Edit(id, input)),
        1 => proptest::collection::vec(0..IDS, 1..4).prop_map(Step::Remove),
        1 => (place(), 1..3_usize)
            .prop_filter("nobody has them", |(place, _)| *place != JobPlace::Active)
            .prop_map(|(place, most)| Step::Purge(place, most)),
        2 => (place(), 1..4_usize).prop_map(|(place, limit)| Step::List(place, limit)),
        1 => (0..IDS).prop_map(Step::Inspect),
        2 => Just(Step::Stats),
        2 => Just(Step::Fsck),
        2 => (0..WORKERS, note()).prop_map(|(worker, note)| Step::Note(worker, note)),
        8 => journaling().prop_map(Step::Journal),
        3 => fire(),
        1 => "[01]".prop_map(Step::Unschedule),
        4 => Just(Step::Watch),
        // Odd halves: a moment never falls on an end, where microseconds would decide.
        4 => (0..3_u32).prop_map(|halves| Step::Elapse { halves: 2 * halves + 1 }),
    ];
    proptest::collection::vec(step, 1..80)
}
