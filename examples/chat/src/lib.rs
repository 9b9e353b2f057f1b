//! A chat: rooms with history, who is there, who is typing, on any number of instances.
//!
//! [`serve`] is one instance. All instances share a home (this process, or a Redis or Valkey server) and a
//! secret, and nothing else: a browser may be connected to any of them.

mod login;
mod pace;
mod page;
mod report;
mod requests;
mod rooms;
mod serve;

pub use rooms::{ROOM, Room, Said, TITLE, TYPING, Title, Typing};
pub use serve::serve;
