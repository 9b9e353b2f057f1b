//! What a lease promises, of whichever lock.

use std::future::IntoFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use quorate::{Acquire, ErrorKind, Fleet};

use super::{HOUR, LONG, SHORT, acquired, held};
use crate::harness::{Home, PATIENCE, eventually, within};

/// The first gets it; the second learns how long the lease runs, as a value.
pub async fn a_free_lock_is_acquired_and_a_held_one_is_not(home: Home) {
    let other = home.instance("b").await;
    let guard = acquired(home.fleet(), "report", LONG).await;
    assert_eq!(guard.name(), "report");
    assert!(!guard.is_lost());
    assert!(guard.remaining() <= LONG && guard.remaining() > LONG / 2);
    for fleet in [home.fleet(), &other] {
        let remaining = held(fleet, "report").await;
        assert!(remaining <= LONG && remaining > LONG / 2, "{remaining:?}");
    }
}

/// After a release that returned, the next one gets it.
pub async fn a_released_lock_can_be_acquired(home: Home) {
    let other = home.instance("b").await;
    let guard = acquired(home.fleet(), "report", LONG).await;
    assert!(guard.release().await.unwrap());
    let guard = acquired(&other, "report", LONG).await;
    assert!(guard.release().await.unwrap());
}

/// The end of a lease frees the lock without anybody's help.
pub async fn a_lease_that_ends_frees_the_lock(home: Home) {
    let lock = home.fleet().lock("report");
    let guard = lock
        .try_acquire()
        .lease(HOUR)
        .no_renewal()
        .await
        .unwrap()
        .guard()
        .unwrap();
    let lease = guard.detach().await.unwrap();
    home.elapse(HOUR / 2).await;
    let remaining = held(home.fleet(), "report").await;
    assert!(remaining <= HOUR / 2, "{remaining:?}");
    home.elapse(HOUR).await;
    let next = acquired(home.fleet(), "report", LONG).await;
    assert!(next.token() > lease.token);
}

/// Tokens grow over releases, ends of leases, and instances.
pub async fn tokens_grow_with_every_acquisition(home: Home) {
    let other = home.instance("b").await;
    let mut last = None;
    for round in 0..20 {
        let fleet = if round % 2 == 0 { home.fleet() } else { &other };
        let guard = acquired(fleet, "report", HOUR).await;
        assert!(Some(guard.token()) > last);
        last = Some(guard.token());
        if round % 3 == 0 {
            let _ = guard.detach().await.unwrap();
            home.elapse(HOUR * 2).await;
        } else {
            assert!(guard.release().await.unwrap());
        }
    }
    // The counter outlives its memory: long after it was forgotten, tokens still grow.
    home.elapse(HOUR * 100).await;
    assert!(Some(acquired(&other, "report", LONG).await.token()) > last);
}

/// Extending counts from now.
pub async fn an_extended_lease_ends_later(home: Home) {
    let lock = home.fleet().lock("report");
    let guard = lock
        .try_acquire()
        .lease(HOUR)
        .no_renewal()
        .await
        .unwrap()
        .guard()
        .unwrap();
    let lease = guard.detach().await.unwrap();
    home.elapse(HOUR / 2).await;
    assert!(lock.extend(lease.id, HOUR).await.unwrap());
    home.elapse(HOUR * 3 / 4).await;
    held(home.fleet(), "report").await;
    home.elapse(HOUR / 2).await;
    drop(acquired(home.fleet(), "report", LONG).await);
}

/// Extending by less than what is left makes the lease shorter.
pub async fn a_lease_may_be_made_shorter(home: Home) {
    let lock = home.fleet().lock("report");
    let guard = lock
        .try_acquire()
        .lease(HOUR * 10)
        .no_renewal()
        .await
        .unwrap()
        .guard()
        .unwrap();
    assert!(guard.extend(HOUR).await.unwrap());
    assert!(guard.remaining() <= HOUR);
    let _ = guard.detach().await.unwrap();
    home.elapse(HOUR * 2).await;
    drop(acquired(home.fleet(), "report", LONG).await);
}

