//! How one call behaves.

use tokio::time::Instant;

/// Which connection a command travels on. Each lane is a connection of its own, so that what is
/// slow on one does not hold up another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Lane {
    /// Small commands with small replies: the default.
    #[default]
    Command,
    /// Large replies, so that a lease renewal never waits behind a bulk read. Opened on first use.
    Bulk,
    /// Commands followed by `WAIT` or `WAITAOF`, which stall what is behind them. Opened on first
    /// use.
    Durable,
}

/// How one call behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CallOptions {
    /// The lane to use.
    pub lane: Lane,
    /// When to give up, waiting for a connection and for room included. `None`: waiting is bounded
    /// by the command timeout. Once sent, the reply is waited for until the deadline or for the
    /// command timeout, whichever ends first.
    pub deadline: Option<Instant>,
    /// The command runs several steps on the server (`EVALSHA`, `FCALL`, `EXEC`): an error reply not
    /// known to come before the first write leaves the outcome unknown.
    pub script: bool,
    /// The present, for who has just read the clock: reading it again is a good part of a call. Only a deadline that had
    /// passed at that moment is then noticed before the command is sent.
    pub now: Option<Instant>,
}

impl CallOptions {
    /// The defaults: command lane, no deadline, a plain command.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Uses another lane.
    #[must_use]
    pub fn lane(mut self, lane: Lane) -> Self {
        self.lane = lane;
        self
    }

    /// Gives up at `deadline`.
    #[must_use]
    pub fn deadline(mut self, deadline: Instant) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Says what the time is.
    #[must_use]
    pub fn as_of(mut self, now: Instant) -> Self {
        self.now = Some(now);
        self
    }

    /// Says whether the command is a script.
    #[must_use]
    pub fn script(mut self, script: bool) -> Self {
        self.script = script;
        self
    }
}
