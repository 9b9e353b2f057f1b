//! Everything that may happen between a client and a hub, in any order, against a model of the hub: what
//! a subscription of a kept topic yields is each message once and in order, or a gap where they are no
//! longer kept.

mod hub;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::task::noop_waker;
use proptest::prelude::*;
use quorate::{GapReason, Position};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use self::hub::{Hub, HubLink};
use super::actor::Command;
use super::call::{Calling, Kind};
use super::cursor::Cursor;
use super::error::ClientResult;
use super::frame::Hello;
use super::link::Ids;
use super::listener::{Listener, Phase, Start};
use super::mailbox::{Item, Limits, Mailbox, Taken};
use super::message::Data;
use super::rooms::Wanted;
use super::session::Session;

/// What happens next.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Somebody publishes.
    Publish(u8),
    /// This client publishes something that it does not want back.
    PublishOwn,
    /// The hub's stream brings what was published, or only a part of it.
    Stream(u8),
    /// So many frames of the client reach the hub.
    Hear(u8),
    /// So many frames of the hub reach the client.
    Tell(u8),
    Cut,
    Connect,
    /// All but so many of the last messages are no longer kept.
    Trim(u8),
    /// The history is lost, and begins anew.
    Forget,
    Join(From),
    /// A subscription is dropped.
    Leave(usize),
    /// A consumer takes so many events.
    Take(usize, u8),
}

#[derive(Clone, Copy, Debug)]
enum From {
    Now,
    /// So many messages back.
    Back(u8),
    Recent(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1_u8..4).prop_map(Step::Publish),
        1 => Just(Step::PublishOwn),
        4 => (1_u8..5).prop_map(Step::Stream),
        4 => (1_u8..4).prop_map(Step::Hear),
        6 => (1_u8..6).prop_map(Step::Tell),
        1 => Just(Step::Cut),
        2 => Just(Step::Connect),
        1 => (0_u8..6).prop_map(Step::Trim),
        1 => prop_oneof![9 => Just(Step::Connect), 1 => Just(Step::Forget)],
        2 => prop_oneof![
            Just(From::Now),
            (0_u8..8).prop_map(From::Back),
            (1_u8..4).prop_map(From::Recent),
        ].prop_map(Step::Join),
        1 => (0_usize..4).prop_map(Step::Leave),
        5 => ((0_usize..4), (1_u8..4)).prop_map(|(who, count)| Step::Take(who, count)),
    ]
}

/// Somebody who subscribes, and what it must see next.
struct Consumer {
    id: u64,
    mailbox: Arc<Mailbox>,
    ready: Option<oneshot::Receiver<ClientResult<Option<Position>>>>,
    /// The number of the next message; unknown before the first of the recent ones.
    next: Option<u64>,
    /// How many of the recent messages it asked for.
    recent: Option<u8>,
}

struct World {
    hub: Hub,
    session: Session,
    ids: Ids,
    consumers: Vec<Consumer>,
    commands: (
        mpsc::UnboundedSender<Command>,
        mpsc::UnboundedReceiver<Command>,
    ),
    publishing: Vec<Calling>,
    /// Own messages of which the client has been told where they stand.
    own: BTreeSet<u64>,
    /// Own messages, told of or not.
    maybe_own: BTreeSet<u64>,
    /// Where each epoch began, to read positions with.
    epochs: Vec<u64>,
    /// Histories were lost at these numbers: what came until then is gone.
    trimmed: u64,
}

