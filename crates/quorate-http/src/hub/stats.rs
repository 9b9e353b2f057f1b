//! What a hub is doing now, for people who look at it.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use quorate::Position;
use serde::Serialize;
use tokio::time::Instant;

use super::client::Client;
use super::handle::Hub;
use super::room::Room;
use super::seam::ClientPort;

/// A hub at one moment, on this instance. See [`Hub::stats`].
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct HubStats {
    /// Clients connected.
    pub clients: usize,
    /// Subscriptions of all of them.
    pub subscriptions: usize,
    /// Reads of histories under way, for clients that catch up.
    pub reads: usize,
    /// Topics and patterns that somebody here is subscribed to, the busiest first.
    pub topics: Vec<TopicStats>,
}

/// A topic or pattern that clients of this instance are subscribed to.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct TopicStats {
    /// What was subscribed to.
    pub topic: String,
    /// Clients of this instance.
    pub clients: usize,
    /// Messages since the first of them came.
    pub messages: u64,
    /// Messages in a second, over about the last ten.
    pub rate: f64,
    /// Messages dropped because a client was slower than they came, of all clients.
    pub dropped: u64,
    /// After which position the next message comes, where the topic is kept.
    pub position: Option<Position>,
}

/// A client of this instance. See [`Hub::client`].
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ClientStats {
    /// Its id.
    pub client: String,
    /// `ws` or `sse`.
    pub transport: &'static str,
    /// Who it is.
    pub user: Option<String>,
    /// Where it connects from, where the server was told.
    pub address: Option<SocketAddr>,
    /// For how long it has been connected, in milliseconds.
    pub connected_ms: u64,
    /// What it is subscribed to.
    pub subscriptions: Vec<SubscriptionStats>,
    /// Messages that wait for it.
    pub backlog: usize,
    /// Bytes of all that waits for it: messages, answers and rosters.
    pub backlog_bytes: usize,
    /// Messages dropped because it was slower than they came.
    pub dropped: u64,
}

/// A subscription of a client.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct SubscriptionStats {
    /// What was subscribed to.
    pub topic: String,
    /// After which position the next message comes, where the topic is kept.
    pub position: Option<Position>,
    /// Messages of it that wait.
    pub backlog: usize,
    /// It is behind, and reads what it missed.
    pub catching_up: bool,
}

impl Hub {
    /// What this hub is doing now. Costs a look at every topic, and none at the clients.
    #[must_use]
    pub fn stats(&self) -> HubStats {
        let rooms = self.shared.rooms.all();
        let mut topics: Vec<_> = rooms.iter().map(|room| room.stats()).collect();
        topics.sort_by(|one, other| {
            let busy = other.rate.total_cmp(&one.rate);
            busy.then_with(|| one.topic.cmp(&other.topic))
        });
        HubStats {
            clients: self.clients(),
            reads: self.shared.rooms.reads.under_way(),
            subscriptions: topics.iter().map(|topic| topic.clients).sum(),
            topics,
        }
    }

    /// A client of this instance; `None` if it is not, or no longer, connected here.
    #[must_use]
    pub fn client(&self, id: &str) -> Option<ClientStats> {
        Some(self.shared.registry.get(id)?.stats())
    }

    /// Clients of this instance, the longest connected first, at most `limit` of them.
    #[must_use]
    pub fn client_list(&self, limit: usize) -> Vec<ClientStats> {
        let mut clients = self.shared.registry.all();
        clients.sort_by_key(|client| client.number);
        let clients = clients.iter().take(limit);
        clients.map(|client| client.stats()).collect()
    }
}

impl Room {
    fn stats(&self) -> TopicStats {
        TopicStats {
            topic: (*self.name).to_owned(),
            clients: self.members(),
            messages: self.messages.load(Ordering::Relaxed),
            rate: self.rate.lock().at(Instant::now()),
            dropped: self.dropped.load(Ordering::Relaxed),
            position: self.ring.lock().as_ref().map(|ring| ring.top()),
        }
    }
}

impl Client {
    fn stats(&self) -> ClientStats {
        let state = self.state.lock();
        let subscriptions = state.subscriptions.iter().map(|one| SubscriptionStats {
            topic: (*one.name).to_owned(),
            position: one.feed.cursor,
            backlog: state.outbox.backlog(one.number),
            catching_up: one.feed.lagging,
        });
        ClientStats {
            client: (*self.id).to_owned(),
            transport: self.transport.as_str(),
            user: state
                .identity
                .as_ref()
                .map(|identity| identity.user.clone()),
            address: self.address(),
            connected_ms: crate::frame::millis(self.connected.elapsed()),
            subscriptions: subscriptions.collect(),
            backlog: state.outbox.messages(),
            backlog_bytes: state.outbox.waiting_bytes(),
            dropped: state.dropped,
        }
    }
}

/// How many a second, over about the last ten: what is longer ago counts less and less.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meter {
    rate: f64,
    at: Instant,
}

impl Meter {
    /// Over so many seconds.
    const WINDOW: f64 = 10.0;

    pub(super) fn new(now: Instant) -> Self {
        Self { rate: 0.0, at: now }
    }

    pub(super) fn add(&mut self, count: u32, now: Instant) {
        self.rate = self.at(now) + f64::from(count) / Self::WINDOW;
        self.at = self.at.max(now);
    }

    pub(super) fn at(&self, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.rate * (-passed / Self::WINDOW).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn a_meter_shows_what_is_steady_and_forgets_what_is_over() {
        let mut now = Instant::now();
        let mut meter = Meter::new(now);
        for _ in 0..1000 {
            now += Duration::from_millis(100);
            meter.add(5, now);
        }
        let steady = meter.at(now);
        assert!((45.0..55.0).contains(&steady), "{steady}");
        let later = meter.at(now + Duration::from_secs(60));
        assert!(later < 0.5, "{later}");
    }
}
