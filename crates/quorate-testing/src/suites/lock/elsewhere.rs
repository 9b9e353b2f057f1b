//! What others do to a lease by its id, its guard follows.

use std::future::IntoFuture;
use std::time::Duration;

use futures_util::FutureExt;

use super::queue::waiting;
use super::{HOUR, LONG, acquired};
use crate::harness::{Home, eventually, within};

/// Whoever waited listens from the beginning, others begin to.
async fn listens(home: &Home) {
    eventually("it listens", async || {
        !home.fleet().subscriptions().is_empty()
    })
    .await;
}

/// The guard knows without having to renew.
pub async fn what_is_released_elsewhere_is_lost_at_once(home: Home) {
    let other = home.instance("b").await;
    let guard = acquired(home.fleet(), "report", HOUR).await;
    listens(&home).await;
    let lock = other.lock("report");
    assert!(lock.release(guard.lease_id()).await.unwrap());
    within("the loss", guard.lost()).await;
    assert_eq!(guard.remaining(), Duration::ZERO);
    // What it has not any more it does not give back.
    let next = acquired(&other, "report", LONG).await;
    drop(guard);
    assert!(next.release().await.unwrap());
}

/// Nobody says so of a lease that is as young as that: the guard looks, whether or not it waited.
pub async fn what_is_released_elsewhere_before_the_guard_listens_is_lost(home: Home) {
    let other = home.instance("b").await;
    let lock = other.lock("report");
    let guard = acquired(home.fleet(), "report", HOUR).await;
    let waiter = home.fleet().lock("report");
    let mut next = Box::pin(waiter.acquire().lease(HOUR).into_future());
    tokio::select! {
        biased;
        _ = &mut next => panic!("it is held"),
        () = waiting(&lock, 1) => {}
    }
    assert!(lock.release(guard.lease_id()).await.unwrap());
    let next = within("its turn", next).await.unwrap().guard().unwrap();
    within("the loss", guard.lost()).await;
    assert!(lock.release(next.lease_id()).await.unwrap());
    within("the loss of the next", next.lost()).await;
}

/// The guard counts on no more than is left.
pub async fn what_is_shortened_elsewhere_is_counted_on_for_no_longer(home: Home) {
    let other = home.instance("b").await;
    let asked = home
        .fleet()
        .lock("report")
        .try_acquire()
        .lease(HOUR)
        .no_renewal();
    let guard = asked.await.unwrap().guard().unwrap();
    listens(&home).await;
    let lock = other.lock("report");
    assert!(lock.extend(guard.lease_id(), LONG).await.unwrap());
    eventually("it knows", async || guard.remaining() <= LONG).await;
    assert!(guard.lost().now_or_never().is_none());
    // Longer is for it to find out.
    assert!(lock.extend(guard.lease_id(), HOUR).await.unwrap());
    assert!(guard.remaining() <= LONG);
}

/// Whoever holds it together with others loses only its own part.
pub async fn what_is_released_elsewhere_of_one_owner_leaves_the_rest(home: Home) {
    let other = home.instance("b").await;
    let lock = home.fleet().lock("report").reentrant("request 7");
    let outer = lock.try_acquire().lease(HOUR).await.unwrap();
    let outer = outer.guard().unwrap();
    let inner = lock.try_acquire().lease(HOUR).await.unwrap();
    let inner = inner.guard().unwrap();
    listens(&home).await;
    let elsewhere = other.lock("report");
    assert!(elsewhere.release(outer.lease_id()).await.unwrap());
    within("the loss", outer.lost()).await;
    assert!(!inner.is_lost());
    assert!(inner.release().await.unwrap());
}

/// Renewal follows the end that a lease has, and not the one that it was to have.
pub async fn a_lease_made_short_is_renewed_in_time(home: Home) {
    let guard = acquired(home.fleet(), "report", LONG).await;
    assert!(guard.extend(Duration::from_millis(600)).await.unwrap());
    eventually("it is renewed", async || guard.remaining() > LONG / 2).await;
    assert!(!guard.is_lost());
    assert!(guard.release().await.unwrap());
}
