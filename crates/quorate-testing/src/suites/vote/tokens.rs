//! What a server writes down of tokens.

use quorate::lock::{EVERY_ATTEMPT, Vote};
use quorate::{FencingToken, LeaseId};

use super::{HOUR, Polls, ballot};
use crate::harness::Home;

/// Of whomever, and long after it was forgotten.
pub async fn floors_are_greater_than_what_was_recorded(home: Home) {
    let polls = Polls::new(&home);
    let mut last = FencingToken::new(0);
    for ahead in [0, 1000, 0] {
        let lease = LeaseId::random();
        let floor = polls.given(lease).await;
        assert!(floor > last, "{floor:?} after {last:?}");
        // Another server may have been asked more often, or be ahead of this one.
        last = FencingToken::new(floor.get() + ahead);
        assert!(polls.record(lease, 1, last).await);
        assert!(polls.withdraw(lease, EVERY_ATTEMPT).await);
    }
    home.elapse(HOUR * 100).await;
    assert!(polls.given(LeaseId::random()).await > last);
}

/// And only one that is greater than all before it.
pub async fn a_token_is_written_only_for_who_has_the_vote(home: Home) {
    let (polls, lease, other) = (Polls::new(&home), LeaseId::random(), LeaseId::random());
    let before = FencingToken::new(1);
    assert!(!polls.record(lease, 1, before).await);
    let token = polls.given(lease).await;
    assert!(!polls.record(other, 1, token).await);
    assert!(polls.record(lease, 1, token).await);
    assert!(polls.record(lease, 1, token).await, "repeated");
    assert!(!polls.record(lease, 1, before).await);
    assert!(polls.withdraw(lease, EVERY_ATTEMPT).await);
    polls.given(other).await;
    assert!(!polls.record(other, 1, token).await, "it is another's");
    assert!(
        !polls
            .record(lease, 1, FencingToken::new(u64::MAX >> 11))
            .await
    );
    home.elapse(HOUR * 2).await;
    let later = FencingToken::new(token.get() + 1);
    assert!(!polls.record(other, 1, later).await, "its time is over");
}

/// That of an attempt which failed means nothing.
pub async fn a_token_belongs_to_an_attempt(home: Home) {
    let (polls, lease) = (Polls::new(&home), LeaseId::random());
    let token = polls.given(lease).await;
    let again = polls.ask(&ballot(lease, 2)).await;
    assert!(matches!(again, Vote::Given { token: None, .. }));
    assert!(!polls.record(lease, 1, token).await);
    assert!(polls.record(lease, 2, token).await);
    match polls.ask(&ballot(lease, 3)).await {
        Vote::Given { floor, token: own } => {
            assert_eq!(own, Some(token));
            assert!(floor > token);
        }
        other => panic!("{other:?}"),
    }
}

/// To a server that has not seen it, or has forgotten.
pub async fn a_lease_brings_its_token_along(home: Home) {
    let (polls, lease) = (Polls::new(&home), LeaseId::random());
    let floor = polls.given(LeaseId::random()).await;
    polls.force(None).await;
    let token = FencingToken::new(floor.get() + 1_000_000);
    let mut ballot = ballot(lease, EVERY_ATTEMPT);
    ballot.token = Some(token);
    match polls.ask(&ballot).await {
        Vote::Given { token: own, .. } => assert_eq!(own, Some(token)),
        other => panic!("{other:?}"),
    }
    assert_eq!(polls.extend(lease, HOUR).await, Some(token));
    assert!(polls.withdraw(lease, EVERY_ATTEMPT).await);
    assert!(polls.given(LeaseId::random()).await > token);
}
