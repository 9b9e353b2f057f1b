//! Events over Redis and Valkey: `PUBLISH` and `SPUBLISH` on the command connection, subscriptions on
//! the push connection.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use quorate_link::{Link, ServerMode};

use super::port::{CallOptions, Channel, EventSink, EventsPort, Receipt, Submission, Target};
use crate::error::Result;
use crate::redis::{PushRouter, from_link, link_name};

/// Events of one instance over one link.
pub(crate) struct RedisEvents {
    link: Link,
    router: Arc<PushRouter>,
}

impl RedisEvents {
    pub(crate) fn new(link: Link, router: Arc<PushRouter>) -> Self {
        Self { link, router }
    }

    /// In a cluster a node knows only its own subscribers.
    fn counts_receivers(&self) -> bool {
        self.link
            .server()
            .is_some_and(|server| server.mode != ServerMode::Cluster)
    }
}

fn until(options: CallOptions) -> quorate_link::CallOptions {
    quorate_link::CallOptions::new().deadline(options.deadline)
}

#[async_trait]
impl EventsPort for RedisEvents {
    fn publish(&self, channel: &Channel, message: Bytes, options: CallOptions) -> Submission {
        let command: &[u8] = if channel.sharded {
            b"SPUBLISH"
        } else {
            b"PUBLISH"
        };
        let parts = [command, channel.name.as_bytes(), &message];
        // Now or not at all: waiting is the caller's, so that the order of calls can be the order on the
        // wire.
        let Some(reply) = self.link.try_call(&parts, &until(options)) else {
            return Submission::Unavailable;
        };
        let counts = self.counts_receivers();
        Submission::Pending(Box::pin(async move {
            let receivers = reply.await.map_err(from_link)?.as_int();
            let receivers = receivers.and_then(|count| u64::try_from(count).ok());
            Ok(Receipt {
                receivers: receivers.filter(|_| counts),
                position: None,
            })
        }))
    }

    async fn writable(&self, size: usize, options: CallOptions) -> Result<()> {
        // The permit is given back at once: it only shows that there is a connection and room.
        self.link
            .reserve(size, &until(options))
            .await
            .map(drop)
            .map_err(from_link)
    }

    async fn subscribe(
        &self,
        target: &Target,
        sink: Arc<dyn EventSink>,
        options: CallOptions,
    ) -> Result<()> {
        // Before the command is sent: a message may follow its acknowledgement at once.
        self.router.insert(target, sink);
        let (kind, name) = link_name(target);
        self.link
            .subscribe_until(kind, name, options.deadline)
            .await
            .map_err(from_link)
    }

    async fn unsubscribe(&self, target: &Target, _options: CallOptions) -> Result<()> {
        self.router.remove(target);
        let (kind, name) = link_name(target);
        self.link.unsubscribe(kind, name).await.map_err(from_link)
    }
}

impl Drop for RedisEvents {
    fn drop(&mut self) {
        // The link may live on in other handles; its messages are nobody's any more.
        self.router.clear();
    }
}

impl fmt::Display for RedisEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("events over Redis pub/sub")
    }
}

impl fmt::Debug for RedisEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisEvents").finish_non_exhaustive()
    }
}
