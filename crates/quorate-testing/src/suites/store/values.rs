//! Values, keys, and what is refused.

use std::future::IntoFuture;
use std::time::Duration;

use bytes::Bytes;
use quorate::{Codec, ErrorKind, Outcome, StoreSpec};
use serde::{Deserialize, Serialize};

use super::{RAW, SECOND, TEXTS, text, texts};
use crate::harness::Home;

/// A write that was answered is seen by every read that begins after it.
pub async fn what_was_set_is_read_by_every_instance(home: Home) {
    let other = home.instance("b").await;
    for round in 0..20 {
        let value = format!("value {round}");
        texts(home.fleet()).set("a", &value).await.unwrap();
        assert_eq!(texts(&other).get("a").await.unwrap(), Some(value));
    }
}

/// Nothing there is a value, not an error.
pub async fn what_is_not_there_is_none(home: Home) {
    let store = texts(home.fleet());
    assert_eq!(store.get("a").await.unwrap(), None);
    assert_eq!(store.remaining("a").await.unwrap(), None);
    assert!(!store.exists("a").await.unwrap());
    assert!(!store.delete("a").await.unwrap());
    assert!(!store.expire("a", SECOND).await.unwrap());
    assert!(!store.persist("a").await.unwrap());
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Profile {
    name: String,
    age: Option<u8>,
}

/// With every codec, and with any bytes.
pub async fn bytes_come_back_as_they_were_written(home: Home) {
    const BYTES: StoreSpec<str, Bytes> = StoreSpec::with_codec("bytes", Codec::bytes());
    const PACKED: StoreSpec<u64, Profile> = StoreSpec::new("packed").codec(Codec::message_pack());
    let fleet = home.fleet();
    for bytes in [&b""[..], b"\0\r\n$-1\r\n", b"42", &[0xff; 100_000]] {
        let bytes = Bytes::copy_from_slice(bytes);
        fleet.store(&BYTES).set("a", &bytes).await.unwrap();
        assert_eq!(fleet.store(&BYTES).get("a").await.unwrap(), Some(bytes));
    }
    for age in [None, Some(7)] {
        let profile = Profile {
            name: text("Ann"),
            age,
        };
        fleet.store(&PACKED).set(&7, &profile).await.unwrap();
        assert_eq!(fleet.store(&PACKED).get(&7).await.unwrap(), Some(profile));
    }
}

/// Exactly the namespace and the key, exactly the text.
pub async fn raw_entries_are_what_other_programs_see(home: Home) {
    let raw = home.fleet().store(&RAW);
    raw.set("greeting:en", &text("hello")).await.unwrap();
    assert_eq!(raw.get("greeting:en").await.unwrap(), Some(text("hello")));
    // In-process there is no other program.
    let Ok(redis) = home.fleet().redis() else {
        return;
    };
    let key = home.fleet().namespace().qualify("greeting:en");
    let seen = redis.command(&["GET", &key]).await.unwrap();
    assert_eq!(seen.as_str(), Some("hello"));
    redis.command(&["SET", &key, "42"]).await.unwrap();
    assert_eq!(raw.get("greeting:en").await.unwrap(), Some(text("42")));
}

/// A raw key is none of ours, whatever it is called.
pub async fn raw_and_named_entries_are_apart(home: Home) {
    let (raw, named) = (home.fleet().store(&RAW), texts(home.fleet()));
    named.set("a", &text("named")).await.unwrap();
    for key in ["a", "texts:a", "store:texts:a"] {
        raw.set(key, &text("raw")).await.unwrap();
    }
    assert_eq!(named.get("a").await.unwrap(), Some(text("named")));
    for key in ["store:{texts:a}", "lock:{report}", "{", "a}"] {
        let error = raw.set(key, &text("raw")).await.unwrap_err();
        assert_eq!(
            error.message(),
            Some("key must not contain braces where keys are raw")
        );
    }
}

/// Same key, other place: another entry.
pub async fn keys_namespaces_and_stores_are_apart(home: Home) {
    const OTHER: StoreSpec<str, String> = StoreSpec::new("others");
    const BOUNDARY: StoreSpec<str, String> = StoreSpec::new("text");
    let fleet = home.fleet();
    let inner = fleet.namespaced("inner").unwrap();
    let places = [
        (texts(fleet), "a"),
        (texts(fleet), "b"),
        (texts(fleet), "a:"),
        (fleet.store(&OTHER), "a"),
        (fleet.store(&BOUNDARY), "s:a"),
        (texts(&inner), "a"),
    ];
    for (number, (store, key)) in places.iter().enumerate() {
        store.set(key, &number.to_string()).await.unwrap();
    }
    for (number, (store, key)) in places.iter().enumerate() {
        assert_eq!(store.get(key).await.unwrap(), Some(number.to_string()));
    }
}

/// Braces, globs, spaces and letters of any script are only text.
pub async fn any_text_is_a_key(home: Home) {
    let store = texts(home.fleet());
    let longest = "x".repeat(512);
    let keys = ["{a}", "}{", "*", "a b", "50%", "größe", "%7Ba%7D", &longest];
    for key in keys {
        store.set(key, &text(key)).await.unwrap();
    }
    for key in keys {
        assert_eq!(store.get(key).await.unwrap(), Some(text(key)));
    }
}

/// Never a panic, never a retry, and the value stays.
pub async fn what_does_not_decode_is_an_error(home: Home) {
    const NUMBERS: StoreSpec<str, u64> = StoreSpec::new("texts");
    let fleet = home.fleet();
    texts(fleet).set("a", &text("seven")).await.unwrap();
    let numbers = fleet.store(&NUMBERS);
    for error in [
        numbers.get("a").await.unwrap_err(),
        numbers.get_many(["b", "a"]).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Decode);
        assert!(!error.is_retryable());
        assert_eq!(error.target(), Some("texts:a"));
        assert!(!error.to_string().contains("seven"), "{error}");
    }
    assert!(!numbers.set_if_absent("a", &7).await.unwrap());
    assert!(!numbers.compare_and_set("a", Some(&7), &8).await.unwrap());
    assert_eq!(texts(fleet).get("a").await.unwrap(), Some(text("seven")));
}