impl World {
    fn new() -> Self {
        let ids = Ids::default();
        Self {
            hub: Hub {
                base: 1,
                ..Hub::default()
            },
            session: Session::new(ids.clone(), 100),
            ids,
            consumers: Vec::new(),
            commands: mpsc::unbounded_channel(),
            publishing: Vec::new(),
            own: BTreeSet::new(),
            maybe_own: BTreeSet::new(),
            epochs: vec![0],
            trimmed: 0,
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Publish(count) => (0..count).for_each(|_| self.hub.publish(None)),
            Step::PublishOwn => self.publish_own(),
            Step::Stream(count) => self.hub.stream(count),
            Step::Hear(count) => (0..count).for_each(|_| self.hub.hear()),
            Step::Tell(count) => (0..count).for_each(|_| self.told()),
            Step::Cut => self.cut(),
            Step::Connect => self.connect(),
            Step::Trim(kept) => {
                self.hub.base = self
                    .hub
                    .base
                    .max((self.hub.top + 1).saturating_sub(kept.into()));
                self.trimmed = self.trimmed.max(self.hub.base - 1);
            }
            Step::Forget => {
                self.hub.epoch += 1;
                self.hub.before_epoch = self.hub.top;
                self.hub.base = self.hub.top + 1;
                self.epochs.push(self.hub.top);
                self.trimmed = self.hub.top;
            }
            Step::Join(from) => self.join(from),
            Step::Leave(who) => {
                if who < self.consumers.len() {
                    let consumer = self.consumers.remove(who);
                    self.session.command(Command::Unsubscribe(consumer.id));
                    if self.consumers.is_empty() {
                        self.own.clear();
                    }
                }
            }
            Step::Take(who, count) => {
                for _ in 0..count {
                    self.take(who);
                }
            }
        }
        self.carry();
    }

    /// What the client wrote is on its way.
    fn carry(&mut self) {
        while let Ok(command) = self.commands.1.try_recv() {
            self.session.command(command);
        }
        if let Some(link) = &mut self.hub.link {
            link.heard.extend(
                self.session
                    .link
                    .out
                    .drain(..)
                    .map(|frame| frame.to_string()),
            );
        }
    }

    fn publish_own(&mut self) {
        let id = self.ids.next();
        let frame = json!({"id": id, "publish": "a", "data": 0, "echo": false}).to_string();
        let kind = Kind::Publish { echo: false };
        self.publishing
            .push(Calling::begin(&self.commands.0, id, frame, kind).unwrap());
    }

    fn told(&mut self) {
        let frame = self
            .hub
            .link
            .as_mut()
            .and_then(|link| link.told.pop_front());
        if let Some(frame) = frame {
            self.session.received(&frame.clone().into()).unwrap();
            let frame: Value = serde_json::from_str(&frame).unwrap();
            // Remembered for as long as somebody subscribes.
            if let Some(number) = frame["published"].as_u64()
                && !self.consumers.is_empty()
            {
                self.own.insert(number);
            }
        }
        self.maybe_own
            .extend(self.hub.except.iter().map(|(number, _)| *number));
        self.carry();
    }

    fn cut(&mut self) {
        if self.hub.link.take().is_some() {
            self.session.lost();
        }
    }

    fn connect(&mut self) {
        if self.hub.link.is_some() {
            return;
        }
        self.hub.connections += 1;
        self.hub.link = Some(HubLink {
            client: self.hub.connections,
            heard: VecDeque::new(),
            told: VecDeque::new(),
            stream: None,
        });
        let hello: Hello = serde_json::from_str("{}").unwrap();
        self.session.connected(hello);
    }

    fn join(&mut self, from: From) {
        if self.consumers.len() == 4 {
            return;
        }
        let id = self.ids.next();
        let mailbox = Arc::new(Mailbox::new(Limits {
            messages: 3,
            bytes: 1 << 20,
        }));
        let (sender, ready) = oneshot::channel();
        let (start, next) = match from {
            From::Now => (Start::Now, None),
            From::Back(count) => {
                // Only positions of the present epoch can be named here.
                let after = self
                    .hub
                    .top
                    .saturating_sub(count.into())
                    .max(self.hub.before_epoch);
                (Start::After(self.hub.position(after)), Some(after + 1))
            }
            From::Recent(count) => (Start::Recent(count.into()), None),
        };
        let listener = Listener {
            id,
            mailbox: mailbox.clone(),
            members: false,
            ready: Some(sender),
            phase: Phase::Joining(start),
            cursor: Cursor::default(),
        };
        self.consumers.push(Consumer {
            id,
            mailbox,
            ready: Some(ready),
            next,
            recent: match from {
                From::Recent(count) => Some(count),
                _ => None,
            },
        });
        let wanted = Wanted {
            event: "a".into(),
            params: Value::Null,
        };
        self.session.command(Command::Subscribe(wanted, listener));
    }

