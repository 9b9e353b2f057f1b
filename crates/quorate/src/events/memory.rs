//! The in-process transport: a table of sinks, called in order.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

use super::port::{
    CallOptions, Channel, Delivery, EventSink, EventsPort, Receipt, Submission, Target,
};
use crate::error::Result;
use crate::glob;

/// What the instances of one in-process home share.
#[derive(Debug, Default)]
pub(crate) struct Bus {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    next_instance: u64,
    channels: HashMap<Channel, Subscribed>,
    patterns: HashMap<Arc<str>, Sinks>,
}

/// By instance.
type Sinks = HashMap<u64, Arc<dyn EventSink>>;

#[derive(Debug)]
struct Subscribed {
    /// The channel's name as deliveries have it: made once, not for every message.
    name: Bytes,
    sinks: Sinks,
}

impl Subscribed {
    fn to(channel: &Channel) -> Self {
        Self {
            name: Bytes::copy_from_slice(channel.name.as_bytes()),
            sinks: Sinks::default(),
        }
    }
}

/// One instance's place on the bus.
pub(crate) struct MemoryEvents {
    bus: Arc<Bus>,
    instance: u64,
}

impl MemoryEvents {
    pub(crate) fn new(bus: &Arc<Bus>) -> Self {
        let mut table = bus.table.lock();
        table.next_instance += 1;
        Self {
            bus: bus.clone(),
            instance: table.next_instance,
        }
    }
}

#[async_trait]
impl EventsPort for MemoryEvents {
    fn publish(&self, channel: &Channel, message: Bytes, _options: CallOptions) -> Submission {
        // Sinks are called under the lock: concurrent publishes reach every sink in one order, as they do
        // on a server.
        let table = self.bus.table.lock();
        let mut receivers = 0;
        if let Some(Subscribed { name, sinks }) = table.channels.get(channel) {
            for sink in sinks.values() {
                sink.message(Delivery {
                    channel: name.clone(),
                    message: message.clone(),
                });
                receivers += 1;
            }
        }
        if !channel.sharded {
            for (pattern, sinks) in &table.patterns {
                if glob::matches(pattern.as_bytes(), channel.name.as_bytes()) {
                    let name = Bytes::copy_from_slice(channel.name.as_bytes());
                    for sink in sinks.values() {
                        sink.message(Delivery {
                            channel: name.clone(),
                            message: message.clone(),
                        });
                        receivers += 1;
                    }
                }
            }
        }
        Submission::Done(Ok(Receipt::counted(receivers)))
    }

    async fn writable(&self, _size: usize, _options: CallOptions) -> Result<()> {
        Ok(())
    }

    async fn subscribe(
        &self,
        target: &Target,
        sink: Arc<dyn EventSink>,
        _options: CallOptions,
    ) -> Result<()> {
        let mut table = self.bus.table.lock();
        match target {
            Target::Channel(channel) => {
                let entry = table.channels.entry(channel.clone());
                &mut entry.or_insert_with(|| Subscribed::to(channel)).sinks
            }
            Target::Pattern(pattern) => table.patterns.entry(pattern.clone()).or_default(),
        }
        .insert(self.instance, sink);
        Ok(())
    }

    async fn unsubscribe(&self, target: &Target, _options: CallOptions) -> Result<()> {
        self.bus.table.lock().remove(target, self.instance);
        Ok(())
    }
}

impl Table {
    fn remove(&mut self, target: &Target, instance: u64) {
        match target {
            Target::Channel(channel) => {
                if let Some(Subscribed { sinks, .. }) = self.channels.get_mut(channel) {
                    sinks.remove(&instance);
                    if sinks.is_empty() {
                        self.channels.remove(channel);
                    }
                }
            }
            Target::Pattern(pattern) => {
                if let Some(sinks) = self.patterns.get_mut(pattern) {
                    sinks.remove(&instance);
                    if sinks.is_empty() {
                        self.patterns.remove(pattern);
                    }
                }
            }
        }
    }
}

impl Drop for MemoryEvents {
    fn drop(&mut self) {
        let mut table = self.bus.table.lock();
        let instance = self.instance;
        table.channels.retain(|_, Subscribed { sinks, .. }| {
            sinks.remove(&instance);
            !sinks.is_empty()
        });
        table.patterns.retain(|_, sinks| {
            sinks.remove(&instance);
            !sinks.is_empty()
        });
    }
}

impl fmt::Display for MemoryEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("in-process events")
    }
}

impl fmt::Debug for MemoryEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryEvents({})", self.instance)
    }
}
