//! The scripts of queues do what the pure functions do.

mod journals;
mod steps;

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate::queue::{
    Ask, Delivered, EventBatch, Firing, JobEvent, JobEventKind, JobId, JobState, JobView,
    LeaseNumber, MemberOf, NewJob, QueuePort, Settled, Settlement,
};
use quorate::{Key, Micros, Subscription};
use quorate_testing::servers::ServerKind;

use self::journals::{Journaling, journal};
use self::steps::{HOUR, How, IDS, Pushed, Step, steps};
use crate::agreement::{Home, Subject, agree, halves, options};

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
        How::Waiting(hours, seen) => Settlement::Waiting {
            after: HOUR * *hours,
            seen: *seen,
        },
        How::Cancelled => Settlement::Cancelled,
        How::Dead => Settlement::Dead(error),
        How::Silent => return None,
    })
}

/// Somebody who listens to what happens in the queue.
struct Listener {
    batches: Subscription<Bytes>,
    /// Of the last batch.
    number: u64,
}

impl Listener {
    async fn new(home: &Home, port: &dyn QueuePort, key: &Key) -> Self {
        let name = format!("queue:{{{}}}:events", key.name());
        let channel = home.fleet.channel(&name).unwrap().sharded();
        let batches = channel.subscribe().await.unwrap();
        let number = port.watch(key, options()).await.unwrap();
        Self { batches, number }
    }

    /// What was told up to now, by job, with times from then on.
    async fn heard(&mut self, port: &dyn QueuePort, key: &Key) -> String {
        let (last, mut heard) = (port.watch(key, options()).await.unwrap(), Vec::new());
        while self.number < last {
            let message = self.batches.next_message().await.unwrap();
            let batch = EventBatch::decode(&message).unwrap();
            self.number += 1;
            assert_eq!(batch.number, self.number, "{batch:?}");
            heard.extend(batch.events.into_iter().map(|it| (it.id, shown_event(it))));
        }
        // Each home tells of the jobs of one step in an order of its own.
        heard.sort_by_key(|(id, _)| *id);
        let heard: Vec<_> = heard.into_iter().map(|(_, text)| text).collect();
        heard.join(", ")
    }
}

fn shown_event(it: JobEvent) -> String {
    let (id, later) = (it.id, |at: Micros| halves(at.since(it.at)));
    match it.kind {
        JobEventKind::Queued { due } => format!("{id} queued {:?}", due.map(later)),
        JobEventKind::Deferred { until } => format!("{id} deferred {}", later(until)),
        JobEventKind::Failed { error, retry } => format!("{id} failed {error:?} {}", later(retry)),
        other => format!("{id} {other:?}"),
    }
}

/// What a home has delivered to whom.
#[derive(Default)]
struct Queues {
    held: BTreeMap<u8, Vec<(JobId, LeaseNumber)>>,
    numbers: BTreeMap<u8, u64>,
    last_lease: u64,
    events: Option<Listener>,
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
    let beside = (view.entries, view.messages);
    format!("{id} {state} {details:?} {progress:?} {log:?} {beside:?}")
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
            let times = [
                stats.waited.take(),
                stats.next_due.take(),
                stats.effects_waited.take(),
            ];
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
            limits,
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
            limits: *limits,
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
            Step::Start(worker, job, hours) => {
                let job = new(job);
                let started = port.start(&key, &job, HOUR * *hours, options());
                let started = started.await.unwrap();
                let lease = started.lease.map(|lease| {
                    let held = self.held.entry(*worker).or_default();
                    held.insert(0, (job.id, lease));
                    let grown = lease.get() > self.last_lease;
                    self.last_lease = lease.get();
                    (grown, lease.get() % 2)
                });
                format!("{:?} {lease:?}", started.pushed)
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
            Step::Journal(step) => {
                let held = match step {
                    Journaling::Append(worker, _) => self.held.get(worker),
                    _ => None,
                };
                journal(&*port, &key, held.map_or(&[], |held| held), step).await
            }
            Step::Fire {
                schedule,
                after,
                moment,
                job,
            } => {
                let moment_of = |number: u8| Micros::new(u64::from(number) + 1);
                let firing = Firing {
                    schedule: schedule.clone(),
                    after: after.map(moment_of),
                    moment: Some(moment_of(*moment)),
                    job: job.as_ref().map(new),
                };
                let (fired, _) = port.fire(&key, &firing, options()).await.unwrap();
                format!("{fired:?}")
            }
            Step::Unschedule(name) => {
                let gone = port.unschedule(&key, name, options()).await.unwrap();
                let left = port.schedules(&key, options()).await.unwrap();
                format!("{gone} {left:?}")
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
            Step::Watch => {
                if self.events.is_none() {
                    self.events = Some(Listener::new(home, &*port, &key).await);
                }
                String::new()
            }
            Step::Elapse { halves } => {
                // What happens from then on is told to nobody.
                self.events = None;
                home.elapse_with_keys(HOUR / 2 * *halves).await
            }
        };
        let heard = match &mut self.events {
            Some(events) => events.heard(&*port, &key).await,
            None => String::new(),
        };
        // Each look is a round trip.
        let is_looked_at = matches!(
            step,
            Step::Elapse { .. }
                | Step::Cancel(_)
                | Step::Pause(_)
                | Step::Redrive(_)
                | Step::Remove(_)
                | Step::Journal(_)
        );
        let mut states = Vec::new();
        for number in (0..IDS).filter(|_| is_looked_at) {
            let state = port.look(&key, id(number), false, options()).await;
            states.push(shown(state.unwrap().as_ref()));
        }
        format!("{answer}; {states:#?}; {heard}")
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
