//! What a page may ask for, and how it is answered.

use std::sync::Arc;
use std::time::Duration;

use quorate_http::{Code, Cx, HandlerError, MessageRouter, MessageSpec};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::pace::Pace;
use crate::report::{Report, report};
use crate::rooms::{ROOM, Room, Said, TITLE, TYPING, Title, Typing};

/// The longest message, and the longest title, in characters.
const MAX_TEXT: usize = 2_000;
const MAX_TITLE: usize = 100;

/// The longest id of a message, in bytes.
const MAX_ID: usize = 64;

/// Say something in a room.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Send {
    room: Room,
    #[serde(flatten)]
    said: Said,
}

/// Change what a room is about.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SetTitle {
    room: Room,
    title: String,
}

/// Let the others know.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SetTyping {
    room: Room,
    typing: bool,
}

/// Which room to report on.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct MakeReport {
    room: Room,
}

const SEND: MessageSpec<Send, ()> = MessageSpec::new("message.send").validate(|send: &Send| {
    length("id", send.said.id.len(), 1, MAX_ID)?;
    length("text", send.said.text.chars().count(), 1, MAX_TEXT)?;
    if send.said.text.trim().is_empty() {
        return Err("text must not be blank".into());
    }
    Ok(())
});

const SET_TITLE: MessageSpec<SetTitle, ()> =
    MessageSpec::new("title.set").validate(|set: &SetTitle| {
        length("title", set.title.chars().count(), 0, MAX_TITLE)?;
        if set.title.chars().any(char::is_control) {
            return Err("title must be one line".into());
        }
        Ok(())
    });

const SET_TYPING: MessageSpec<SetTyping, ()> = MessageSpec::new("typing.set");

const REPORT: MessageSpec<MakeReport, Report> =
    MessageSpec::new("report").deadline(Duration::from_secs(120));

fn length(name: &str, length: usize, least: usize, most: usize) -> Result<(), String> {
    if (least..=most).contains(&length) {
        return Ok(());
    }
    Err(format!(
        "{name} must have {least} to {most} characters, not {length}"
    ))
}

/// Everything a page may ask for.
pub(crate) fn router() -> MessageRouter {
    let pace = Arc::new(Pace::default());
    MessageRouter::new()
        .on(&SEND, move |cx, send| say(cx, send, Arc::clone(&pace)))
        .on(&SET_TITLE, set_title)
        .on(&SET_TYPING, set_typing)
        .on(&REPORT, async |cx: Cx, asked| report(&cx, asked.room).await)
}

/// The writer, too, sees the message when it comes back as an event: then everybody sees the same order.
async fn say(cx: Cx, send: Send, pace: Arc<Pace>) -> Result<(), HandlerError> {
    let user = cx.user().unwrap_or_default();
    if let Err(wait) = pace.check(user, Instant::now()) {
        return Err(HandlerError::new(Code::ResourceExhausted, "slow down").with_retry_after(wait));
    }
    cx.publish(&ROOM, &send.room, &send.said).await?;
    Ok(())
}

async fn set_title(cx: Cx, set: SetTitle) -> Result<(), HandlerError> {
    let title = Title { title: set.title };
    cx.publish(&TITLE, &set.room, &title).await?;
    Ok(())
}

async fn set_typing(cx: Cx, set: SetTyping) -> Result<(), HandlerError> {
    let typing = Typing { typing: set.typing };
    cx.publish(&TYPING, &set.room, &typing).but_self().await?;
    Ok(())
}
