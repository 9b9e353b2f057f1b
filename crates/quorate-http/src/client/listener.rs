//! One local subscription, as the connection sees it: where it stands in its topic's stream, and how it
//! gets there.
//!
//! The stream of a topic comes from the server once, however many subscribe here. Who begins elsewhere
//! than the stream is, or has no room for more of a kept topic, is brought to it with pages of history;
//! what the stream brings meanwhile waits, or is in the history too.

use std::collections::VecDeque;
use std::sync::Arc;

use quorate::{GapReason, Position};
use tokio::sync::oneshot;

use super::cursor::{Cursor, Own};
use super::error::{ClientError, ClientResult};
use super::frame::HistoryBody;
use super::mailbox::{Item, Mailbox};
use super::message::{ClientGap, Delivery};
use super::rooms::ListenerId;

/// Messages asked for at once.
const PAGE: usize = 100;
/// Events that may wait for a listener to arrive; beyond, it reads them from the history as well.
const MAX_HELD: usize = 256;

/// Where a subscription begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    Now,
    After(Position),
    /// So many of the last messages first.
    Recent(usize),
}

/// Told when the subscription is made: where it begins.
pub(super) type ReadySender = oneshot::Sender<ClientResult<Option<Position>>>;

#[derive(Debug)]
pub(super) struct Listener {
    pub(super) id: ListenerId,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) members: bool,
    /// Until it is made.
    pub(super) ready: Option<ReadySender>,
    pub(super) phase: Phase,
    /// After what was put into the mailbox last. It may be ahead of the stream: history is.
    pub(super) cursor: Cursor,
}

#[derive(Debug)]
pub(super) enum Phase {
    /// The room is not subscribed to yet.
    Joining(Start),
    /// On the way to where the stream is.
    Fetching(Fetch),
    /// Has no room. What follows the cursor is fetched when it has.
    Lagging,
    /// Gets what the stream brings.
    Live,
}

#[derive(Debug, Default)]
pub(super) struct Fetch {
    /// Asks for so many of the latest messages, instead of those after the cursor.
    latest: Option<usize>,
    /// The request under way.
    pub(super) request: Option<u64>,
    /// What the stream brought meanwhile.
    held: VecDeque<Item>,
    /// More came than was held.
    again: bool,
}

impl Fetch {
    fn hold(&mut self, item: Item) {
        if self.held.len() < MAX_HELD {
            self.held.push_back(item);
        } else {
            self.again = true;
        }
    }
}

/// What a listener needs next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    Nothing,
    /// A page of history.
    Page {
        after: Option<Position>,
        limit: usize,
    },
}

impl Listener {
    /// The room is subscribed to, and its stream is at `stream`.
    pub(super) fn admit(&mut self, stream: Cursor) -> Needs {
        match self.phase {
            Phase::Joining(Start::Now) => {
                self.cursor = stream;
                self.phase = Phase::Live;
                self.is_made();
                Needs::Nothing
            }
            Phase::Joining(Start::After(position)) => {
                self.cursor = Cursor::at(Some(position));
                self.fetch(None)
            }
            Phase::Joining(Start::Recent(count)) => self.fetch(Some(count)),
            // One page at a time.
            Phase::Fetching(Fetch {
                request: Some(_), ..
            }) => Needs::Nothing,
            Phase::Fetching(Fetch { latest, .. }) => self.fetch(latest),
            Phase::Lagging => self.lag(),
            Phase::Live => Needs::Nothing,
        }
    }

    /// There is room again.
    pub(super) fn resume(&mut self) -> Needs {
        match self.phase {
            Phase::Lagging => self.lag(),
            _ => Needs::Nothing,
        }
    }

    fn fetch(&mut self, latest: Option<usize>) -> Needs {
        self.phase = Phase::Fetching(Fetch {
            latest,
            ..Fetch::default()
        });
        self.next_page()
    }

    fn next_page(&mut self) -> Needs {
        let Phase::Fetching(fetch) = &mut self.phase else {
            return Needs::Nothing;
        };
        match (fetch.latest, self.mailbox.room().min(PAGE)) {
            (Some(limit), _) => Needs::Page { after: None, limit },
            (None, 0) => self.lag(),
            (None, limit) => Needs::Page {
                after: self.cursor.position(),
                limit,
            },
        }
    }

    /// There is no room: goes on from the cursor when there is.
    fn lag(&mut self) -> Needs {
        self.phase = Phase::Lagging;
        if self.mailbox.wants_refill() {
            Needs::Nothing
        } else {
            self.fetch(None)
        }
    }

    /// The stream brought a message.
    pub(super) fn message(&mut self, message: &Arc<Delivery>) -> Needs {
        match &mut self.phase {
            Phase::Live => self.put(message),
            Phase::Fetching(fetch) => {
                fetch.hold(Item::Message(message.clone()));
                Needs::Nothing
            }
            // It is in the history where a lagging listener goes on, and from before one that joins.
            Phase::Lagging | Phase::Joining(_) => Needs::Nothing,
        }
    }

