//! What every server of a quorum promises.

mod leases;
mod tokens;

use std::sync::Arc;
use std::time::Duration;

use quorate::lock::{Ballot, LockKey, LockKind, Vote, VotePort};
use quorate::{CallOptions, FencingToken, Key, LeaseId};

pub use self::leases::*;
pub use self::tokens::*;
use crate::harness::Home;

/// Makes one test per clause of the contract of votes: `vote_suite!(module, harness)`.
#[macro_export]
macro_rules! vote_suite {
    ($module:ident, $harness:expr) => {
        $crate::__suite!(
            $module,
            $harness,
            $crate::suites::vote,
            [
                a_vote_is_given_to_one_lease_at_a_time,
                a_vote_ends_with_its_lease,
                a_server_that_has_just_started_does_not_vote,
                who_has_the_vote_keeps_it_on_a_server_too_young_to_give_it,
                only_who_has_the_vote_extends_it,
                what_takes_an_attempt_back_leaves_later_ones,
                an_extended_vote_is_no_attempts_any_more,
                a_lease_that_is_over_gets_no_vote,
                a_repeated_withdrawal_gives_the_same_answer,
                a_vote_that_is_taken_away_is_over,
                who_has_the_vote_can_be_seen,
                a_server_says_which_one_it_is,
                floors_are_greater_than_what_was_recorded,
                a_token_is_written_only_for_who_has_the_vote,
                a_token_belongs_to_an_attempt,
                a_lease_brings_its_token_along,
            ]
        );
    };
}

pub(super) const HOUR: Duration = Duration::from_secs(3600);

/// One lock of a home, and who asks for its vote.
pub(super) struct Polls {
    port: Arc<dyn VotePort>,
    lock: LockKey,
}

impl Polls {
    pub(super) fn new(home: &Home) -> Self {
        let key = Key::new(home.fleet().namespace(), "report").unwrap();
        Self {
            port: home.fleet().vote_port(),
            lock: LockKey::new(LockKind::Mutex, key),
        }
    }

    pub(super) async fn ask(&self, ballot: &Ballot) -> Vote {
        let voted = self.port.vote(&self.lock, ballot, options()).await;
        voted.unwrap().vote
    }

    /// Asks as the first attempt of a lease, for an hour.
    pub(super) async fn vote(&self, lease: LeaseId) -> Vote {
        self.ask(&ballot(lease, 1)).await
    }

    /// The floor of the vote that is given to a lease.
    pub(super) async fn given(&self, lease: LeaseId) -> FencingToken {
        match self.vote(lease).await {
            Vote::Given { floor, .. } => floor,
            other => panic!("nobody else has it: {other:?}"),
        }
    }

    pub(super) async fn record(&self, lease: LeaseId, number: u64, token: FencingToken) -> bool {
        let recorded = self
            .port
            .record(&self.lock, lease, number, token, options());
        recorded.await.unwrap()
    }

    pub(super) async fn extend(&self, lease: LeaseId, length: Duration) -> Option<FencingToken> {
        let extended = self.port.extend(&self.lock, lease, length, options());
        extended.await.unwrap()
    }

    pub(super) async fn withdraw(&self, lease: LeaseId, number: u64) -> bool {
        let withdrawn = self.port.withdraw(&self.lock, lease, number, options());
        withdrawn.await.unwrap()
    }

    pub(super) async fn force(&self, token: Option<FencingToken>) -> Option<FencingToken> {
        let forced = self.port.force(&self.lock, token, options());
        forced.await.unwrap()
    }
}

/// For an hour, of a server of whatever age.
pub(super) fn ballot(lease: LeaseId, number: u64) -> Ballot {
    Ballot::new(lease, number, HOUR, Duration::ZERO)
}

pub(super) fn options() -> CallOptions {
    CallOptions::until(tokio::time::Instant::now() + Duration::from_secs(5))
}

pub(super) fn is_given(vote: Vote) -> bool {
    matches!(vote, Vote::Given { .. })
}
