//! Who waits is served in order, and who is gone delays nobody.

use std::future::IntoFuture;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use quorate::lock::{AcquireReply, Ask, HEARTBEAT, LockKey, LockKind};
use quorate::{Acquire, CallOptions, FencingToken, Fleet, Key, LeaseId, Lock, LockGuard};

use super::{HOUR, LONG, acquired, held};
use crate::harness::{Home, PATIENCE, eventually, within};

pub(super) async fn waiting(lock: &Lock, number: u64) {
    eventually("they wait", async || {
        lock.status().await.unwrap().waiting == number
    })
    .await;
}

async fn got(acquire: impl IntoFuture<Output = quorate::Result<Acquire>>) -> LockGuard {
    let acquired = within("the lock", acquire.into_future()).await.unwrap();
    acquired.guard().expect("it was waited for")
}

/// The backend itself, asked by whoever does not live like a handle.
struct Direct<'a> {
    fleet: &'a Fleet,
    lock: LockKey,
}

impl<'a> Direct<'a> {
    fn new(fleet: &'a Fleet, name: &str) -> Self {
        let key = Key::new(fleet.namespace(), name).unwrap();
        Self {
            fleet,
            lock: LockKey::new(LockKind::Mutex, key),
        }
    }

    fn options() -> CallOptions {
        CallOptions::until(tokio::time::Instant::now() + PATIENCE)
    }

    async fn ask(&self, lease: LeaseId, wait: bool) -> AcquireReply {
        let mut ask = Ask::new(lease, HOUR);
        ask.wait = wait;
        let port = self.fleet.lock_port();
        port.acquire(&self.lock, &ask, Self::options())
            .await
            .unwrap()
    }

    async fn acquire(&self) -> (LeaseId, FencingToken) {
        let lease = LeaseId::random();
        match self.ask(lease, false).await {
            AcquireReply::Acquired { token } => (lease, token),
            other => panic!("it should be free: {other:?}"),
        }
    }

    /// How many are in front, and the last token.
    async fn queue(&self, lease: LeaseId) -> (u64, FencingToken) {
        match self.ask(lease, true).await {
            AcquireReply::Queued { ahead, last, .. } => (ahead, last),
            other => panic!("it should be queued: {other:?}"),
        }
    }

    async fn release(&self, lease: LeaseId) -> bool {
        let port = self.fleet.lock_port();
        port.release(&self.lock, lease, Self::options())
            .await
            .unwrap()
    }

    async fn extend(&self, lease: LeaseId) -> bool {
        let port = self.fleet.lock_port();
        port.extend(&self.lock, lease, HOUR, Self::options())
            .await
            .unwrap()
    }
}

/// First come, first served, over instances.
pub async fn waiters_are_served_in_the_order_of_asking(home: Home) {
    let other = home.instance("b").await;
    let guard = acquired(home.fleet(), "report", HOUR).await;
    let lock = home.fleet().lock("report");
    let mut acquires: Vec<BoxFuture<'static, quorate::Result<Acquire>>> = Vec::new();
    for number in 0..6 {
        let fleet = if number % 2 == 0 {
            home.fleet()
        } else {
            &other
        };
        let mut acquire = fleet.lock("report").acquire().lease(LONG).into_future();
        let queued = async {
            // Whoever is not polled does not ask again, and is gone after a while.
            let others = std::future::poll_fn(|context| {
                let mut others = acquires.iter_mut().map(|it| it.as_mut().poll(context));
                assert!(others.all(|it| it.is_pending()), "it is held");
                std::task::Poll::<()>::Pending
            });
            tokio::select! {
                biased;
                _ = &mut acquire => panic!("it is held"),
                () = others => {}
                () = waiting(&lock, number + 1) => {}
            }
        };
        queued.await;
        acquires.push(acquire);
    }
    let served = async {
        let mut last = None;
        let mut holding = Some(guard);
        while !acquires.is_empty() {
            assert!(holding.take().unwrap().release().await.unwrap());
            // All of them go on, and only the first may get it.
            let acquired = std::future::poll_fn(|context| {
                let mut turns = acquires.iter_mut().map(|it| it.as_mut().poll(context));
                let first = turns.next().expect("there are some");
                assert!(turns.all(|it| it.is_pending()), "somebody passed");
                first
            });
            let guard = acquired.await.unwrap().guard().unwrap();
            drop(acquires.remove(0));
            assert!(Some(guard.token()) > last);
            last = Some(guard.token());
            holding = Some(guard);
        }
    };
    within("every turn", served).await;
}

