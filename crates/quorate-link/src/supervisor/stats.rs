//! Figures of a link.

/// What a link is doing at this moment.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct LinkStats {
    /// The command lane.
    pub command: LaneStats,
    /// The lane for large replies.
    pub bulk: LaneStats,
    /// The lane for durable writes.
    pub durable: LaneStats,
    /// Whether the push connection is up.
    pub push_connected: bool,
    /// Subscriptions wanted.
    pub subscriptions: usize,
}

impl LinkStats {
    /// Commands in flight on all lanes.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.command.in_flight + self.bulk.in_flight + self.durable.in_flight
    }

    /// Bytes of commands in flight on all lanes.
    #[must_use]
    pub fn in_flight_bytes(&self) -> usize {
        self.command.in_flight_bytes + self.bulk.in_flight_bytes + self.durable.in_flight_bytes
    }

    /// Connections made again after the first, on all lanes.
    #[must_use]
    pub fn reconnects(&self) -> u64 {
        self.command.reconnects + self.bulk.reconnects + self.durable.reconnects
    }
}

/// One lane.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct LaneStats {
    /// Whether it is connected.
    pub connected: bool,
    /// Commands sent or reserved whose replies have not come, abandoned ones included.
    pub in_flight: usize,
    /// Their encoded bytes.
    pub in_flight_bytes: usize,
    /// Calls waiting for a connection or for room.
    pub waiting: usize,
    /// Connections made again after the first.
    pub reconnects: u64,
}
