//! The hub: events of a fleet for the clients of this instance.

mod access;
mod builder;
mod client;
mod control;
mod credentials;
mod declare;
mod event;
#[cfg(test)]
mod fake;
mod feed;
mod handle;
mod identity;
mod join;
mod named;
mod outbox;
mod presence;
mod rate;
mod reads;
mod recover;
mod registry;
mod request;
mod ring;
mod room;
mod rooms;
mod script;
mod seam;
mod session;
mod source;
mod stats;
mod token;

pub use access::{Authenticate, Denied};
pub use builder::HubBuilder;
pub(crate) use client::{Client, Next};
pub use credentials::Credentials;
pub(crate) use event::EventRoom;
pub use event::{Emit, EventDeclaration, EventSpec, HubEvent};
pub use handle::Hub;
pub(crate) use handle::{Connected, Place};
pub(crate) use identity::Known;
pub use identity::{ClientInfo, Identity};
pub(crate) use join::{Joining, Welcome};
pub(crate) use named::Named;
pub(crate) use outbox::Item;
pub use outbox::Overflow;
pub(crate) use presence::Attendance;
pub(crate) use rate::{Bucket, Verdict};
pub(crate) use recover::{MAX_READ, catch_up, position};
pub use request::{ClientEmit, Cx, HandlerError, MessageRouter, MessageSpec};
pub(crate) use seam::{
    ClientPort, ClientPublish, CloseWith, HistoryFrom, HistoryPage, Published, ReadLimit,
    RequestContext, RoomEventKind, RoomSource, SubscribeOptions,
};
pub(crate) use source::OpenSource;
pub use stats::{ClientStats, HubStats, SubscriptionStats, TopicStats};
pub use token::ConnectionTokens;
