//! What clients name, and whether they may.

use std::sync::Arc;

use serde_json::Value;

use super::client::Client;
use super::handle::Hub;
use super::seam::{ClientPort, DeclaredEvent, RoomSource};
use super::source::OpenSource;
use crate::problem::{Code, Problem};
use crate::topic::Selector;

/// A room, and the event it belongs to if that is declared.
pub(crate) struct Named {
    pub(crate) source: Arc<dyn RoomSource>,
    pub(crate) event: Option<Arc<dyn DeclaredEvent>>,
}

impl Named {
    /// There is nothing of this name.
    pub(crate) fn none(topic: &str) -> Problem {
        Problem::new(Code::NotFound, format!("there is no event `{topic}`"))
    }

    /// What a selector means, for transports that have only text: a declared event with its parameters as
    /// the key, or whatever it names. Whether that may be named is for the caller to say.
    pub(crate) fn of_selector(hub: &Hub, selector: &Selector) -> Result<(Self, Value), Problem> {
        let shared = &hub.shared;
        let text = selector.to_string();
        if let Some(event) = shared.events.get(&*text) {
            let source = event.room(&Value::Null)?;
            let event = Some(event.clone());
            return Ok((Self { source, event }, Value::Null));
        }
        // A name may have a colon of its own: the longest one that is an event's.
        for (at, _) in text.rmatch_indices(':') {
            if let Some(event) = shared.events.get(&text[..at]) {
                let (params, source) = event.room_of_key(&text[at + 1..])?;
                let event = Some(event.clone());
                return Ok((Self { source, event }, params));
            }
        }
        let source = Arc::new(OpenSource::new(selector.clone(), &shared.kept));
        let event = None;
        Ok((Self { source, event }, Value::Null))
    }

    /// What a client means by a topic and parameters.
    pub(crate) fn of(hub: &Hub, topic: &str, params: &Value) -> Result<Self, Problem> {
        let shared = &hub.shared;
        if let Some(event) = shared.events.get(topic) {
            let source = event.room(params)?;
            let event = Some(event.clone());
            return Ok(Self { source, event });
        }
        if shared.open {
            let source = Arc::new(OpenSource::select(topic, params, &shared.kept)?);
            let event = None;
            return Ok(Self { source, event });
        }
        Err(Self::none(topic))
    }

    /// Whether clients may name it at all: it is declared, or the hub is open.
    pub(crate) fn may_be_named(&self, hub: &Hub) -> bool {
        self.event.is_some() || hub.shared.open
    }

    /// Asks the hooks whether a client may read of it.
    pub(crate) async fn allowed(
        self,
        hub: Hub,
        client: Arc<Client>,
        params: Value,
    ) -> Result<(), Problem> {
        let info = client.info();
        if let Some(gatekeeper) = &hub.shared.gatekeeper {
            let topic = Arc::from(self.source.name());
            gatekeeper.subscribe(info.clone(), topic).await?;
        }
        match self.event {
            Some(event) => event.authorize_subscribe(info, &params).await,
            None => Ok(()),
        }
    }
}
