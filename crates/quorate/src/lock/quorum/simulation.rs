//! Many who want one lock of a quorum, on servers that answer late, lose answers, and start again with nothing.

#![allow(
    clippy::disallowed_methods,
    reason = "what is under way outlives whoever asked for it"
)]

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout_at};

use super::ballot::{Ballot, Seat, Voted};
use super::port::VotePort;
use super::rounds::QuorumPort;
use super::state::VoteState;
use crate::clock::Micros;
use crate::context::timed_out_waiting;
use crate::error::{Outcome, Result};
use crate::fleet::Fleet;
use crate::lock::{Acquire, FencingToken, LeaseId, Lock, LockGuard, LockKey, LockKind, Locks};
use crate::port::CallOptions;

const SERVERS: usize = 3;
const CLIENTS: usize = 4;
const LEASE: Duration = Duration::from_millis(400);
const LONGEST: Duration = Duration::from_millis(500);
/// How much the clocks of servers may differ that lose their counters: less than the longest lease.
const LITTLE: Duration = Duration::from_millis(200);
/// And those of others, of which only the counters let tokens grow.
const FAR: Duration = Duration::from_secs(20);

/// A server that can be started again.
#[derive(Clone)]
struct Simulated {
    inside: Arc<Mutex<Inside>>,
    began: Instant,
    /// Of the clocks of others.
    ahead: Duration,
}

struct Inside {
    state: VoteState,
    started: Instant,
    random: StdRng,
}

impl Simulated {
    fn new(seed: u64, began: Instant, ahead: Duration) -> Self {
        let inside = Inside {
            state: VoteState::default(),
            started: began,
            random: StdRng::seed_from_u64(seed),
        };
        Self {
            inside: Arc::new(Mutex::new(inside)),
            began,
            ahead,
        }
    }

    /// All that it knew is gone with it, and what was on its way to it may still come.
    fn restart(&self) {
        let mut inside = self.inside.lock();
        inside.state = VoteState::default();
        inside.started = Instant::now();
    }

    fn chance(&self, share: f64) -> bool {
        self.inside.lock().random.random_bool(share)
    }

    /// Mostly soon; sometimes after whoever asked has given up and asked again.
    fn delay(&self) -> Duration {
        let most = if self.chance(0.1) { 500 } else { 4 };
        Duration::from_millis(self.inside.lock().random.random_range(0..=most))
    }

    /// What was sent is not unsent when nobody waits for its answer.
    fn call<R: Send + 'static>(
        &self,
        options: CallOptions,
        apply: impl FnOnce(&mut VoteState, Micros, Duration) -> R + Send + 'static,
    ) -> impl Future<Output = Result<R>> + Send + 'static {
        let (answer, answered) = oneshot::channel();
        let server = self.clone();
        tokio::spawn(async move {
            sleep(server.delay()).await;
            let reply = {
                let mut inside = server.inside.lock();
                let up = inside.started.elapsed();
                apply(&mut inside.state, server.now(), up)
            };
            sleep(server.delay()).await;
            if !server.chance(0.05) {
                // Nobody may wait for it any more.
                let _ = answer.send(reply);
            }
        });
        async move {
            let lost = || timed_out_waiting("an answer").with_outcome(Outcome::Unknown);
            match timeout_at(options.deadline, answered).await {
                Ok(Ok(reply)) => Ok(reply),
                Ok(Err(_)) => {
                    tokio::time::sleep_until(options.deadline).await;
                    Err(lost())
                }
                Err(_) => Err(lost()),
            }
        }
    }

    fn now(&self) -> Micros {
        Micros::new(1_000_000).plus(self.ahead + self.began.elapsed())
    }
}

#[async_trait]
impl VotePort for Simulated {
    async fn vote(&self, _lock: &LockKey, ballot: &Ballot, options: CallOptions) -> Result<Voted> {
        let ballot = ballot.clone();
        let voted = self.call(options, move |state, now, up| state.vote(now, up, &ballot));
        let server = String::new();
        Ok(Voted {
            server,
            vote: voted.await?,
        })
    }

    async fn record(
        &self,
        _lock: &LockKey,
        lease: LeaseId,
        number: u64,
        token: FencingToken,
        options: CallOptions,
    ) -> Result<bool> {
        self.call(options, move |state, now, _| {
            state.record(now, lease, number, token)
        })
        .await
    }

    async fn extend(
        &self,
        _lock: &LockKey,
        lease: LeaseId,
        length: Duration,
        options: CallOptions,
    ) -> Result<Option<FencingToken>> {
        self.call(options, move |state, now, _| {
            state.extend(now, lease, length)
        })
        .await
    }

    async fn withdraw(
        &self,
        _lock: &LockKey,
        lease: LeaseId,
        number: u64,
        options: CallOptions,
    ) -> Result<bool> {
        self.call(options, move |state, now, _| {
            state.withdraw(now, lease, number)
        })
        .await
    }

    async fn force(
        &self,
        _lock: &LockKey,
        token: Option<FencingToken>,
        options: CallOptions,
    ) -> Result<Option<FencingToken>> {
        self.call(options, move |state, now, _| state.force(now, token))
            .await
    }

    async fn look(&self, _lock: &LockKey, options: CallOptions) -> Result<Option<Seat>> {
        self.call(options, move |state, now, _| state.look(now))
            .await
    }
}

