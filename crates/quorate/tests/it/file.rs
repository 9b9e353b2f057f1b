//! The home in a file: what is there again, who may open it, and how large it gets.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::TryStreamExt;
use quorate::store::Fenced;
use quorate::{
    Durability, ErrorKind, Event, FencingToken, Fleet, Remaining, StoreSpec, TestClock, TopicSpec,
};
use quorate_testing::harness::file_url;
use tempfile::TempDir;

const TEXTS: StoreSpec<str, String> = StoreSpec::new("texts");
const COUNTS: StoreSpec<str, i64> = StoreSpec::new("counts");
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// A directory with a home's file in it.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("home.redb")
    }

    async fn open(&self) -> Fleet {
        Fleet::connect(&file_url(&self.path())).await.unwrap()
    }

    /// By a clock that is so far ahead of the system's.
    async fn open_ahead(&self, ahead: Duration) -> Fleet {
        let clock = TestClock::new();
        clock.advance(ahead);
        let builder = Fleet::builder().url(file_url(&self.path()));
        builder.test_clock(clock).build().await.unwrap()
    }
}

fn text(text: &str) -> String {
    text.to_owned()
}

#[tokio::test]
async fn what_was_written_is_there_again() {
    let place = Place::new();
    let fleet = place.open().await;
    let (texts, counts) = (fleet.store(&TEXTS), fleet.store(&COUNTS));
    texts.set("a", &text("1")).await.unwrap();
    texts.set("ends", &text("2")).ttl(HOUR).await.unwrap();
    texts.set("deleted", &text("3")).await.unwrap();
    texts.delete("deleted").await.unwrap();
    counts.increment("n", 41).await.unwrap();
    let claim = counts.increment("n", 1).idempotency_key("k");
    assert_eq!(claim.await.unwrap(), 42);
    fleet.close().await;

    let fleet = place.open().await;
    let (texts, counts) = (fleet.store(&TEXTS), fleet.store(&COUNTS));
    assert_eq!(texts.get("a").await.unwrap(), Some(text("1")));
    assert_eq!(
        texts.remaining("a").await.unwrap(),
        Some(Remaining::Forever)
    );
    let remaining = texts.remaining("ends").await.unwrap();
    assert!(
        matches!(remaining, Some(Remaining::For(left)) if left > HOUR - MINUTE && left <= HOUR),
        "{remaining:?}"
    );
    assert_eq!(texts.get("deleted").await.unwrap(), None);
    let mut found: Vec<String> = texts.scan("").try_collect().await.unwrap();
    found.sort_unstable();
    assert_eq!(found, ["a", "ends"]);
    // What was done once is not done again.
    let claim = counts.increment("n", 1).idempotency_key("k");
    assert_eq!(claim.await.unwrap(), 42);
    assert_eq!(counts.increment("n", 1).await.unwrap(), 43);
}

/// Also of an entry that is gone.
#[tokio::test]
async fn the_greatest_token_of_an_entry_is_in_the_file() {
    let place = Place::new();
    let fleet = place.open().await;
    let texts = fleet.store(&TEXTS);
    let (old, new) = (FencingToken::new(7), FencingToken::new(8));
    let written = texts.set("a", &text("1")).fenced(new).await.unwrap();
    assert_eq!(written, Fenced::Done(()));
    assert_eq!(
        texts.delete("a").fenced(new).await.unwrap(),
        Fenced::Done(true)
    );
    fleet.close().await;
    let fleet = place.open().await;
    let late = fleet.store(&TEXTS).set("a", &text("2")).fenced(old).await;
    assert!(matches!(late.unwrap(), Fenced::Stale { greatest, .. } if greatest == new));
    fleet.close().await;
    let fleet = place.open_ahead(HOUR * 24 * 32).await;
    let late = fleet.store(&TEXTS).set("a", &text("2")).fenced(old).await;
    assert_eq!(late.unwrap(), Fenced::Done(()));
}

#[tokio::test]
async fn what_ended_meanwhile_is_gone() {
    let place = Place::new();
    let fleet = place.open().await;
    let texts = fleet.store(&TEXTS);
    texts.set("a", &text("1")).ttl(MINUTE).await.unwrap();
    texts.set("b", &text("1")).ttl(HOUR).await.unwrap();
    fleet.close().await;
    let fleet = place.open_ahead(MINUTE * 2).await;
    let texts = fleet.store(&TEXTS);
    assert_eq!(texts.get("a").await.unwrap(), None);
    assert_eq!(texts.get("b").await.unwrap(), Some(text("1")));
}

