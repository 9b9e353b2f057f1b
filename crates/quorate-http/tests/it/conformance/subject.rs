//! What is tested: a server that has another client, who must notice nothing.

use quorate_http::HubBuilder;
use serde_json::json;

use super::raw::RawClient;
use crate::support::{Client, Served};

/// The largest frame that is taken here.
pub(super) const LIMIT: usize = 16 * 1024;

pub(super) struct Subject {
    pub(super) served: Served,
    neighbour: Client,
    published: u64,
}

impl Subject {
    pub(super) async fn start() -> Self {
        Self::start_with(|hub| hub).await
    }

    pub(super) async fn start_with(configure: impl FnOnce(HubBuilder) -> HubBuilder) -> Self {
        let served = Served::start(|hub| configure(hub).max_frame_bytes(LIMIT)).await;
        let mut neighbour = served.connect().await;
        neighbour.subscribe("news").await;
        Self {
            served,
            neighbour,
            published: 0,
        }
    }

    /// One more client.
    pub(super) async fn open(&self) -> RawClient {
        RawClient::open(self.served.address).await
    }

    /// That the neighbour receives what is published.
    pub(super) async fn assert_neighbour_is_served(&mut self) {
        self.published += 1;
        self.served.publish("news", json!(self.published)).await;
        let message = self.neighbour.event().await;
        assert_eq!(message["event"], "message", "{message}");
        assert_eq!(message["data"], self.published);
    }

    /// That these bytes make the server say goodbye with `code` and end this connection, and this one
    /// only.
    pub(super) async fn assert_refuses(&mut self, bytes: &[u8], code: u16, what: &str) {
        let mut client = self.open().await;
        client.assert_alive().await;
        client.send(bytes).await;
        assert_eq!(client.farewell().await, Some(code), "{what}");
        self.served.clients(1).await;
        self.assert_neighbour_is_served().await;
    }
}
