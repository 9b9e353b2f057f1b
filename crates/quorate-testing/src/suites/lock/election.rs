//! One leader at a time, whom all can see.

use std::future::IntoFuture;
use std::time::Duration;

use futures_util::StreamExt;
use quorate::lock::{Elected, Leadership, LockEvent, Observation};
use quorate::{ErrorKind, Fleet};

use super::queue::waiting;
use super::{HOUR, LONG, SHORT, acquired};
use crate::harness::{Home, within};

async fn elected(fleet: &Fleet, candidate: &str) -> Leadership {
    let campaign = fleet.election("scheduler").campaign(candidate).lease(LONG);
    let elected = within("the election", campaign.into_future()).await;
    elected.unwrap().leadership().expect("it waits")
}

async fn leader(observation: &mut Observation) -> Option<String> {
    let leader = within("a change", observation.next()).await.unwrap();
    leader.map(|leader| leader.candidate)
}

/// The first leads until it resigns; then the next in order does, with a greater term.
pub async fn one_candidate_leads_at_a_time(home: Home) {
    let other = home.instance("b").await;
    let election = home.fleet().election("scheduler");
    assert_eq!(election.name(), "scheduler");
    assert_eq!(election.leader().await.unwrap(), None);
    let first = elected(home.fleet(), "one").await;
    let leader = election.leader().await.unwrap().unwrap();
    assert_eq!((leader.term, &*leader.candidate), (first.term(), "one"));
    assert!(leader.remaining <= LONG && first.remaining() <= LONG);
    let short = other.election("scheduler").campaign("two").wait(SHORT);
    let beaten = within("the answer", short.into_future()).await.unwrap();
    assert!(matches!(beaten, Elected::Following { remaining, .. } if remaining > LONG / 2));
    let resigning = async {
        waiting(election.as_lock(), 1).await;
        let term = first.term();
        assert!(first.resign().await.unwrap());
        term
    };
    let (second, term) = tokio::join!(elected(&other, "two"), resigning);
    assert!(second.term() > term);
    assert!(!second.is_lost());
    let error = election.campaign("").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    // It is another thing than the lock of that name.
    drop(acquired(home.fleet(), "scheduler", LONG).await);
}

/// Whoever observes hears of every leader there is, as soon as there is one.
pub async fn observers_hear_of_each_leader(home: Home) {
    let other = home.instance("b").await;
    let election = home.fleet().election("scheduler");
    let mut observation = other.election("scheduler").observe().await.unwrap();
    assert_eq!(leader(&mut observation).await, None);
    let first = elected(home.fleet(), "one").await;
    assert_eq!(leader(&mut observation).await.as_deref(), Some("one"));
    let campaign = async {
        let second = elected(&other, "two").await;
        assert_eq!(leader(&mut observation).await.as_deref(), Some("two"));
        second
    };
    let resigning = async {
        waiting(election.as_lock(), 1).await;
        assert!(first.resign().await.unwrap());
    };
    let (second, ()) = tokio::join!(campaign, resigning);
    assert!(second.resign().await.unwrap());
    assert_eq!(leader(&mut observation).await, None);
    // As a stream, and for who comes later, it begins with who leads now.
    let _third = elected(home.fleet(), "three").await;
    let later = election.observe().await.unwrap().into_stream();
    let first = within("the leader", Box::pin(later).next()).await.unwrap();
    assert_eq!(first.unwrap().unwrap().candidate, "three");
}

/// The end of a lease is noticed though nobody says so.
pub async fn observers_notice_a_leader_that_is_gone(home: Home) {
    let election = home.fleet().election("scheduler");
    let gone = election
        .as_lock()
        .try_acquire()
        .owner("gone")
        .lease(SHORT * 4);
    let gone = gone.no_renewal().await.unwrap().guard().unwrap();
    let gone = gone.detach().await.unwrap();
    let mut observation = election.observe().await.unwrap();
    assert_eq!(leader(&mut observation).await.as_deref(), Some("gone"));
    assert_eq!(leader(&mut observation).await, None);
    let next = elected(home.fleet(), "next").await;
    assert!(next.term() > gone.token);
}

/// A leader that was deposed knows, and so does whoever watches.
pub async fn a_deposed_leader_is_told(home: Home) {
    let other = home.instance("b").await;
    let election = other.election("scheduler");
    let mut watch = election.as_lock().watch().await.unwrap();
    let leadership = elected(home.fleet(), "one").await;
    let term = leadership.term();
    let event = within("an event", watch.next()).await.unwrap();
    assert!(matches!(event, LockEvent::Acquired { token, .. } if token == term));
    assert_eq!(election.as_lock().force_release().await.unwrap(), [term]);
    let event = within("an event", watch.next()).await.unwrap();
    assert!(matches!(event, LockEvent::Forced { tokens, .. } if tokens == [term]));
    within("the loss", leadership.lost()).await;
    assert!(leadership.is_lost());
    assert_eq!(leadership.remaining(), Duration::ZERO);
}

/// Of a mutex, who watches hears whom it was taken away from, and who got it after waiting.
pub async fn what_is_taken_away_is_seen_by_who_watches(home: Home) {
    let other = home.instance("b").await;
    let lock = other.lock("report");
    let mut watch = lock.watch().await.unwrap();
    let held = acquired(home.fleet(), "report", HOUR).await;
    let forcing = async {
        waiting(&lock, 1).await;
        assert!(lock.force_release_token(held.token()).await.unwrap());
    };
    let next = within("the lock", lock.acquire().into_future());
    let (next, ()) = tokio::join!(next, forcing);
    let next = next.unwrap().guard().unwrap();
    let event = within("an event", watch.next()).await.unwrap();
    assert!(matches!(event, LockEvent::Forced { tokens, .. } if tokens == [held.token()]));
    let event = within("an event", watch.next()).await.unwrap();
    assert!(matches!(event, LockEvent::Acquired { token, .. } if token == next.token()));
}
