//! The scripts of votes do what the pure functions do.

use std::time::Duration;

use proptest::prelude::*;
use quorate::lock::{Ballot, EVERY_ATTEMPT, LockKey, LockKind, Vote};
use quorate::{FencingToken, LeaseId};
use quorate_testing::servers::ServerKind;

use crate::agreement::{Home, Subject, agree, options};

const SEQUENCES: usize = 100;
const LEASES: usize = 4;
const SECOND: Duration = Duration::from_secs(1);
const AGES: Duration = Duration::from_secs(1000 * 24 * 3600);

#[derive(Clone, Debug)]
enum Step {
    Vote {
        lease: usize,
        number: u64,
        seconds: u32,
        /// Of a server that has been up for ages.
        careful: bool,
        /// The n-th token before, brought along.
        token: Option<usize>,
    },
    Record {
        lease: usize,
        number: u64,
        nth: usize,
    },
    Extend {
        lease: usize,
        seconds: u32,
    },
    Withdraw {
        lease: usize,
        number: u64,
    },
    Force {
        nth: Option<usize>,
    },
    Elapse {
        seconds: u32,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (lease, seconds) = (0..LEASES, 1..6_u32);
    let number = prop_oneof![4 => 1..6_u64, 1 => Just(EVERY_ATTEMPT)];
    let careful = proptest::bool::weighted(0.1);
    let token = proptest::option::weighted(0.1, 0..3_usize);
    let asks = (
        lease.clone(),
        number.clone(),
        seconds.clone(),
        careful,
        token,
    );
    let step = prop_oneof![
        6 => asks.prop_map(|(lease, number, seconds, careful, token)| Step::Vote {
            lease, number, seconds, careful, token,
        }),
        4 => (lease.clone(), number.clone(), 0..3_usize)
            .prop_map(|(lease, number, nth)| Step::Record { lease, number, nth }),
        2 => (lease.clone(), seconds).prop_map(|(lease, seconds)| Step::Extend { lease, seconds }),
        3 => (lease, number).prop_map(|(lease, number)| Step::Withdraw { lease, number }),
        1 => proptest::option::of(0..3_usize).prop_map(|nth| Step::Force { nth }),
        2 => (1..4_u32).prop_map(|seconds| Step::Elapse { seconds }),
    ];
    proptest::collection::vec(step, 1..50)
}

/// Whole seconds, or halves more, of which some have passed in earnest.
fn left(time: Duration) -> u64 {
    (time + Duration::from_millis(450)).as_secs()
}

/// The tokens that were seen: what they are differs between homes, and which one it is does not.
#[derive(Default)]
struct Votes {
    seen: Vec<FencingToken>,
}

impl Votes {
    fn name(&mut self, token: FencingToken) -> String {
        if token.get() == 0 {
            return "none".to_owned();
        }
        let known = self.seen.iter().position(|it| *it == token);
        let nth = known.unwrap_or_else(|| {
            self.seen.push(token);
            self.seen.len() - 1
        });
        nth.to_string()
    }

    fn nth(&self, nth: usize) -> Option<FencingToken> {
        self.seen.iter().rev().nth(nth).copied()
    }

    async fn seat(&mut self, home: &Home) -> String {
        let seat = home.fleet.vote_port().look(&key(home), options()).await;
        let Some(seat) = seat.unwrap() else {
            return "nobody".to_owned();
        };
        let (held_for, remaining) = (seat.held_for.as_secs(), left(seat.remaining));
        let (lease, token) = (seat.lease, self.name(seat.token));
        format!("{lease} {token} {} {held_for} {remaining}", seat.owner)
    }

    async fn vote(&mut self, home: &Home, ballot: &Ballot) -> String {
        let voted = home
            .fleet
            .vote_port()
            .vote(&key(home), ballot, options())
            .await;
        match voted.unwrap().vote {
            Vote::Given { floor, token } => {
                let greatest = self.seen.iter().max();
                // One that was just brought along need not be known to be the greatest.
                assert!(greatest.is_none_or(|it| floor >= *it) || token.is_some());
                let token = token.map(|token| self.name(token));
                format!("given {} {token:?}", self.name(floor))
            }
            Vote::Held { remaining } => format!("held for {}", left(remaining)),
            Vote::Silent { .. } => "silent".to_owned(),
            Vote::Refused => "refused".to_owned(),
        }
    }
}

fn key(home: &Home) -> LockKey {
    LockKey::new(LockKind::Mutex, home.key("report"))
}

impl Subject for Votes {
    type Step = Step;
    type Names = Vec<LeaseId>;

    fn names() -> Self::Names {
        (0..LEASES).map(|_| LeaseId::random()).collect()
    }

    async fn answer(&mut self, home: &Home, step: &Step, leases: &Self::Names) -> String {
        let (port, key) = (home.fleet.vote_port(), key(home));
        let length = |seconds: u32| SECOND * seconds + SECOND / 2;
        let answer = match *step {
            Step::Vote {
                lease,
                number,
                seconds,
                careful,
                token,
            } => {
                let quarantine = if careful { AGES } else { Duration::ZERO };
                let mut ballot = Ballot::new(leases[lease], number, length(seconds), quarantine);
                ballot.token = token.and_then(|nth| self.nth(nth));
                ballot.owner = format!("owner {lease}");
                self.vote(home, &ballot).await
            }
            Step::Record { lease, number, nth } => {
                let token = self.nth(nth).unwrap_or(FencingToken::new(1));
                let recorded = port.record(&key, leases[lease], number, token, options());
                format!("recorded {}", recorded.await.unwrap())
            }
            Step::Extend { lease, seconds } => {
                let extended = port.extend(&key, leases[lease], length(seconds), options());
                let token = extended.await.unwrap().map(|token| self.name(token));
                format!("extended {token:?}")
            }
            Step::Withdraw { lease, number } => {
                let withdrawn = port.withdraw(&key, leases[lease], number, options());
                format!("withdrawn {}", withdrawn.await.unwrap())
            }
            Step::Force { nth } => {
                let token = nth.and_then(|nth| self.nth(nth));
                let forced = port.force(&key, token, options()).await.unwrap();
                format!("forced {:?}", forced.map(|token| self.name(token)))
            }
            Step::Elapse { seconds } => home.elapse(SECOND * seconds),
        };
        format!("{answer}\n{}", self.seat(home).await)
    }
}

async fn vote_scripts_agree_with_the_pure_functions(kind: ServerKind) {
    agree::<Votes>(kind, SEQUENCES, steps()).await;
}

#[tokio::test]
async fn vote_scripts_agree_on_redis() {
    vote_scripts_agree_with_the_pure_functions(ServerKind::Redis).await;
}

#[tokio::test]
async fn vote_scripts_agree_on_valkey() {
    vote_scripts_agree_with_the_pure_functions(ServerKind::Valkey).await;
}

#[tokio::test]
async fn vote_scripts_agree_on_a_cluster() {
    vote_scripts_agree_with_the_pure_functions(ServerKind::RedisCluster).await;
}
