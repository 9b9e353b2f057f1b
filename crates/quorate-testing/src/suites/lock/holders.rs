//! Who holds a lock can be seen, and made to lose it; one owner may hold it several times.

use std::future::IntoFuture;

use futures_util::FutureExt;
use quorate::ErrorKind;

use super::queue::waiting;
use super::{HOUR, LONG, acquired, held};
use crate::harness::{Home, within};

/// Who holds it and who waits, without what it could be released by.
pub async fn who_holds_and_who_waits_can_be_seen(home: Home) {
    let other = home.instance("b").await;
    let lock = home.fleet().lock("report");
    assert!(!lock.is_locked().await.unwrap());
    assert_eq!(lock.holder().await.unwrap(), None);
    assert_eq!(lock.remaining().await.unwrap(), None);
    let guard = acquired(home.fleet(), "report", HOUR).await;
    assert!(lock.is_locked().await.unwrap());
    home.elapse(HOUR / 4).await;
    let left = lock.remaining().await.unwrap().unwrap();
    assert!(left <= HOUR * 3 / 4 && left > HOUR / 2, "{left:?}");
    let holder = lock.holder().await.unwrap().unwrap();
    assert_eq!((holder.token, &*holder.owner), (guard.token(), "a"));
    assert_eq!(holder.weight, 1);
    assert!(holder.held_for >= HOUR / 4 && holder.held_for < HOUR / 2);
    let shown = format!("{:?}", lock.status().await.unwrap());
    assert!(!shown.contains(&guard.lease_id().to_string()[16..]));
    let named = other.lock("report");
    let mut acquire = Box::pin(named.acquire().owner("invoice 7").into_future());
    tokio::select! {
        biased;
        _ = &mut acquire => panic!("it is held"),
        () = waiting(&lock, 1) => {}
    }
    let status = lock.status().await.unwrap();
    assert_eq!(status.waiters[0].owner, "invoice 7");
    assert_eq!(status.waiters[0].weight, 1);
    drop(acquire);
    waiting(&lock, 0).await;
    home.elapse(HOUR).await;
    assert!(!lock.is_locked().await.unwrap(), "its lease has ended");
}

/// The guard knows without having to renew.
pub async fn what_is_taken_away_is_lost_at_once(home: Home) {
    let other = home.instance("b").await;
    for waited in [false, true] {
        let lock = home.fleet().lock("report");
        let mut guard = acquired(home.fleet(), "report", HOUR).await;
        if waited {
            let next = lock.acquire().lease(HOUR).into_future();
            let releasing = async {
                waiting(&lock, 1).await;
                guard.release().await.unwrap()
            };
            let (next, _) = tokio::join!(within("the lock", next), releasing);
            guard = next.unwrap().guard().unwrap();
        }
        let token = guard.token();
        assert!(guard.lost().now_or_never().is_none());
        let forced = other.lock("report").force_release().await.unwrap();
        assert_eq!(forced, [token]);
        // Its next renewal would be in twenty minutes.
        within("the loss", guard.lost()).await;
        assert!(guard.is_lost());
        let next = acquired(&other, "report", LONG).await;
        assert!(next.token() > token);
        assert!(!guard.release().await.unwrap());
        assert!(next.release().await.unwrap());
    }
    assert!(
        home.fleet()
            .lock("report")
            .force_release()
            .await
            .unwrap()
            .is_empty()
    );
}

/// By its token, only the holder that is meant loses it.
pub async fn what_is_taken_away_from_one_is_not_taken_from_the_next(home: Home) {
    let lock = home.fleet().lock("report");
    let first = acquired(home.fleet(), "report", HOUR).await;
    let token = first.token();
    assert!(first.release().await.unwrap());
    let second = acquired(home.fleet(), "report", HOUR).await;
    assert!(!lock.force_release_token(token).await.unwrap());
    held(home.fleet(), "report").await;
    let token = second.token();
    assert!(lock.force_release_token(token).await.unwrap());
    // Asked again, it says the same.
    let third = acquired(home.fleet(), "report", HOUR).await;
    assert!(lock.force_release_token(token).await.unwrap());
    held(home.fleet(), "report").await;
    assert!(third.release().await.unwrap());
}

/// What is taken away is free for whose turn it is.
pub async fn who_waits_gets_what_is_taken_away(home: Home) {
    let other = home.instance("b").await;
    let _guard = acquired(home.fleet(), "report", HOUR).await;
    let lock = other.lock("report");
    let forcing = async {
        waiting(&lock, 1).await;
        assert_eq!(lock.force_release().await.unwrap().len(), 1);
    };
    let next = within("the lock", lock.acquire().into_future());
    let (next, ()) = tokio::join!(next, forcing);
    assert!(next.unwrap().is_acquired());
}

/// One line of work, in several instances, holds it together; others wait for the last of it.
pub async fn one_owner_holds_a_lock_together(home: Home) {
    let other = home.instance("b").await;
    let here = home.fleet().lock("report").reentrant("request 7");
    let there = other.lock("report").reentrant("request 7");
    let outer = here.try_acquire().lease(HOUR).await.unwrap();
    let outer = outer.guard().unwrap();
    let inner = there.try_acquire().lease(HOUR).await.unwrap();
    let inner = inner.guard().expect("it is its own");
    assert_eq!(outer.token(), inner.token());
    let stranger = other.lock("report").reentrant("request 8");
    assert!(!stranger.try_acquire().await.unwrap().is_acquired());
    held(home.fleet(), "report").await;
    assert!(outer.release().await.unwrap());
    held(home.fleet(), "report").await;
    assert!(inner.release().await.unwrap());
    let next = stranger.try_acquire().await.unwrap().guard().unwrap();
    // A holder that is gone leaves the others theirs.
    let _ = next.detach().await.unwrap();
    let short = stranger.try_acquire().lease(HOUR * 4).no_renewal();
    let long = short.await.unwrap().guard().expect("it is its own");
    home.elapse(HOUR * 2).await;
    held(home.fleet(), "report").await;
    assert!(long.release().await.unwrap());
    drop(acquired(home.fleet(), "report", LONG).await);
}

/// It passes those who wait for it: they would wait for each other for ever.
pub async fn one_owner_is_not_kept_waiting_by_itself(home: Home) {
    let other = home.instance("b").await;
    let mine = home.fleet().lock("report").reentrant("request 7");
    let outer = mine.try_acquire().await.unwrap().guard().unwrap();
    let waiter = other.lock("report");
    let nesting = async {
        waiting(&waiter, 1).await;
        let inner = mine.acquire().await.unwrap().guard().unwrap();
        assert!(outer.release().await.unwrap());
        assert!(inner.release().await.unwrap());
    };
    let next = within("the lock", waiter.acquire().into_future());
    let (next, ()) = tokio::join!(next, nesting);
    assert!(next.unwrap().is_acquired());
}

/// Readers and writers of one owner would not exclude each other.
pub async fn only_a_mutex_is_reentrant(home: Home) {
    let fleet = home.fleet();
    for lock in [
        fleet.rw_lock("report").write().clone(),
        fleet.semaphore("report", 3).permits(1),
    ] {
        let error = lock.reentrant("me").try_acquire().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(error.message().unwrap().starts_with("owner"), "{error}");
    }
}
