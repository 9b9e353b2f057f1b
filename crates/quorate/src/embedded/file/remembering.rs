//! What the file has of writes that are remembered: a row for each, that comes and goes by itself.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use redb::{ReadableDatabase, ReadableTable};

use super::tests::{COUNTS, fleet};
use crate::embedded::encode;
use crate::store::Written;
use crate::{Fleet, Store};

const ROWS: redb::TableDefinition<'static, (&str, &[u8]), &[u8]> =
    redb::TableDefinition::new("rows");
const HOUR: Duration = Duration::from_secs(3600);

async fn increment(counts: &Store<str, i64>, id: usize) -> i64 {
    let increment = counts.increment("a", 1);
    let id = format!("{id:036}");
    increment.idempotency_key(&id).await.unwrap()
}

/// What a write costs does not depend on how many are remembered.
#[tokio::test]
async fn a_round_writes_what_changed_however_much_is_remembered() {
    let directory = tempfile::tempdir().unwrap();
    let (fleet, orders) = fleet(&directory).await;
    let counts = fleet.store(&COUNTS);
    let mut costs = Vec::new();
    for id in 0..1_020 {
        let before = orders.bytes.load(Ordering::SeqCst);
        increment(&counts, id).await;
        costs.push(orders.bytes.load(Ordering::SeqCst) - before);
    }
    let worst_of = |costs: &[usize]| costs.iter().copied().max().unwrap();
    let (few, many) = (worst_of(&costs[..20]), worst_of(&costs[1_000..]));
    // The pages of a tree that has grown by a level.
    assert!(many <= 2 * few, "{few} bytes at first, {many} bytes then");
}

/// The rows of this table in the file, which is closed.
fn rows(path: &Path, table: &str) -> Vec<Vec<u8>> {
    let database = redb::Database::open(path).unwrap();
    let read = database.begin_read().unwrap();
    let all = read.open_table(ROWS).unwrap();
    let rows = all.iter().unwrap().map(Result::unwrap);
    let of_table = rows.filter(|(key, _)| key.value().0 == table);
    of_table.map(|(_, row)| row.value().to_vec()).collect()
}

#[tokio::test(start_paused = true)]
async fn what_is_forgotten_leaves_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("home.redb");
    let (fleet, _) = fleet(&directory).await;
    let counts = fleet.store(&COUNTS);
    for id in 0..10 {
        increment(&counts, id).await;
    }
    // Also where no value is.
    let once = counts
        .compare_and_set("b", Some(&1), &2)
        .idempotency_key("b");
    assert!(!once.await.unwrap());
    fleet.close().await;
    assert_eq!(rows(&path, "store-once").len(), 11);
    assert_eq!(rows(&path, "store").len(), 1);

    let fleet = reopened(&directory).await;
    let counts = fleet.store(&COUNTS);
    assert_eq!(increment(&counts, 3).await, 4, "it is remembered");
    tokio::time::advance(HOUR * 48).await;
    assert_eq!(increment(&counts, 3).await, 11, "it is forgotten");
    fleet.close().await;
    // The other entry, which nobody used, goes when the file is opened.
    reopened(&directory).await.close().await;
    assert_eq!(rows(&path, "store-once").len(), 1);
    assert_eq!(rows(&path, "store").len(), 1);
}

async fn reopened(directory: &tempfile::TempDir) -> Fleet {
    fleet(directory).await.0
}

/// Entries that have in their own row what is remembered, as they were written before.
#[tokio::test]
async fn a_file_of_an_earlier_version_is_read_and_rewritten() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("home.redb");
    let (fleet, _) = fleet(&directory).await;
    let counts = fleet.store(&COUNTS);
    for id in 0..3 {
        increment(&counts, id).await;
    }
    fleet.close().await;
    join_rows(&path);
    assert_eq!(rows(&path, "store-once").len(), 0);

    for _ in 0..2 {
        let fleet = reopened(&directory).await;
        let counts = fleet.store(&COUNTS);
        for id in 0..3 {
            let first = i64::try_from(id).unwrap() + 1;
            assert_eq!(increment(&counts, id).await, first);
        }
        fleet.close().await;
        assert_eq!(rows(&path, "store-once").len(), 3);
        assert_eq!(rows(&path, "store")[0][0], 2, "the version");
    }
}

/// Makes of an entry and its side rows the one row that it once had.
fn join_rows(path: &Path) {
    type Done = (String, [u8; 8], Written, u64);
    let decode = |row: Vec<u8>| crate::embedded::decode::<Done>(1, &row).unwrap();
    let done: Vec<Done> = rows(path, "store-once").into_iter().map(decode).collect();
    let (value, ends): (Option<Bytes>, Option<u64>) =
        crate::embedded::decode(2, &rows(path, "store")[0]).unwrap();
    let row = encode(1, &(value, ends, done));
    let database = redb::Database::open(path).unwrap();
    let write = database.begin_write().unwrap();
    {
        let mut all = write.open_table(ROWS).unwrap();
        all.retain(|(table, _), _| table != "store-once").unwrap();
        let key = all.first().unwrap().unwrap().0.value().1.to_vec();
        all.insert(("store", &*key), &*row).unwrap();
    }
    write.commit().unwrap();
}