    fn at(&self, position: Position) -> u64 {
        self.epochs[usize::try_from(position.epoch()).unwrap()] + position.offset()
    }

    /// The next message of somebody that is not own.
    fn skip_own(&self, mut next: u64) -> u64 {
        while self.maybe_own.contains(&next) {
            next += 1;
        }
        next
    }

    fn take(&mut self, who: usize) -> bool {
        if who >= self.consumers.len() {
            return false;
        }
        if let Some(Ok(made)) = self.consumers[who]
            .ready
            .as_mut()
            .map(oneshot::Receiver::try_recv)
        {
            let position = made.expect("nothing is refused here");
            let at = position.map(|position| self.at(position));
            let consumer = &mut self.consumers[who];
            consumer.ready = None;
            consumer.next = consumer.next.or_else(|| at.map(|at| at + 1));
        }
        let taken = self.consumers[who]
            .mailbox
            .poll(&mut Context::from_waker(&noop_waker()));
        let Poll::Ready(Some((taken, refill))) = taken else {
            return false;
        };
        if refill {
            self.session
                .command(Command::Resume(self.consumers[who].id));
        }
        match taken {
            Taken::Item(Item::Message(message)) => {
                let Data::Json(data) = &message.data else {
                    panic!()
                };
                self.took(who, data.get().parse().unwrap());
            }
            Taken::Item(Item::Gap(gap)) => {
                assert_eq!(gap.reason, GapReason::History, "{gap:?}");
                let to = self.at(gap.position.expect("where it goes on"));
                if let Some(next) = self.consumers[who].next {
                    // Who stood at the end of a lost history cannot know that it missed nothing.
                    let forgotten = self.hub.epoch > 0 && next == self.hub.before_epoch + 1;
                    assert!(
                        next <= self.trimmed || forgotten,
                        "a gap at {next}, which was kept"
                    );
                    assert!(to + 1 >= next, "a gap back to {to} at {next}");
                }
                self.consumers[who].next = Some(to + 1);
            }
            other => panic!("{other:?}"),
        }
        true
    }

    fn took(&mut self, who: usize, number: u64) {
        assert!(!self.own.contains(&number), "{number} was not wanted back");
        if let Some(next) = self.consumers[who].next {
            let within_own = (next..number).all(|it| self.maybe_own.contains(&it));
            assert!(number >= next && within_own, "{number} instead of {next}");
        }
        self.consumers[who].next = Some(number + 1);
    }

    /// In the end everything works, and everybody arrives at the top.
    fn settle(&mut self) {
        self.step(Step::Connect);
        let mut idle = 0;
        while idle < 3 {
            let before = self.session.link.pending.len();
            self.step(Step::Hear(50));
            self.step(Step::Stream(50));
            self.step(Step::Tell(100));
            let mut moved = before != self.session.link.pending.len();
            for who in 0..self.consumers.len() {
                while self.take(who) {
                    moved = true;
                }
            }
            self.carry();
            idle = if moved { 0 } else { idle + 1 };
        }
        let end = self.hub.top + 1;
        for consumer in &self.consumers {
            assert!(consumer.ready.is_none(), "never made");
            let next = consumer.next.map(|next| self.skip_own(next));
            // Who asked for recent messages where there are none, or only own ones, has rightly seen none.
            let nothing_yet = consumer.recent.is_some_and(|count| {
                let oldest = end.saturating_sub(count.into()).max(self.hub.base);
                self.skip_own(oldest) == end
            });
            assert!(
                next == Some(end) || (next.is_none() && nothing_yet),
                "{next:?} of {end}"
            );
        }
    }
}

proptest! {
    #[test]
    fn each_message_once_and_in_order_or_a_gap(steps in proptest::collection::vec(step(), 1..150)) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        world.settle();
    }
}
