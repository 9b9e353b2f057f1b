//! Several locks at once.

use std::future::IntoFuture;
use std::time::Duration;

use futures_util::FutureExt;
use quorate::ErrorKind;
use quorate::lock::AcquireAll;

use super::queue::waiting;
use super::{HOUR, LONG, SHORT, acquired, held};
use crate::harness::{Home, within};

/// All of them or none, whatever order they are named in.
pub async fn several_locks_are_held_together_or_not_at_all(home: Home) {
    let fleet = home.fleet();
    let all = fleet.multi_lock(["c", "a", "b"]);
    assert_eq!(all.names().collect::<Vec<_>>(), ["a", "b", "c"]);
    let guard = all.try_acquire().lease(LONG).await.unwrap();
    let guard = guard.guard().expect("they are free");
    assert!(!guard.is_lost() && guard.remaining() > LONG / 2);
    let tokens: Vec<_> = guard.tokens().collect();
    assert_eq!(
        tokens.iter().map(|it| it.0).collect::<Vec<_>>(),
        ["a", "b", "c"]
    );
    assert_eq!(guard.token("b"), Some(tokens[1].1));
    assert_eq!(guard.token("d"), None);
    for name in ["a", "b", "c"] {
        held(fleet, name).await;
    }
    assert!(guard.release().await.unwrap());
    let one = acquired(fleet, "b", HOUR).await;
    match all.try_acquire().await.unwrap() {
        AcquireAll::Held {
            name, remaining, ..
        } => {
            assert_eq!(name, "b");
            assert!(remaining > HOUR / 2);
        }
        other => panic!("{other:?}"),
    }
    // Nothing is left of the attempt.
    drop(acquired(fleet, "a", LONG).await);
    drop(acquired(fleet, "c", LONG).await);
    assert!(one.release().await.unwrap());
}

/// The wait is for all of them, and its end leaves nothing behind.
pub async fn several_locks_are_waited_for_together(home: Home) {
    let other = home.instance("b").await;
    let fleet = home.fleet();
    let last = acquired(fleet, "b", HOUR).await;
    let all = other.multi_lock(["a", "b"]);
    let waited = within("the answer", all.acquire().wait(SHORT * 2).into_future());
    assert!(!waited.await.unwrap().is_acquired());
    let free = acquired(fleet, "a", LONG).await;
    assert!(free.release().await.unwrap());
    let releasing = async {
        waiting(&fleet.lock("b"), 1).await;
        held(fleet, "a").await;
        assert!(last.release().await.unwrap());
    };
    let (guard, ()) = tokio::join!(within("both", all.acquire().into_future()), releasing);
    let guard = guard.unwrap().guard().unwrap();
    drop(guard);
    let next = within("both", all.acquire().into_future()).await.unwrap();
    assert!(next.is_acquired());
}

/// Two who want the same in another order do not wait for each other.
pub async fn several_locks_cannot_deadlock(home: Home) {
    let other = home.instance("b").await;
    let orders = [
        home.fleet().multi_lock(["a", "b", "c"]),
        other.multi_lock(["c", "b", "a"]),
        other.multi_lock(["b", "c"]),
    ];
    let turns = orders.iter().map(|all| async {
        for _ in 0..5 {
            let guard = all.acquire().await.unwrap().guard().unwrap();
            tokio::task::yield_now().await;
            assert!(guard.release().await.unwrap());
        }
    });
    within("every turn", futures_util::future::join_all(turns)).await;
}

/// Losing one of them is losing the whole.
pub async fn losing_one_of_several_locks_is_told(home: Home) {
    let other = home.instance("b").await;
    let all = home.fleet().multi_lock(["a", "b"]);
    let guard = all.try_acquire().lease(HOUR).await.unwrap();
    let guard = guard.guard().unwrap();
    assert!(guard.lost().now_or_never().is_none());
    assert_eq!(other.lock("b").force_release().await.unwrap().len(), 1);
    within("the loss", guard.lost()).await;
    assert!(guard.is_lost());
    assert_eq!(guard.remaining(), Duration::ZERO);
    assert!(!guard.release().await.unwrap());
    drop(acquired(home.fleet(), "a", LONG).await);
}

/// What cannot be meant is refused before anything is taken.
pub async fn names_of_several_locks_are_different(home: Home) {
    let fleet = home.fleet();
    let many: Vec<_> = (0..65).map(|number| number.to_string()).collect();
    for (locks, field) in [
        (fleet.multi_lock(["a", "b", "a"]), "names"),
        (fleet.multi_lock([""; 0]), "names"),
        (fleet.multi_lock(many), "names"),
        (fleet.multi_lock(["a", ""]), "name"),
    ] {
        let error = locks.try_acquire().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(error.message().unwrap().starts_with(field), "{error}");
    }
    drop(acquired(fleet, "a", LONG).await);
}
