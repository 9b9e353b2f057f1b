//! Who has a server's vote.

use std::time::Duration;

use quorate::lock::{EVERY_ATTEMPT, Vote};
use quorate::{FencingToken, LeaseId};

use super::{HOUR, Polls, ballot, is_given, options};
use crate::harness::Home;

/// Longer than any server that tests run on is up.
const AGES: Duration = Duration::from_secs(1000 * 24 * 3600);

/// Others learn how long it is not theirs.
pub async fn a_vote_is_given_to_one_lease_at_a_time(home: Home) {
    let (polls, first, second) = (Polls::new(&home), LeaseId::random(), LeaseId::random());
    assert!(is_given(polls.vote(first).await));
    match polls.vote(second).await {
        Vote::Held { remaining } => assert!(remaining <= HOUR && remaining > HOUR / 2),
        other => panic!("{other:?}"),
    }
    assert!(is_given(polls.vote(first).await), "asking again");
    assert!(polls.withdraw(first, 1).await);
    assert!(is_given(polls.vote(second).await));
}

/// Without anybody's help; and asking again counts from then.
pub async fn a_vote_ends_with_its_lease(home: Home) {
    let (polls, first, second) = (Polls::new(&home), LeaseId::random(), LeaseId::random());
    assert!(is_given(polls.vote(first).await));
    home.elapse(HOUR / 2).await;
    assert!(is_given(polls.vote(first).await));
    home.elapse(HOUR * 3 / 4).await;
    assert!(!is_given(polls.vote(second).await));
    home.elapse(HOUR / 2).await;
    assert!(is_given(polls.vote(second).await));
    assert!(!polls.withdraw(first, EVERY_ATTEMPT).await, "too late");
    assert_eq!(polls.extend(first, HOUR).await, None);
}

/// It may have forgotten whose it was.
pub async fn a_server_that_has_just_started_does_not_vote(home: Home) {
    let (polls, lease) = (Polls::new(&home), LeaseId::random());
    let mut careful = ballot(lease, 1);
    careful.quarantine = AGES;
    match polls.ask(&careful).await {
        Vote::Silent { remaining } => assert!(remaining <= AGES && remaining > Duration::ZERO),
        other => panic!("{other:?}"),
    }
    assert!(
        polls
            .port
            .look(&polls.lock, options())
            .await
            .unwrap()
            .is_none()
    );
    home.elapse(AGES + HOUR).await;
    assert!(is_given(polls.ask(&careful).await));
}

/// What it has not forgotten is what counts.
pub async fn who_has_the_vote_keeps_it_on_a_server_too_young_to_give_it(home: Home) {
    let (polls, lease) = (Polls::new(&home), LeaseId::random());
    assert!(is_given(polls.vote(lease).await));
    let mut careful = ballot(lease, 2);
    careful.quarantine = AGES;
    assert!(is_given(polls.ask(&careful).await));
    careful.lease = LeaseId::random();
    assert!(matches!(polls.ask(&careful).await, Vote::Held { .. }));
}

/// Later, or sooner.
pub async fn only_who_has_the_vote_extends_it(home: Home) {
    let (polls, lease, other) = (Polls::new(&home), LeaseId::random(), LeaseId::random());
    assert_eq!(polls.extend(lease, HOUR).await, None);
    polls.given(lease).await;
    assert_eq!(polls.extend(other, HOUR).await, None);
    assert_eq!(
        polls.extend(lease, HOUR * 4).await,
        Some(FencingToken::new(0))
    );
    home.elapse(HOUR * 3).await;
    assert!(!is_given(polls.vote(other).await));
    assert!(polls.extend(lease, HOUR).await.is_some());
    home.elapse(HOUR * 2).await;
    assert!(is_given(polls.vote(other).await));
}

/// It may come after the vote was given to the next one.
pub async fn what_takes_an_attempt_back_leaves_later_ones(home: Home) {
    let (polls, lease, other) = (Polls::new(&home), LeaseId::random(), LeaseId::random());
    assert!(is_given(polls.ask(&ballot(lease, 7)).await));
    assert!(is_given(polls.ask(&ballot(lease, 9)).await));
    assert_eq!(
        polls.ask(&ballot(lease, 8)).await,
        Vote::Refused,
        "it is late"
    );
    assert!(!polls.withdraw(lease, 8).await);
    assert!(!is_given(polls.vote(other).await));
    assert!(polls.withdraw(lease, 9).await);
    assert!(is_given(polls.vote(other).await));
}

