//! The hub: events of a fleet for the clients of this instance.

mod access;
mod builder;
mod client;
mod credentials;
mod handle;
mod identity;
mod outbox;
mod rate;
mod registry;
mod room;
mod script;
mod seam;
mod source;
mod token;

pub use access::{Authenticate, Denied};
pub use builder::HubBuilder;
pub(crate) use client::{Client, Joining, Next, Welcome};
pub use credentials::Credentials;
pub(crate) use handle::Connected;
pub use handle::Hub;
pub use identity::{ClientInfo, Identity};
pub(crate) use outbox::Item;
pub use outbox::Overflow;
pub(crate) use seam::{
    ClientPort, ClientPublish, CloseWith, DeclaredEvent, Published, RequestContext, RoomEventKind,
    RoomSource,
};
pub(crate) use source::OpenSource;
pub use token::ConnectionTokens;