/// Whoever asks without waiting does not come before those who wait.
pub async fn nobody_passes_who_waits(home: Home) {
    let direct = Direct::new(home.fleet(), "report");
    let (holder, _) = direct.acquire().await;
    let waiter = LeaseId::random();
    direct.queue(waiter).await;
    assert!(direct.release(holder).await);
    held(home.fleet(), "report").await;
    assert!(matches!(
        direct.ask(waiter, true).await,
        AcquireReply::Acquired { .. }
    ));
}

/// A wait that is over leaves nothing behind, whoever gets the lock next.
pub async fn who_stops_waiting_leaves_the_queue(home: Home) {
    let other = home.instance("b").await;
    let guard = acquired(home.fleet(), "report", HOUR).await;
    let lock = other.lock("report");
    let answer = within(
        "the answer",
        lock.acquire()
            .wait(Duration::from_millis(300))
            .into_future(),
    );
    assert!(!answer.await.unwrap().is_acquired());
    assert_eq!(lock.status().await.unwrap().waiting, 0);
    assert!(guard.release().await.unwrap());
    drop(acquired(home.fleet(), "report", LONG).await);
}

/// So does a future that is dropped.
pub async fn who_is_dropped_while_waiting_leaves_the_queue(home: Home) {
    let other = home.instance("b").await;
    let guard = acquired(home.fleet(), "report", HOUR).await;
    let lock = other.lock("report");
    let mut acquire = Box::pin(lock.acquire().into_future());
    tokio::select! {
        biased;
        _ = &mut acquire => panic!("it is held"),
        () = waiting(&lock, 1) => {}
    }
    drop(acquire);
    waiting(&lock, 0).await;
    assert!(guard.release().await.unwrap());
    drop(acquired(home.fleet(), "report", LONG).await);
}

/// Whoever does not ask again within a heartbeat is not granted anything.
pub async fn a_waiter_that_dies_is_passed_over(home: Home) {
    let direct = Direct::new(home.fleet(), "report");
    let (holder, _) = direct.acquire().await;
    let (dead, alive) = (LeaseId::random(), LeaseId::random());
    direct.queue(dead).await;
    assert_eq!(direct.queue(alive).await.0, 1);
    home.elapse(HEARTBEAT / 2).await;
    direct.queue(alive).await;
    home.elapse(HEARTBEAT * 2 / 3).await;
    assert!(direct.release(holder).await);
    assert!(!direct.extend(dead).await);
    assert!(direct.extend(alive).await);
}

/// Also while whoever is in front of it lives.
pub async fn a_waiter_that_dies_behind_others_is_not_counted(home: Home) {
    let direct = Direct::new(home.fleet(), "report");
    let lock = home.fleet().lock("report");
    direct.acquire().await;
    let [first, dead, late] = [(); 3].map(|()| LeaseId::random());
    direct.queue(first).await;
    assert_eq!(direct.queue(dead).await.0, 1);
    home.elapse(HEARTBEAT / 2).await;
    direct.queue(first).await;
    home.elapse(HEARTBEAT * 2 / 3).await;
    let status = lock.status().await.unwrap();
    assert_eq!((status.waiting, status.waiters.len()), (1, 1));
    assert_eq!(direct.queue(late).await.0, 1);
    assert_eq!(lock.status().await.unwrap().waiting, 2);
    // Whoever was gone queues anew.
    assert_eq!(direct.queue(dead).await.0, 2);
}

