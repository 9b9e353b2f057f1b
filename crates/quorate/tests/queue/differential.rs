//! The scripts of queues do what the pure functions do.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use quorate::queue::{
    Ask, Delivered, JobId, JobPlace, JobState, JobView, LeaseNumber, MemberOf, NewJob, Note,
    QueuePort, Settled, Settlement, Unique, UniqueScope,
};
use quorate::{Key, Micros};
use quorate_testing::servers::ServerKind;

use crate::agreement::{Home, Subject, agree, halves, options};

/// Steps are so long that the real time which passes on the server between two of them is nothing.
const HOUR: Duration = Duration::from_secs(3600);
const WORKERS: u8 = 3;
const IDS: u8 = 8;

#[derive(Clone, Debug)]
enum Step {
    Push(Vec<Pushed>),
    Turn {
        worker: u8,
        /// What it says of the first of what it has or had, in order.
        settled: Vec<How>,
        want: usize,
        hours: u32,
        again: bool,
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
    Elapse {
        halves: u32,
    },
}

#[derive(Clone, Debug)]
struct Pushed {
    id: u8,
    group: String,
    priority: u8,
    hours: u32,
    attempts: u32,
    expires: Option<u32>,
    keep: u32,
    is_member: bool,
    unique: Option<Unique>,
}

#[derive(Clone, Debug)]
enum How {
    Succeeded(u32),
    Failed(u32),
    Deferred(u32),
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

fn how() -> impl Strategy<Value = How> {
    prop_oneof![
        2 => (0..4_u32).prop_map(How::Succeeded),
        3 => (0..3_u32).prop_map(How::Failed),
        1 => (0..3_u32).prop_map(How::Deferred),
        1 => Just(How::Dead),
        2 => Just(How::Silent),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let settled = || proptest::collection::vec(how(), 0..4);
    let step = prop_oneof![
        4 => proptest::collection::vec(pushed(), 0..5).prop_map(Step::Push),
        3 => alike().prop_map(Step::Push),
        7 => (0..WORKERS, settled(), 0..4_usize, 1..5_u32, proptest::bool::weighted(0.3)).prop_map(
            |(worker, settled, want, hours, again)| Step::Turn { worker, settled, want, hours, again }
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
        // Odd halves: a moment never falls on an end, where microseconds would decide.
        4 => (0..3_u32).prop_map(|halves| Step::Elapse { halves: 2 * halves + 1 }),
    ];
    proptest::collection::vec(step, 1..80)
}

fn id(number: u8) -> JobId {
    JobId::from_bytes([number; 16])
}

fn new(it: &Pushed) -> NewJob {
    NewJob {
        id: id(it.id),
        input: Bytes::from(vec![it.id, it.attempts.to_le_bytes()[0]]),
        delay: HOUR * it.hours,
        priority: it.priority,
        group: it.group.clone(),
        attempts: it.attempts,
        expires: it.expires.map(|hours| HOUR * hours),
        keep: HOUR * it.keep,
        member_of: it.is_member.then(|| MemberOf {
            queue: "post".to_owned(),
            group: id(99),
        }),
        unique: it.unique.clone(),
    }
}

fn settlement(how: &How) -> Option<Settlement> {
    let error = "it failed: é\0".to_owned();
    Some(match how {
        How::Succeeded(hours) => Settlement::Succeeded {
            result: Bytes::from_static(b"\0done\xff"),
            keep: HOUR * *hours,
            work: None,
        },
        How::Failed(hours) => Settlement::Failed {
            after: HOUR * *hours,
            error,
        },
        How::Deferred(hours) => Settlement::Deferred(HOUR * *hours),
        How::Dead => Settlement::Dead(error),
        How::Silent => return None,
    })
}

/// What a home has delivered to whom.
#[derive(Default)]
struct Queues {
    held: BTreeMap<u8, Vec<(JobId, LeaseNumber)>>,
    numbers: BTreeMap<u8, u64>,
    last_lease: u64,
}

/// Without moments.
fn shown(state: Option<&JobState>) -> String {
    match state {
        Some(JobState::Due(_)) => "due".to_owned(),
        state => format!("{state:?}"),
    }
}

/// The same of all that is known of a job.
fn viewed(view: JobView) -> String {
    let mut details = view.details;
    if let Some(it) = &mut details {
        it.queued = Micros::new(0);
        it.expires = it.expires.map(|_| Micros::new(0));
    }
    let log = view.log.into_iter().map(|it| (it.attempt, it.text));
    let log: Vec<_> = log.collect();
    let (id, state, progress) = (view.id, shown(Some(&view.state)), view.progress);
    format!("{id} {state} {details:?} {progress:?} {log:?}")
}

fn ids(numbers: &[u8]) -> Vec<JobId> {
    numbers.iter().copied().map(id).collect()
}

/// What operators see and do.
async fn operate(port: &dyn QueuePort, key: &Key, step: &Step) -> String {
    match step {
        Step::Redrive(numbers) => {
            let done = port.redrive(key, &ids(numbers), options()).await;
            format!("{:?}", done.unwrap())
        }
        Step::RedriveDead(most) => {
            let done = port.redrive_dead(key, *most, options()).await;
            format!("{:?}", done.unwrap())
        }
        Step::Edit(number, input) => {
            let input = Bytes::from(vec![*input; 5]);
            let done = port.edit(key, id(*number), input, options()).await;
            format!("{:?}", done.unwrap())
        }
        Step::Remove(numbers) => {
            let done = port.remove(key, &ids(numbers), options()).await;
            format!("{:?}", done.unwrap())
        }
        Step::Purge(place, most) => {
            let done = port.purge(key, *place, *most, options()).await;
            format!("{:?}", done.unwrap())
        }
        Step::List(place, limit) => {
            let (mut text, mut next) = (String::new(), None);
            loop {
                let page = port.list(key, *place, next.as_ref(), *limit, options());
                let page = page.await.unwrap();
                for view in page.jobs {
                    text.push_str(&viewed(view));
                    text.push('\n');
                }
                text.push_str("--\n");
                next = page.next;
                if next.is_none() {
                    return text;
                }
            }
        }
        Step::Inspect(number) => {
            let view = port.inspect(key, id(*number), options()).await;
            view.unwrap().map_or_else(String::new, viewed)
        }
        Step::Fsck => {
            let (mut strays, mut next) = (Vec::new(), None);
            loop {
                let page = port.fsck(key, next.as_ref(), false, options()).await;
                let page = page.unwrap();
                strays.extend(page.strays);
                next = page.next;
                if next.is_none() {
                    assert_eq!(strays, []);
                    return String::new();
                }
            }
        }
        _ => {
            let mut stats = port.stats(key, options()).await.unwrap();
            let times = [stats.waited.take(), stats.next_due.take()];
            format!("{stats:?} {:?}", times.map(|it| it.map(halves)))
        }
    }
}

impl Queues {
    /// Of deliveries only what is the same on every home, and that their numbers grow.
    fn delivered(&mut self, all: &[Delivered], is_first: bool) -> String {
        let mut text = Vec::new();
        for it in all {
            let grown = !is_first || it.lease.get() > self.last_lease;
            self.last_lease = self.last_lease.max(it.lease.get());
            text.push(format!(
                "{} {}/{} {:?} {:?} {:?} {:?} {:?} {grown} {}",
                it.id,
                it.attempt,
                it.attempts,
                it.input,
                it.group,
                it.keep,
                it.member_of,
                it.checkpoint,
                it.lease.get() % 2
            ));
        }
        text.join(", ")
    }

    async fn turn(&mut self, port: &dyn QueuePort, key: &Key, step: &Step) -> String {
        let Step::Turn {
            worker,
            settled,
            want,
            hours,
            again,
        } = step
        else {
            unreachable!("it is called with turns");
        };
        let held = self.held.entry(*worker).or_default();
        let said = held.iter().zip(settled);
        let settled: Vec<_> = said
            .filter_map(|((id, lease), how)| {
                let (id, lease, settlement) = (*id, *lease, settlement(how)?);
                Some(Settled {
                    id,
                    lease,
                    settlement,
                })
            })
            .collect();
        let number = self.numbers.entry(*worker).or_default();
        *number += 1;
        let ask = Ask {
            worker: (*worker).into(),
            number: *number,
            settled,
            want: *want,
            lease: HOUR * *hours,
            takes_groups: false,
        };
        let turn = port.turn(key, &ask, options()).await.unwrap();
        // The newest first, so that old deliveries are settled as well, but late.
        let new = turn.delivered.iter().map(|it| (it.id, it.lease));
        let held = self.held.entry(*worker).or_default();
        held.splice(0..0, new);
        let next = turn.next.map(|it| (it.as_secs_f64() / 1800.0).round());
        let mut text = format!("{:?} {next:?} ", turn.settled);
        text.push_str(&self.delivered(&turn.delivered, true));
        if *again {
            let turn = port.turn(key, &ask, options()).await.unwrap();
            text.push_str(&format!(" again {:?} ", turn.settled));
            text.push_str(&self.delivered(&turn.delivered, false));
        }
        text
    }
}

impl Subject for Queues {
    type Step = Step;
    type Names = ();

    fn names() {}

    async fn answer(&mut self, home: &Home, step: &Step, (): &()) -> String {
        let (port, key) = (home.fleet.queue_port(), home.key("mail"));
        let answer = match step {
            Step::Push(jobs) => {
                let jobs: Vec<_> = jobs.iter().map(new).collect();
                format!("{:?}", port.push(&key, &jobs, options()).await.unwrap())
            }
            turn @ Step::Turn { .. } => self.turn(&*port, &key, turn).await,
            Step::Renew(worker, hours) => {
                let held = self.held.get(worker).cloned().unwrap_or_default();
                let renewed = port.renew(&key, &held, HOUR * *hours, options());
                format!("{:?}", renewed.await.unwrap())
            }
            Step::Cancel(number) => {
                let state = port.cancel(&key, id(*number), options()).await.unwrap();
                shown(state.as_ref())
            }
            Step::Look(number, wait) => {
                let state = port.look(&key, id(*number), *wait, options()).await;
                shown(state.unwrap().as_ref())
            }
            Step::Pause(paused) => {
                port.pause(&key, *paused, options()).await.unwrap();
                String::new()
            }
            Step::Note(worker, note) => {
                let held = self.held.get(worker).and_then(|held| held.first());
                match held {
                    Some((id, lease)) => {
                        let noted = port.note(&key, *id, *lease, note.clone(), options());
                        format!("{:?}", noted.await.unwrap())
                    }
                    None => String::new(),
                }
            }
            operating @ (Step::Redrive(_)
            | Step::RedriveDead(_)
            | Step::Edit(..)
            | Step::Remove(_)
            | Step::Purge(..)
            | Step::List(..)
            | Step::Inspect(_)
            | Step::Stats
            | Step::Fsck) => operate(&*port, &key, operating).await,
            Step::Elapse { halves } => home.elapse_with_keys(HOUR / 2 * *halves).await,
        };
        // Each look is a round trip.
        let is_looked_at = matches!(
            step,
            Step::Elapse { .. }
                | Step::Cancel(_)
                | Step::Pause(_)
                | Step::Redrive(_)
                | Step::Remove(_)
        );
        let mut states = Vec::new();
        for number in (0..IDS).filter(|_| is_looked_at) {
            let state = port.look(&key, id(number), false, options()).await;
            states.push(shown(state.unwrap().as_ref()));
        }
        format!("{answer}; {states:#?}")
    }
}

const ROUNDS: usize = 20;

#[tokio::test]
async fn queue_scripts_agree_on_redis() {
    agree::<Queues>(ServerKind::Redis, ROUNDS, steps()).await;
}

#[tokio::test]
async fn queue_scripts_agree_on_valkey() {
    agree::<Queues>(ServerKind::Valkey, ROUNDS, steps()).await;
}

#[tokio::test]
async fn queue_scripts_agree_on_a_cluster() {
    agree::<Queues>(ServerKind::RedisCluster, ROUNDS, steps()).await;
}