    /// Puts a message into the mailbox, unless it came before. One that can be fetched again stays out
    /// rather than that it pushes another out.
    fn put(&mut self, message: &Arc<Delivery>) -> Needs {
        let before = self.cursor;
        match message.resumable() {
            Some(position) if !self.cursor.passes(position) => {}
            Some(_) if before.position().is_some() => {
                if !self.mailbox.offer(message) {
                    self.cursor = before;
                    return self.lag();
                }
            }
            _ => self.mailbox.push(Item::Message(message.clone())),
        }
        Needs::Nothing
    }

    /// The stream brought something else.
    pub(super) fn other(&mut self, item: &Item) {
        match &mut self.phase {
            Phase::Live => self.put_other(item.clone()),
            Phase::Fetching(fetch) => fetch.hold(item.clone()),
            // The history will say what is missing.
            Phase::Lagging | Phase::Joining(_) => {}
        }
    }

    /// Messages are missing in the stream, which was at `stream` before.
    ///
    /// A listener that is ahead of the stream may have what is missing, or find it in the history: it
    /// looks there, and is told of a gap only by what it finds.
    pub(super) fn gap(&mut self, gap: &ClientGap, stream: Cursor) -> Needs {
        match &mut self.phase {
            Phase::Live if gap.position.is_some() && self.cursor.is_after(stream) => {
                return self.fetch(None);
            }
            Phase::Fetching(fetch) if gap.position.is_some() => fetch.again = true,
            _ => self.other(&Item::Gap(gap.clone())),
        }
        Needs::Nothing
    }

    fn put_other(&mut self, item: Item) {
        if let Item::Gap(gap) = &item
            && gap.position.is_some()
        {
            self.cursor.jump(gap.position);
        }
        self.mailbox.push(item);
    }

    /// A page of history came.
    pub(super) fn page(&mut self, page: HistoryBody, own: &Own) -> Needs {
        let Phase::Fetching(fetch) = &mut self.phase else {
            return Needs::Nothing;
        };
        fetch.request = None;
        let latest = fetch.latest.is_some();
        if latest && page.messages.is_empty() {
            self.cursor.jump(page.position);
        }
        // Where the latest messages are still to come, the place before them has no name: none is told.
        self.is_made();
        if let Some(gap) = page.gap {
            self.put_other(Item::Gap(gap));
        }
        // A page that leads nowhere is the last, whatever the server says.
        let complete = page.complete || !Cursor::at(page.position).is_after(self.cursor);
        for message in page.messages {
            if message
                .position
                .is_some_and(|position| own.contains(position))
            {
                continue;
            }
            let message = Arc::new(message);
            if latest {
                // They fit, unless they are large; and what comes before them is not asked for.
                self.mailbox.push(Item::Message(message));
                continue;
            }
            let needs = self.put(&message);
            if !matches!(self.phase, Phase::Fetching(_)) || needs != Needs::Nothing {
                return needs;
            }
        }
        if page.position.is_some() {
            self.cursor.jump(page.position);
        }
        self.turn(complete)
    }

    /// A page is read: to the next one, or to the stream.
    fn turn(&mut self, complete: bool) -> Needs {
        let Phase::Fetching(fetch) = &mut self.phase else {
            return Needs::Nothing;
        };
        let again = complete && fetch.again;
        if self.cursor.position().is_some() && (again || !complete) {
            fetch.latest = None;
            if again {
                fetch.again = false;
                fetch.held.clear();
            }
            return self.next_page();
        }
        let held = std::mem::take(&mut fetch.held);
        self.phase = Phase::Live;
        for item in held {
            match item {
                Item::Message(message) => {
                    let needs = self.put(&message);
                    if !matches!(self.phase, Phase::Live) {
                        return needs;
                    }
                }
                other => self.put_other(other),
            }
        }
        if again {
            // There is no history to look them up in.
            self.put_other(Item::Gap(ClientGap::new(GapReason::BufferFull, None)));
        }
        Needs::Nothing
    }

    /// History is refused. Whether this listener stays: who has begun goes on with a gap.
    pub(super) fn refused(&mut self, error: &ClientError, stream: Cursor) -> bool {
        if let Some(ready) = self.ready.take() {
            // Nobody takes it who has given up.
            let _ = ready.send(Err(error.clone()));
            return false;
        }
        self.cursor = stream;
        let gap = ClientGap::new(GapReason::Lost, None).at(stream.position());
        self.phase = Phase::Live;
        self.put_other(Item::Gap(gap));
        true
    }

    /// The connection is gone, and with it what was asked.
    pub(super) fn lost(&mut self) {
        if let Phase::Fetching(fetch) = &mut self.phase {
            *fetch = Fetch {
                latest: fetch.latest,
                ..Fetch::default()
            };
        }
    }

    /// The subscription is over.
    pub(super) fn end(&mut self, error: &ClientError) {
        match self.ready.take() {
            Some(ready) => {
                let _ = ready.send(Err(error.clone()));
                self.mailbox.close();
            }
            None => self.mailbox.push(Item::Ended(error.clone())),
        }
    }

    fn is_made(&mut self) {
        if let Some(ready) = self.ready.take() {
            let _ = ready.send(Ok(self.cursor.position()));
        }
    }
}
