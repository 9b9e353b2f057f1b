//! Locks that are found by what they are called, and leases that are called by who asks.

use std::collections::BTreeSet;
use std::future::IntoFuture;

use futures_util::{FutureExt, TryStreamExt};
use quorate::LeaseId;
use quorate::lock::LockKind;

use super::{LONG, acquired, held};
use crate::harness::{Home, within};

/// Of every kind, whoever holds them, and of no other namespace.
pub async fn locks_of_every_kind_are_listed(home: Home) {
    let (other, fleet) = (home.instance("b").await, home.fleet());
    let inner = fleet.namespaced("inner").unwrap();
    let _mutex = acquired(fleet, "a/{report}", LONG).await;
    let _same = fleet.rw_lock("a/{report}").write().acquire().await.unwrap();
    let _waits = other.semaphore("a/exports", 3).acquire().await.unwrap();
    let _leads = other.election("a/leader").campaign("me").await.unwrap();
    let _elsewhere = acquired(fleet, "b", LONG).await;
    let _hidden = acquired(&inner, "a/inner", LONG).await;
    let found: Vec<_> = fleet.locks().scan("a/").try_collect().await.unwrap();
    let names: BTreeSet<_> = found.iter().map(|it| (it.kind(), it.name())).collect();
    assert_eq!(names.len(), found.len(), "each of them once");
    let expected = [
        (LockKind::Mutex, "a/{report}"),
        (LockKind::ReadWrite, "a/{report}"),
        (LockKind::Semaphore, "a/exports"),
        (LockKind::Election, "a/leader"),
    ];
    assert_eq!(names, expected.into());
    for lock in &found {
        let status = lock.status().await.unwrap();
        assert_eq!(status.holders.len(), 1, "{lock:?}");
        assert!(
            lock.force_release_token(status.holders[0].token)
                .await
                .unwrap()
        );
    }
    let all: Vec<_> = fleet.locks().scan("").try_collect().await.unwrap();
    assert!(all.iter().any(|it| it.name() == "b"));
    assert!(all.iter().all(|it| it.name() != "a/inner"));
}

/// More than one page holds, each of them on one at least.
pub async fn locks_are_listed_page_by_page(home: Home) {
    let mut guards = Vec::new();
    for number in 0..40 {
        guards.push(acquired(home.fleet(), &format!("n{number}"), LONG).await);
    }
    let (mut names, mut next) = (BTreeSet::new(), None);
    loop {
        let mut scan = home.fleet().locks().scan("n");
        if let Some(from) = next.take() {
            scan = scan.after(from);
        }
        let page = scan.next_page().await.unwrap().expect("a page");
        names.extend(page.locks.iter().map(|it| it.name().to_owned()));
        next = page.next;
        if next.is_none() {
            break;
        }
    }
    assert_eq!(names.len(), 40);
}

/// Whoever has no answer asks again, and has the same.
pub async fn a_lease_that_is_called_by_who_asks_is_acquired_once(home: Home) {
    let other = home.instance("b").await;
    let id = LeaseId::random();
    let asked = |fleet: &quorate::Fleet| {
        let lock = fleet.lock("report");
        lock.try_acquire().lease(LONG).no_renewal().lease_id(id)
    };
    let first = asked(home.fleet()).await.unwrap().guard().unwrap();
    let first = first.detach().await.unwrap();
    let again = asked(&other).await.unwrap().guard().unwrap();
    let again = again.detach().await.unwrap();
    assert_eq!((first.id, first.token), (again.id, again.token));
    assert_eq!(first.id, id);
    assert!(other.lock("report").release(id).await.unwrap());
    drop(acquired(home.fleet(), "report", LONG).await);
}

/// What was answered to nobody is had by who asks again: the first request does not take it away.
pub async fn a_dropped_request_does_not_give_back_what_is_asked_for_again(home: Home) {
    let lock = home.fleet().lock("report");
    for polls in 0..6 {
        let id = LeaseId::random();
        let asked = || lock.acquire().lease(LONG).no_renewal().lease_id(id);
        let mut dropped = Box::pin(asked().into_future());
        for _ in 0..polls {
            match (&mut dropped).now_or_never() {
                Some(acquired) => {
                    let _ = acquired.unwrap().guard().unwrap().detach().await.unwrap();
                    break;
                }
                None => tokio::task::yield_now().await,
            }
        }
        let again = asked().into_future();
        drop(dropped);
        let again = within("the lock", again).await.unwrap().guard().unwrap();
        let lease = again.detach().await.unwrap();
        // What would be given back in the background is sent before the second of these.
        for _ in 0..2 {
            assert!(held(home.fleet(), "report").await > LONG / 2);
        }
        assert!(lock.release(lease.id).await.unwrap());
    }
}
