//! What the server says of keys that were read with `CLIENT TRACKING`.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use quorate_link::{Batch, Link, Protocol, TrackingSink};
use tokio::sync::Notify;

use crate::support::{ask, config, connected, patiently, redis};
use quorate_testing::servers::{Server, ServerKind};

/// Remembers what it was told.
#[derive(Default)]
struct Told {
    what: Mutex<Vec<String>>,
    more: Notify,
}

impl Told {
    fn add(&self, what: String) {
        self.what.lock().push(what);
        self.more.notify_one();
    }

    async fn wait(&self, what: &str) {
        while !self.what.lock().iter().any(|told| told == what) {
            self.more.notified().await;
        }
        self.what.lock().clear();
    }
}

impl TrackingSink for Told {
    fn invalidated(&self, keys: Option<&[Bytes]>) {
        match keys {
            None => self.add("all".to_owned()),
            Some(keys) => keys
                .iter()
                .for_each(|key| self.add(String::from_utf8_lossy(key).into_owned())),
        }
    }

    fn disconnected(&self) {
        self.add("disconnected".to_owned());
    }
}

async fn read_tracked(link: &Link, key: &str) {
    let mut batch = Batch::new();
    batch.command(&[b"CLIENT", b"TRACKING", b"ON", b"OPTIN"]);
    batch.command(&[b"CLIENT", b"CACHING", b"YES"]);
    batch.command(&[b"GET", key.as_bytes()]);
    let replies = link.pipeline(&batch, &patiently()).await.unwrap();
    assert!(replies.iter().all(Result::is_ok), "{replies:?}");
}

#[tokio::test]
async fn keys_that_were_read_with_tracking_are_told_when_they_change() {
    for kind in [ServerKind::Redis, ServerKind::Valkey] {
        let server = Server::start(kind).await.unwrap();
        let link = connected(config(server.port())).await;
        let other = connected(config(server.port())).await;
        let told = Arc::new(Told::default());
        assert!(link.track(told.clone()));
        assert!(link.can_push());
        read_tracked(&link, "a").await;
        read_tracked(&link, "absent").await;
        ask(&link, &["GET", "not tracked"]).await.unwrap();
        for key in ["not tracked", "a", "absent"] {
            ask(&other, &["SET", key, "1"]).await.unwrap();
            if key != "not tracked" {
                told.wait(key).await;
            }
        }
        read_tracked(&link, "a").await;
        ask(&other, &["FLUSHALL"]).await.unwrap();
        told.wait("all").await;
        ask(
            &other,
            &["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"],
        )
        .await
        .unwrap();
        told.wait("disconnected").await;
    }
}

#[tokio::test]
async fn there_is_one_sink_and_resp2_cannot_push() {
    let server = redis().await;
    let mut config = config(server.port());
    config.protocol = Protocol::Resp2;
    let link = Link::open(config, None).unwrap();
    ask(&link, &["PING"]).await.unwrap();
    assert!(!link.can_push());
    assert!(link.track(Arc::new(Told::default())));
    assert!(!link.track(Arc::new(Told::default())));
}
