//! Loss is visible.

use bytes::{Bytes, BytesMut};
use quorate::{GapReason, Overflow, Subscription, Topic};

use super::{NUMBERS, gap, message};
use crate::harness::{Home, within};

/// Where the envelope keeps its flags and its sequence (see the layout in the library's docs).
const FLAGS_AT: usize = 2;
const SEQUENCE_AT: std::ops::Range<usize> = 21..29;
const BEACON: u8 = 1;

/// A topic with a typed subscription, and its bytes as they travel.
struct Wire {
    topic: Topic<u64>,
    numbers: Subscription<u64>,
    raw: quorate::events::RawChannel,
    bytes: Subscription<Bytes>,
}

impl Wire {
    async fn tap(home: &Home) -> Self {
        let topic = home.fleet().topic(&NUMBERS);
        let raw = home.fleet().channel("events:numbers").unwrap();
        let bytes = raw.subscribe().await.unwrap();
        let numbers = topic.subscribe().await.unwrap();
        Self {
            topic,
            numbers,
            raw,
            bytes,
        }
    }

    /// Publishes a number and returns the message as it travelled.
    async fn send(&mut self, number: u64) -> Bytes {
        self.topic.publish(&number).await.unwrap();
        loop {
            let bytes = message(&mut self.bytes).await.bytes().clone();
            if bytes[FLAGS_AT] & BEACON == 0 {
                return bytes;
            }
        }
    }

    /// Puts a message with another sequence number on the wire, as if those between were lost.
    async fn inject(&self, message: &Bytes, ahead: u64, flags: u8) {
        let mut forged = BytesMut::from(&message[..]);
        let mut sequence = [0; 8];
        sequence.copy_from_slice(&forged[SEQUENCE_AT]);
        let sequence = u64::from_le_bytes(sequence) + ahead;
        forged[SEQUENCE_AT].copy_from_slice(&sequence.to_le_bytes());
        forged[FLAGS_AT] = flags;
        self.raw.publish(forged.freeze()).await.unwrap();
    }
}

/// A full buffer drops by its policy, says how much, and holds up neither publisher nor neighbour.
pub async fn a_slow_subscriber_sees_a_gap_and_delays_nobody(home: Home) {
    let topic = home.fleet().topic(&NUMBERS);
    let mut slow = topic.subscribe().buffer(10).await.unwrap();
    let mut newest_dropped = topic
        .subscribe()
        .buffer(10)
        .overflow(Overflow::DropNewest)
        .await
        .unwrap();
    let mut ends = topic
        .subscribe()
        .buffer(10)
        .overflow(Overflow::Disconnect)
        .await
        .unwrap();
    let mut quick = topic.subscribe().buffer(1000).await.unwrap();
    for number in 0..100 {
        topic.publish(&number).await.unwrap();
    }
    for expected in 0..100 {
        assert_eq!(*message(&mut quick).await, expected);
    }
    let missing = gap(&mut slow).await;
    assert_eq!(
        (missing.reason, missing.missed),
        (GapReason::BufferFull, Some(90))
    );
    assert_eq!(*message(&mut slow).await, 90);

    for expected in 0..10 {
        assert_eq!(*message(&mut newest_dropped).await, expected);
        assert_eq!(*message(&mut ends).await, expected);
    }
    assert_eq!(gap(&mut newest_dropped).await.missed, Some(90));
    assert_eq!(gap(&mut ends).await.reason, GapReason::BufferFull);
    assert!(within("the end", ends.next()).await.is_none());
}

/// Messages that never arrived are counted at the next one that does.
pub async fn a_hole_in_the_sequence_is_a_gap(home: Home) {
    let mut wire = Wire::tap(&home).await;
    let sent = wire.send(1).await;
    assert_eq!(*message(&mut wire.numbers).await, 1);
    wire.inject(&sent, 4, 0).await;
    let missing = gap(&mut wire.numbers).await;
    assert_eq!((missing.reason, missing.missed), (GapReason::Lost, Some(3)));
    assert_eq!(*message(&mut wire.numbers).await, 1);
}

/// A lost last message is noticed when its publisher says what it last sent.
pub async fn a_lost_last_message_is_a_gap(home: Home) {
    let mut wire = Wire::tap(&home).await;
    let sent = wire.send(1).await;
    assert_eq!(*message(&mut wire.numbers).await, 1);
    wire.inject(&sent, 2, BEACON).await;
    let missing = gap(&mut wire.numbers).await;
    assert_eq!((missing.reason, missing.missed), (GapReason::Lost, Some(2)));
}

/// A message that arrives twice is handed out once.
pub async fn a_duplicate_is_dropped(home: Home) {
    let mut wire = Wire::tap(&home).await;
    let sent = wire.send(1).await;
    wire.inject(&sent, 0, 0).await;
    wire.send(2).await;
    assert_eq!(*message(&mut wire.numbers).await, 1);
    assert_eq!(*message(&mut wire.numbers).await, 2);
}

/// After the last message of a burst, its publisher repeats which one that was.
pub async fn publishers_confirm_what_they_last_sent(home: Home) {
    let mut wire = Wire::tap(&home).await;
    let sent = wire.send(1).await;
    let beacon = message(&mut wire.bytes).await.bytes().clone();
    assert_eq!(beacon[FLAGS_AT] & BEACON, BEACON);
    assert_eq!(beacon[SEQUENCE_AT], sent[SEQUENCE_AT]);
    // It is not a message, and nothing was lost: the typed subscription sees neither.
    assert_eq!(*message(&mut wire.numbers).await, 1);
    assert_eq!(wire.numbers.backlog(), 0);
}
