//! Counters.

use futures_util::future::join_all;
use quorate::{Codec, ErrorKind, Outcome, Remaining, StoreSpec};

use super::{COUNTS, MINUTE, RAW, text};
use crate::harness::Home;

/// Nothing there counts as 0.
pub async fn counters_begin_at_nothing(home: Home) {
    let counts = home.fleet().store(&COUNTS);
    assert_eq!(counts.increment("a", 5).await.unwrap(), 5);
    assert_eq!(counts.increment("a", 0).await.unwrap(), 5);
    assert_eq!(counts.decrement("a", 7).await.unwrap(), -2);
    assert_eq!(counts.decrement("b", 1).await.unwrap(), -1);
}

/// Read, set and compared like any other value, also by other programs.
pub async fn counters_are_plain_numbers(home: Home) {
    const DIGITS: Codec<i64> = Codec::custom(
        "digits",
        "text/plain",
        |number| Ok(number.to_string().into()),
        |bytes| Ok(std::str::from_utf8(bytes)?.parse()?),
    );
    const RAW_COUNTS: StoreSpec<str, i64> = StoreSpec::raw(DIGITS);
    let counts = home.fleet().store(&COUNTS);
    counts.set("a", &41).await.unwrap();
    assert_eq!(counts.increment("a", 1).await.unwrap(), 42);
    assert_eq!(counts.get("a").await.unwrap(), Some(42));
    assert!(counts.compare_and_set("a", Some(&42), &7).await.unwrap());
    let raw = home.fleet().store(&RAW_COUNTS);
    assert_eq!(raw.increment("n", 3).await.unwrap(), 3);
    let seen = home.fleet().store(&RAW).get("n").await.unwrap();
    assert_eq!(seen, Some(text("3")));
    // Large ones keep every digit.
    counts.set("a", &(i64::MAX - 2)).await.unwrap();
    let counted = counts.increment("a", 1).ttl(MINUTE).await.unwrap();
    assert_eq!(counted, i64::MAX - 1);
}

/// Over all instances.
pub async fn of_many_who_count_none_is_lost(home: Home) {
    let other = home.instance("b").await;
    let fleets = [home.fleet(), &other];
    let adds = (0..100).map(|number: usize| {
        let counts = fleets[number % 2].store(&COUNTS);
        async move { counts.increment("a", 1).await.unwrap() }
    });
    let mut seen = join_all(adds).await;
    seen.sort_unstable();
    assert_eq!(seen, (1..=100).collect::<Vec<_>>());
}

/// An error that says so, and nothing has happened.
pub async fn a_counter_that_would_overflow_stays(home: Home) {
    let counts = home.fleet().store(&COUNTS);
    counts.set("most", &i64::MAX).await.unwrap();
    counts.set("least", &i64::MIN).ttl(MINUTE).await.unwrap();
    for error in [
        counts.increment("most", 1).await.unwrap_err(),
        counts.increment("most", 1).ttl(MINUTE).await.unwrap_err(),
        counts.increment("most", 1).idempotent().await.unwrap_err(),
        counts.decrement("least", 1).no_ttl().await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(error.outcome(), Outcome::NotApplied);
        assert_eq!(
            error.message(),
            Some("by must not take the counter out of the range of 64 bits")
        );
    }
    let error = counts.decrement("least", i64::MIN).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(counts.get("most").await.unwrap(), Some(i64::MAX));
    assert_eq!(counts.get("least").await.unwrap(), Some(i64::MIN));
    assert_eq!(
        counts.remaining("most").await.unwrap(),
        Some(Remaining::Forever)
    );
    assert_ne!(
        counts.remaining("least").await.unwrap(),
        Some(Remaining::Forever)
    );
}

/// An error that says so, and the value stays.
pub async fn what_is_no_number_is_not_counted(home: Home) {
    const AS_TEXT: StoreSpec<str, String> = StoreSpec::with_codec("counts", Codec::text());
    let (counts, texts) = (home.fleet().store(&COUNTS), home.fleet().store(&AS_TEXT));
    for value in ["seven", "", "1.5", "+7", "07", " 7", "9223372036854775808"] {
        texts.set("a", &text(value)).await.unwrap();
        for error in [
            counts.increment("a", 1).await.unwrap_err(),
            counts.increment("a", 1).ttl(MINUTE).await.unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Decode, "{value:?}");
            assert_eq!(error.outcome(), Outcome::NotApplied);
        }
        assert_eq!(texts.get("a").await.unwrap(), Some(text(value)));
    }
}

/// What is counted in a minute ends after the minute, however often it is counted.
pub async fn a_counter_ends_after_its_first_increment(home: Home) {
    const MINUTELY: StoreSpec<str, i64> = StoreSpec::new("minutely").ttl(MINUTE);
    let counts = home.fleet().store(&MINUTELY);
    assert_eq!(counts.increment("a", 1).await.unwrap(), 1);
    home.elapse(MINUTE * 2 / 3).await;
    assert_eq!(counts.increment("a", 1).await.unwrap(), 2);
    home.elapse(MINUTE * 2 / 3).await;
    assert_eq!(counts.increment("a", 1).await.unwrap(), 1);
}

/// With the increment, at one moment.
pub async fn an_increment_may_move_the_end(home: Home) {
    const MINUTELY: StoreSpec<str, i64> = StoreSpec::new("minutely").ttl(MINUTE);
    let counts = home.fleet().store(&MINUTELY);
    counts.increment("a", 1).await.unwrap();
    counts.increment("b", 1).await.unwrap();
    home.elapse(MINUTE * 2 / 3).await;
    assert_eq!(counts.increment("a", 1).ttl(MINUTE).await.unwrap(), 2);
    assert_eq!(counts.increment("b", 1).no_ttl().await.unwrap(), 2);
    home.elapse(MINUTE * 2 / 3).await;
    assert_eq!(counts.get("a").await.unwrap(), Some(2));
    home.elapse(MINUTE).await;
    assert_eq!(counts.get("a").await.unwrap(), None);
    assert_eq!(counts.get("b").await.unwrap(), Some(2));
}

/// It could not read what was counted.
pub async fn a_codec_without_digits_does_not_count(home: Home) {
    const PACKED: StoreSpec<str, i64> = StoreSpec::new("packed").codec(Codec::message_pack());
    let error = home
        .fleet()
        .store(&PACKED)
        .increment("a", 1)
        .await
        .unwrap_err();
    assert_eq!(
        error.message(),
        Some("codec must write numbers in digits where they are counted")
    );
}
