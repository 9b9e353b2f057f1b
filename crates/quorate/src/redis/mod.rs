//! Shared plumbing of the Redis home.

mod durable;
mod home;
mod push;
mod raw;
mod reply;
mod script;
mod tracked;

pub(crate) use home::RedisHome;
pub(crate) use push::{PushRouter, link_name};
pub use raw::{RedisCommands, Value};
pub(crate) use reply::{flag, from_link, micros, unexpected};
pub(crate) use script::{Script, ScriptCall, ScriptRunner};
