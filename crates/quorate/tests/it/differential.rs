//! The scripts do what the pure functions do: random sequences of operations get the same answers on
//! a server and in process.

use std::time::Duration;

use proptest::prelude::*;
use quorate::LeaseId;
use quorate::lock::AcquireReply;
use quorate_testing::servers::ServerKind;

use crate::agreement::{Home, Subject, agree, halves, options};

const SEQUENCES: usize = 40;
/// Steps are so long that the real time which passes on the server between two of them is nothing.
const HOUR: Duration = Duration::from_secs(3600);

#[derive(Clone, Debug)]
enum Step {
    Acquire {
        lock: usize,
        lease: usize,
        hours: u32,
    },
    Extend {
        lock: usize,
        lease: usize,
        hours: u32,
    },
    Release {
        lock: usize,
        lease: usize,
    },
    Elapse {
        halves: u32,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (lock, lease, hours) = (0..2_usize, 0..3_usize, 1..5_u32);
    let step = prop_oneof![
        3 => (lock.clone(), lease.clone(), hours.clone())
            .prop_map(|(lock, lease, hours)| Step::Acquire { lock, lease, hours }),
        2 => (lock.clone(), lease.clone(), hours)
            .prop_map(|(lock, lease, hours)| Step::Extend { lock, lease, hours }),
        2 => (lock, lease).prop_map(|(lock, lease)| Step::Release { lock, lease }),
        // Odd halves: a moment never falls on the end of a lease, where microseconds would decide.
        1 => (0..3_u32).prop_map(|halves| Step::Elapse { halves: 2 * halves + 1 }),
    ];
    proptest::collection::vec(step, 1..40)
}

/// The tokens that were given out.
#[derive(Default)]
struct Locks {
    last: [u64; 2],
}

impl Subject for Locks {
    type Step = Step;
    type Names = Vec<LeaseId>;

    fn names() -> Self::Names {
        (0..3).map(|_| LeaseId::random()).collect()
    }

    /// Without the size of tokens, and fractions of an hour.
    async fn answer(&mut self, home: &Home, step: &Step, leases: &Self::Names) -> String {
        let port = home.fleet.lock_port();
        let key = |lock: usize| home.key(&format!("lock-{lock}"));
        match *step {
            Step::Acquire { lock, lease, hours } => {
                match port
                    .acquire(&key(lock), leases[lease], HOUR * hours, options())
                    .await
                    .unwrap()
                {
                    AcquireReply::Acquired { token } => {
                        let last = std::mem::replace(&mut self.last[lock], token.get());
                        format!("acquired, token {:?}", token.get().cmp(&last))
                    }
                    AcquireReply::Held { remaining } => {
                        format!("held for {}", halves(remaining))
                    }
                }
            }
            Step::Extend { lock, lease, hours } => {
                let extended = port
                    .extend(&key(lock), leases[lease], HOUR * hours, options())
                    .await;
                format!("extended {}", extended.unwrap())
            }
            Step::Release { lock, lease } => {
                let released = port.release(&key(lock), leases[lease], options()).await;
                format!("released {}", released.unwrap())
            }
            Step::Elapse { halves } => home.elapse(HOUR / 2 * halves),
        }
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
