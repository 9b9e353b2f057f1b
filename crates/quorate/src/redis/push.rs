//! From the link's one sink to a sink per target.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use quorate_link::{PushMessage, PushSink, SubscriptionKind};

use crate::events::{Delivery, EventSink, Target};

/// Hands each message of the push connection to the sink of its target.
#[derive(Debug, Default)]
pub(crate) struct PushRouter {
    sinks: Mutex<HashMap<(SubscriptionKind, Bytes), Arc<dyn EventSink>>>,
    /// The first connection interrupts nothing.
    interrupted: AtomicBool,
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
        self.sinks.lock().insert(link_name(target), sink);
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
        // Cloned out of the lock: sinks are quick, but subscribing must not wait for them.
        let sink = self
            .sinks
            .lock()
            .get(&(message.kind, name.clone()))
            .cloned();
        // None: the target was given up while its last messages were on the way.
        if let Some(sink) = sink {
            sink.message(Delivery {
                channel: message.channel,
                message: message.payload,
            });
        }
    }

    fn interrupted(&self, _epoch: u64, _reason: &str) {
        self.interrupted.store(true, Ordering::Release);
    }

    fn restored(&self, _epoch: u64) {
        if self.interrupted.swap(false, Ordering::AcqRel) {
            let sinks: Vec<_> = self.sinks.lock().values().cloned().collect();
            for sink in sinks {
                sink.resumed();
            }
        }
    }
}