impl fmt::Display for Simulated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("simulated votes")
    }
}

impl fmt::Debug for Simulated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Simulated")
    }
}

/// Who held the lock, in the order in which they learned of it.
#[derive(Default)]
struct History {
    tokens: Vec<FencingToken>,
    /// Until when the last of them believes to hold it; `None` once it gave it back.
    believes_until: Option<(usize, Instant)>,
}

impl History {
    fn acquired(&mut self, client: usize, guard: &LockGuard) {
        let now = Instant::now();
        if let Some((other, until)) = self.believes_until {
            assert!(
                other == client || until <= now,
                "{client} has it, and {other} believes to have it for {:?} more",
                until - now
            );
        }
        assert!(
            self.tokens.last().is_none_or(|last| *last < guard.token()),
            "{:?} after {:?}",
            guard.token(),
            self.tokens.last()
        );
        self.tokens.push(guard.token());
        self.believes(client, guard);
    }

    fn stops_believing(&mut self, client: usize) {
        self.believes_until.take_if(|it| it.0 == client);
    }

    fn believes(&mut self, client: usize, guard: &LockGuard) {
        self.believes_until = Some((client, Instant::now() + guard.remaining()));
    }
}

/// Takes the lock again and again, and holds it shorter or longer than its lease.
async fn contend(client: usize, seed: u64, lock: Lock, history: Arc<Mutex<History>>) {
    let mut random = StdRng::seed_from_u64(seed);
    let ends = Instant::now() + Duration::from_secs(15);
    while Instant::now() < ends {
        let mut ask = lock.acquire().lease(LEASE).wait(Duration::from_secs(1));
        if random.random_bool(0.3) {
            ask = ask.no_renewal();
        }
        // Servers that cannot be asked are asked again.
        let Some(guard) = ask.await.ok().and_then(Acquire::guard) else {
            continue;
        };
        if guard.is_lost() {
            continue;
        }
        history.lock().acquired(client, &guard);
        let works_until = Instant::now() + Duration::from_millis(random.random_range(0..800));
        while Instant::now() < works_until && !guard.is_lost() {
            sleep(Duration::from_millis(10)).await;
            if !guard.is_lost() {
                history.lock().believes(client, &guard);
            }
        }
        history.lock().stops_believing(client);
        match random.random_range(0..3) {
            // As if it were killed: nothing is given back.
            0 => drop(guard.detach().await),
            1 => drop(guard),
            _ => drop(guard.release().await),
        }
        sleep(Duration::from_millis(random.random_range(0..50))).await;
    }
}

/// One server at a time, so that a majority always knows what it knew.
async fn restart_now_and_then(servers: Vec<Simulated>, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    loop {
        sleep(Duration::from_millis(random.random_range(600..2_000))).await;
        servers[random.random_range(0..servers.len())].restart();
    }
}

async fn simulate(seed: u64, restarts: bool) -> Vec<FencingToken> {
    let fleet = Fleet::builder()
        .retry_delay(Duration::from_millis(20))
        .on_error(|_, _| {})
        .build_embedded();
    let began = Instant::now();
    let apart = if restarts { LITTLE } else { FAR };
    let servers: Vec<_> = (0..SERVERS)
        .map(|number| {
            let seed = seed * 100 + number as u64;
            Simulated::new(seed, began, apart * number as u32)
        })
        .collect();
    let ports = servers.iter().cloned();
    let ports: Vec<_> = ports.map(|it| Arc::new(it) as Arc<dyn VotePort>).collect();
    // Clients know nothing of each other.
    let lock = || {
        let lender = fleet.shared_locks();
        let port = QuorumPort::new(ports.clone(), lender.context.clone(), LONGEST, false);
        let shared = Locks {
            context: lender.context.clone(),
            port: Arc::new(port),
            hub: lender.hub.clone(),
            service: lender.service.clone(),
        };
        Lock::new(
            Arc::new(shared),
            LockKind::Mutex,
            fleet.namespace(),
            "report",
        )
    };
    let history = Arc::new(Mutex::new(History::default()));
    let clients = (0..CLIENTS).map(|client| {
        let seed = seed * 1000 + client as u64;
        tokio::spawn(contend(client, seed, lock(), history.clone()))
    });
    let clients: Vec<_> = clients.collect();
    let restarting = restarts.then(|| tokio::spawn(restart_now_and_then(servers, seed)));
    for client in clients {
        client.await.unwrap();
    }
    if let Some(restarting) = restarting {
        restarting.abort();
    }
    std::mem::take(&mut history.lock().tokens)
}

fn simulations(restarts: bool) {
    let mut acquisitions = 0;
    for seed in 0..6 {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        let tokens = runtime.block_on(simulate(seed, restarts));
        let different: BTreeSet<_> = tokens.iter().collect();
        assert_eq!(different.len(), tokens.len());
        acquisitions += tokens.len();
    }
    assert!(acquisitions > 100, "{acquisitions}");
}

/// Whatever is late or lost, at most one believes to hold it, and tokens grow from each to the next.
#[test]
fn late_and_lost_answers_make_no_two_holders_of_a_quorum() {
    simulations(false);
}

/// Nor does a server that forgets everything.
#[test]
fn servers_that_start_again_make_no_two_holders_of_a_quorum() {
    simulations(true);
}
