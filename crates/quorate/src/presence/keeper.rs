//! The one task of an instance that keeps its places on rosters: carries out what they want, renews their
//! leases, and removes instances whose lease has ended. It sleeps while there is nothing to do.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::{Arc, Weak};

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::Instant;

use super::handle::{JOIN, LEAVE, LOOK, Presences, REAP, RENEW, count_members};
use super::roster::{Ending, Look, Removal, Standing};
use super::seat::{Job, Next};
use crate::context::Operation;
use crate::error::Result;
use crate::hooks::ErrorSource;
use crate::key::Key;
use crate::port::CallOptions;
use crate::telemetry;

/// Requests of one instance under way at once. Each seat has at most one.
const CONCURRENT: usize = 64;

/// A seat that has something to do. It holds what is needed to do it, so that what was wanted before the
/// last handle was dropped is still carried out.
pub(super) type Told = (Arc<Presences>, Key);

/// A job that has ended.
struct Ended {
    presences: Arc<Presences>,
    key: Key,
    job: Job,
    asked: Instant,
    result: Result<Standing>,
}

/// A seat that is to be looked at, in the order of time.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Appointment {
    at: Instant,
    /// Keys have no order: the first that was made comes first.
    number: u64,
    key: NotCompared,
}

struct NotCompared(Key);

