//! A kept topic whose history says what a test wants, and a client of it that nobody serves but the test.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use parking_lot::Mutex;
use quorate::{Fleet, Position};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::builder::HubBuilder;
use super::client::{Client, Next};
use super::handle::Hub;
use super::outbox::Item;
use super::seam::{
    HistoryFrom, HistoryPage, OpenRoom, ReadLimit, RoomEvent, RoomEventKind, RoomOptions,
    RoomSource,
};
use crate::telemetry::Transport;

pub(super) fn at(offset: u64) -> Position {
    Position::new(7, offset, 1)
}

/// A message whose frame begins with its offset, and has so many bytes.
pub(super) fn message(offset: u64, bytes: usize) -> RoomEvent {
    let frame = format!("{offset:<bytes$}");
    let mut event = RoomEvent::new(RoomEventKind::Message, frame);
    event.position = Some(at(offset));
    event
}

/// One that cannot be read.
pub(super) fn undecodable(offset: u64) -> RoomEvent {
    let mut event = RoomEvent::new(RoomEventKind::Undecodable, format!("x{offset}"));
    event.position = Some(Position::new(7, offset, 0));
    event
}

type Answer = dyn Fn(HistoryFrom, ReadLimit) -> quorate::Result<HistoryPage> + Send + Sync;

/// Where the messages of a test come from.
pub(super) struct FakeSource {
    name: &'static str,
    /// After which position the subscription of the room begins.
    begins: Position,
    history: Box<Answer>,
    pub(super) reads: AtomicUsize,
    _publish: UnboundedSender<RoomEvent>,
    published: Mutex<Option<UnboundedReceiver<RoomEvent>>>,
}

impl std::fmt::Debug for FakeSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FakeSource")
    }
}

impl FakeSource {
    pub(super) fn new(
        name: &'static str,
        begins: Position,
        history: impl Fn(HistoryFrom, ReadLimit) -> quorate::Result<HistoryPage> + Send + Sync + 'static,
    ) -> Arc<Self> {
        let (publish, published) = unbounded_channel();
        Arc::new(Self {
            name,
            begins,
            history: Box::new(history),
            reads: AtomicUsize::new(0),
            _publish: publish,
            published: Mutex::new(Some(published)),
        })
    }

    pub(super) fn reads(&self) -> usize {
        self.reads.load(Ordering::Relaxed)
    }
}

impl RoomSource for FakeSource {
    fn name(&self) -> &str {
        self.name
    }

    fn options(&self) -> RoomOptions {
        RoomOptions::default()
    }

    fn open(&self, _: &Fleet) -> BoxFuture<'static, quorate::Result<OpenRoom>> {
        let mut published = self.published.lock().take().expect("it is opened once");
        let opened = OpenRoom {
            position: Some(self.begins),
            events: futures_util::stream::poll_fn(move |cx| published.poll_recv(cx)).boxed(),
        };
        std::future::ready(Ok(opened)).boxed()
    }

    fn history(
        &self,
        _: &Fleet,
        from: HistoryFrom,
        limit: ReadLimit,
    ) -> BoxFuture<'static, quorate::Result<HistoryPage>> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        std::future::ready((self.history)(from, limit)).boxed()
    }
}

/// A page without a gap.
pub(super) fn page(events: Vec<RoomEvent>, position: Position) -> HistoryPage {
    HistoryPage {
        events,
        position,
        complete: false,
        lost: None,
    }
}

pub(super) fn hub(configure: impl FnOnce(HubBuilder) -> HubBuilder) -> Hub {
    configure(Hub::builder(Fleet::embedded())).build().unwrap()
}

pub(super) fn client(hub: &Hub) -> Arc<Client> {
    Client::new(hub.shared.clone(), 1, Transport::WebSocket, None, None)
}

/// The frames that wait, without the blanks.
pub(super) fn taken(client: &Client) -> Vec<String> {
    let next = || match client.next() {
        Next::Send(Item::Event { event, .. }) => Some(event.frame.trim().to_owned()),
        Next::Send(item) => panic!("{item:?}"),
        Next::Nothing => None,
        Next::End(end) => panic!("{end:?}"),
    };
    std::iter::from_fn(next).collect()
}