/// A lease that does not hold the lock changes nothing.
pub async fn others_can_neither_extend_nor_release(home: Home) {
    let other = home.instance("b").await;
    let _guard = acquired(home.fleet(), "report", LONG).await;
    let stranger = quorate::LeaseId::random();
    assert!(!other.lock("report").extend(stranger, HOUR).await.unwrap());
    assert!(!other.lock("report").release(stranger).await.unwrap());
    assert!(held(&other, "report").await <= LONG);
    assert!(
        !other
            .lock("never held")
            .extend(stranger, HOUR)
            .await
            .unwrap()
    );
    assert!(!other.lock("never held").release(stranger).await.unwrap());
}

/// A holder whose lease has ended cannot touch the next holder's.
pub async fn a_late_holder_can_neither_extend_nor_release(home: Home) {
    let lock = home.fleet().lock("report");
    let guard = lock
        .try_acquire()
        .lease(HOUR)
        .no_renewal()
        .await
        .unwrap()
        .guard()
        .unwrap();
    let late = guard.detach().await.unwrap();
    home.elapse(HOUR * 2).await;
    assert!(
        !lock.extend(late.id, HOUR).await.unwrap(),
        "even when nobody took it since"
    );
    let next = acquired(home.fleet(), "report", LONG).await;
    assert!(!lock.extend(late.id, HOUR).await.unwrap());
    assert!(!lock.release(late.id).await.unwrap());
    assert!(!next.is_lost());
    held(home.fleet(), "report").await;
}

/// A release whose reply was lost may be repeated.
pub async fn a_repeated_release_gives_the_same_answer(home: Home) {
    let lock = home.fleet().lock("report");
    let lease = acquired(home.fleet(), "report", LONG)
        .await
        .detach()
        .await
        .unwrap();
    assert!(lock.release(lease.id).await.unwrap());
    assert!(lock.release(lease.id).await.unwrap());
    // Also while the next one holds it, whom it does not touch.
    let next = acquired(home.fleet(), "report", LONG).await;
    assert!(lock.release(lease.id).await.unwrap());
    held(home.fleet(), "report").await;
    assert!(next.release().await.unwrap());
    assert!(!lock.release(lease.id).await.unwrap());
}

/// A waiter does not wait for the lease to end.
pub async fn a_waiter_is_woken_by_a_release(home: Home) {
    let other = home.instance("b").await;
    let guard = acquired(home.fleet(), "report", HOUR).await;
    let lock = other.lock("report");
    let waiting = async {
        within("the lock", lock.acquire().into_future())
            .await
            .unwrap()
    };
    let releasing = async {
        // Once the waiter listens for the release.
        eventually("the waiter", async || !other.subscriptions().is_empty()).await;
        guard.release().await.unwrap()
    };
    let (won, released) = tokio::join!(waiting, releasing);
    assert!(won.is_acquired() && released);
    drop(won);
    eventually("it no longer listens", async || {
        other.subscriptions().is_empty()
    })
    .await;
}

/// A waiter needs no announcement when a lease just ends.
pub async fn a_waiter_takes_over_when_a_lease_ends(home: Home) {
    let lock = home.fleet().lock("report");
    let guard = lock
        .try_acquire()
        .lease(SHORT)
        .no_renewal()
        .await
        .unwrap()
        .guard()
        .unwrap();
    let first = guard.detach().await.unwrap();
    let guard = within("the lock", lock.acquire().into_future())
        .await
        .unwrap()
        .guard()
        .unwrap();
    assert!(guard.token() > first.token);
}

/// `wait` bounds the waiting, and its end is a value.
pub async fn waiting_ends_in_time(home: Home) {
    let other = home.instance("b").await;
    let _guard = acquired(home.fleet(), "report", HOUR).await;
    let asked = other.lock("report").acquire().wait(SHORT).into_future();
    match within("the answer", asked).await.unwrap() {
        Acquire::Held { remaining, .. } => assert!(remaining > HOUR / 2),
        other => panic!("{other:?}"),
    }
}

/// A guard renews its lease for as long as it lives.
pub async fn renewal_keeps_the_lock_beyond_its_lease(home: Home) {
    let other = home.instance("b").await;
    let guard = acquired(home.fleet(), "report", SHORT).await;
    let waited = other.lock("report").acquire().wait(SHORT * 5).into_future();
    let answer = tokio::time::timeout(PATIENCE, waited)
        .await
        .expect("an answer")
        .unwrap();
    assert!(!answer.is_acquired());
    assert!(!guard.is_lost());
    assert!(guard.release().await.unwrap());
}

