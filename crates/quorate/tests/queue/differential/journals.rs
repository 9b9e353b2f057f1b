//! What is done with the journals and inboxes of jobs, at random.

use bytes::Bytes;
use proptest::prelude::*;
use quorate::queue::{Append, Appended, JobId, JournalPage, LeaseNumber, QueuePort, ReadFrom};
use quorate::{Key, Micros};

use super::steps::{IDS, WORKERS};
use super::{id, shown};
use crate::agreement::{halves, options};

#[derive(Clone, Debug)]
pub(super) enum Journaling {
    /// For the first ones that the worker has or had.
    Append(u8, Vec<Appending>),
    Read(u8, ReadFrom),
    Tell(u8, u8),
    Rewind(u8, u64),
}

/// Entries for one journal.
#[derive(Clone, Debug)]
pub(super) struct Appending {
    /// How many entries before the end.
    before: u64,
    /// Of which one byte each.
    entries: Vec<u8>,
}

fn appending() -> impl Strategy<Value = Appending> {
    let before = prop_oneof![6 => Just(0), 2 => 1..3_u64];
    let entries = proptest::collection::vec(0..2_u8, 1..4);
    (before, entries).prop_map(|(before, entries)| Appending { before, entries })
}

pub(super) fn journaling() -> impl Strategy<Value = Journaling> {
    let appends = proptest::collection::vec(appending(), 1..4);
    prop_oneof![
        5 => (0..WORKERS, appends).prop_map(|(worker, all)| Journaling::Append(worker, all)),
        2 => (0..IDS, 0..3_u64, 0..3_u64).prop_map(|(id, entry, message)| {
            Journaling::Read(id, ReadFrom { entry, message })
        }),
        4 => (0..IDS, any::<u8>()).prop_map(|(id, text)| Journaling::Tell(id, text)),
        2 => (0..IDS, 0..3_u64).prop_map(|(id, entries)| Journaling::Rewind(id, entries)),
    ]
}

fn short(byte: u8) -> Bytes {
    Bytes::from(vec![byte; usize::from(byte % 5)])
}

async fn read(port: &dyn QueuePort, key: &Key, id: JobId, from: ReadFrom) -> Option<JournalPage> {
    port.read(key, id, from, options()).await.unwrap()
}

/// With how long ago each was written.
fn lines(now: Micros, lines: &[(Micros, Bytes)]) -> String {
    let lines = lines
        .iter()
        .map(|(at, text)| (halves(now.since(*at)), text));
    format!("{:?}", lines.collect::<Vec<_>>())
}

/// Does that; `held` is what the worker has or had.
pub(super) async fn journal(
    port: &dyn QueuePort,
    key: &Key,
    held: &[(JobId, LeaseNumber)],
    step: &Journaling,
) -> String {
    match step {
        Journaling::Append(_, all) => {
            let mut appends = Vec::new();
            for ((id, lease), it) in held.iter().zip(all) {
                let page = read(port, key, *id, ReadFrom::default()).await;
                let length = page.map_or(0, |page| page.length);
                appends.push(Append {
                    id: *id,
                    lease: *lease,
                    at: length.saturating_sub(it.before),
                    entries: it.entries.iter().map(|byte| short(*byte)).collect(),
                });
            }
            let done = port.append(key, &appends, options()).await.unwrap();
            let mut text = Vec::new();
            for (done, it) in done.iter().zip(&appends) {
                let page = read(port, key, it.id, ReadFrom::default()).await;
                text.push(match (done, page) {
                    (Appended::Written(at), Some(page)) => {
                        format!("{} {}", halves(page.now.since(*at)), page.length)
                    }
                    other => format!("{:?}", other.0),
                });
            }
            text.join(", ")
        }
        Journaling::Read(number, from) => match read(port, key, id(*number), *from).await {
            Some(page) => format!(
                "{} of {}, {} of {}",
                lines(page.now, &page.entries),
                page.length,
                lines(page.now, &page.messages),
                page.told
            ),
            None => String::new(),
        },
        Journaling::Tell(number, text) => {
            let state = port.tell(key, id(*number), short(*text), options()).await;
            shown(state.unwrap().as_ref())
        }
        Journaling::Rewind(number, entries) => {
            match port.rewind(key, id(*number), *entries, options()).await {
                Ok(done) => format!("{done}"),
                Err(error) => error.to_string(),
            }
        }
    }
}
