//! From the link's one sink to a sink per target.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use quorate_link::{PushMessage, PushSink, SubscriptionKind};

use crate::events::{Delivery, EventSink, Target};

/// Hands each message of the push connection to the sink of its target.
#[derive(Debug, Default)]
pub(crate) struct PushRouter {
    sinks: Mutex<HashMap<(SubscriptionKind, Bytes), Entry>>,
}

#[derive(Debug)]
struct Entry {
    sink: Arc<dyn EventSink>,
    /// The connection was lost while it stood here. What is subscribed later has missed nothing.
    interrupted: bool,
}

/// How the link names a target.
pub(crate) fn link_name(target: &Target) -> (SubscriptionKind, Bytes) {
    let kind = match target {
        Target::Channel(channel) if channel.sharded => SubscriptionKind::Sharded,
        Target::Channel(_) => SubscriptionKind::Channel,
        Target::Pattern(_) => SubscriptionKind::Pattern,
    };
    (kind, Bytes::copy_from_slice(target.name().as_bytes()))
}

impl PushRouter {
    pub(crate) fn insert(&self, target: &Target, sink: Arc<dyn EventSink>) {
        let entry = Entry {
            sink,
            interrupted: false,
        };
        self.sinks.lock().insert(link_name(target), entry);
    }

    pub(crate) fn remove(&self, target: &Target) {
        self.sinks.lock().remove(&link_name(target));
    }

    pub(crate) fn clear(&self) {
        self.sinks.lock().clear();
    }
}

impl PushSink for PushRouter {
    fn message(&self, message: PushMessage) {
        let name = message.pattern.as_ref().unwrap_or(&message.channel);
        let key = (message.kind, name.clone());
        // Cloned out of the lock: sinks are quick, but subscribing must not wait for them.
        let sink = self.sinks.lock().get(&key).map(|entry| entry.sink.clone());
        // None: the target was given up while its last messages were on the way.
        if let Some(sink) = sink {
            sink.message(Delivery {
                channel: message.channel,
                message: message.payload,
            });
        }
    }

    fn interrupted(&self, _epoch: u64, _reason: &str) {
        for entry in self.sinks.lock().values_mut() {
            entry.interrupted = true;
        }
    }

    fn restored(&self, _epoch: u64) {
        let mut sinks = self.sinks.lock();
        let interrupted =
            |entry: &mut Entry| std::mem::take(&mut entry.interrupted).then(|| entry.sink.clone());
        // Called without the lock, as for a message.
        let resumed: Vec<_> = sinks.values_mut().filter_map(interrupted).collect();
        drop(sinks);
        for sink in resumed {
            sink.resumed();
        }
    }
}
