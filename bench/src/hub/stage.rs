//! Who serves the crowd: a hub, and what would be written without one.

use std::future::Future;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::extract::ws::{Message as AxumMessage, Utf8Bytes, WebSocketUpgrade};
use axum::routing::any;
use axum::serve::ListenerExt;
use futures_util::SinkExt;
use quorate::{Fleet, Keep, Topic, TopicSpec};
use quorate_http::{Hub, HubBuilder};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinSet;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes as BareUtf8Bytes};

use super::crowd::Until;

/// What everybody subscribes to here.
pub(super) const TOPIC: TopicSpec<String> = TopicSpec::new("bench");

/// What clients miss, and get later.
pub(super) const KEPT: TopicSpec<String> =
    TopicSpec::new("bench-kept").keep(KEEP.time, KEEP.messages, KEEP.bytes);

/// For longer than anything here takes.
const KEEP: Keep = Keep {
    time: Duration::from_secs(3600),
    messages: 1_000,
    bytes: 4 << 20,
};

/// Clients a hub takes: more than any figure has.
const MOST_CLIENTS: usize = 20_000;

/// Somebody who has an audience.
pub(super) trait Stage: Sized {
    /// Opens, and returns the port to come to.
    ///
    /// # Errors
    /// If it cannot be opened.
    fn open() -> impl Future<Output = Result<(Self, u16)>>;

    /// When a client is there.
    fn until() -> Until;

    /// Waits until it knows as many clients as there are.
    ///
    /// # Errors
    /// If it stays without one of them.
    fn gather(&mut self, _clients: usize) -> impl Future<Output = Result<()>> {
        std::future::ready(Ok(()))
    }

    /// Sends `show` to everybody.
    ///
    /// # Errors
    /// If it cannot be sent.
    fn perform(&mut self, show: &Show) -> impl Future<Output = Result<()>>;

    /// Closes.
    fn close(self) -> impl Future<Output = ()>;
}

/// What is shown.
#[derive(Clone, Debug)]
pub(super) struct Show {
    /// What is published.
    pub(super) payload: String,
    /// What the hub makes of it, byte for byte: what the others send.
    pub(super) frame: String,
}

/// Serves these routes.
///
/// # Errors
/// If there is no port.
pub(super) fn serve(routes: Router) -> Result<(JoinSet<()>, u16)> {
    let listener = listen()?;
    let port = listener.local_addr()?.port();
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        // Fails only on a connection that is already gone.
        let tune = |stream: &mut TcpStream| drop(stream.set_nodelay(true));
        // Never returns, whatever happens to a connection.
        let _ = axum::serve(listener.tap_io(tune), routes).await;
    });
    Ok((serving, port))
}

/// Connections that may wait to be accepted. Tokio lets 128 wait, and who comes beyond those is not heard
/// until it tries again, a second later.
const BACKLOG: u32 = 4096;

/// On every loopback address.
///
/// # Errors
/// If there is no port.
pub(super) fn listen() -> Result<TcpListener> {
    let socket = TcpSocket::new_v4().context("make a socket")?;
    socket
        .bind((Ipv4Addr::UNSPECIFIED, 0).into())
        .context("bind")?;
    socket.listen(BACKLOG).context("listen")
}

/// A hub whose clients may subscribe to anything.
///
/// # Errors
/// If the topic that is kept is not a topic.
pub(super) fn hub(fleet: Fleet) -> Result<Hub> {
    Ok(builder(fleet)?.build()?)
}

/// The same, about to be made.
///
/// # Errors
/// As above.
pub(super) fn builder(fleet: Fleet) -> Result<HubBuilder> {
    let open = Hub::builder(fleet).open().max_clients(MOST_CLIENTS);
    Ok(open.keep(KEPT.name(), KEEP)?)
}

/// Ours.
#[derive(Debug)]
pub(super) struct HubStage {
    fleet: Fleet,
    topic: Topic<String>,
    _serving: JoinSet<()>,
}

impl Stage for HubStage {
    async fn open() -> Result<(Self, u16)> {
        let fleet = Fleet::embedded();
        let (serving, port) = serve(hub(fleet.clone())?.router())?;
        let stage = Self {
            topic: fleet.topic(&TOPIC),
            fleet,
            _serving: serving,
        };
        Ok((stage, port))
    }

