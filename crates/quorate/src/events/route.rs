//! What happens to the messages of one target inside this process.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use metrics::Counter;
use parking_lot::Mutex;

use super::envelope::{self, EnvelopeError, Prefix};
use super::mailbox::{Item, Mailbox};
use super::message::{Gap, GapReason, Shared, Undecodable, UndecodableError};
use super::port::{Delivery, EventSink, Target};
use super::sequence::{Tracker, Verdict};
use super::spec::Validate;
use crate::codec::Codec;
use crate::history::Position;
use crate::telemetry;

/// Publishers watched per target. Beyond it all are forgotten, and watched again from their next
/// message: a bound on memory, reached by no sane fleet.
const MAX_TRACKED: usize = 16_384;

/// One target subscribed to once, however many local subscriptions share it.
pub(crate) struct Route {
    pub(crate) target: Target,
    /// The publisher id of this instance, for messages that exclude it.
    own: u64,
    groups: Mutex<Vec<Arc<dyn Group>>>,
    /// The sequences seen, by channel (empty unless the target is a pattern) and publisher.
    trackers: Mutex<HashMap<(Bytes, u64), Tracker>>,
    /// Serialises subscribing and unsubscribing at the transport: held across those calls, so that
    /// an unsubscribe and a new subscribe can never overtake each other (defect 4).
    pub(crate) phase: tokio::sync::Mutex<Phase>,
    delivered: Counter,
}

/// Where a route stands at the transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Not subscribed yet.
    Idle,
    /// The transport has acknowledged.
    Active,
    /// Taken out of the table; whoever finds it must look again.
    Retired,
}

/// Subscriptions that share one decoded value.
pub(crate) trait Group: Any + Send + Sync {
    fn key(&self) -> GroupKey;
    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
    fn deliver(&self, incoming: &Incoming<'_>) -> u64;
    fn gap(&self, gap: &Gap);
    fn close(&self);
    fn listeners(&self) -> usize;
}

/// What must be equal for two subscriptions to share a decoded value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GroupKey {
    kind: TypeId,
    codec: &'static str,
    /// Address of the check. Equal functions at two addresses only cost a second decoding.
    validate: Option<usize>,
    raw: bool,
    kept: bool,
    /// Bytes of the channel before the topic: namespaces of different length see different topics.
    cut: usize,
}

/// A message on its way to the groups.
pub(crate) struct Incoming<'a> {
    delivery: &'a Delivery,
    prefix: &'a Result<Prefix, EnvelopeError>,
    /// Whether topics are to see it: no beacon, no duplicate, and not excluded from this instance. Raw
    /// channels see everything.
    for_topics: bool,
    /// Whether only its place counts, for subscriptions of a kept topic.
    skipped: bool,
}

impl Route {
    pub(crate) fn new(target: Target, own: u64) -> Self {
        Self {
            target,
            own,
            groups: Mutex::default(),
            trackers: Mutex::default(),
            phase: tokio::sync::Mutex::new(Phase::Idle),
            delivered: metrics::counter!(telemetry::DELIVERED),
        }
    }

    /// Adds a subscription's buffer to the group it can share a decoded value with.
    pub(crate) fn join<T: Send + Sync + 'static>(
        &self,
        mailbox: Arc<Mailbox<T>>,
        reading: Reading<T>,
    ) -> Arc<TypedGroup<T>> {
        let key = reading.key();
        let mut groups = self.groups.lock();
        let found = groups.iter().find(|group| group.key() == key).cloned();
        let group = match found.and_then(|group| group.into_any().downcast::<TypedGroup<T>>().ok())
        {
            Some(group) => group,
            None => {
                let group = Arc::new(TypedGroup {
                    reading,
                    members: Mutex::new(Members {
                        mailboxes: Vec::new(),
                        topic: None,
                    }),
                });
                groups.push(group.clone());
                group
            }
        };
        // Under the groups' lock: a group is only ever removed while it is empty.
        group.members.lock().mailboxes.push(mailbox);
        group
    }

    /// Takes a subscription's buffer out.
    pub(crate) fn leave<T: Send + Sync + 'static>(
        &self,
        group: &TypedGroup<T>,
        mailbox: &Arc<Mailbox<T>>,
    ) {
        let mut groups = self.groups.lock();
        let mut members = group.members.lock();
        let mailboxes = &mut members.mailboxes;
        if let Some(at) = mailboxes
            .iter()
            .position(|other| Arc::ptr_eq(other, mailbox))
        {
            mailboxes.swap_remove(at);
        }
        if mailboxes.is_empty() {
            let key = group.reading.key();
            drop(members);
            groups.retain(|group| group.key() != key);
        }
    }

    /// Local subscriptions.
    pub(crate) fn listeners(&self) -> usize {
        self.groups
            .lock()
            .iter()
            .map(|group| group.listeners())
            .sum()
    }

    /// Ends every local subscription's stream.
    pub(crate) fn close(&self) {
        for group in &*self.groups.lock() {
            group.close();
        }
    }

    fn gap(&self, groups: &[Arc<dyn Group>], gap: &Gap) {
        metrics::counter!(telemetry::GAPS, "reason" => gap.reason.as_str()).increment(1);
        for group in groups
            .iter()
            .filter(|group| !group.key().raw || gap.reason == GapReason::Reconnected)
        {
            group.gap(gap);
        }
    }

    /// What the sequence says about this message.
    fn observe(&self, channel: &Bytes, prefix: &Prefix) -> Verdict {
        let channel = match self.target {
            Target::Channel(_) => Bytes::new(),
            Target::Pattern(_) => channel.clone(),
        };
        let mut trackers = self.trackers.lock();
        // The numbers of a kept topic are the topic's, whoever published.
        let publisher = if prefix.kept { 0 } else { prefix.publisher };
        let mut key = (channel, publisher);
        if let Some(tracker) = trackers.get_mut(&key) {
            return if prefix.beacon {
                tracker.beacon(prefix.run, prefix.sequence)
            } else {
                tracker.message(prefix.run, prefix.sequence)
            };
        }
        if trackers.len() >= MAX_TRACKED {
            trackers.clear();
        }
        // Copied, because the slice would keep a whole read buffer of the connection alive.
        key.0 = Bytes::copy_from_slice(&key.0);
        trackers.insert(key, Tracker::starting_with(prefix.run, prefix.sequence));
        Verdict::InOrder
    }
}