/// Who extends it holds the lock.
pub async fn an_extended_vote_is_no_attempts_any_more(home: Home) {
    let (polls, lease, other) = (Polls::new(&home), LeaseId::random(), LeaseId::random());
    polls.given(lease).await;
    assert!(polls.extend(lease, HOUR).await.is_some());
    assert!(!polls.withdraw(lease, 1_000_000).await);
    assert!(!is_given(polls.vote(other).await));
    assert!(polls.withdraw(lease, EVERY_ATTEMPT).await);
    assert!(is_given(polls.vote(other).await));
}

/// A question may be on its way for longer than its lease is wanted.
pub async fn a_lease_that_is_over_gets_no_vote(home: Home) {
    let (polls, lease, never) = (Polls::new(&home), LeaseId::random(), LeaseId::random());
    polls.given(lease).await;
    assert!(polls.withdraw(lease, EVERY_ATTEMPT).await);
    assert!(!polls.withdraw(never, EVERY_ATTEMPT).await);
    for over in [lease, never] {
        assert_eq!(polls.ask(&ballot(over, EVERY_ATTEMPT)).await, Vote::Refused);
    }
    assert!(is_given(polls.vote(LeaseId::random()).await));
}

/// Its first answer may have been lost, and others may have come and gone without having had it.
pub async fn a_repeated_withdrawal_gives_the_same_answer(home: Home) {
    let (polls, lease, never) = (Polls::new(&home), LeaseId::random(), LeaseId::random());
    polls.given(lease).await;
    for _ in 0..2 {
        assert!(polls.withdraw(lease, EVERY_ATTEMPT).await);
        assert!(!polls.withdraw(never, EVERY_ATTEMPT).await);
    }
}

/// For whoever is meant, and nobody since.
pub async fn a_vote_that_is_taken_away_is_over(home: Home) {
    let (polls, first, second) = (Polls::new(&home), LeaseId::random(), LeaseId::random());
    assert_eq!(polls.force(None).await, None);
    let token = polls.given(first).await;
    assert!(polls.record(first, 1, token).await);
    let other = FencingToken::new(token.get() + 7);
    assert_eq!(polls.force(Some(other)).await, None);
    assert_eq!(polls.force(Some(token)).await, Some(token));
    assert_eq!(polls.vote(first).await, Vote::Refused);
    assert_eq!(polls.extend(first, HOUR).await, None);
    polls.given(second).await;
    assert_eq!(polls.force(Some(token)).await, Some(token), "repeated");
    assert!(is_given(polls.vote(second).await));
    let unrecorded = FencingToken::new(0);
    assert_eq!(polls.force(None).await, Some(unrecorded));
    assert_eq!(polls.vote(second).await, Vote::Refused);
}

/// And not the id by which it could be given back.
pub async fn who_has_the_vote_can_be_seen(home: Home) {
    let (polls, lease) = (Polls::new(&home), LeaseId::random());
    let look = async || polls.port.look(&polls.lock, options()).await.unwrap();
    assert_eq!(look().await, None);
    let mut named = ballot(lease, 1);
    named.owner = "import of May, {on} host-3".into();
    let Vote::Given { floor, .. } = polls.ask(&named).await else {
        panic!("nobody else has it");
    };
    assert!(polls.record(lease, 1, floor).await);
    home.elapse(HOUR / 2).await;
    let seat = look().await.expect("it has it");
    assert_eq!((seat.lease, seat.token), (lease.into(), floor));
    assert_eq!(seat.owner, named.owner);
    assert!(seat.held_for >= HOUR / 2 && seat.remaining <= HOUR / 2);
    home.elapse(HOUR).await;
    assert_eq!(look().await, None);
}

/// The same to every instance.
pub async fn a_server_says_which_one_it_is(home: Home) {
    let other = home.instance("b").await;
    let (polls, lease) = (Polls::new(&home), LeaseId::random());
    let ballot = ballot(lease, 1);
    let here = polls.port.vote(&polls.lock, &ballot, options()).await;
    let there = other.vote_port();
    let there = there.vote(&polls.lock, &ballot, options()).await;
    let (here, there) = (here.unwrap().server, there.unwrap().server);
    assert!(!here.is_empty());
    assert_eq!(here, there);
}