    fn until() -> Until {
        Until::Subscribed(TOPIC.name().to_owned())
    }

    async fn perform(&mut self, show: &Show) -> Result<()> {
        self.topic.publish(&show.payload).await?;
        Ok(())
    }

    async fn close(self) {
        self.fleet.close().await;
    }
}

/// The floor: sockets in a row, each given the same bytes, one after the other.
#[derive(Debug)]
pub(super) struct LoopStage {
    sockets: Vec<WebSocketStream<TcpStream>>,
    arrived: mpsc::UnboundedReceiver<WebSocketStream<TcpStream>>,
    _serving: JoinSet<()>,
}

impl Stage for LoopStage {
    async fn open() -> Result<(Self, u16)> {
        let listener = listen()?;
        let port = listener.local_addr()?.port();
        let (arrival, arrived) = mpsc::unbounded_channel();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A handshake that fails is missed by the crowd.
                let nodelay = stream.set_nodelay(true).is_ok();
                if let (true, Ok(socket)) = (nodelay, tokio_tungstenite::accept_async(stream).await)
                    && arrival.send(socket).is_err()
                {
                    return;
                }
            }
        });
        let stage = Self {
            sockets: Vec::new(),
            arrived,
            _serving: serving,
        };
        Ok((stage, port))
    }

    fn until() -> Until {
        Until::Upgraded
    }

    async fn gather(&mut self, clients: usize) -> Result<()> {
        // A client is upgraded a moment before its socket is handed over.
        while self.sockets.len() < clients {
            let socket = self.arrived.recv().await;
            self.sockets.push(socket.context("nobody lets clients in")?);
        }
        Ok(())
    }

    async fn perform(&mut self, show: &Show) -> Result<()> {
        let frame = BareUtf8Bytes::from(&show.frame);
        for socket in &mut self.sockets {
            socket.send(Message::Text(frame.clone())).await?;
        }
        Ok(())
    }

    async fn close(self) {}
}

/// What is written by hand with axum: a task for each client, which sends what a channel brings.
#[derive(Debug)]
pub(super) struct AxumStage {
    sender: broadcast::Sender<Utf8Bytes>,
    _serving: JoinSet<()>,
}

/// Messages that may wait for a client of [`AxumStage`], as many as for one of a hub.
const AXUM_BUFFER: usize = 256;

impl AxumStage {
    /// Routes with `/ws`, whose connections have buffers of so many bytes; axum's own without.
    pub(super) fn routes(sender: &broadcast::Sender<Utf8Bytes>, buffer: Option<usize>) -> Router {
        let sender = sender.clone();
        let route = async move |upgrade: WebSocketUpgrade| {
            let upgrade = match buffer {
                Some(bytes) => upgrade.read_buffer_size(bytes).write_buffer_size(bytes),
                None => upgrade,
            };
            let mut messages = sender.subscribe();
            upgrade.on_upgrade(async move |mut socket| {
                loop {
                    let message = tokio::select! {
                        message = messages.recv() => message,
                        Some(Ok(_)) = socket.recv() => continue,
                        else => return,
                    };
                    let Ok(message) = message else { return };
                    if socket.send(AxumMessage::Text(message)).await.is_err() {
                        return;
                    }
                }
            })
        };
        Router::new().route("/ws", any(route))
    }
}

impl Stage for AxumStage {
    async fn open() -> Result<(Self, u16)> {
        let (sender, _) = broadcast::channel(AXUM_BUFFER);
        let (serving, port) = serve(Self::routes(&sender, None))?;
        let stage = Self {
            sender,
            _serving: serving,
        };
        Ok((stage, port))
    }

    fn until() -> Until {
        Until::Upgraded
    }

    async fn perform(&mut self, show: &Show) -> Result<()> {
        self.sender.send(Utf8Bytes::from(&show.frame))?;
        // Its tasks take what there is when they run: as elsewhere, that is between messages.
        tokio::task::yield_now().await;
        Ok(())
    }

    async fn close(self) {}
}