impl EventSink for Route {
    fn message(&self, delivery: Delivery) {
        let prefix = envelope::prefix(&delivery.message);
        let groups = self.groups.lock();
        let (mut for_topics, mut skipped) = (true, false);
        if let Ok(prefix) = &prefix
            && groups.iter().any(|group| !group.key().raw)
        {
            let verdict = self.observe(&delivery.channel, prefix);
            if let Verdict::Hole(missing) = verdict {
                self.gap(&groups, &Gap::new(GapReason::Lost, Some(missing)));
            }
            if prefix.kept && prefix.beacon && verdict == Verdict::InOrder {
                // The first that is heard of the topic says that there is a message: nobody but its
                // history knows whether that is new.
                for group in groups.iter().filter(|group| group.key().kept) {
                    group.gap(&Gap::new(GapReason::Lost, None));
                }
            }
            let excluded = prefix.exclude_self && prefix.publisher == self.own;
            let seen = prefix.beacon || verdict == Verdict::Duplicate;
            for_topics = !(excluded || seen);
            skipped = prefix.kept && excluded && !seen;
        }
        let incoming = Incoming {
            delivery: &delivery,
            prefix: &prefix,
            for_topics,
            skipped,
        };
        let delivered = groups.iter().map(|group| group.deliver(&incoming)).sum();
        self.delivered.increment(delivered);
    }

    fn resumed(&self) {
        // What was expected next no longer matters: the gap below covers it.
        self.trackers.lock().clear();
        self.gap(&self.groups.lock(), &Gap::new(GapReason::Reconnected, None));
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route")
            .field("target", &self.target)
            .field("listeners", &self.listeners())
            .finish()
    }
}

/// How a subscription reads messages.
pub(crate) struct Reading<T> {
    pub(crate) codec: Codec<T>,
    pub(crate) validate: Option<Validate<T>>,
    /// Whether payloads come without an envelope.
    pub(crate) raw: bool,
    /// Whether holes are refilled from the topic's history.
    pub(crate) kept: bool,
    /// Bytes of the channel before the topic.
    pub(crate) cut: usize,
    /// The topic, where the channel does not spell it.
    pub(crate) topic: Option<Arc<str>>,
}

impl<T> Clone for Reading<T> {
    fn clone(&self) -> Self {
        Self {
            codec: self.codec,
            validate: self.validate,
            raw: self.raw,
            kept: self.kept,
            cut: self.cut,
            topic: self.topic.clone(),
        }
    }
}

impl<T> fmt::Debug for Reading<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reading")
            .field("codec", &self.codec)
            .field("raw", &self.raw)
            .finish_non_exhaustive()
    }
}

impl<T> Reading<T> {
    /// The same for a pattern, which sees what is live of kept topics.
    pub(crate) fn without_history(self) -> Self {
        Self {
            kept: false,
            topic: None,
            ..self
        }
    }
}

impl<T: 'static> Reading<T> {
    fn key(&self) -> GroupKey {
        GroupKey {
            kind: TypeId::of::<T>(),
            codec: self.codec.name(),
            validate: self.validate.map(|check| check as usize),
            raw: self.raw,
            kept: self.kept,
            cut: self.cut,
        }
    }
}

