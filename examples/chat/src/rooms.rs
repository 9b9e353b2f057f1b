//! What is said where: the events of the chat.

use std::time::Duration;

use quorate_http::EventSpec;
use serde::{Deserialize, Serialize};

/// A room. Anything else in a frame is refused before a hook or a handler sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(clippy::exhaustive_enums, reason = "the rooms of this house")]
pub enum Room {
    /// Where everybody arrives.
    Lobby,
    /// Where the best talks are.
    Kitchen,
    /// Where it is quiet.
    Garden,
}

impl Room {
    /// All rooms, in the order in which they are shown. Yours may come from a database.
    pub const ALL: [Self; 3] = [Self::Lobby, Self::Kitchen, Self::Garden];
}

/// A message in a room. Who wrote it is the event's `source`, which the hub sets and nobody can forge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "what goes over the wire")]
pub struct Said {
    /// Chosen by the page that sends it. A page that does not know what became of a message sends it again
    /// with the same id, and whoever reads shows a writer's id once.
    pub id: String,
    /// What was said.
    pub text: String,
}

/// What a room is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "what goes over the wire")]
pub struct Title {
    /// The title; may be empty.
    pub title: String,
}

/// Whether somebody is writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "what goes over the wire")]
pub struct Typing {
    /// Has begun (or goes on), or has stopped.
    pub typing: bool,
}

const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

/// What is said in a room. Kept, so that who was away is sent what was missed; with presence, so that
/// everybody sees who is there.
pub const ROOM: EventSpec<Room, Said> =
    EventSpec::new("room").keep(WEEK, 1_000, 4 << 20).presence();

/// The title of a room. Only the last one counts, and it stays when everybody has left.
pub const TITLE: EventSpec<Room, Title> =
    EventSpec::new("title").keep(WEEK, 1, 4 << 10).latest_only();

/// Who is writing. Not kept: it is of no use a moment later.
pub const TYPING: EventSpec<Room, Typing> = EventSpec::new("typing").latest_only();
