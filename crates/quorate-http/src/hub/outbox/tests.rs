//! What waits, what is dropped, and that nothing vanishes silently.

use super::*;
use proptest::prelude::*;

const MANY: Limits = Limits {
    messages: 1000,
    bytes: 1_000_000,
    overflow: Overflow::DropOldest,
};

fn message(number: u64, bytes: usize) -> Arc<RoomEvent> {
    let frame = format!("{number}{}", " ".repeat(bytes));
    Arc::new(RoomEvent::new(RoomEventKind::Message, frame))
}

fn of_topic(number: u64, topic: &str) -> Arc<RoomEvent> {
    let mut event = RoomEvent::new(RoomEventKind::Message, number.to_string());
    event.topic = Some(topic.into());
    Arc::new(event)
}

fn gap() -> Arc<RoomEvent> {
    Arc::new(RoomEvent::new(RoomEventKind::Gap, "gap"))
}

#[derive(Debug, PartialEq)]
enum Seen {
    Message(u32, u64),
    Gap(u32),
    Missed(u32, u64),
    Reply(String),
}

fn take(outbox: &mut Outbox) -> Option<Seen> {
    Some(match outbox.pop()? {
        Item::Reply(text) => Seen::Reply(text.into()),
        Item::Dropped {
            subscription,
            missed,
        } => Seen::Missed(subscription, missed),
        Item::Event {
            subscription,
            event,
        } => match event.kind {
            RoomEventKind::Gap => Seen::Gap(subscription),
            _ => Seen::Message(subscription, event.frame.trim().parse().unwrap()),
        },
    })
}

fn all(outbox: &mut Outbox) -> Vec<Seen> {
    std::iter::from_fn(|| take(outbox)).collect()
}

fn limits(messages: usize, overflow: Overflow) -> Limits {
    Limits {
        messages,
        overflow,
        ..MANY
    }
}

#[test]
fn the_oldest_make_room_and_answers_never_do() {
    let limits = limits(2, Overflow::DropOldest);
    let mut outbox = Outbox::default();
    outbox.reply("a".into());
    for number in 1..=4 {
        outbox.push(7, message(number, 0), false, &limits);
    }
    outbox.reply("b".into());
    outbox.push(8, message(5, 0), false, &limits);
    assert_eq!(outbox.replies(), (2, 2));
    assert_eq!((outbox.backlog(7), outbox.backlog(8)), (1, 1));
    assert_eq!(
        all(&mut outbox),
        [
            Seen::Reply("a".to_owned()),
            Seen::Missed(7, 3),
            Seen::Message(7, 4),
            Seen::Reply("b".to_owned()),
            Seen::Message(8, 5),
        ]
    );
}

#[test]
fn the_latest_of_each_topic_is_kept_longest() {
    let limits = limits(3, Overflow::KeepLatest);
    let mut outbox = Outbox::default();
    for (number, topic) in [(1, "a"), (2, "b"), (3, "b"), (4, "c"), (5, "b"), (6, "d")] {
        outbox.push(1, of_topic(number, topic), false, &limits);
    }
    // 2 made room for 4, 3 for 5; all topics differ when 6 comes, so the oldest goes.
    assert_eq!(
        all(&mut outbox),
        [
            Seen::Missed(1, 3),
            Seen::Message(1, 4),
            Seen::Message(1, 5),
            Seen::Message(1, 6),
        ]
    );
}

#[test]
fn a_full_queue_refuses_if_that_is_the_policy() {
    let limits = limits(1, Overflow::Disconnect);
    let mut outbox = Outbox::default();
    assert_eq!(
        outbox.push(1, message(1, 0), false, &limits),
        Pushed::Queued
    );
    assert_eq!(
        outbox.push(1, message(2, 0), false, &limits),
        Pushed::Refused
    );
}

#[test]
fn a_newer_state_takes_the_place_of_the_older_one() {
    let mut outbox = Outbox::default();
    outbox.push(1, of_topic(1, "a"), true, &MANY);
    outbox.push(2, of_topic(2, "a"), true, &MANY);
    outbox.push(1, of_topic(3, "b"), true, &MANY);
    assert_eq!(
        outbox.push(1, of_topic(4, "a"), true, &MANY),
        Pushed::Replaced
    );
    assert_eq!(
        all(&mut outbox),
        [
            Seen::Message(1, 4),
            Seen::Message(2, 2),
            Seen::Message(1, 3)
        ]
    );
}