/// `lost` resolves once the backend no longer knows the lease.
pub async fn a_lock_taken_away_is_lost(home: Home) {
    let other = home.instance("b").await;
    let guard = acquired(home.fleet(), "report", Duration::from_secs(2)).await;
    assert!(guard.lost().now_or_never().is_none());
    assert!(
        other
            .lock("report")
            .release(guard.lease_id())
            .await
            .unwrap()
    );
    let usurper = acquired(&other, "report", LONG).await;
    within("the loss", guard.lost()).await;
    assert!(guard.is_lost());
    assert_eq!(guard.remaining(), Duration::ZERO);
    drop(guard);
    held(home.fleet(), "report").await;
    assert!(!usurper.is_lost());
}

/// Without renewal, `lost` resolves when the lease ends.
pub async fn an_unrenewed_lease_is_lost_when_it_ends(home: Home) {
    let lock = home.fleet().lock("report");
    let guard = lock
        .try_acquire()
        .lease(SHORT)
        .no_renewal()
        .await
        .unwrap()
        .guard()
        .unwrap();
    within("the loss", guard.lost()).await;
    assert!(guard.is_lost());
    let next = within("the lock", lock.acquire().into_future())
        .await
        .unwrap();
    assert!(next.is_acquired());
}

/// Dropping the guard releases, in the background.
pub async fn a_dropped_guard_releases(home: Home) {
    let other = home.instance("b").await;
    drop(acquired(home.fleet(), "report", HOUR).await);
    let next = within("the lock", other.lock("report").acquire().into_future())
        .await
        .unwrap();
    assert!(next.is_acquired());
}

/// Who works under the lock sees no time left once it was given back, or left to somebody else.
pub async fn nothing_remains_of_a_lock_that_was_given_back(home: Home) {
    for way in 0..3 {
        let guard = acquired(home.fleet(), "report", LONG).await;
        let lease = guard.lease();
        assert!(lease.remaining() > LONG / 2 && !lease.is_lost());
        match way {
            0 => assert!(guard.release().await.unwrap()),
            1 => drop(guard),
            _ => drop(guard.detach().await.unwrap()),
        }
        assert_eq!(lease.remaining(), Duration::ZERO);
        assert!(lease.is_lost());
        if way < 2 {
            within(
                "the lock",
                home.fleet().lock("report").acquire().into_future(),
            )
            .await
            .unwrap()
            .guard()
            .unwrap()
            .release()
            .await
            .unwrap();
        }
    }
}

/// What is lost cannot be left to anybody.
pub async fn a_lost_lock_cannot_be_detached(home: Home) {
    let other = home.instance("b").await;
    let guard = acquired(home.fleet(), "report", HOUR).await;
    assert_eq!(other.lock("report").force_release().await.unwrap().len(), 1);
    within("the loss", guard.lost()).await;
    let next = acquired(&other, "report", LONG).await;
    let error = guard.detach().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
    assert!(error.to_string().contains("the lock was lost"), "{error}");
    held(home.fleet(), "report").await;
    assert!(next.release().await.unwrap());
}

/// A detached lease stays until it ends or is released by its id.
pub async fn a_detached_guard_does_not_release(home: Home) {
    let other = home.instance("b").await;
    let lease = acquired(home.fleet(), "report", LONG)
        .await
        .detach()
        .await
        .unwrap();
    held(&other, "report").await;
    assert!(other.lock("report").release(lease.id).await.unwrap());
    drop(acquired(&other, "report", LONG).await);
}

