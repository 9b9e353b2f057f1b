//! What the hubs of a fleet tell each other: whom to send away.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use quorate::{Codec, Error, Event, Fleet, Position, Result, Subscription, Topic, TopicSpec};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use uuid::Uuid;

use super::client::Client;
use super::handle::Hub;
use super::identity::wall_clock;
use super::seam::{ClientPort, CloseWith};

/// Kept, so that an instance which was cut off for a while still learns of it; sharded, so that no pattern of
/// a client sees who was sent away.
const CONTROL: TopicSpec<Order> = TopicSpec::reserved("__hub", Codec::json())
    .keep(Duration::from_secs(3600), 10_000, 4 << 20)
    .sharded();

/// For how long an order also meets those who are being let in when it arrives, and how old it may be when a
/// hub begins to listen. Longer than any hook should take to decide, and than clocks are apart.
const MEMORY: Duration = Duration::from_secs(60);

/// Between attempts to listen.
const PAUSE: Duration = Duration::from_secs(1);

/// Who is to be sent away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Whom {
    /// Every connection of this user.
    User(String),
    /// This connection.
    Client(String),
}

/// One hub to all others.
#[derive(Debug, Serialize, Deserialize)]
struct Order {
    /// The hub that says so, and has done it already.
    from: Uuid,
    disconnect: Whom,
}

/// A hub's part in this.
pub(crate) struct Control {
    id: Uuid,
    /// Users sent away of late, the oldest first.
    recent: Mutex<VecDeque<(Instant, String)>>,
}

impl Control {
    pub(crate) fn new() -> Self {
        Self {
            id: Uuid::from_u128(rand::random()),
            recent: Mutex::default(),
        }
    }

    /// Whether a user was sent away since `then`.
    fn revoked_since(&self, user: &str, then: Instant) -> bool {
        let recent = self.recent.lock();
        let mut newest_first = recent.iter().rev().take_while(|(at, _)| *at >= then);
        newest_first.any(|(_, revoked)| revoked == user)
    }

    fn remember(&self, user: &str) {
        let now = Instant::now();
        let mut recent = self.recent.lock();
        while recent
            .front()
            .is_some_and(|(at, _)| now.duration_since(*at) > MEMORY)
        {
            recent.pop_front();
        }
        recent.push_back((now, user.to_owned()));
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("id", &self.id).finish()
    }
}

impl Hub {
    /// Closes every connection of a user, on every instance (4403, `revoked`), and says how many it closed on
    /// this one. The clients do not come back by themselves; that they cannot is for your hook to see to.
    ///
    /// The other instances are told through the fleet: an instance that is cut off at the moment, or only
    /// starting, learns of it when it is back, if that is within an hour. Give identities a short life
    /// where more than that counts.
    ///
    /// # Errors
    /// If the other instances could not be told; here the connections are closed all the same, and calling
    /// again is harmless.
    ///
    /// # Cancel safety
    /// When the future is dropped, the other instances may or may not be told.
    pub async fn disconnect(&self, user: &str) -> Result<usize> {
        self.order(Whom::User(user.to_owned())).await
    }

    /// [`disconnect`](Self::disconnect) for one connection, wherever it is. A hub that does not
    /// [authenticate](crate::HubBuilder::authenticate) reaches only its own.
    ///
    /// # Errors
    /// As with [`disconnect`](Self::disconnect).
    ///
    /// # Cancel safety
    /// As with [`disconnect`](Self::disconnect).
    pub async fn disconnect_client(&self, client_id: &str) -> Result<usize> {
        self.order(Whom::Client(client_id.to_owned())).await
    }

    async fn order(&self, disconnect: Whom) -> Result<usize> {
        let closed = self.obey(&disconnect);
        // There is no second connection of that id; and hubs that know nobody do not listen.
        let is_done = matches!(disconnect, Whom::Client(_)) && closed > 0;
        if is_done || !self.shared.gatekeeper.required() {
            return Ok(closed);
        }
        let from = self.shared.control.id;
        let order = Order { from, disconnect };
        self.fleet().topic(&CONTROL).publish(&order).await?;
        Ok(closed)
    }

    /// Sends a client away that was let in while its user was sent away: the hook was asked at `asked`, and the
    /// order may have come before the client could be found.
    pub(crate) fn meet(&self, client: &Client, asked: Instant) {
        let control = &self.shared.control;
        let identity = client.identity();
        if identity.is_some_and(|known| control.revoked_since(&known.user, asked)) {
            client.end(CloseWith::Revoked);
        }
    }

