//! What sessions hold.

use futures_util::future::join_all;
use quorate::{Codec, ErrorKind, SessionKey};

use super::{COUNT, MINUTE, SECOND, TEXT, alice, text};
use crate::harness::Home;

/// From the first on.
pub async fn fields_are_read_by_every_instance(home: Home) {
    let other = home.instance("b").await;
    let made = home
        .fleet()
        .sessions()
        .create("alice")
        .field(&COUNT, &1)
        .await
        .unwrap();
    assert!(
        other
            .sessions()
            .update(&made.id)
            .set(&TEXT, &text("é"))
            .await
            .unwrap()
    );
    let session = home
        .fleet()
        .sessions()
        .get(&made.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(session.get(&COUNT).unwrap(), Some(1));
    assert_eq!(session.get(&TEXT).unwrap(), Some(text("é")));
    assert_eq!(session.fields().collect::<Vec<_>>(), ["count", "text"]);
    const OTHER: SessionKey<u32> = SessionKey::new("text");
    assert_eq!(session.get(&OTHER).unwrap_err().kind(), ErrorKind::Decode);
}

/// However many there are, and wherever.
pub async fn of_many_who_change_different_fields_none_is_lost(home: Home) {
    let other = home.instance("b").await;
    let fleets = [home.fleet(), &other];
    let id = alice(&home.fleet().sessions()).await;
    let key = |number: usize| SessionKey::<usize>::try_new(format!("f{number}")).unwrap();
    let change = |number: usize| {
        let (sessions, id) = (fleets[number % 2].sessions(), &id);
        async move {
            assert!(
                sessions
                    .update(id)
                    .set(&key(number), &number)
                    .await
                    .unwrap()
            )
        }
    };
    join_all((0..50).map(change)).await;
    let session = other.sessions().get(&id).await.unwrap().unwrap();
    for number in 0..50 {
        assert_eq!(session.get(&key(number)).unwrap(), Some(number));
    }
}

/// The last change of a field is what it holds.
pub async fn changes_are_made_together_and_in_order(home: Home) {
    let sessions = home.fleet().sessions();
    let id = alice(&sessions).await;
    let update = sessions.update(&id).set(&COUNT, &1).set(&TEXT, &text("a"));
    assert!(update.set(&COUNT, &2).remove(&TEXT).await.unwrap());
    let session = sessions.get(&id).await.unwrap().unwrap();
    assert_eq!(session.fields().collect::<Vec<_>>(), ["count"]);
    assert_eq!(session.get(&COUNT).unwrap(), Some(2));
}

/// Before its session, and a use of that does not move it.
pub async fn a_field_ends_on_its_own(home: Home) {
    let sessions = home.fleet().sessions();
    let made = sessions
        .create("alice")
        .field_for(&TEXT, &text("code"), MINUTE)
        .await
        .unwrap();
    sessions
        .update(&made.id)
        .set_for(&COUNT, &1, MINUTE * 2)
        .await
        .unwrap();
    home.elapse(SECOND * 59).await;
    let session = sessions.get_and_touch(&made.id).await.unwrap().unwrap();
    assert_eq!(session.get(&TEXT).unwrap(), Some(text("code")));
    home.elapse(SECOND).await;
    let session = sessions.get(&made.id).await.unwrap().unwrap();
    assert_eq!(session.fields().collect::<Vec<_>>(), ["count"]);
    assert_eq!(sessions.take(&made.id, &TEXT).await.unwrap(), None);
    // A new value has a new end, or none.
    sessions.update(&made.id).set(&COUNT, &2).await.unwrap();
    home.elapse(MINUTE * 2).await;
    let session = sessions.get(&made.id).await.unwrap().unwrap();
    assert_eq!(session.get(&COUNT).unwrap(), Some(2));
}

/// By one of all who ask.
pub async fn what_is_taken_is_taken_once(home: Home) {
    let other = home.instance("b").await;
    let fleets = [home.fleet(), &other];
    let made = home
        .fleet()
        .sessions()
        .create("alice")
        .field(&TEXT, &text("code"))
        .await
        .unwrap();
    let take = |number: usize| {
        let (sessions, id) = (fleets[number % 2].sessions(), &made.id);
        async move { sessions.take(id, &TEXT).await.unwrap() }
    };
    let taken: Vec<_> = join_all((0..20).map(take))
        .await
        .into_iter()
        .flatten()
        .collect();
    assert_eq!(taken, ["code"]);
}

/// 64 fields, and 64 KiB.
pub async fn too_much_is_refused_and_changes_nothing(home: Home) {
    let sessions = home.fleet().sessions();
    let id = alice(&sessions).await;
    let key = |number: usize| SessionKey::<usize>::try_new(format!("f{number}")).unwrap();
    for number in 0..64 {
        sessions
            .update(&id)
            .set(&key(number), &number)
            .await
            .unwrap();
    }
    let error = sessions
        .update(&id)
        .set(&TEXT, &text("x"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let says = "fields must be at most 64, with 65536 bytes in all";
    assert_eq!(error.message(), Some(says));
    // One goes, another comes; what was there may be replaced.
    assert!(
        sessions
            .update(&id)
            .remove(&key(0))
            .set(&TEXT, &text("x"))
            .await
            .unwrap()
    );
    let large = text(&"x".repeat(60_000));
    assert!(sessions.update(&id).set(&TEXT, &large).await.unwrap());
    let more = "x".repeat(10_000);
    assert!(
        sessions
            .update(&id)
            .remove(&key(1))
            .set(&SessionKey::<String>::new("more"), &more)
            .await
            .is_err()
    );
    let session = sessions.get(&id).await.unwrap().unwrap();
    assert_eq!(session.get(&key(1)).unwrap(), Some(1));
    assert_eq!(session.get(&TEXT).unwrap(), Some(large));
}

/// Zeros and what is no text.
pub async fn fields_hold_any_bytes(home: Home) {
    const BYTES: SessionKey<bytes::Bytes> = SessionKey::with_codec("bytes", Codec::bytes());
    let sessions = home.fleet().sessions();
    let all: Vec<u8> = (0..=255).collect();
    for value in [bytes::Bytes::new(), all.into()] {
        let made = sessions
            .create("alice")
            .field(&BYTES, &value)
            .await
            .unwrap();
        let session = sessions.get(&made.id).await.unwrap().unwrap();
        assert_eq!(session.get(&BYTES).unwrap().as_ref(), Some(&value));
        assert_eq!(sessions.take(&made.id, &BYTES).await.unwrap(), Some(value));
    }
}
