//! What the tests share.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_link::{
    CallOptions, Frame, Link, LinkConfig, LinkError, LinkState, PushMessage, PushSink,
    ReconnectPolicy, Status,
};
use quorate_testing::servers::{Server, ServerKind};
use tokio::sync::watch;
use tokio::time::Instant;

/// Far longer than anything takes: only a test that fails waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) async fn redis() -> Server {
    Server::start(ServerKind::Redis).await.unwrap()
}

/// Reconnects quickly, so that tests do.
pub(crate) fn config(port: u16) -> LinkConfig {
    let mut config = LinkConfig::new("127.0.0.1", port);
    let mut policy = ReconnectPolicy::default();
    if let ReconnectPolicy::Backoff { initial, max, .. } = &mut policy {
        *initial = Duration::from_millis(20);
        *max = Duration::from_millis(200);
    }
    config.reconnect = policy;
    config
}

pub(crate) fn open(config: LinkConfig) -> Link {
    Link::open(config, None).unwrap()
}

/// A link that is connected.
pub(crate) async fn connected(config: LinkConfig) -> Link {
    let link = open(config);
    link.ready(Instant::now() + PATIENCE).await.unwrap();
    link
}

pub(crate) fn within(time: Duration) -> CallOptions {
    CallOptions::new().deadline(Instant::now() + time)
}

pub(crate) fn patiently() -> CallOptions {
    within(PATIENCE)
}

pub(crate) fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// One command, with the patience of a test.
pub(crate) async fn ask(link: &Link, parts: &[&str]) -> Result<Frame, LinkError> {
    let parts: Vec<&[u8]> = parts.iter().map(|p| p.as_bytes()).collect();
    link.call(&parts, &patiently()).await
}

/// As a user who repeats what was certainly not applied, until it is.
pub(crate) async fn persist(link: &Link, parts: &[&str]) -> Frame {
    let until = Instant::now() + PATIENCE;
    loop {
        match ask(link, parts).await {
            Ok(frame) => return frame,
            Err(error) => assert!(Instant::now() < until, "{error}"),
        }
        tokio::task::yield_now().await;
    }
}

pub(crate) async fn wait_state(link: &Link, state: LinkState) -> Status {
    wait_status(link, |s| s.state == state).await
}

pub(crate) async fn wait_status(link: &Link, condition: impl Fn(&Status) -> bool) -> Status {
    let mut status = link.status();
    let waited = tokio::time::timeout(PATIENCE, status.wait_for(|s| condition(s))).await;
    match waited {
        Ok(seen) => seen.unwrap().clone(),
        Err(_) => panic!("still {:?}", link.status().borrow().clone()),
    }
}

/// What a push connection did, in order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Seen {
    Message(PushMessage),
    Interrupted(u64),
    Restored(u64),
}

/// Keeps what it is told.
pub(crate) struct Recorder {
    seen: watch::Sender<Vec<Seen>>,
}

impl Recorder {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            seen: watch::Sender::new(Vec::new()),
        })
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.borrow().clone()
    }

    pub(crate) fn payloads(&self) -> Vec<Bytes> {
        self.seen()
            .into_iter()
            .filter_map(|s| match s {
                Seen::Message(m) => Some(m.payload),
                _ => None,
            })
            .collect()
    }

    pub(crate) async fn wait(&self, condition: impl Fn(&[Seen]) -> bool) -> Vec<Seen> {
        let mut seen = self.seen.subscribe();
        let waited = tokio::time::timeout(PATIENCE, seen.wait_for(|s| condition(s))).await;
        match waited {
            Ok(seen) => seen.unwrap().clone(),
            Err(_) => panic!("only saw {:?}", self.seen()),
        }
    }

    pub(crate) async fn wait_payload(&self, payload: &'static [u8]) {
        self.wait(|seen| {
            seen.iter()
                .any(|s| matches!(s, Seen::Message(m) if m.payload == payload))
        })
        .await;
    }

    pub(crate) async fn wait_restored(&self) -> u64 {
        let seen = self
            .wait(|seen| seen.iter().any(|s| matches!(s, Seen::Restored(_))))
            .await;
        seen.iter()
            .find_map(|s| match s {
                Seen::Restored(epoch) => Some(*epoch),
                _ => None,
            })
            .unwrap()
    }
}

impl PushSink for Recorder {
    fn message(&self, message: PushMessage) {
        self.seen
            .send_modify(|seen| seen.push(Seen::Message(message)));
    }

    fn interrupted(&self, epoch: u64, _reason: &str) {
        self.seen
            .send_modify(|seen| seen.push(Seen::Interrupted(epoch)));
    }

    fn restored(&self, epoch: u64) {
        self.seen
            .send_modify(|seen| seen.push(Seen::Restored(epoch)));
    }
}
