//! A client of the hub, for Rust programs: subscribes to events and makes requests over one WebSocket,
//! which it makes again whenever it breaks.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use quorate_http::client::{ClientEvent, HubClient};
//! use quorate_http::{EventSpec, MessageSpec};
//!
//! // The constants that the server declares.
//! const ROOM: EventSpec<u64, String> = EventSpec::new("room");
//! const SAY: MessageSpec<String, u64> = MessageSpec::new("say");
//!
//! let client = HubClient::connect("wss://example.com/live/ws").await?;
//! let mut room = client.subscribe(&ROOM, &42).await?; // active when this returns
//! client.request(&SAY, &"hello".to_owned()).await?;
//! while let Some(event) = room.next().await {
//!     match event {
//!         ClientEvent::Message(said) => println!("{}", *said),
//!         ClientEvent::Gap(gap) => println!("missed {:?}: load the state again", gap.missed),
//!         _ => {}
//!     }
//! }
//! # Ok(()) }
//! ```
//!
//! # What it promises
//!
//! * **Connected again, for ever**, with growing random delays or when the server says. Only
//!   [`close`](HubClient::close), a server that takes the client's access away (close code 4403), or one
//!   that wants a token where there is none, end it. [`states`](HubClient::states) tells.
//! * **Nothing missing silently.** Subscriptions are made again on each connection. Of a kept topic,
//!   every message comes exactly once and in order, or a [`Gap`](ClientEvent::Gap) stands where the
//!   history has ended; of any other, an interruption is a gap. A consumer that is slower than the
//!   messages reads those of a kept topic from its history, and sees a gap in others.
//! * **Nothing repeated silently.** A request or publish that was under way when the connection broke
//!   fails with [`Outcome::Unknown`](quorate::Outcome). Questions without an effect are asked again.
//! * **Bounds.** Buffers, calls under way and calls that wait for a connection are bounded, and every
//!   call ends by its deadline.
//! * **Cancel safety.** Any future may be dropped; its documentation says what that leaves behind. A
//!   dropped request is cancelled at the server.
//!
//! The protocol is described in `docs/protocol.md`.

mod actor;
mod ask;
mod builder;
mod call;
mod connect;
mod cursor;
mod error;
mod frame;
mod handle;
mod link;
mod listen;
mod listener;
mod mailbox;
mod message;
#[cfg(test)]
mod model;
mod room;
mod rooms;
mod roster;
mod session;
mod state;
mod subscription;
mod tls;
mod typed;
mod wire;

pub use ask::{
    ClientHistory, ClientReceipt, ClientRoster, HistoryOf, PresenceOf, PublishTo, Request,
};
pub use builder::HubClientBuilder;
pub use error::{ClientError, ClientResult};
pub use handle::HubClient;
pub use listen::{ClientListener, ListenTo};
pub use message::{ClientEvent, ClientGap, ClientMessage, ClientUndecodable};
pub use roster::{ClientMember, ClientPresence};
pub use state::ClientState;
pub use subscription::{ClientSubscription, SubscribeTo};
