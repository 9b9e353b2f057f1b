//! A report on what was said in a room: work that takes a while, tells how far it is, and can be stopped.

use std::collections::HashMap;
use std::time::Duration;

use quorate::{Event, Message};
use quorate_http::{Cx, HandlerError};
use serde::Serialize;
use tokio::time::sleep;

use crate::rooms::{ROOM, Room, Said};

/// Messages that are read at once.
const PAGE: u32 = 50;

/// A rest after each page: real reports have real work to do, and this one shall be seen working.
const REST: Duration = Duration::from_millis(100);

/// What is told meanwhile.
#[derive(Debug, Serialize)]
struct Progress {
    read: usize,
}

/// What was said in a room.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    messages: usize,
    words: usize,
    /// The busiest first.
    people: Vec<Person>,
}

/// What one person said.
#[derive(Debug, Serialize)]
struct Person {
    name: String,
    messages: usize,
}

/// Reads all that is kept of a room. When the client cancels or leaves, this future is dropped.
pub(crate) async fn report(cx: &Cx, room: Room) -> Result<Report, HandlerError> {
    let topic = ROOM.topic(cx.hub().fleet(), &room)?;
    let mut tally = Tally::default();
    let mut after = None;
    loop {
        let read = topic.history().limit(PAGE);
        let page = match after {
            Some(position) => read.after(position).await?,
            None => read.await?,
        };
        page.events.into_iter().for_each(|event| tally.add(event));
        let read = tally.messages;
        cx.progress(&Progress { read })?;
        // After a gap, what was to come next has been pushed out meanwhile; the page is at the end then.
        if page.complete || page.gap.is_some() {
            return Ok(tally.report());
        }
        after = Some(page.position);
        sleep(REST).await;
    }
}

#[derive(Debug, Default)]
struct Tally {
    messages: usize,
    words: usize,
    by_name: HashMap<String, usize>,
}

impl Tally {
    fn add(&mut self, event: Event<Said>) {
        if let Some(message) = event.message() {
            self.count(&message);
        }
    }

    fn count(&mut self, message: &Message<Said>) {
        self.messages += 1;
        self.words += message.payload().text.split_whitespace().count();
        let name = message.source().unwrap_or("somebody");
        *self.by_name.entry(name.to_owned()).or_default() += 1;
    }

    fn report(self) -> Report {
        let people = self.by_name.into_iter();
        let mut people: Vec<_> = people
            .map(|(name, messages)| Person { name, messages })
            .collect();
        people.sort_by(|a, b| {
            b.messages
                .cmp(&a.messages)
                .then_with(|| a.name.cmp(&b.name))
        });
        Report {
            messages: self.messages,
            words: self.words,
            people,
        }
    }
}
