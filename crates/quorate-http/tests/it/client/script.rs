//! A server that does what a test tells it to, frame by frame.

use std::future::IntoFuture;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use quorate::Backoff;
use quorate_http::client::{ClientEvent, ClientSubscription, HubClient, HubClientBuilder};
use quorate_testing::harness::within;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// Tries again at once: tests wait for the attempts, not for the delays.
pub(crate) const AT_ONCE: Backoff = Backoff {
    initial: Duration::from_millis(1),
    factor: 1.0,
    max: Duration::from_millis(1),
    jitter: 0.0,
};

pub(crate) struct Script {
    listener: TcpListener,
}

impl Script {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { listener }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    pub(crate) fn builder(&self) -> HubClientBuilder {
        HubClient::builder(format!("ws://{}/ws", self.address())).backoff(AT_ONCE)
    }

    pub(crate) fn client(&self) -> HubClient {
        self.builder().build().unwrap()
    }

    /// The next connection, as raw as it comes.
    pub(crate) async fn raw(&self) -> TcpStream {
        within("a connection", self.listener.accept())
            .await
            .unwrap()
            .0
    }

    /// The next connection, upgraded.
    #[expect(clippy::result_large_err, reason = "the library's own type")]
    pub(crate) async fn upgraded(&self) -> (Peer, Request) {
        let stream = self.raw().await;
        let mut seen = None;
        let accept = |request: &Request, mut response: Response| {
            seen = Some(request.clone());
            let protocol = "quorate.v1".parse().unwrap();
            response
                .headers_mut()
                .insert("sec-websocket-protocol", protocol);
            Ok(response)
        };
        let upgrading = tokio_tungstenite::accept_hdr_async(stream, accept);
        let socket = within("an upgrade", upgrading).await.unwrap();
        (Peer { socket }, seen.unwrap())
    }

    /// The next connection, greeted as by a hub that asks for nothing.
    pub(crate) async fn accept(&self) -> Peer {
        self.greet(json!({})).await
    }

    /// The next connection, greeted with these members more.
    pub(crate) async fn greet(&self, more: Value) -> Peer {
        let (mut peer, _) = self.upgraded().await;
        peer.hello(more).await;
        peer
    }
}

/// The server's end of a connection.
pub(crate) struct Peer {
    socket: WebSocketStream<TcpStream>,
}

impl Peer {
    pub(crate) async fn hello(&mut self, more: Value) {
        let mut hello = json!({"event": "hello", "protocol": 1, "client": "c-1", "instance": "test",
            "authentication": "none", "heartbeat_ms": 15_000, "max_subscriptions": 64,
            "max_frame_bytes": 16_384, "max_requests": 32});
        for (name, value) in more.as_object().unwrap() {
            hello[name] = value.clone();
        }
        self.send(hello).await;
        self.send(json!({"event": "state", "state": "ready", "reason": "", "epoch": 1}))
            .await;
    }

    pub(crate) async fn send(&mut self, frame: Value) {
        self.send_text(&frame.to_string()).await;
    }

    pub(crate) async fn send_text(&mut self, text: &str) {
        // Whoever is gone does not read it: the test will see.
        let _ = self.socket.send(Message::text(text.to_owned())).await;
    }

    /// The next frame of the client.
    pub(crate) async fn next(&mut self) -> Value {
        match self.next_or_close().await {
            Ok(frame) => frame,
            Err(code) => panic!("closed with {code:?}"),
        }
    }

    /// The next frame of the client, or the code that it closes with.
    pub(crate) async fn next_or_close(&mut self) -> Result<Value, Option<u16>> {
        loop {
            match within("a frame", self.socket.next()).await {
                Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(frame))) => return Err(frame.map(|it| it.code.into())),
                Some(Ok(_)) => {}
                None | Some(Err(_)) => return Err(None),
            }
        }
    }

    /// The next frame, which has this verb; its id.
    pub(crate) async fn expect(&mut self, verb: &str) -> (Value, Value) {
        let frame = self.next().await;
        assert!(frame.get(verb).is_some(), "not `{verb}`: {frame}");
        (frame["id"].clone(), frame)
    }

    /// Answers the next frame, a subscription, with these members more; returns it.
    pub(crate) async fn subscribe(&mut self, topic: &str, more: Value) -> Value {
        let (id, frame) = self.expect("subscribe").await;
        let mut answer = json!({"id": id, "ok": true, "topic": topic});
        for (name, value) in more.as_object().unwrap() {
            answer[name] = value.clone();
        }
        self.send(answer).await;
        frame
    }

    pub(crate) async fn message(&mut self, topic: &str, data: Value, position: Option<u64>) {
        let message = message(topic, data, position);
        self.send(message).await;
    }

    pub(crate) async fn close(mut self, code: u16) {
        let frame = CloseFrame {
            code: CloseCode::from(code),
            reason: "".into(),
        };
        let _ = self.socket.close(Some(frame)).await;
        while let Some(Ok(_)) = within("the end", self.socket.next()).await {}
    }
}

pub(crate) fn message(topic: &str, data: impl Into<Value>, position: Option<u64>) -> Value {
    let data = data.into();
    let mut message = json!({"event": "message", "subscription": topic, "topic": topic, "type": topic,
        "data": data, "id": null, "source": "test", "timestamp": null, "content_type": "application/json"});
    if let Some(offset) = position {
        message["position"] = at(offset);
    }
    message
}

/// A position, as it stands in frames.
pub(crate) fn at(offset: u64) -> Value {
    json!(format!("1-{offset}-00000000"))
}

/// Subscribes, while the server answers with these members more; and what it was asked for.
pub(crate) async fn subscribe(
    client: &HubClient,
    peer: &mut Peer,
    topic: &str,
    more: Value,
) -> (ClientSubscription<Value>, Value) {
    let (made, frame) = tokio::join!(
        client.subscribe_topic(topic).into_future(),
        peer.subscribe(topic, more)
    );
    (made.unwrap(), frame)
}

/// The next event as text, to compare.
pub(crate) async fn next(subscription: &mut ClientSubscription<Value>) -> String {
    match within("an event", subscription.next()).await {
        Some(ClientEvent::Message(message)) => message.to_string(),
        Some(ClientEvent::Gap(gap)) => {
            let at = gap.position.map(|it| format!(" at {}", it.offset()));
            format!(
                "gap {} {:?}{}",
                gap.reason.as_str(),
                gap.missed,
                at.unwrap_or_default()
            )
        }
        Some(ClientEvent::Undecodable(undecodable)) => {
            format!("undecodable: {}", undecodable.error)
        }
        Some(ClientEvent::Ended(error)) => format!("ended {error}"),
        Some(other) => format!("{other:?}"),
        None => "over".to_owned(),
    }
}
