//! How many may do something at the same time.

use std::future::IntoFuture;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use quorate::Fleet;
use quorate::limit::{Admission, ConcurrencyLimit, Permit};

use super::HOUR;
use crate::harness::{Home, eventually, within};

async fn entered(limit: &ConcurrencyLimit, key: &str) -> Permit {
    match limit.enter(key).lease(HOUR).await.unwrap() {
        Admission::Entered(permit) => permit,
        full => panic!("there should be a slot: {full:?}"),
    }
}

/// Whichever instance they are of; who finds none learns when there may be one.
pub async fn so_many_enter_and_no_more(home: Home) {
    let other = home.instance("b").await.concurrency("exports", 2);
    let limit = home.fleet().concurrency("exports", 2);
    let first = entered(&limit, "k").await;
    let second = entered(&other, "k").await;
    assert_eq!((first.remaining(), second.remaining()), (1, 0));
    for limit in [&limit, &other] {
        match limit.enter("k").await.unwrap() {
            Admission::Full {
                retry_after, limit, ..
            } => {
                assert_eq!(limit, 2);
                assert!(retry_after <= HOUR && retry_after > HOUR / 2);
            }
            entered => panic!("{entered:?}"),
        }
        assert_eq!(limit.taken("k").await.unwrap(), 2);
    }
    assert_eq!(limit.taken("other").await.unwrap(), 0);
}

/// At once, when the call returns.
pub async fn a_slot_given_back_is_free(home: Home) {
    let limit = home.fleet().concurrency("exports", 1);
    for _ in 0..3 {
        assert!(entered(&limit, "k").await.release().await.unwrap());
        assert_eq!(limit.taken("k").await.unwrap(), 0);
    }
}

/// Without anybody's help.
pub async fn the_slot_of_an_ended_lease_is_free(home: Home) {
    let limit = home.fleet().concurrency("exports", 1);
    let permit = entered(&limit, "k").await;
    home.elapse(HOUR * 2).await;
    assert_eq!(limit.taken("k").await.unwrap(), 0);
    let next = entered(&limit, "k").await;
    // Too late, and nobody else's.
    permit.release().await.unwrap();
    assert_eq!(limit.taken("k").await.unwrap(), 1);
    drop(next);
}

/// For longer than the lease.
pub async fn a_permit_renews_its_lease(home: Home) {
    let limit = home.fleet().concurrency("exports", 1);
    let short = Duration::from_millis(300);
    let permit = limit.enter("k").lease(short).await.unwrap();
    let permit = permit.permit().unwrap();
    for _ in 0..10 {
        tokio::time::sleep(short / 3).await;
        assert_eq!(limit.taken("k").await.unwrap(), 1);
        assert!(!permit.is_lost());
    }
}

/// In the background.
pub async fn a_dropped_permit_gives_its_slot_back(home: Home) {
    let limit = home.fleet().concurrency("exports", 1);
    drop(entered(&limit, "k").await);
    eventually("the slot is free", async || {
        limit.taken("k").await.unwrap() == 0
    })
    .await;
}

/// Whenever its future is dropped.
pub async fn a_dropped_entry_takes_no_slot(home: Home) {
    let limit = home.fleet().concurrency("exports", 100);
    for _ in 0..20 {
        let entering = limit.enter("k").lease(HOUR).into_future();
        let mut entering = std::pin::pin!(entering);
        // Once: it may have been sent, and its answer is not waited for.
        let _ = futures_util::poll!(&mut entering);
    }
    eventually("no slot is taken", async || {
        limit.taken("k").await.unwrap() == 0
    })
    .await;
}

/// Of an instance that goes.
pub async fn closing_gives_slots_back(home: Home) {
    let other = home.instance("b").await;
    let permit = entered(&other.concurrency("exports", 1), "k").await;
    let limit = home.fleet().concurrency("exports", 1);
    assert_eq!(limit.taken("k").await.unwrap(), 1);
    other.close().await;
    within("the permit is lost", permit.lost()).await;
    assert_eq!(limit.taken("k").await.unwrap(), 0);
}

/// Never more inside than there are slots, and all who come get their turn.
pub async fn many_at_once_share_the_slots(home: Home) {
    let other = home.instance("b").await;
    let inside = AtomicU64::new(0);
    let visits = AtomicU64::new(0);
    let visit = async |fleet: &Fleet| {
        let limit = fleet.concurrency("exports", 3);
        for _ in 0..5 {
            let permit = loop {
                if let Some(permit) = limit.enter("k").lease(HOUR).await.unwrap().permit() {
                    break permit;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            };
            assert!(inside.fetch_add(1, Ordering::SeqCst) < 3);
            tokio::task::yield_now().await;
            inside.fetch_sub(1, Ordering::SeqCst);
            visits.fetch_add(1, Ordering::SeqCst);
            permit.release().await.unwrap();
        }
    };
    join_all((0..8).map(|number| {
        visit(if number % 2 == 0 {
            home.fleet()
        } else {
            &other
        })
    }))
    .await;
    assert_eq!(visits.load(Ordering::SeqCst), 40);
}