/// Who dies between a grant and its confirmation delays others by a heartbeat, and not by its lease.
pub async fn a_grant_that_nobody_confirms_ends(home: Home) {
    let direct = Direct::new(home.fleet(), "report");
    let (holder, _) = direct.acquire().await;
    let (dead, next) = (LeaseId::random(), LeaseId::random());
    direct.queue(dead).await;
    assert!(direct.release(holder).await);
    let remaining = held(home.fleet(), "report").await;
    assert!(remaining <= HEARTBEAT, "{remaining:?}");
    direct.queue(next).await;
    home.elapse(HEARTBEAT * 3 / 2).await;
    assert!(matches!(
        direct.ask(next, true).await,
        AcquireReply::Acquired { .. }
    ));
    assert!(!direct.extend(dead).await);
}

/// A guard that was waited for has the lease it asked for, soon if it renews and at once if it does not.
pub async fn a_grant_after_waiting_has_its_whole_lease(home: Home) {
    let lock = home.fleet().lock("report");
    for renews in [true, false] {
        let guard = acquired(home.fleet(), "report", HOUR).await;
        let mut acquire = lock.acquire().lease(HOUR);
        if !renews {
            acquire = acquire.no_renewal();
        }
        let releasing = async {
            waiting(&lock, 1).await;
            guard.release().await.unwrap()
        };
        let (guard, released) = tokio::join!(got(acquire), releasing);
        assert!(released);
        if renews {
            eventually("it is confirmed", async || guard.remaining() > HOUR / 2).await;
        } else {
            assert!(guard.remaining() > HOUR / 2);
        }
        let remaining = held(home.fleet(), "report").await;
        assert!(remaining > HOUR / 2, "{remaining:?}");
        assert!(guard.release().await.unwrap());
    }
    // Whoever is detached before that has it too, as soon as it is detached.
    let guard = acquired(home.fleet(), "report", HOUR).await;
    let releasing = async {
        waiting(&lock, 1).await;
        guard.release().await.unwrap()
    };
    let (guard, _) = tokio::join!(got(lock.acquire().lease(HOUR)), releasing);
    let lease = guard.detach().await.unwrap();
    assert!(lock.remaining().await.unwrap() > Some(HOUR / 2));
    assert!(lock.release(lease.id).await.unwrap());
}

/// A waiter's place is its own for as long as it lives.
pub async fn asking_again_keeps_the_place_in_the_queue(home: Home) {
    let direct = Direct::new(home.fleet(), "report");
    let (holder, _) = direct.acquire().await;
    let waiters = [(); 3].map(|()| LeaseId::random());
    for _ in 0..3 {
        for (place, waiter) in waiters.into_iter().enumerate() {
            assert_eq!(direct.queue(waiter).await.0, place as u64);
        }
        home.elapse(HEARTBEAT / 2).await;
    }
    // Giving up, it has none, and the others move up.
    assert!(matches!(
        direct.ask(waiters[1], false).await,
        AcquireReply::Held { .. }
    ));
    assert_eq!(direct.queue(waiters[2]).await.0, 1);
    assert_eq!(direct.queue(waiters[1]).await.0, 2);
    assert!(!direct.release(waiters[0]).await, "it did not hold it");
    assert_eq!(direct.queue(waiters[2]).await.0, 0);
    assert!(direct.release(holder).await);
    assert!(direct.extend(waiters[2]).await);
}

/// What was granted and has ended is older than the answer to a question asked since.
pub async fn an_old_grant_is_told_from_a_new_one(home: Home) {
    let direct = Direct::new(home.fleet(), "report");
    let (holder, first) = direct.acquire().await;
    let (slow, next) = (LeaseId::random(), LeaseId::random());
    assert_eq!(direct.queue(slow).await.1, first);
    assert!(direct.release(holder).await);
    let status = home.fleet().lock("report").status().await.unwrap();
    let granted = status.holders[0].token;
    assert!(granted > first);
    home.elapse(HEARTBEAT * 2).await;
    let (_, taken) = {
        let reply = direct.ask(next, false).await;
        assert!(matches!(reply, AcquireReply::Acquired { .. }));
        direct.queue(slow).await
    };
    assert!(taken > granted);
    let waiting = home.fleet().lock("report").acquire();
    assert!(waiting.into_future().now_or_never().is_none());
}
