//! What clients name, and whether they may.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::http::HeaderMap;
use serde_json::Value;
use tokio::time::Instant;

use super::client::Client;
use super::event::EventRoom;
use super::handle::Hub;
use super::identity::Known;
use super::seam::{ClientPort, DeclaredEvent, RoomSource};
use super::source::OpenSource;
use crate::problem::{Code, Problem};
use crate::telemetry::{self, Transport};
use crate::topic::Selector;

/// A room, and the event it belongs to with its parameters if that is declared.
pub(crate) struct Named {
    pub(crate) source: Arc<dyn RoomSource>,
    event: Option<(Arc<dyn DeclaredEvent>, Value)>,
}

impl Named {
    /// There is nothing of this name.
    pub(crate) fn none(topic: &str) -> Problem {
        Problem::new(Code::NotFound, format!("there is no event `{topic}`"))
    }

    /// What a selector means, for transports that have only text: a declared event with its parameters as
    /// the key, or whatever it names. Whether that may be named is for the caller to say.
    pub(crate) fn of_selector(hub: &Hub, selector: &Selector) -> Result<Self, Problem> {
        match hub.events().room(&selector.to_string(), &Value::Null) {
            Some(room) => room.map(Self::from),
            None => Ok(Self {
                source: Arc::new(OpenSource::new(selector.clone(), &hub.shared)),
                event: None,
            }),
        }
    }

    /// What a client means by a topic and parameters, or by a topic's full name.
    pub(crate) fn of(hub: &Hub, topic: &str, params: &Value) -> Result<Self, Problem> {
        let shared = &hub.shared;
        match shared.events.room(topic, params) {
            Some(room) => room.map(Self::from),
            None if shared.open => Ok(Self {
                source: Arc::new(OpenSource::select(topic, params, shared)?),
                event: None,
            }),
            None => Err(Self::none(topic)),
        }
    }

    /// Whether clients may name it at all: it is declared, or the hub is open.
    pub(crate) fn may_be_named(&self, hub: &Hub) -> bool {
        self.event.is_some() || hub.shared.open
    }

    /// Asks the hooks whether a client may read of it.
    pub(crate) async fn allowed(self, hub: Hub, client: Arc<Client>) -> Result<(), Problem> {
        let info = client.info();
        let topic = Arc::from(self.source.name());
        hub.shared.gatekeeper.subscribe(info.clone(), topic).await?;
        match self.event {
            Some((event, params)) => event.authorize_subscribe(info, &params).await,
            None => Ok(()),
        }
    }
}

impl From<EventRoom> for Named {
    fn from(room: EventRoom) -> Self {
        Self {
            source: room.room,
            event: Some((room.event, room.params)),
        }
    }
}

impl Hub {
    /// Who connects, as far as the headers say.
    ///
    /// # Errors
    /// What the hook says if it turns the client away.
    pub(crate) async fn identify(
        &self,
        headers: &HeaderMap,
        address: Option<SocketAddr>,
        transport: Transport,
    ) -> Result<Option<Known>, Problem> {
        let asked = Instant::now();
        let connect = self.shared.gatekeeper.connect(headers, address).await;
        let identity = connect.inspect_err(|_| telemetry::refused(transport, "access"))?;
        Ok(identity.map(|identity| Known { identity, asked }))
    }
}
