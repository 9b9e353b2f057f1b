//! Work under a lock.

use std::time::Duration;

use quorate::WithLock;

use super::queue::waiting;
use super::{HOUR, LONG, SHORT, acquired, held};
use crate::harness::{Home, within};

/// It is held while the work goes on, and free after it.
pub async fn work_is_done_while_the_lock_is_held(home: Home) {
    let fleet = home.fleet();
    let lock = fleet.lock("report");
    let done = lock.with_lock(async |lease| {
        held(fleet, "report").await;
        assert!(!lease.is_lost() && lease.remaining() > Duration::ZERO);
        assert_eq!(lease.name(), "report");
        lease
    });
    let lease = done.await.unwrap().done().expect("nothing came between");
    let next = acquired(fleet, "report", LONG).await;
    assert!(next.token() > lease.token());
    // What was handed in tells who kept it that it is over.
    within("the end", lease.lost()).await;
    assert!(lease.is_lost());
    // What the work says of itself is its own business.
    assert!(next.release().await.unwrap());
    let failed = lock.with_lock(async |_| Err::<(), _>("no paper")).await;
    assert_eq!(failed.unwrap(), WithLock::Done(Err("no paper")));
    drop(acquired(fleet, "report", LONG).await);
}

/// "Not acquired" is a value.
pub async fn work_is_not_begun_while_others_have_the_lock(home: Home) {
    let fleet = home.fleet();
    let _guard = acquired(fleet, "report", HOUR).await;
    let work = fleet.lock("report").acquire().wait(SHORT);
    let done = work.with(async |_| panic!("it is held")).await.unwrap();
    assert!(
        matches!(done, WithLock::Held { remaining, .. } if remaining > HOUR / 2),
        "{done:?}"
    );
}

/// Whoever may not be alone any more does not go on.
pub async fn work_is_dropped_when_the_lock_is_lost(home: Home) {
    let other = home.instance("b").await;
    let lock = home.fleet().lock("report");
    let work = lock.acquire().lease(HOUR).with(async |_| {
        assert_eq!(other.lock("report").force_release().await.unwrap().len(), 1);
        std::future::pending::<()>().await;
    });
    assert_eq!(
        within("the loss", work).await.unwrap(),
        WithLock::Lost { result: None }
    );
}

/// Its result is there for who can use it, and not as if nothing had happened.
pub async fn work_that_ended_too_late_is_told_from_work_that_did_not(home: Home) {
    let other = home.instance("b").await;
    let lock = home.fleet().lock("report");
    let work = lock.try_acquire().lease(HOUR).with(async |lease| {
        // Before anything is listened to.
        assert!(
            other
                .lock("report")
                .force_release_token(lease.token())
                .await
                .unwrap()
        );
        7
    });
    let late = work.await.unwrap();
    assert_eq!(late, WithLock::Lost { result: Some(7) });
    assert_eq!(late.done(), None);
}

/// Its future is the work.
pub async fn work_that_is_dropped_gives_the_lock_back(home: Home) {
    let other = home.instance("b").await;
    let lock = home.fleet().lock("report");
    {
        let working = lock.acquire().lease(HOUR).with(async |_| {
            std::future::pending::<()>().await;
        });
        let mut working = Box::pin(working);
        let held = async {
            let lock = other.lock("report");
            while !lock.is_locked().await.unwrap() {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            biased;
            _ = &mut working => panic!("it never ends"),
            () = held => {}
        }
    }
    let next = within("the lock", async { other.lock("report").acquire().await }).await;
    assert!(next.unwrap().is_acquired());
    waiting(&lock, 0).await;
}