    /// Does what another hub said, unless that was too long ago.
    fn heed(&self, event: &Event<Order>, past: &Past) {
        match event {
            Event::Message(order) if order.from == self.shared.control.id => {}
            Event::Message(order) if past.has(order.position(), order.timestamp()) => {}
            Event::Message(order) => {
                let closed = self.obey(&order.disconnect);
                tracing::debug!(closed, "another instance sent clients away");
            }
            Event::Gap(gap) => tracing::warn!(
                reason = gap.reason.as_str(),
                missed = gap.missed,
                "orders to send clients away may have been missed"
            ),
            _ => tracing::warn!("an order of another hub cannot be read"),
        }
    }

    /// Sends them away here, and says how many there were.
    fn obey(&self, whom: &Whom) -> usize {
        let registry = &self.shared.registry;
        let clients = match whom {
            Whom::Client(id) => registry.get(id).into_iter().collect(),
            Whom::User(user) => {
                self.shared.control.remember(user);
                let mut clients = registry.all();
                clients.retain(|client| client.identity().is_some_and(|known| known.user == *user));
                clients
            }
        };
        let closed = clients.iter().map(|client| client.end(CloseWith::Revoked));
        closed.filter(|first| *first).count()
    }
}

/// Does what other hubs say, until the fleet is closed. `hub` gives the hub, as long as there is one.
///
/// Also what they said while this one could not listen yet: whoever is let in meanwhile would stay.
pub(crate) async fn listen(fleet: Fleet, hub: impl Fn() -> Option<Hub>) {
    let topic = fleet.topic(&CONTROL);
    let since = wall_clock().checked_sub(MEMORY);
    loop {
        match recall(&topic, since).await {
            Ok((past, mut orders)) => {
                while let Some(event) = orders.next().await {
                    let Some(hub) = hub() else { return };
                    hub.heed(&event, &past);
                }
                return;
            }
            Err(error) if is_over(&error) => return,
            Err(error) => {
                tracing::warn!(%error, "cannot listen to the other hubs; trying again");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// All orders that are kept, and those to come; and which of them are of the past.
async fn recall(
    topic: &Topic<Order>,
    since: Option<SystemTime>,
) -> Result<(Past, Subscription<Order>)> {
    let present = topic.history().latest(0).await?.position;
    let orders = topic.subscribe().from_beginning().await?;
    Ok((Past { present, since }, orders))
}

/// What was said too long before a hub began to listen to concern it.
struct Past {
    /// Where the orders were when it began. Of later ones no clock is asked: it may be wrong.
    present: Position,
    since: Option<SystemTime>,
}

impl Past {
    /// Whether an order from there, given then by the clock of who gave it, is of the past.
    fn has(&self, at: Option<Position>, given: Option<SystemTime>) -> bool {
        let was_there = at.is_some_and(|at| {
            at.epoch() == self.present.epoch() && at.offset() <= self.present.offset()
        });
        let is_old = given.zip(self.since);
        was_there && is_old.is_some_and(|(given, since)| given < since)
    }
}

fn is_over(error: &Error) -> bool {
    error.kind() == quorate::ErrorKind::Closed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_is_let_in_while_an_order_comes_is_met_by_it() {
        let control = Control::new();
        let before = Instant::now();
        control.remember("ada");
        assert!(control.revoked_since("ada", before));
        assert!(!control.revoked_since("eve", before));
        tokio::time::advance(Duration::from_millis(1)).await;
        let after = Instant::now();
        assert!(!control.revoked_since("ada", after));
        tokio::time::advance(MEMORY * 2).await;
        control.remember("eve");
        assert!(!control.revoked_since("ada", before), "forgotten");
        assert_eq!(control.recent.lock().len(), 1);
    }

    #[test]
    fn only_what_was_there_before_may_be_too_old() {
        let began = wall_clock();
        let past = Past {
            present: Position::new(7, 40, 1),
            since: Some(began),
        };
        let (early, late) = (began - MEMORY, began + MEMORY);
        let at = |epoch, offset| Some(Position::new(epoch, offset, 1));
        for (at, given, expected) in [
            (at(7, 40), Some(early), true),
            (at(7, 40), Some(late), false),
            (at(7, 40), None, false),
            // Whatever the clock of who says it.
            (at(7, 41), Some(early), false),
            (at(8, 3), Some(early), false),
            (None, Some(early), false),
        ] {
            assert_eq!(past.has(at, given), expected, "{at:?} {given:?}");
        }
    }

    #[test]
    fn an_order_reads_back() {
        let order =
            r#"{"from":"00000000-0000-0000-0000-000000000000","disconnect":{"user":"ada"}}"#;
        let read: Order = serde_json::from_str(order).unwrap();
        assert_eq!(read.disconnect, Whom::User("ada".to_owned()));
        assert_eq!(serde_json::to_string(&read).unwrap(), order);
    }
}
