//! The scripts do what the pure functions do: random sequences of operations get the same answers on
//! a server and in process.

use std::time::Duration;

use proptest::prelude::*;
use quorate::lock::{AcquireReply, Ask, LockKey, LockKind};
use quorate::{FencingToken, LeaseId};
use quorate_testing::servers::ServerKind;

use crate::agreement::{Home, Subject, agree, options};

const SEQUENCES: usize = 100;
const LEASES: usize = 6;
/// Steps are so long that the real time which passes on the server between two of them is nothing. Waiters and grants
/// live for 3 of them, leases for halves more: no moment falls on an end, where microseconds would decide.
const SECOND: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
enum Step {
    Acquire {
        lock: usize,
        lease: usize,
        seconds: u32,
        weight: u32,
        again: bool,
        wait: bool,
    },
    Extend {
        lock: usize,
        lease: usize,
        seconds: u32,
    },
    Release {
        lock: usize,
        lease: usize,
    },
    Force {
        lock: usize,
        /// The token of the n-th holder before, or all.
        nth: Option<usize>,
    },
    Elapse {
        seconds: u32,
    },
    SetBack {
        seconds: u32,
    },
}

/// One of each capacity, and one of which everything is announced.
const KINDS: [(LockKind, u32); 3] = [
    (LockKind::Mutex, 1),
    (LockKind::ReadWrite, 4),
    (LockKind::Election, 2),
];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (lock, lease, seconds) = (0..KINDS.len(), 0..LEASES, 1..9_u32);
    let ask = (
        1..5_u32,
        proptest::bool::weighted(0.3),
        proptest::bool::weighted(0.7),
    );
    let step = prop_oneof![
        6 => (lock.clone(), lease.clone(), seconds.clone(), ask)
            .prop_map(|(lock, lease, seconds, (weight, again, wait))| Step::Acquire {
                lock, lease, seconds, weight, again, wait,
            }),
        2 => (lock.clone(), lease.clone(), seconds)
            .prop_map(|(lock, lease, seconds)| Step::Extend { lock, lease, seconds }),
        3 => (lock.clone(), lease).prop_map(|(lock, lease)| Step::Release { lock, lease }),
        1 => (lock, proptest::option::of(0..3_usize))
            .prop_map(|(lock, nth)| Step::Force { lock, nth }),
        4 => (1..4_u32).prop_map(|seconds| Step::Elapse { seconds }),
        1 => (1..9_u32).prop_map(|seconds| Step::SetBack { seconds }),
    ];
    proptest::collection::vec(step, 1..50)
}

fn key(home: &Home, lock: usize) -> LockKey {
    LockKey::new(KINDS[lock].0, home.key(&format!("lock-{lock}")))
}

/// Time that is over, in whole seconds: some of the next has passed in earnest.
fn over(time: Duration) -> u64 {
    time.as_secs()
}

/// Time that is left: whole seconds, or halves more, of which some have passed in earnest.
fn left(time: Duration) -> u64 {
    (time + Duration::from_millis(450)).as_secs()
}

/// The tokens that were seen, in order: what they are differs between homes, and which one it is does not.
#[derive(Default)]
struct Locks {
    seen: [Vec<FencingToken>; KINDS.len()],
}

impl Locks {
    fn name(&mut self, lock: usize, token: FencingToken) -> usize {
        let seen = &mut self.seen[lock];
        let known = seen.iter().position(|it| *it == token);
        known.unwrap_or_else(|| {
            assert!(
                seen.last().is_none_or(|last| *last < token),
                "it did not grow"
            );
            seen.push(token);
            seen.len() - 1
        })
    }