/// An acquire whose future is dropped, at whatever point, does not keep the lock.
pub async fn a_dropped_acquire_holds_nothing(home: Home) {
    let lock = home.fleet().lock("report");
    for polls in 0..6 {
        let mut acquire = Box::pin(lock.acquire().lease(HOUR).into_future());
        for _ in 0..polls {
            if (&mut acquire).now_or_never().is_some() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(acquire);
        let next = within("the lock", lock.acquire().into_future())
            .await
            .unwrap();
        assert!(next.guard().unwrap().release().await.unwrap());
    }
}

/// Twenty at once: one acquires, nineteen are told it is held.
pub async fn one_of_many_contenders_wins(home: Home) {
    let other = home.instance("b").await;
    let locks: Vec<_> = (0..20)
        .map(|n| if n % 2 == 0 { home.fleet() } else { &other }.lock("report"))
        .collect();
    let asked = locks.iter().map(|lock| lock.try_acquire().into_future());
    let answers = futures_util::future::join_all(asked).await;
    let won = answers
        .iter()
        .filter(|answer| answer.as_ref().unwrap().is_acquired())
        .count();
    assert_eq!(won, 1);
}

/// Over two instances, no two holders are ever inside at once, and everybody gets a turn.
pub async fn contenders_exclude_each_other(home: Home) {
    let other = home.instance("b").await;
    let inside = Arc::new(AtomicU64::new(0));
    let turns = Arc::new(AtomicU64::new(0));
    let contend = |fleet: &Fleet| {
        let (lock, inside, turns) = (fleet.lock("report"), inside.clone(), turns.clone());
        async move {
            for _ in 0..5 {
                let guard = lock.acquire().await.unwrap().guard().unwrap();
                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                tokio::task::yield_now().await;
                assert_eq!(inside.fetch_sub(1, Ordering::SeqCst), 1);
                turns.fetch_add(1, Ordering::SeqCst);
                assert!(guard.release().await.unwrap());
            }
        }
    };
    let all = (0..6).map(|n| contend(if n % 2 == 0 { home.fleet() } else { &other }));
    within("every turn", futures_util::future::join_all(all)).await;
    assert_eq!(turns.load(Ordering::SeqCst), 30);
}

/// Holding one lock says nothing about another.
pub async fn names_are_independent(home: Home) {
    let first = acquired(home.fleet(), "a", LONG).await;
    let second = acquired(home.fleet(), "b", LONG).await;
    assert!(first.release().await.unwrap());
    held(home.fleet(), "b").await;
    assert!(second.release().await.unwrap());
}

/// Braces in a name do not break the hash tag that keeps a lock in one slot.
pub async fn names_with_braces_work(home: Home) {
    for name in ["{", "}", "{}", "a}b{c", "%7B", "größe/x y:z*[a]"] {
        let guard = acquired(home.fleet(), name, LONG).await;
        assert_eq!(guard.name(), name);
        held(home.fleet(), name).await;
        assert!(guard.extend(LONG).await.unwrap());
        assert!(guard.release().await.unwrap());
    }
    let _one = acquired(home.fleet(), "{", LONG).await;
    let _two = acquired(home.fleet(), "%7B", LONG).await;
}

/// One name in two namespaces is two locks.
pub async fn namespaces_are_apart(home: Home) {
    let inner = home.fleet().namespaced("inner").unwrap();
    let _outer = acquired(home.fleet(), "report", LONG).await;
    let _inner = acquired(&inner, "report", LONG).await;
}

/// A closed instance holds no locks, and its guards know.
pub async fn closing_gives_locks_back(home: Home) {
    let other = home.instance("b").await;
    let guard = acquired(&other, "report", HOUR).await;
    drop(acquired(&other, "just dropped", HOUR).await);
    other.close().await;
    assert!(guard.is_lost());
    for name in ["report", "just dropped"] {
        drop(acquired(home.fleet(), name, LONG).await);
    }
}

/// A name or lease that breaks its rule is refused by name.
pub async fn bad_input_is_refused_with_the_rule(home: Home) {
    let fleet = home.fleet();
    let lock = fleet.lock("report");
    let lease = quorate::LeaseId::random();
    let refused = [
        (fleet.lock("").try_acquire().await.map(drop), "name"),
        (
            fleet.lock(&"x".repeat(513)).acquire().await.map(drop),
            "name",
        ),
        (fleet.lock("a\u{7}").release(lease).await.map(drop), "name"),
        (
            lock.try_acquire().lease(Duration::ZERO).await.map(drop),
            "lease",
        ),
        (lock.acquire().lease(Duration::MAX).await.map(drop), "lease"),
        (
            lock.extend(lease, Duration::from_millis(1)).await.map(drop),
            "lease",
        ),
    ];
    for (number, (result, field)) in refused.into_iter().enumerate() {
        let error = result.expect_err(&format!("case {number} ({field})"));
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(error.message().unwrap().starts_with(field), "{error}");
    }
    // Nothing was touched.
    drop(acquired(fleet, "report", LONG).await);
}