/// The home's time goes on from when it was last written.
#[tokio::test]
async fn a_clock_set_back_neither_ends_nor_prolongs() {
    let place = Place::new();
    let fleet = place.open_ahead(HOUR).await;
    let texts = fleet.store(&TEXTS);
    texts.set("a", &text("1")).ttl(MINUTE).await.unwrap();
    let first = token(&fleet).await;
    fleet.close().await;
    let fleet = place.open().await;
    let remaining = fleet.store(&TEXTS).remaining("a").await.unwrap();
    assert!(
        matches!(remaining, Some(Remaining::For(left)) if left <= MINUTE && left > MINUTE / 2),
        "{remaining:?}"
    );
    assert!(token(&fleet).await > first);
}

async fn token(fleet: &Fleet) -> FencingToken {
    let acquired = fleet.lock("report").try_acquire().await.unwrap();
    let guard = acquired.guard().expect("it is free");
    guard.token()
}

#[tokio::test]
async fn holders_are_gone_with_their_process_and_tokens_go_on_growing() {
    let place = Place::new();
    let mut last = FencingToken::new(0);
    for _ in 0..3 {
        let fleet = place.open().await;
        let acquired = fleet.lock("report").try_acquire().await.unwrap();
        let guard = acquired.guard().expect("whoever held it is gone");
        assert!(guard.token() > last);
        last = guard.token();
        fleet.close().await;
    }
}

/// Time alone would not let them grow: for the home it is the same moment still.
#[tokio::test(start_paused = true)]
async fn the_last_token_is_in_the_file() {
    let place = Place::new();
    let fleet = place.open_ahead(HOUR).await;
    let mut last = FencingToken::new(0);
    for _ in 0..50 {
        let acquired = fleet.lock("report").try_acquire().await.unwrap();
        let guard = acquired.guard().expect("it was given back");
        assert!(guard.token() > last);
        last = guard.token();
        guard.release().await.unwrap();
    }
    fleet.close().await;
    let fleet = place.open().await;
    assert!(token(&fleet).await > last);
}

/// They are in memory only, and who comes back to a topic is told so.
#[tokio::test]
async fn histories_are_not_in_the_file() {
    const KEPT: TopicSpec<u64> = TopicSpec::new("kept").keep(HOUR, 100, 1 << 20);
    let place = Place::new();
    let fleet = place.open().await;
    let receipt = fleet.topic(&KEPT).publish(&1).await.unwrap();
    let position = receipt.position.expect("it is kept");
    fleet.close().await;
    let fleet = place.open().await;
    let topic = fleet.topic(&KEPT);
    let mut numbers = topic.subscribe().after(position).await.unwrap();
    assert!(matches!(numbers.next().await, Some(Event::Gap(_))));
}

#[tokio::test]
async fn a_file_is_open_once() {
    let place = Place::new();
    let fleet = place.open().await;
    fleet.store(&COUNTS).set("a", &1).await.unwrap();
    let url = file_url(&place.path());
    let error = Fleet::connect(&url).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("is open in another"), "{error}");
    // What has it open is not touched.
    assert_eq!(fleet.store(&COUNTS).increment("a", 1).await.unwrap(), 2);
    fleet.close().await;
    let fleet = Fleet::connect(&url).await.unwrap();
    assert_eq!(fleet.store(&COUNTS).get("a").await.unwrap(), Some(2));
    assert!(fleet.to_string().ends_with("home.redb"), "{fleet}");
}

#[tokio::test]
async fn the_last_instance_closes_the_file() {
    let place = Place::new();
    let a = place.open().await;
    let b = a.instance("b").await.unwrap();
    a.close().await;
    a.close().await;
    b.store(&COUNTS).set("a", &1).await.unwrap();
    Fleet::connect(&file_url(&place.path())).await.unwrap_err();
    let port = b.store_port();
    b.close().await;
    assert_eq!(b.instance("c").await.unwrap_err().kind(), ErrorKind::Closed);
    let fleet = place.open().await;
    assert_eq!(fleet.store(&COUNTS).get("a").await.unwrap(), Some(1));
    // A port that is still held writes nothing behind the back of who has the file now.
    let options = quorate::CallOptions::until(tokio::time::Instant::now() + SECOND);
    let refused = port.get_many(&[], options).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Closed);
}