/// Defect 12 of the register among them: a time to live of zero never gets anywhere near a server.
pub async fn bad_input_is_refused_with_the_rule(home: Home) {
    const SMALL: StoreSpec<str, String> = StoreSpec::new("small").max_bytes(10);
    let (store, value) = (texts(home.fleet()), text("x"));
    let (least, most) = ("ttl must be at least 1 ms", "ttl must be at most 100 years");
    let long = "x".repeat(513);
    for (error, says) in [
        (store.get("").await.unwrap_err(), "key must not be empty"),
        (
            store.exists("a\n").await.unwrap_err(),
            "key must not contain control characters",
        ),
        (
            store.set(&*long, &value).await.unwrap_err(),
            "key must be at most 512 bytes as text",
        ),
        (
            store
                .set("a", &value)
                .ttl(Duration::ZERO)
                .await
                .unwrap_err(),
            least,
        ),
        (
            store.set("a", &value).ttl(Duration::MAX).await.unwrap_err(),
            most,
        ),
        (
            store
                .expire("a", Duration::from_micros(999))
                .await
                .unwrap_err(),
            least,
        ),
        (
            store
                .set_if_absent("a", &value)
                .ttl(Duration::ZERO)
                .await
                .unwrap_err(),
            least,
        ),
        (
            store
                .set_many([("a", &value)])
                .ttl(Duration::ZERO)
                .await
                .unwrap_err(),
            least,
        ),
        (
            home.fleet()
                .store(&SMALL)
                .set("a", &text("123456789"))
                .await
                .unwrap_err(),
            "value must be at most 10 bytes, and has 11",
        ),
    ] {
        assert_eq!(error.message(), Some(says));
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(error.outcome(), Outcome::NotApplied);
        assert!(
            error
                .operation()
                .is_some_and(|name| name.starts_with("store."))
        );
    }
    assert!(!store.exists("a").await.unwrap());
}

/// A closed fleet does nothing, and says so.
pub async fn a_closed_fleet_refuses(home: Home) {
    let other = home.instance("b").await;
    let store = texts(&other);
    other.close().await;
    let set = store.set("a", &text("x")).into_future();
    for error in [set.await.unwrap_err(), store.get("a").await.unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::Closed);
    }
    assert_eq!(home.fleet().store(&TEXTS).get("a").await.unwrap(), None);
}