pub(crate) struct TypedGroup<T> {
    pub(crate) reading: Reading<T>,
    members: Mutex<Members<T>>,
}

struct Members<T> {
    mailboxes: Vec<Arc<Mailbox<T>>>,
    /// Of the last message: but for patterns it is that of all.
    topic: Option<Arc<str>>,
}

impl<T> Members<T> {
    /// The topic that `name` spells, in one piece of memory for as long as it stays the same.
    fn topic(&mut self, name: &[u8]) -> Arc<str> {
        if let Some(topic) = &self.topic
            && topic.as_bytes() == name
        {
            return topic.clone();
        }
        let topic: Arc<str> = String::from_utf8_lossy(name).into();
        self.topic.insert(topic).clone()
    }
}

impl<T: Send + Sync + 'static> TypedGroup<T> {
    fn read(&self, incoming: &Incoming<'_>, members: &mut Members<T>) -> Item<T> {
        let Delivery { channel, message } = incoming.delivery;
        let topic = match &self.reading.topic {
            Some(topic) => topic.clone(),
            None => members.topic(channel.get(self.reading.cut..).unwrap_or_default()),
        };
        if self.reading.raw {
            return Item::Message(Arc::new(Shared {
                topic,
                header: None,
                place: None,
                delivered: None,
                payload: message.clone(),
                decoded: OnceLock::new(),
            }));
        }
        enveloped(topic, message, incoming.prefix, None)
    }
}

/// A message with an envelope, as it is put into buffers.
pub(super) fn enveloped<T>(
    topic: Arc<str>,
    message: &Bytes,
    prefix: &Result<Prefix, EnvelopeError>,
    place: Option<(u64, u64)>,
) -> Item<T> {
    match opened(topic, message, prefix, place) {
        Ok(shared) => Item::Message(Arc::new(shared)),
        Err(undecodable) => Item::Undecodable(undecodable),
    }
}

/// A message out of its envelope. Its `place` in a history is given by who read it there; otherwise the
/// message says it.
pub(super) fn opened<T>(
    topic: Arc<str>,
    message: &Bytes,
    prefix: &Result<Prefix, EnvelopeError>,
    place: Option<(u64, u64)>,
) -> Result<Shared<T>, Undecodable> {
    let own = |prefix: &Prefix| prefix.kept.then_some((prefix.run, prefix.sequence));
    let place = place.or_else(|| prefix.as_ref().ok().and_then(own));
    let read = prefix.clone().and_then(|_| envelope::body(message));
    match read {
        Ok((header, payload)) => Ok(Shared {
            topic,
            header: Some(header),
            place,
            delivered: None,
            payload,
            decoded: OnceLock::new(),
        }),
        Err(error) => {
            let error = UndecodableError::Envelope(error);
            // Its id cannot be read: a mark of 0 is not compared.
            let position = place.map(|(epoch, offset)| Position::new(epoch, offset, 0));
            Err(Undecodable::new(topic, message.clone(), position, error))
        }
    }
}

impl<T: Send + Sync + 'static> Group for TypedGroup<T> {
    fn key(&self) -> GroupKey {
        self.reading.key()
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }

    fn deliver(&self, incoming: &Incoming<'_>) -> u64 {
        let skipped = self.reading.kept && incoming.skipped;
        if !(self.reading.raw || incoming.for_topics || skipped) {
            return 0;
        }
        let mut members = self.members.lock();
        let item = self.read(incoming, &mut members);
        if skipped {
            if let Item::Message(shared) = &item
                && let Some(position) = shared.position()
            {
                for mailbox in &members.mailboxes {
                    mailbox.skip(position);
                }
            }
            return 0;
        }
        let Some((last, others)) = members.mailboxes.split_last() else {
            return 0;
        };
        let mut delivered = 0;
        for mailbox in others {
            delivered += u64::from(mailbox.push(item.share()));
        }
        delivered + u64::from(last.push(item))
    }

    fn gap(&self, gap: &Gap) {
        for mailbox in &self.members.lock().mailboxes {
            mailbox.gap(gap.clone());
        }
    }

    fn close(&self) {
        for mailbox in &self.members.lock().mailboxes {
            mailbox.close();
        }
    }

    fn listeners(&self) -> usize {
        self.members.lock().mailboxes.len()
    }
}

impl<T> Item<T> {
    fn share(&self) -> Self {
        match self {
            Self::Message(shared) => Self::Message(shared.clone()),
            Self::Gap(gap) => Self::Gap(gap.clone()),
            Self::Undecodable(undecodable) => Self::Undecodable(undecodable.clone()),
            Self::Skipped(position) => Self::Skipped(*position),
        }
    }
}