/// The store goes on as long as there is a handle; then the file is let go.
#[tokio::test]
async fn a_fleet_that_is_dropped_lets_go_of_its_file() {
    let place = Place::new();
    let fleet = place.open().await;
    let counts = fleet.store(&COUNTS);
    drop(fleet);
    counts.set("a", &1).await.unwrap();
    Fleet::connect(&file_url(&place.path())).await.unwrap_err();
    drop(counts);
    quorate_testing::harness::eventually("it can be opened", async || {
        match Fleet::connect(&file_url(&place.path())).await {
            Ok(fleet) => fleet.store(&COUNTS).get("a").await.unwrap() == Some(1),
            Err(_) => false,
        }
    })
    .await;
}

/// Rounds run on whichever runtime asks for them.
#[test]
fn a_home_outlives_the_runtime_it_was_opened_on() {
    let place = Place::new();
    let runtime = || tokio::runtime::Runtime::new().unwrap();
    let first = runtime();
    let fleet = first.block_on(place.open());
    first.block_on(async { fleet.store(&COUNTS).set("a", &1).await.unwrap() });
    drop(first);
    runtime().block_on(async {
        assert_eq!(fleet.store(&COUNTS).increment("a", 1).await.unwrap(), 2);
        fleet.close().await;
        assert_eq!(
            place.open().await.store(&COUNTS).get("a").await.unwrap(),
            Some(2)
        );
    });
}

#[tokio::test]
async fn what_cannot_be_a_home_is_refused_and_left_alone() {
    let place = Place::new();
    let directory = place.0.path();
    let notes = directory.join("notes.txt");
    std::fs::write(
        &notes,
        "not a database, and longer than what it begins with",
    )
    .unwrap();
    for (path, says) in [
        (directory.to_owned(), "which is a directory"),
        (
            directory.join("nowhere/home.redb"),
            "whose directory does not exist",
        ),
        (notes.join("home.redb"), "which is in no directory"),
        (notes.clone(), "something else than a home"),
    ] {
        let error = Fleet::connect(&file_url(&path)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert!(error.to_string().contains(says), "{error}");
        assert!(
            error.to_string().contains(path.to_str().unwrap()),
            "{error}"
        );
    }
    let left = std::fs::read_to_string(&notes).unwrap();
    assert!(left.starts_with("not a database"));
}

/// There may be sessions in it.
#[cfg(unix)]
#[tokio::test]
async fn only_its_owner_may_read_a_new_file() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    place.open().await.close().await;
    let mode = std::fs::metadata(place.path())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn durable_writes_are_on_disk() {
    let place = Place::new();
    let fleet = place.open().await;
    let write = fleet.store(&COUNTS).set("a", &1);
    let durable = write.durable(Durability::on_disk()).await.unwrap();
    assert!(durable.is_reached());
    assert!(durable.reached.fsync);
    // There are no replicas.
    let write = fleet.store(&COUNTS).set("a", &1);
    let durable = write.durable(Durability::replicas(1)).await.unwrap();
    assert!(!durable.is_reached());
}

fn length(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().len()
}

/// 35 000 entries of 1 KiB pass through it, 2 500 of which are there at once: without letting go of any it would
/// have twice the size.
#[tokio::test(start_paused = true)]
async fn a_file_has_the_size_of_what_is_in_it() {
    const MIB: u64 = 1 << 20;
    let place = Place::new();
    let fleet = place.open().await;
    let texts = fleet.store(&TEXTS);
    let value = "x".repeat(1024);
    let mut largest = 0;
    for round in 0..14 {
        for part in 0..5 {
            let keys: Vec<_> = (0..500)
                .map(|number| format!("{round}-{part}-{number}"))
                .collect();
            let entries = keys.iter().map(|key| (key.as_str(), &value));
            texts.set_many(entries).ttl(MINUTE).await.unwrap();
        }
        largest = largest.max(length(&place.path()));
        tokio::time::advance(MINUTE + SECOND).await;
    }
    assert!(largest <= 24 * MIB, "{largest} bytes");
    fleet.close().await;
    // What ended since the last write goes when it is opened, and the space with it.
    let fleet = place.open_ahead(HOUR).await;
    assert_eq!(fleet.store(&TEXTS).get("13-4-0").await.unwrap(), None);
    fleet.close().await;
    let small = length(&place.path());
    assert!(small <= 2 * MIB, "{small} bytes");
}
