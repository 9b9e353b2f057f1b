//! What the tests of declared events, access and requests share.

use std::net::SocketAddr;

use axum::Router;
use quorate::Fleet;
use quorate_http::{Hub, HubBuilder};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::support::{Client, connect};

/// An instance with a hub on a port of its own, gone with the test.
pub(crate) struct Instance {
    pub(crate) hub: Hub,
    pub(crate) address: SocketAddr,
    serving: JoinHandle<()>,
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Instance {
    pub(crate) async fn start(
        fleet: Fleet,
        configure: impl FnOnce(HubBuilder) -> HubBuilder,
    ) -> Self {
        let hub = configure(Hub::builder(fleet)).build().unwrap();
        let router: Router = hub.router();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        #[expect(clippy::disallowed_methods, reason = "ended by this value's drop")]
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            hub,
            address,
            serving,
        }
    }

    /// Two instances of one fleet.
    pub(crate) async fn pair(configure: impl Fn(HubBuilder) -> HubBuilder) -> (Self, Self) {
        let fleet = Fleet::embedded();
        let other = fleet.instance("other").await.unwrap();
        (
            Self::start(fleet, &configure).await,
            Self::start(other, &configure).await,
        )
    }

    pub(crate) async fn connect(&self) -> Client {
        connect(self.address, &[]).await.unwrap().0
    }

    /// A client that has shown this token.
    pub(crate) async fn connect_as(&self, token: &str) -> Client {
        let mut client = self.connect().await;
        let answer = client.ask(json!({"authenticate": token})).await;
        assert_eq!(answer["ok"], true, "{answer}");
        client
    }
}

impl Client {
    /// Sends a frame with an id, and waits for its answer; nothing else may come before it.
    pub(crate) async fn ask(&mut self, mut frame: Value) -> Value {
        frame["id"] = json!("q");
        self.send(frame).await;
        let mut answer = self.event().await;
        assert_eq!(answer["id"], "q", "{answer}");
        answer.as_object_mut().unwrap().remove("id");
        answer
    }

    /// The code of the error that a frame is answered with.
    pub(crate) async fn refused(&mut self, frame: Value) -> String {
        let answer = self.ask(frame).await;
        answer["error"]["code"]
            .as_str()
            .unwrap_or_else(|| panic!("not refused: {answer}"))
            .to_owned()
    }

    /// Subscribes to a declared event, and gives its topic.
    pub(crate) async fn join(&mut self, event: &str, params: Value) -> String {
        let answer = self
            .ask(json!({"subscribe": event, "params": params}))
            .await;
        assert_eq!(answer["ok"], true, "{answer}");
        answer["topic"].as_str().unwrap().to_owned()
    }

    /// Shows that the connection is open, and that nothing else was sent.
    pub(crate) async fn is_open(&mut self) {
        self.send(json!({"ping": true})).await;
        assert_eq!(self.event().await, json!({"pong": true}));
    }

    /// Waits for the end: the last frame, and the close code.
    pub(crate) async fn ended(&mut self) -> (Value, u16) {
        let mut last = Value::Null;
        loop {
            match self.next_or_close().await {
                Ok(frame) => last = frame,
                Err(close) => return (last, close.expect("a close code").code.into()),
            }
        }
    }
}