impl PartialEq for NotCompared {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for NotCompared {}

impl PartialOrd for NotCompared {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for NotCompared {
    fn cmp(&self, _: &Self) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}

#[derive(Default)]
struct Keeper {
    running: FuturesUnordered<BoxFuture<'static, Ended>>,
    /// Waiting for one of those under way to end.
    backlog: VecDeque<Told>,
    appointments: BinaryHeap<Reverse<Appointment>>,
    numbers: u64,
}

/// Runs until the fleet is closed, when everybody leaves, or until nothing holds it any more.
pub(super) async fn keep(presences: Weak<Presences>, mut told: UnboundedReceiver<Told>) {
    let Some(closed) = presences
        .upgrade()
        .map(|presences| presences.context.closed().clone())
    else {
        return;
    };
    let mut keeper = Keeper::default();
    loop {
        let next = keeper.appointments.peek().map(|Reverse(it)| it.at);
        tokio::select! {
            biased;
            () = closed.cancelled() => break,
            Some(ended) = keeper.running.next() => keeper.ended(ended),
            seat = told.recv() => match seat {
                Some((presences, key)) => keeper.look_after(presences, key),
                // Nobody can tell any more, and the last word has been carried out.
                None => return,
            },
            () = at(next) => {
                let Some(presences) = presences.upgrade() else { return };
                keeper.keep_appointments(&presences);
            }
        }
    }
    // Before everybody leaves: nothing else of ours is sent any more, and nobody is told that he may wait.
    drop(keeper);
    drop(told);
    if let Some(presences) = presences.upgrade() {
        leave_all(&presences).await;
    }
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

impl Keeper {
    fn ended(&mut self, ended: Ended) {
        let Ended {
            presences,
            key,
            job,
            asked,
            result,
        } = ended;
        let operation = operation(&job);
        let done = presences
            .seats
            .lock()
            .get_mut(&key)
            .map(|seat| seat.done(job, asked, Instant::now(), result))
            .unwrap_or_default();
        if done.rejoining {
            metrics::counter!(telemetry::PRESENCE_REJOINED).increment(1);
        }
        if let Some(error) = done.report {
            let error = error.with_operation(operation.name).with_target(key.name());
            presences.context.hooks.error(ErrorSource::Presence, &error);
        }
        // Who waited longer comes first: a busy roster would otherwise take its own place again.
        while self.running.len() < CONCURRENT
            && let Some((presences, key)) = self.backlog.pop_front()
        {
            self.look_after(presences, key);
        }
        self.look_after(presences, key);
    }

    fn keep_appointments(&mut self, presences: &Arc<Presences>) {
        let now = Instant::now();
        while let Some(Reverse(first)) = self.appointments.peek()
            && first.at <= now
        {
            let Some(Reverse(first)) = self.appointments.pop() else {
                return;
            };
            if presences.keeps(&first.key.0, first.at) {
                self.look_after(presences.clone(), first.key.0);
            }
        }
    }

    /// Begins what a seat has to do, or makes an appointment for it.
    fn look_after(&mut self, presences: Arc<Presences>, key: Key) {
        if self.running.len() >= CONCURRENT {
            return self.backlog.push_back((presences, key));
        }
        let next = presences.next(&key);
        match next {
            Next::Run(job) => self.running.push(Box::pin(run(presences, key, job))),
            Next::At(at) => {
                self.numbers += 1;
                self.appointments.push(Reverse(Appointment {
                    at,
                    number: self.numbers,
                    key: NotCompared(key),
                }));
            }
            Next::Nothing | Next::Empty => {}
        }
    }
}

fn operation(job: &Job) -> &'static Operation {
    match job {
        Job::Join(..) => &JOIN,
        Job::Leave(..) => &LEAVE,
        Job::Renew => &RENEW,
        Job::Remove(..) => &REAP,
        Job::Look => &LOOK,
    }
}

async fn run(presences: Arc<Presences>, key: Key, job: Job) -> Ended {
    let asked = Instant::now();
    let result = request(&presences, &key, &job).await;
    Ended {
        presences,
        key,
        job,
        asked,
        result,
    }
}

async fn request(presences: &Presences, key: &Key, job: &Job) -> Result<Standing> {
    let Presences {
        context,
        port,
        own,
        lease,
        ..
    } = presences;
    let options = CallOptions::until(context.attempt_deadline());
    // Joins and leaves are counted where they were asked for: here they are batches.
    match job {
        Job::Join(members, _) => port.join(key, *own, *lease, members, options).await,
        Job::Leave(ids, _) => port.leave(key, *own, ids, options).await,
        Job::Renew => {
            let call = context.begin(&RENEW, None);
            let result = port.renew(key, *own, *lease, options).await;
            call.finish(&result);
            result
        }
        Job::Remove(instance, removal) => {
            let call = context.begin(&REAP, None);
            let result = port.remove(key, *instance, *removal, options).await;
            call.finish(&result);
            result
        }
        Job::Look => {
            let call = context.begin(&LOOK, None);
            let result = port.look(key, options).await;
            call.finish(&result);
            Ok(standing(&result?))
        }
    }
}

/// What a look says about when to do what.
pub(super) fn standing(look: &Look) -> Standing {
    let first = look.instances.iter().min_by_key(|it| it.remaining);
    let next = first.map(|it| Ending {
        instance: it.instance,
        remaining: it.remaining,
    });
    let mut standing = Standing::new(look.version);
    standing.next = next;
    standing
}

/// Takes everybody off every roster, past the choke point that refuses calls by now.
async fn leave_all(presences: &Arc<Presences>) {
    let keys: Vec<Key> = {
        let mut seats = presences.seats.lock();
        let mut keys = Vec::new();
        // Whoever waits is told by the end of his channel.
        for (key, seat) in seats.drain() {
            count_members(seat.members(), 0);
            if seat.may_be_there() {
                keys.push(key);
            }
        }
        keys
    };
    let leaving = keys.into_iter().map(|key| async move {
        let options = CallOptions::until(presences.context.attempt_deadline());
        let removed = presences
            .port
            .remove(&key, presences.own, Removal::Now, options)
            .await;
        if let Err(error) = removed {
            let error = error.with_operation(LEAVE.name).with_target(key.name());
            presences.context.hooks.error(ErrorSource::Presence, &error);
        }
    });
    futures_util::stream::iter(leaving)
        .buffer_unordered(CONCURRENT)
        .collect::<()>()
        .await;
}