    /// The lock as it is, with tokens by name.
    async fn status(&mut self, home: &Home, lock: usize) -> String {
        let port = home.fleet.lock_port();
        let status = port.look(&key(home, lock), options()).await.unwrap();
        let holders: Vec<_> = status
            .holders
            .iter()
            .map(|it| {
                let (held_for, remaining) = (over(it.held_for), left(it.remaining));
                let name = self.name(lock, it.token);
                format!("{name} {} {} {held_for} {remaining}", it.owner, it.weight)
            })
            .collect();
        let waiters: Vec<_> = status
            .waiters
            .iter()
            .map(|it| format!("{} {} {}", it.owner, it.weight, over(it.waiting_for)))
            .collect();
        format!("{holders:?}, {waiters:?} of {}", status.waiting)
    }
}

impl Subject for Locks {
    type Step = Step;
    type Names = Vec<LeaseId>;

    fn names() -> Self::Names {
        (0..LEASES).map(|_| LeaseId::random()).collect()
    }

    /// Without the size of tokens, and fractions of a second.
    async fn answer(&mut self, home: &Home, step: &Step, leases: &Self::Names) -> String {
        let port = home.fleet.lock_port();
        let answer = match *step {
            Step::Acquire {
                lock,
                lease,
                seconds,
                weight,
                again,
                wait,
            } => {
                let mut ask = Ask::new(leases[lease], SECOND * seconds + SECOND / 2);
                ask.capacity = KINDS[lock].1;
                ask.weight = weight.min(ask.capacity);
                ask.owner = format!("owner {}", lease % 2);
                ask.reentrant = again;
                ask.wait = wait;
                let reply = port
                    .acquire(&key(home, lock), &ask, options())
                    .await
                    .unwrap();
                // What was granted on the way is older than what this got.
                self.status(home, lock).await;
                match reply {
                    AcquireReply::Acquired { token } => {
                        format!("acquired {}", self.name(lock, token))
                    }
                    AcquireReply::Held { remaining } => format!("held for {}", left(remaining)),
                    AcquireReply::Queued {
                        ahead,
                        remaining,
                        last,
                    } => {
                        let last = (last.get() > 0).then(|| self.name(lock, last));
                        format!("queued behind {ahead}, {} after {last:?}", left(remaining))
                    }
                    AcquireReply::QueueFull => "full".to_owned(),
                }
            }
            Step::Extend {
                lock,
                lease,
                seconds,
            } => {
                let length = SECOND * seconds + SECOND / 2;
                let key = key(home, lock);
                let extended = port.extend(&key, leases[lease], length, options());
                format!("extended {}", extended.await.unwrap())
            }
            Step::Release { lock, lease } => {
                let released = port
                    .release(&key(home, lock), leases[lease], options())
                    .await;
                format!("released {}", released.unwrap())
            }
            Step::Force { lock, nth } => {
                let seen = &self.seen[lock];
                let token = nth.and_then(|nth| seen.iter().rev().nth(nth)).copied();
                let forced = port.force_release(&key(home, lock), token, options()).await;
                let forced = forced.unwrap().into_iter().map(|it| self.name(lock, it));
                format!("forced {:?}", forced.collect::<Vec<_>>())
            }
            Step::Elapse { seconds } => home.elapse(SECOND * seconds),
            Step::SetBack { seconds } => home.set_back(SECOND * seconds),
        };
        let touched = match *step {
            Step::Acquire { lock, .. }
            | Step::Extend { lock, .. }
            | Step::Release { lock, .. }
            | Step::Force { lock, .. } => lock,
            Step::Elapse { .. } | Step::SetBack { .. } => return answer,
        };
        format!("{answer}\n{}", self.status(home, touched).await)
    }
}

async fn lock_scripts_agree_with_the_pure_functions(kind: ServerKind) {
    agree::<Locks>(kind, SEQUENCES, steps()).await;
}

#[tokio::test]
async fn lock_scripts_agree_on_redis() {
    lock_scripts_agree_with_the_pure_functions(ServerKind::Redis).await;
}

#[tokio::test]
async fn lock_scripts_agree_on_valkey() {
    lock_scripts_agree_with_the_pure_functions(ServerKind::Valkey).await;
}

#[tokio::test]
async fn lock_scripts_agree_on_a_cluster() {
    lock_scripts_agree_with_the_pure_functions(ServerKind::RedisCluster).await;
}
