//! What is declared once, as constants, for servers and clients: events and requests with their types.

use quorate::events::HandlerResult;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::ask::{HistoryOf, PresenceOf, PublishTo, Request, encode};
use super::error::{ClientError, ClientResult};
use super::handle::HubClient;
use super::listen::ListenTo;
use super::message::ClientMessage;
use super::rooms::Wanted;
use super::subscription::{Reading, SubscribeTo};
use crate::hub::{EventSpec, MessageSpec};
use crate::topic::TopicPath;

impl HubClient {
    /// Subscribes to an event with these parameters. Optional arguments, then `.await`.
    ///
    /// # Example
    /// ```no_run
    /// # async fn example(client: quorate_http::client::HubClient) -> Result<(), Box<dyn std::error::Error>> {
    /// use quorate_http::EventSpec;
    /// use quorate_http::client::ClientEvent;
    ///
    /// const SAID: EventSpec<u64, String> = EventSpec::new("room"); // shared with the server
    ///
    /// let mut room = client.subscribe(&SAID, &42).await?;
    /// while let Some(event) = room.next().await {
    ///     match event {
    ///         ClientEvent::Message(said) => println!("{}: {}", said.source().unwrap_or("?"), *said),
    ///         ClientEvent::Gap(_) => println!("…"),
    ///         _ => {}
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    pub fn subscribe<P, T>(&self, event: &EventSpec<P, T>, params: &P) -> SubscribeTo<T>
    where
        P: Serialize,
        T: DeserializeOwned,
    {
        SubscribeTo::new(self, wanted(event, params), reading(event))
    }

    /// Calls `handler` for each message of an event with these parameters. Optional arguments, then
    /// `.await`.
    ///
    /// # Example
    /// ```no_run
    /// # async fn example(client: quorate_http::client::HubClient) -> Result<(), Box<dyn std::error::Error>> {
    /// use quorate_http::EventSpec;
    ///
    /// const SAID: EventSpec<u64, String> = EventSpec::new("room");
    ///
    /// let listener = client
    ///     .on(&SAID, &42, |said| async move { println!("{}", *said) })
    ///     .on_gap(|gap| println!("missed {:?}", gap.missed))
    ///     .await?;
    /// // … until it is dropped, or for as long as the client:
    /// listener.detach();
    /// # Ok(()) }
    /// ```
    pub fn on<P, T, F, Fut, R>(
        &self,
        event: &EventSpec<P, T>,
        params: &P,
        handler: F,
    ) -> ListenTo<T, F>
    where
        P: Serialize,
        T: DeserializeOwned + Send + 'static,
        F: FnMut(ClientMessage<T>) -> Fut + Send + 'static,
        Fut: Future<Output = R> + Send + 'static,
        R: HandlerResult + 'static,
    {
        ListenTo::new(self.subscribe(event, params), handler)
    }

    /// Makes a request. Optional arguments, then `.await`.
    ///
    /// The payload is checked as the server would: what `validate` refuses is not sent.
    ///
    /// # Example
    /// ```no_run
    /// # async fn example(client: quorate_http::client::HubClient) -> Result<(), Box<dyn std::error::Error>> {
    /// use quorate_http::MessageSpec;
    ///
    /// const SEND: MessageSpec<String, u64> = MessageSpec::new("message.send"); // shared with the server
    ///
    /// let id = client.request(&SEND, &"hello".to_owned()).await?;
    /// # let _ = id;
    /// # Ok(()) }
    /// ```
    pub fn request<T, R>(&self, spec: &MessageSpec<T, R>, payload: &T) -> Request<R>
    where
        T: Serialize,
        R: DeserializeOwned,
    {
        let data = match spec.rule().map(|validate| validate(payload)) {
            Some(Err(rule)) => Err(ClientError::invalid("payload:", rule)),
            _ => encode(payload),
        };
        Request::new(self, spec.kind(), data)
    }

    /// Publishes to an event with these parameters, where the hub lets clients. Optional arguments, then
    /// `.await`.
    ///
    /// The data is checked as the server would: what `validate` refuses is not sent.
    pub fn publish<P, T>(&self, event: &EventSpec<P, T>, params: &P, data: &T) -> PublishTo
    where
        P: Serialize,
        T: Serialize,
    {
        let data = match event.data_rule().map(|validate| validate(data)) {
            Some(Err(rule)) => Err(ClientError::invalid("payload:", rule)),
            _ => encode(data),
        };
        PublishTo::new(self, wanted(event, params), data)
    }

    /// Asks who is subscribed to an event with these parameters. Optional arguments, then `.await`.
    pub fn presence<P: Serialize, T>(&self, event: &EventSpec<P, T>, params: &P) -> PresenceOf {
        PresenceOf::new(self, wanted(event, params))
    }

    /// Reads what is kept of an event with these parameters. Optional arguments, then `.await`.
    pub fn history<P, T>(&self, event: &EventSpec<P, T>, params: &P) -> HistoryOf<T>
    where
        P: Serialize,
        T: DeserializeOwned,
    {
        HistoryOf::new(self, wanted(event, params), reading(event))
    }
}

fn reading<P, T: DeserializeOwned>(event: &EventSpec<P, T>) -> Reading<T> {
    Reading::new(Some(*event.data_codec()), event.data_rule())
}

/// The event as frames name it.
fn wanted<P: Serialize, T>(event: &EventSpec<P, T>, params: &P) -> ClientResult<Wanted> {
    let params = serde_json::to_value(params).map_err(|error| {
        ClientError::invalid("params", "must be what JSON has").caused_by(error)
    })?;
    // Checked here, where the caller is.
    TopicPath::with_params(event.name(), &params)?;
    Ok(Wanted {
        event: event.name().to_owned(),
        params,
    })
}
