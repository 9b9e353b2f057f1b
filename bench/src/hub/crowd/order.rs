//! What a crowd is told, and what it tells.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// What a crowd is to do. Each order is answered by one [`Report`], when it is done.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// More clients come. Done when all of them are there.
    Join(Join),
    /// Done when each client has had so many more messages, on top of those of earlier orders: the
    /// number at the client's place, counted around.
    Count(Vec<u32>),
    /// From now on a client that is sent away comes to this port, when it was told to, and goes on after
    /// its last position. Done at once.
    Follow(u16),
    /// Done when every client has been sent away and has come back.
    Return,
    /// All clients go. Done when they are gone.
    Leave,
}

/// Clients that come.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Join {
    /// Where to.
    pub(crate) port: u16,
    /// How many.
    pub(crate) clients: usize,
    /// When one is there.
    pub(crate) until: Until,
    /// Positions that their subscriptions begin after: the one at the client's place, counted around.
    pub(crate) after: Vec<String>,
}

/// When a client is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Until {
    /// When it is connected: nothing more is said by a bare server.
    Upgraded,
    /// When it was greeted.
    Greeted,
    /// When it is subscribed to this topic.
    Subscribed(String),
}

/// What happened since the order came.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    /// When the order came.
    pub(crate) began: Duration,
    /// When it was done, by the same clock, which all processes of a machine share.
    pub(crate) ended: Duration,
    /// CPU time of the crowd.
    pub(crate) cpu: Duration,
    /// Of all clients, from the beginning of the crowd until the order came.
    pub(crate) before: Totals,
    /// The same, until it was done.
    pub(crate) totals: Totals,
}

/// Counted over all clients.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Totals {
    /// Messages received.
    pub(crate) messages: u64,
    /// Bytes of their frames' payloads.
    pub(crate) bytes: u64,
    /// Gaps that were told.
    pub(crate) gaps: u64,
    /// How often a client was sent away.
    pub(crate) sent_away: u64,
    /// The longest a client was told to stay away, in milliseconds.
    pub(crate) longest_away: u64,
}

/// Now, by a clock that all processes of a machine share.
pub(crate) fn now() -> Duration {
    let time = clock_gettime(ClockId::Monotonic);
    Duration::try_from(time).expect("this clock is not negative")
}
