//! A hub that listens, and clients to talk to it.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use futures_util::{SinkExt, StreamExt};
use http_body_util::BodyExt;
use quorate::{Codec, Fleet, TopicSpec};
use quorate_http::{Hub, HubBuilder};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::Response;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};

/// Only what fails takes that long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A hub on a port of its own, gone with the test.
pub(crate) struct Served {
    pub(crate) fleet: Fleet,
    pub(crate) hub: Hub,
    pub(crate) address: SocketAddr,
    serving: JoinHandle<()>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Served {
    pub(crate) async fn start(configure: impl FnOnce(HubBuilder) -> HubBuilder) -> Self {
        Self::on(Fleet::embedded(), configure).await
    }

    /// A hub of this instance.
    pub(crate) async fn on(fleet: Fleet, configure: impl FnOnce(HubBuilder) -> HubBuilder) -> Self {
        let hub = configure(Hub::builder(fleet.clone()).open())
            .build()
            .unwrap();
        let router: Router = hub.router();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        #[expect(clippy::disallowed_methods, reason = "ended by this value's drop")]
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            fleet,
            hub,
            address,
            serving,
        }
    }

    /// Publishes JSON.
    pub(crate) async fn publish(&self, topic: &str, value: Value) {
        let spec = TopicSpec::try_with_codec(topic, Codec::<Value>::json()).unwrap();
        self.fleet.topic(&spec).publish(&value).await.unwrap();
    }

    pub(crate) async fn connect(&self) -> Client {
        self.connect_with(&[]).await.unwrap().0
    }

    pub(crate) async fn connect_with(
        &self,
        headers: &[(&'static str, &str)],
    ) -> Result<(Client, Response<Option<Vec<u8>>>), Error> {
        connect(self.address, headers).await
    }

    /// The answer to a GET, as far as its head.
    pub(crate) async fn get(&self, path: &str) -> Stream {
        self.get_after(path, "").await
    }

    /// As [`get`](Self::get), of a client that has seen the event with this id.
    pub(crate) async fn get_after(&self, path: &str, last_event_id: &str) -> Stream {
        get(&self.hub, path, last_event_id).await
    }

    /// Waits until that many clients are connected.
    pub(crate) async fn clients(&self, count: usize) {
        let reached = async {
            while self.hub.clients() != count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, reached)
            .await
            .unwrap_or_else(|_| panic!("{} clients, not {count}", self.hub.clients()));
    }
}

/// A client of the hub that listens there.
pub(crate) async fn connect(
    address: SocketAddr,
    headers: &[(&'static str, &str)],
) -> Result<(Client, Response<Option<Vec<u8>>>), Error> {
    let mut request = format!("ws://{address}/ws").into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    let stream = TcpStream::connect(address).await.unwrap();
    let (socket, response) = tokio_tungstenite::client_async(request, stream).await?;
    Ok((Client { socket }, response))
}

/// The answer of a hub to a GET, as far as its head.
pub(crate) async fn get(hub: &Hub, path: &str, last_event_id: &str) -> Stream {
    let request = axum::http::Request::get(path)
        .header("host", "localhost")
        .header("last-event-id", last_event_id)
        .body(axum::body::Body::empty())
        .unwrap();
    let router: Router = hub.router();
    Stream::of(tower::ServiceExt::oneshot(router, request).await.unwrap())
}

/// A WebSocket client.
pub(crate) struct Client {
    pub(crate) socket: WebSocketStream<TcpStream>,
}

impl Client {
    pub(crate) async fn send(&mut self, frame: Value) {
        self.send_text(frame.to_string()).await;
    }

    pub(crate) async fn send_text(&mut self, text: impl Into<String>) {
        let text: String = text.into();
        self.socket.send(Message::text(text)).await.unwrap();
    }

    /// The next frame. Pings are answered on the way.
    pub(crate) async fn next(&mut self) -> Value {
        match self.next_or_close().await {
            Ok(frame) => frame,
            Err(close) => panic!("closed: {close:?}"),
        }
    }

    pub(crate) async fn next_or_close(&mut self) -> Result<Value, Option<CloseFrame>> {
        loop {
            match timeout(PATIENCE, self.socket.next())
                .await
                .expect("a frame")
            {
                Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(frame))) => return Err(frame),
                Some(Ok(_)) => {}
                None | Some(Err(_)) => return Err(None),
            }
        }
    }

    /// The next frame of an event, or an answer; greetings and states are passed over.
    pub(crate) async fn event(&mut self) -> Value {
        loop {
            let frame = self.next().await;
            if !matches!(frame["event"].as_str(), Some("hello" | "state")) {
                return frame;
            }
        }
    }

    /// Subscribes, and waits until that is done.
    pub(crate) async fn subscribe(&mut self, topic: &str) {
        self.send(json!({"id": topic, "subscribe": topic})).await;
        let answer = self.event().await;
        assert_eq!(answer, json!({"id": topic, "ok": true, "topic": topic}));
    }
}

/// A response being read.
pub(crate) struct Stream {
    pub(crate) status: u16,
    body: axum::body::Body,
    buffer: String,
}

impl Stream {
    pub(crate) fn of(response: axum::response::Response) -> Self {
        Self {
            status: response.status().as_u16(),
            body: response.into_body(),
            buffer: String::new(),
        }
    }

    /// The next event: its lines. `None` at the end.
    pub(crate) async fn event(&mut self) -> Option<Vec<String>> {
        loop {
            if let Some((event, rest)) = self.buffer.split_once("\n\n") {
                let event = event.lines().map(str::to_owned).collect();
                self.buffer = rest.to_owned();
                return Some(event);
            }
            let frame = timeout(PATIENCE, self.body.frame())
                .await
                .expect("a frame")?;
            if let Ok(data) = frame.unwrap().into_data() {
                self.buffer.push_str(std::str::from_utf8(&data).unwrap());
            }
        }
    }

    /// The next event that is not a comment: its name and data.
    pub(crate) async fn named(&mut self) -> (String, Value) {
        loop {
            let lines = self.event().await.expect("an event");
            let field = |name: &str| {
                let prefix = format!("{name}: ");
                lines.iter().find_map(|line| line.strip_prefix(&prefix))
            };
            if let Some(event) = field("event") {
                let data = serde_json::from_str(field("data").unwrap()).unwrap();
                return (event.to_owned(), data);
            }
        }
    }

    /// All of it, as JSON.
    pub(crate) async fn json(self) -> Value {
        serde_json::from_slice(&self.body.collect().await.unwrap().to_bytes()).unwrap()
    }
}
