//! Typed topics over every instance, with visible loss.
//!
//! A publish on one instance reaches every subscription on every instance that was active when it was
//! made, at most once. What is lost on the way (a connection that broke, a server that was restarted, a
//! buffer that overflowed) shows as [`Event::Gap`] in the stream: a consumer that must not miss
//! anything resynchronises there.
//!
//! How loss is seen: every message carries its publisher and a number; a hole in the numbers is a gap.
//! After a burst the publisher says twice what it last sent, so that a lost last message is noticed
//! within twice the beacon interval (1 s unless configured). A reconnect is a gap of unknown size.

mod catch_up;
mod consumer;
mod envelope;
mod handle;
mod hub;
mod kept;
mod listener;
mod mailbox;
mod memory;
mod message;
mod operators;
mod outgoing;
mod port;
mod publish;
mod raw;
mod read;
#[cfg(feature = "redis")]
mod redis;
mod route;
mod sequence;
mod spec;
mod subscription;

pub use consumer::{Consumer, ConsumerGroup, GroupListen, Settling};
pub use envelope::EnvelopeError;
pub(crate) use envelope::place_kept;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub use envelope::{Reread, reread};
pub use handle::{Topic, TopicPattern};
pub(crate) use hub::Hub;
pub use listener::{HandlerResult, Listen, Listener};
pub use mailbox::Overflow;
pub(crate) use memory::{Bus, MemoryEvents};
pub use message::{Event, Gap, GapReason, Message, Undecodable, UndecodableError};
pub use operators::{
    DEFAULT_GROUP_BUFFER, DEFAULT_GROUPS, Dedupe, EventStreamExt, Group, GroupBy, GroupEnd,
    Grouped, Windows,
};
pub use port::{Channel, Delivery, EventSink, EventsPort, Receipt, Submission, Target};
pub use publish::{Publish, Publishing};
pub use raw::RawChannel;
pub(crate) use raw::{raw_pattern, subscribe_channel, subscribe_raw};
pub use read::{History, ReadHistory};
#[cfg(feature = "redis")]
pub(crate) use redis::RedisEvents;
pub use spec::{MAX_TOPIC, MAX_TOPIC_KEY, TopicSpec, Validate};
pub use subscription::{DEFAULT_BUFFER, DEFAULT_BUFFER_BYTES, Subscribe, Subscription};
