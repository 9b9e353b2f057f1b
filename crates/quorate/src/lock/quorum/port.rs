//! What a server of a quorum must do.

use std::fmt::{Debug, Display};
use std::time::Duration;

use async_trait::async_trait;

use super::ballot::{Ballot, Seat, Voted};
use crate::error::Result;
use crate::lock::{FencingToken, LeaseId, LockKey};
use crate::port::CallOptions;

/// One of the servers that vote on who holds a lock.
///
/// # Contract
/// * At any moment of the server's clock, at most one lease has the vote for a lock. A lease that has ended does not.
/// * `vote` gives the vote to a lease, until `length` from the server's now, if no other lease has it, no later attempt
///   of the lease does, and the lease was not over. A server that has not been up for the ballot's quarantine gives it to
///   nobody who does not have it already.
/// * The floor of a vote is greater than every token recorded on this server, and not less than its time in
///   microseconds.
/// * `record` writes a token that is greater than all before it, for the attempt that has the vote, and answers `false`
///   otherwise; for the token that the attempt has, it answers `true` again.
/// * `extend` changes the end of a lease that has the vote. No earlier attempt's `withdraw` takes the vote from it then.
/// * `withdraw` takes the vote from the lease if it has it by that attempt or an earlier one. With
///   [`EVERY_ATTEMPT`](super::EVERY_ATTEMPT) the lease is over: no vote is given to it any more, as long as no
///   other was ended; and it answers as the first time until another lease was given back.
/// * `force` ends the lease with a token, or whichever has the vote; asking again for a token gives the same answer until
///   another was taken away.
/// * Every operation but `force` without a token may be repeated when its reply was lost.
#[async_trait]
pub trait VotePort: Debug + Display + Send + Sync + 'static {
    /// Asks for the vote.
    ///
    /// # Errors
    /// Those of the backend.
    async fn vote(&self, lock: &LockKey, ballot: &Ballot, options: CallOptions) -> Result<Voted>;

    /// Writes the token of an attempt that has the vote; `false` if it does not, or the token is not greater than all
    /// before it.
    ///
    /// # Errors
    /// Those of the backend.
    async fn record(
        &self,
        lock: &LockKey,
        lease: LeaseId,
        number: u64,
        token: FencingToken,
        options: CallOptions,
    ) -> Result<bool>;

    /// Lets a lease that has the vote end `length` from now. Its token, 0 if none was recorded on this server; `None` if
    /// it does not have the vote.
    ///
    /// # Errors
    /// Those of the backend.
    async fn extend(
        &self,
        lock: &LockKey,
        lease: LeaseId,
        length: Duration,
        options: CallOptions,
    ) -> Result<Option<FencingToken>>;

    /// Takes the vote for an attempt back, and for those before it; `false` if the lease does not have the vote by one of
    /// those.
    ///
    /// # Errors
    /// Those of the backend.
    async fn withdraw(
        &self,
        lock: &LockKey,
        lease: LeaseId,
        number: u64,
        options: CallOptions,
    ) -> Result<bool>;

    /// Takes the vote away from the lease with `token`, or from whichever has it. Its token, 0 if none was recorded on
    /// this server.
    ///
    /// # Errors
    /// Those of the backend.
    async fn force(
        &self,
        lock: &LockKey,
        token: Option<FencingToken>,
        options: CallOptions,
    ) -> Result<Option<FencingToken>>;

    /// Who has the vote.
    ///
    /// # Errors
    /// Those of the backend.
    async fn look(&self, lock: &LockKey, options: CallOptions) -> Result<Option<Seat>>;
}
