//! How connections end: what is still done, what is still sent, and in what time.

use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use futures_util::future::join;
use futures_util::{SinkExt, StreamExt};
use quorate::Fleet;
use quorate_http::{Credentials, Denied, Hub, HubBuilder, Identity};
use quorate_testing::proxy::{Direction, Proxy};
use serde_json::{Value, json};
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::declared::Instance;
use crate::requests::Waiting;
use crate::support::{Client, PATIENCE, Served, connect};

/// The end, as a drain says it.
async fn sent_away(client: &mut Client) {
    let (last, code) = client.ended().await;
    assert_eq!((last["reason"].as_str(), code), (Some("restarting"), 1012));
}

/// Waits until so many messages of the only topic have come to the hub.
async fn arrived(served: &Served, messages: u64) {
    let arrived = async {
        while served.hub.stats().topics[0].messages < messages {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, arrived).await.expect("the messages");
}

async fn ask_to_wait(client: &mut Client, id: u32) {
    client
        .send(json!({"id": id, "type": "wait", "data": id}))
        .await;
}

#[tokio::test]
async fn a_drain_answers_what_is_under_way_and_begins_nothing_new() {
    let waiting = Waiting::new();
    let a = Instance::start(Fleet::embedded(), |hub| hub.requests(waiting.router())).await;
    let (mut busy, mut idle) = (a.connect().await, a.connect().await);
    ask_to_wait(&mut busy, 1).await;
    waiting.started(1).await;
    let talk = async {
        // Who waits for nothing is not kept waiting.
        sent_away(&mut idle).await;
        ask_to_wait(&mut busy, 2).await;
        let refused = busy.event().await;
        let error = &refused["error"];
        assert_eq!(
            (&refused["id"], &error["code"]),
            (&json!(2), &json!("UNAVAILABLE"))
        );
        assert_eq!(error["retryable"], true);
        busy.is_open().await;
        waiting.release.notify_one();
        assert_eq!(busy.event().await, json!({"id": 1, "ok": true, "data": 1}));
        sent_away(&mut busy).await;
    };
    timeout(PATIENCE, join(a.hub.drain(), talk)).await.unwrap();
}

#[tokio::test]
async fn a_drain_has_its_time_and_a_request_may_still_be_cancelled() {
    let waiting = Waiting::new();
    let configure = |hub: HubBuilder| {
        let hub = hub.requests(waiting.router());
        hub.drain_timeout(Duration::from_millis(300))
    };
    let a = Instance::start(Fleet::embedded(), configure).await;
    let (mut patient, mut hasty) = (a.connect().await, a.connect().await);
    ask_to_wait(&mut patient, 1).await;
    ask_to_wait(&mut hasty, 1).await;
    waiting.started(2).await;
    let talk = async {
        hasty.send(json!({"cancel": 1})).await;
        assert_eq!(hasty.event().await["error"]["code"], "CANCELLED");
        sent_away(&mut hasty).await;
        let (last, code) = patient.ended().await;
        // Nothing came before the farewell: what became of the request is not known.
        assert_eq!((last["reason"].as_str(), code), (Some("restarting"), 1012));
    };
    timeout(PATIENCE, join(a.hub.drain(), talk)).await.unwrap();
    assert!(waiting.dropped.is_cancelled());
}

#[tokio::test]
async fn a_drain_sends_a_stream_what_waits_first() {
    let served = Served::start(|hub| hub).await;
    let mut stream = served.get("/sse?topic=notes").await;
    for n in 0..3 {
        served.publish("notes", json!(n)).await;
    }
    arrived(&served, 3).await;
    let read = async move {
        for n in 0..3 {
            assert_eq!(stream.named().await.1["data"], n);
        }
        let farewell = stream.event().await.unwrap();
        assert!(farewell.iter().any(|line| line.starts_with("retry: ")));
        assert!(stream.event().await.is_none());
    };
    timeout(PATIENCE, join(served.hub.drain(), read))
        .await
        .unwrap();
}

#[tokio::test]
async fn who_is_sent_away_during_a_drain_has_no_time_left() {
    let waiting = Waiting::new();
    let hook = async |credentials: Credentials| {
        let user = credentials.token().map(Identity::new);
        user.ok_or_else(|| Denied::unauthenticated("say it in a frame"))
    };
    let configure = |hub: HubBuilder| {
        let hub = hub.authenticate(hook).requests(waiting.router());
        hub.drain_timeout(PATIENCE * 2)
    };
    let a = Instance::start(Fleet::embedded(), configure).await;
    let mut ada = a.connect_as("ada").await;
    ask_to_wait(&mut ada, 1).await;
    waiting.started(1).await;
    let revoke = async {
        ada.is_open().await;
        assert_eq!(a.hub.disconnect("ada").await.unwrap(), 1);
        let (last, code) = ada.ended().await;
        assert_eq!((last["reason"].as_str(), code), (Some("revoked"), 4403));
    };
    timeout(PATIENCE, join(a.hub.drain(), revoke))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_client_behind_a_stalled_network_is_gone_though_nothing_else_is_sent() {
    let configure = |hub: HubBuilder| {
        let hub = hub.heartbeat(Duration::from_millis(20));
        hub.idle_timeout(Duration::from_millis(200))
    };
    let served = Served::start(configure).await;
    let proxy = Proxy::start(served.address).await.unwrap();
    let mut client = connect(proxy.addr(), &[]).await.unwrap().0;
    client.subscribe("news").await;
    served.clients(1).await;
    proxy.hold(Direction::Both);
    // Its sockets stay open, and it would answer.
    let answers = async { while client.next_or_close().await.is_ok() {} };
    tokio::select! {
        () = answers => panic!("nothing passes"),
        () = served.clients(0) => {}
    }
}

/// Connections in memory, of which the sockets hold very little.
struct Narrow(mpsc::Receiver<DuplexStream>);

impl Listener for Narrow {
    type Io = DuplexStream;
    type Addr = ();

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.0.recv().await {
            Some(connection) => (connection, ()),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        Ok(())
    }
}

impl Narrow {
    /// Connects to this hub with sockets that hold so much.
    async fn connect(hub: &Hub, bytes: usize) -> WebSocketStream<DuplexStream> {
        let (connections, listener) = mpsc::channel(1);
        let router: Router = hub.router();
        #[expect(clippy::disallowed_methods, reason = "ended by the test's runtime")]
        tokio::spawn(async move { axum::serve(Self(listener), router).await });
        let (ours, theirs) = tokio::io::duplex(bytes);
        connections.send(theirs).await.unwrap();
        let handshake = tokio_tungstenite::client_async("ws://localhost/ws", ours);
        handshake.await.unwrap().0
    }
}

/// The next frame that says something.
async fn event(socket: &mut WebSocketStream<DuplexStream>) -> Value {
    loop {
        if let Message::Text(text) = socket.next().await.unwrap().unwrap() {
            let frame: Value = serde_json::from_str(&text).unwrap();
            if !matches!(frame["event"].as_str(), Some("hello" | "state")) {
                return frame;
            }
        }
    }
}

#[tokio::test]
async fn a_drain_sends_what_waits_first() {
    const MESSAGES: u64 = 48;
    let served = Served::start(|hub| hub.drain_timeout(PATIENCE)).await;
    let mut slow = Narrow::connect(&served.hub, 512).await;
    let subscribe = json!({"subscribe": "news"}).to_string();
    slow.send(Message::text(subscribe)).await.unwrap();
    assert_eq!(event(&mut slow).await["ok"], true);
    // More than the sockets and the buffers of the server hold.
    let filling = "x".repeat(1024);
    for n in 0..MESSAGES {
        let message = json!({"n": n, "filling": filling});
        served.publish("news", message).await;
    }
    arrived(&served, MESSAGES).await;
    assert!(served.hub.client_list(1)[0].backlog > 10, "little waits");
    let read = async {
        for n in 0..MESSAGES {
            assert_eq!(event(&mut slow).await["data"]["n"], n);
        }
        assert_eq!(event(&mut slow).await["reason"], "restarting");
        while slow.next().await.is_some() {}
    };
    timeout(PATIENCE, join(served.hub.drain(), read))
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_is_gone_in_time_however_much_it_says() {
    const SOCKET: usize = 512;
    let limit = Duration::from_secs(10);
    let hub = Hub::builder(Fleet::embedded()).send_timeout(limit);
    let hub = hub.build().unwrap();
    let mut socket = Narrow::connect(&hub, SOCKET).await;
    // What is said keeps it alive, and each answer is far smaller than the buffers of the server.
    let mut said = 0;
    let begun = Instant::now();
    while socket.send(Message::text(r#"{"ping":true}"#)).await.is_ok() {
        said += 1;
        sleep(Duration::from_secs(1)).await;
    }
    let held = u64::try_from(SOCKET / r#"{"pong":true}"#.len()).unwrap();
    let limit = Duration::from_secs(held) + limit;
    assert!(begun.elapsed() <= limit, "only after {said} frames");
    assert_eq!(hub.clients(), 0);
}
