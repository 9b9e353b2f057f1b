//! What goes over the wire; see `docs/protocol.md`.

mod control;
mod event;
mod presence;
mod request;

pub(crate) use control::{
    Answer, Closing, FrameError, Hello, HistoryAnswer, TopicEvent, gap_line, millis, state_line,
};
pub use event::event_line;
pub(crate) use event::{EventFrame, is_json};
pub(crate) use presence::{MemberFrame, PresenceAnswer, PresenceFrame};
pub(crate) use request::{Request, RequestId, Verb, read_request};

/// The version of the protocol, as in the WebSocket subprotocol `quorate.v1`.
pub const PROTOCOL: u32 = 1;