#[test]
fn rosters_leave_no_room_for_what_can_wait() {
    let roster = || Arc::new(RoomEvent::new(RoomEventKind::Presence, " ".repeat(900)));
    let limits = Limits {
        bytes: 1000,
        ..MANY
    };
    let mut outbox = Outbox::default();
    outbox.tell(1, roster());
    outbox.tell(2, roster());
    assert_eq!(outbox.waiting_bytes(), 1800);
    assert!(!outbox.has_room_for(
        ReadLimit {
            messages: 1,
            bytes: 1
        },
        &limits
    ));
    assert!(
        outbox.has_room(100, &limits),
        "a single message always passes"
    );
    // What cannot wait does not make room for them either.
    for number in 0..3 {
        assert_eq!(
            outbox.push(3, message(number, 100), false, &limits),
            Pushed::Queued
        );
    }
    assert!(!outbox.has_room(100, &limits));
    outbox.forget(1);
    assert!(!outbox.has_room(100, &limits));
    outbox.pop();
    assert!(outbox.has_room(100, &limits));
    assert_eq!(outbox.waiting_bytes(), 303);
}

#[test]
fn what_is_over_is_forgotten() {
    let mut outbox = Outbox::default();
    outbox.push(1, message(1, 0), false, &MANY);
    outbox.push(2, message(2, 0), false, &MANY);
    outbox.push(1, gap(), false, &MANY);
    outbox.forget(1);
    assert_eq!(outbox.messages(), 1);
    assert_eq!(all(&mut outbox), [Seen::Message(2, 2)]);
}

#[test]
fn an_oversized_message_still_passes() {
    let limits = Limits { bytes: 10, ..MANY };
    let mut outbox = Outbox::default();
    outbox.push(1, message(1, 50), false, &limits);
    assert_eq!(all(&mut outbox), [Seen::Message(1, 1)]);
}

#[test]
fn a_gap_is_told_once_between_two_messages() {
    let limits = limits(1, Overflow::DropOldest);
    let mut outbox = Outbox::default();
    for number in 1..=3 {
        outbox.push(1, gap(), false, &limits);
        outbox.push(1, message(number, 0), false, &limits);
    }
    outbox.push(2, message(1, 0), false, &limits);
    // What was dropped is counted behind the first gap, and the last one says nothing new.
    outbox.push(1, gap(), false, &limits);
    assert_eq!(outbox.items.len(), 3);
}

#[derive(Clone, Debug)]
enum Step {
    Push(u32, usize),
    Gap(u32),
    Take(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1_u32..4, 0_usize..20).prop_map(|(of, bytes)| Step::Push(of, bytes)),
        1 => (1_u32..4).prop_map(Step::Gap),
        2 => (0_usize..4).prop_map(Step::Take),
    ]
}

proptest! {
    /// Under each policy that drops: of each subscription, what is taken out and what is reported
    /// missing add up to what was put in, in order, and the loss stands where it happened.
    #[test]
    fn nothing_vanishes_silently(
        capacity in 1_usize..6, latest: bool,
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        let overflow = if latest { Overflow::KeepLatest } else { Overflow::DropOldest };
        let limits = Limits { messages: capacity, bytes: 60, overflow };
        let mut outbox = Outbox::default();
        let (mut sent, mut next) = ([0_u64; 4], [1_u64; 4]);
        let mut note = |seen| match seen {
            // What is missing stands right before what follows it.
            Seen::Message(of, number) => {
                let next = &mut next[of as usize];
                assert_eq!(*next, number);
                *next += 1;
            }
            Seen::Missed(of, missed) => next[of as usize] += missed,
            Seen::Gap(_) | Seen::Reply(_) => {}
        };
        for step in steps {
            match step {
                Step::Push(of, bytes) => {
                    sent[of as usize] += 1;
                    let event = message(sent[of as usize], bytes);
                    outbox.push(of, event, false, &limits);
                }
                Step::Gap(of) => { outbox.push(of, gap(), false, &limits); }
                Step::Take(count) => (0..count).filter_map(|_| take(&mut outbox)).for_each(&mut note),
            }
            prop_assert!(outbox.messages() <= capacity);
            // However long nobody takes anything: of each subscription one gap of each kind before,
            // between and after its messages.
            prop_assert!(outbox.items.len() <= capacity + 2 * (capacity + 3));
        }
        all(&mut outbox).into_iter().for_each(&mut note);
        for of in 1..4 {
            prop_assert_eq!(next[of] - 1, sent[of]);
        }
        prop_assert_eq!((outbox.messages, outbox.bytes), (0, 0));
        prop_assert!(outbox.is_empty());
    }
}
