//! Locks that several hold at once.

use std::future::IntoFuture;

use quorate::{ErrorKind, Lock, LockGuard};

use super::queue::waiting;
use super::{HOUR, LONG, acquired};
use crate::harness::{Home, eventually, within};

async fn now(lock: &Lock) -> Option<LockGuard> {
    lock.try_acquire().lease(LONG).await.unwrap().guard()
}

/// Many read at once; who writes is alone.
pub async fn readers_share_and_a_writer_does_not(home: Home) {
    let other = home.instance("b").await;
    let (here, there) = (home.fleet().rw_lock("page"), other.rw_lock("page"));
    assert_eq!(here.name(), "page");
    let one = now(here.read()).await.expect("nobody writes");
    let two = now(there.read()).await.expect("nobody writes");
    assert!(now(here.write()).await.is_none());
    assert!(one.release().await.unwrap());
    assert!(now(there.write()).await.is_none());
    assert!(two.release().await.unwrap());
    let writer = now(there.write()).await.expect("nobody reads");
    assert!(now(here.read()).await.is_none());
    assert!(now(here.write()).await.is_none());
    assert!(writer.release().await.unwrap());
    assert!(now(here.read()).await.is_some());
}

/// Readers who come and go do not keep a writer out.
pub async fn a_waiting_writer_comes_before_later_readers(home: Home) {
    let other = home.instance("b").await;
    let (here, there) = (home.fleet().rw_lock("page"), other.rw_lock("page"));
    let reader = now(here.read()).await.unwrap();
    let mut writer = Box::pin(there.write().acquire().lease(LONG).into_future());
    tokio::select! {
        biased;
        _ = &mut writer => panic!("somebody reads"),
        () = waiting(here.read(), 1) => {}
    }
    assert!(now(here.read()).await.is_none(), "a writer waits");
    let later = here.read().acquire().lease(LONG).into_future();
    let serving = async {
        waiting(here.read(), 2).await;
        assert!(reader.release().await.unwrap());
        let writer = within("the writer", writer).await.unwrap().guard().unwrap();
        assert!(now(here.read()).await.is_none());
        let token = writer.token();
        assert!(writer.release().await.unwrap());
        token
    };
    let (later, wrote) = tokio::join!(within("the reader", later), serving);
    let later = later.unwrap().guard().unwrap();
    assert!(later.token() > wrote);
}

/// As many as there are, however they are asked for.
pub async fn so_many_permits_and_no_more(home: Home) {
    let other = home.instance("b").await;
    let (here, there) = (
        home.fleet().semaphore("exports", 3),
        other.semaphore("exports", 3),
    );
    assert_eq!(
        (here.name(), here.available().await.unwrap()),
        ("exports", 3)
    );
    let two = now(&here.permits(2)).await.unwrap();
    let one = now(&there.permits(1)).await.unwrap();
    assert_eq!(there.available().await.unwrap(), 0);
    assert!(!here.try_acquire().await.unwrap().is_acquired());
    assert!(two.release().await.unwrap());
    assert_eq!(here.available().await.unwrap(), 2);
    assert!(now(&here.permits(3)).await.is_none());
    let asked = (0..10).map(|_| there.try_acquire().into_future());
    let answers = futures_util::future::join_all(asked).await;
    let got = answers
        .iter()
        .filter(|it| it.as_ref().unwrap().is_acquired());
    assert_eq!(got.count(), 2);
    drop(answers);
    assert!(one.release().await.unwrap());
    eventually("all are back", async || {
        here.available().await.unwrap() == 3
    })
    .await;
    for wrong in [
        here.permits(0),
        here.permits(4),
        home.fleet().semaphore("none", 0).permits(0),
    ] {
        let error = wrong.try_acquire().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(error.message().unwrap().starts_with("permits"), "{error}");
    }
    let many = home.fleet().semaphore("many", 1_001);
    assert_eq!(
        many.acquire().await.unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
}

/// Small requests do not keep a large one out.
pub async fn who_waits_for_many_permits_is_not_passed(home: Home) {
    let exports = home.fleet().semaphore("exports", 3);
    let first = now(&exports.permits(1)).await.unwrap();
    let all = exports.permits(3);
    let mut large = Box::pin(all.acquire().lease(LONG).into_future());
    tokio::select! {
        biased;
        _ = &mut large => panic!("one is taken"),
        () = waiting(&all, 1) => {}
    }
    assert!(
        now(&exports.permits(1)).await.is_none(),
        "though there is one"
    );
    assert!(first.release().await.unwrap());
    let large = within("all of them", large).await.unwrap();
    assert!(large.is_acquired());
    assert_eq!(exports.available().await.unwrap(), 0);
}

/// The end of a lease frees what it had, and only that.
pub async fn permits_of_a_holder_that_is_gone_are_free(home: Home) {
    let exports = home.fleet().semaphore("exports", 3);
    let two = exports.permits(2).try_acquire().lease(HOUR).no_renewal();
    let gone = two.await.unwrap().guard().unwrap();
    let gone = gone.detach().await.unwrap();
    let one = exports.try_acquire().lease(HOUR * 4).no_renewal();
    let stays = one.await.unwrap().guard().unwrap();
    assert_eq!(exports.available().await.unwrap(), 0);
    home.elapse(HOUR * 2).await;
    assert_eq!(exports.available().await.unwrap(), 2);
    assert!(!exports.permits(1).release(gone.id).await.unwrap());
    let again = now(&exports.permits(2)).await.expect("they are free");
    assert!(now(&exports.permits(1)).await.is_none());
    assert!(again.release().await.unwrap());
    assert!(stays.release().await.unwrap());
    assert_eq!(exports.available().await.unwrap(), 3);
}

/// Each acquisition has its own, greater than those before it.
pub async fn shared_holders_have_growing_tokens(home: Home) {
    let exports = home.fleet().semaphore("exports", 3);
    let page = home.fleet().rw_lock("page");
    let mut last = None;
    let mut guards = Vec::new();
    for _ in 0..3 {
        let guard = now(&exports.permits(1)).await.unwrap();
        assert!(Some(guard.token()) > last);
        last = Some(guard.token());
        guards.push(guard);
    }
    let reader = now(page.read()).await.unwrap();
    let other = now(page.read()).await.unwrap();
    assert!(other.token() > reader.token());
    let last = other.token();
    assert!(reader.release().await.unwrap() && other.release().await.unwrap());
    assert!(now(page.write()).await.unwrap().token() > last);
}

/// A name is another lock in each kind.
pub async fn kinds_of_one_name_are_apart(home: Home) {
    let fleet = home.fleet();
    let _lock = acquired(fleet, "report", LONG).await;
    let _writer = now(fleet.rw_lock("report").write()).await.unwrap();
    let _permit = now(&fleet.semaphore("report", 1).permits(1)).await.unwrap();
    assert!(fleet.lock("report").is_locked().await.unwrap());
    let status = fleet.rw_lock("report").read().status().await.unwrap();
    assert_eq!(status.holders.len(), 1);
}
