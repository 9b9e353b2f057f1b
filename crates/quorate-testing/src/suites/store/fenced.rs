//! Writes with the fencing tokens of locks.

use quorate::store::Fenced;
use quorate::{FencingToken, Store};

use super::{COUNTS, RAW, SECOND, text, texts};
use crate::harness::Home;

const DAY: std::time::Duration = std::time::Duration::from_secs(24 * 3600);
const OLD: FencingToken = FencingToken::new(99);
/// Longer, so that it does not come before the old one in any order of texts.
const NEW: FencingToken = FencingToken::new(100);

fn is_stale<T: std::fmt::Debug>(fenced: Fenced<T>) {
    match fenced {
        Fenced::Stale { greatest, .. } => assert_eq!(greatest, NEW),
        other => panic!("somebody wrote with a greater token: {other:?}"),
    }
}

async fn set(store: &Store<str, String>, value: &str, token: FencingToken) -> Fenced<()> {
    store.set("a", &text(value)).fenced(token).await.unwrap()
}

/// Whatever the write, and on whichever instance.
pub async fn an_old_token_writes_nothing(home: Home) {
    let other = home.instance("b").await;
    let (store, late) = (texts(home.fleet()), texts(&other));
    let (counts, late_counts) = (home.fleet().store(&COUNTS), other.store(&COUNTS));
    assert_eq!(set(&late, "1", OLD).await, Fenced::Done(()));
    assert_eq!(set(&store, "2", NEW).await, Fenced::Done(()));
    is_stale(set(&late, "3", OLD).await);
    is_stale(late.delete("a").fenced(OLD).await.unwrap());
    let two = text("2");
    is_stale(
        late.compare_and_delete("a", &two)
            .fenced(OLD)
            .await
            .unwrap(),
    );
    let compared = late.compare_and_set("a", Some(&two), &text("3"));
    is_stale(compared.fenced(OLD).await.unwrap());
    is_stale(late.expire("a", SECOND).fenced(OLD).await.unwrap());
    is_stale(
        late.set("a", &text("3"))
            .ttl(SECOND)
            .fenced(OLD)
            .await
            .unwrap(),
    );
    assert_eq!(
        counts.increment("n", 1).fenced(NEW).await.unwrap(),
        Fenced::Done(1)
    );
    is_stale(late_counts.increment("n", 1).fenced(OLD).await.unwrap());
    assert_eq!(
        counts.increment("n", 1).fenced(NEW).await.unwrap(),
        Fenced::Done(2)
    );
    assert_eq!(store.get("a").await.unwrap(), Some(text("2")));
    // A token that passed is the greatest, whatever became of its write.
    let absent = store.set_if_absent("b", &text("1"));
    assert_eq!(absent.fenced(NEW).await.unwrap(), Fenced::Done(true));
    let absent = store.set_if_absent("b", &text("1"));
    assert_eq!(absent.fenced(NEW).await.unwrap(), Fenced::Done(false));
    is_stale(late.delete("b").fenced(OLD).await.unwrap());
}

/// An entry that is gone, in whatever way, does not let an old holder in.
pub async fn a_fence_outlives_the_entry(home: Home) {
    let store = texts(home.fleet());
    assert_eq!(set(&store, "1", NEW).await, Fenced::Done(()));
    assert!(store.delete("a").await.unwrap());
    is_stale(set(&store, "2", OLD).await);
    home.elapse(DAY * 30).await;
    is_stale(set(&store, "2", OLD).await);
    assert!(!store.exists("a").await.unwrap());
    // Nobody's lease lasts so long, and what is kept has an end.
    home.elapse(DAY * 2).await;
    assert_eq!(set(&store, "2", OLD).await, Fenced::Done(()));
}

/// Another entry has another, and who has no token is not stopped.
pub async fn a_fence_is_of_one_entry(home: Home) {
    let store = texts(home.fleet());
    assert_eq!(set(&store, "1", NEW).await, Fenced::Done(()));
    let other = store.set("b", &text("1")).fenced(OLD).await.unwrap();
    assert_eq!(other, Fenced::Done(()));
    store.set("a", &text("2")).await.unwrap();
    assert_eq!(store.get("a").await.unwrap(), Some(text("2")));
    is_stale(set(&store, "3", OLD).await);
    let raw = home.fleet().store(&RAW);
    let written = raw.set("a", &text("1")).fenced(NEW).await.unwrap();
    assert_eq!(written, Fenced::Done(()));
    is_stale(raw.set("a", &text("2")).fenced(OLD).await.unwrap());
}

/// What was answered once is answered again, whoever wrote since.
pub async fn a_fenced_write_is_repeated_as_any_other(home: Home) {
    let counts = home.fleet().store(&COUNTS);
    let add = |token| counts.increment("n", 1).idempotency_key("k").fenced(token);
    assert_eq!(add(OLD).await.unwrap(), Fenced::Done(1));
    let newer = counts.increment("n", 1).fenced(NEW).await.unwrap();
    assert_eq!(newer, Fenced::Done(2));
    assert_eq!(add(OLD).await.unwrap(), Fenced::Done(1));
    // What did not pass was not made, and is not remembered as if it had been.
    let late = counts.increment("n", 1).idempotency_key("late");
    is_stale(late.fenced(OLD).await.unwrap());
    let late = counts.increment("n", 1).idempotency_key("late");
    assert_eq!(late.fenced(NEW).await.unwrap(), Fenced::Done(3));
}
