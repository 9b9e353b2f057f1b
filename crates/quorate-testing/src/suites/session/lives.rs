//! How long sessions live.

use std::time::Duration;

use futures_util::future::join_all;
use quorate::{ErrorKind, Fleet, Outcome};

use super::{DAY, HOUR, MINUTE, SECOND, TEXT, alice, is_there, text};
use crate::harness::Home;

/// Another instance knows it at once.
pub async fn a_session_is_seen_by_every_instance(home: Home) {
    let other = home.instance("b").await;
    let id = alice(&home.fleet().sessions()).await;
    assert!(is_there(&other, &id).await);
    assert!(other.sessions().delete(&id).await.unwrap());
    assert!(!is_there(home.fleet(), &id).await);
}

/// And on which device it was made.
pub async fn a_session_says_whose_it_is_and_since_when(home: Home) {
    let sessions = home.fleet().sessions();
    let made = sessions
        .create("alice")
        .device_info("Firefox")
        .await
        .unwrap();
    let session = sessions.get(&made.id).await.unwrap().unwrap();
    assert_eq!(session.user(), Some("alice"));
    assert_eq!(session.device_info(), Some("Firefox"));
    assert_eq!(session.seen_at(), session.created_at());
    assert_eq!(session.expires_at(), made.expires_at);
    assert_eq!(session.ends_at_last(), None);
    assert!(made.evicted.is_empty());
}

/// Of a use.
pub async fn a_session_lives_seven_days_unless_said_otherwise(home: Home) {
    let sessions = home.fleet().sessions();
    let by_default = alice(&sessions).await;
    let session = sessions.get(&by_default).await.unwrap().unwrap();
    assert_eq!(session.ttl(), DAY * 7);
    let short = alice(&sessions.clone().ttl(HOUR)).await;
    let shorter = sessions.create("alice").ttl(MINUTE).await.unwrap().id;
    home.elapse(MINUTE * 2).await;
    assert!(!is_there(home.fleet(), &shorter).await);
    assert!(is_there(home.fleet(), &short).await);
    home.elapse(HOUR).await;
    assert!(!is_there(home.fleet(), &short).await);
    assert!(is_there(home.fleet(), &by_default).await);
}

/// When its time to live is over.
pub async fn an_unused_session_ends(home: Home) {
    let sessions = home.fleet().sessions().ttl(HOUR);
    let id = alice(&sessions).await;
    home.elapse(MINUTE * 59).await;
    assert!(is_there(home.fleet(), &id).await);
    home.elapse(MINUTE).await;
    assert!(!is_there(home.fleet(), &id).await);
    assert!(!sessions.touch(&id).await.unwrap());
    assert!(!sessions.delete(&id).await.unwrap());
}

/// For its time to live from each use.
pub async fn a_used_session_lives_on(home: Home) {
    let sessions = home.fleet().sessions().ttl(HOUR);
    let id = alice(&sessions).await;
    for _ in 0..5 {
        home.elapse(MINUTE * 50).await;
        let session = sessions.get_and_touch(&id).await.unwrap().unwrap();
        assert_eq!(session.expires_in(), HOUR, "as it is after the use");
    }
    home.elapse(HOUR).await;
    assert!(!is_there(home.fleet(), &id).await);
}

/// Nor asking whether it is valid, nor listing it.
pub async fn looking_at_a_session_is_no_use_of_it(home: Home) {
    let sessions = home.fleet().sessions().ttl(HOUR);
    let id = alice(&sessions).await;
    home.elapse(MINUTE * 50).await;
    assert!(sessions.get(&id).await.unwrap().is_some());
    assert!(sessions.is_valid(&id).await.unwrap());
    assert_eq!(sessions.list("alice").await.unwrap().len(), 1);
    home.elapse(MINUTE * 10).await;
    assert!(!is_there(home.fleet(), &id).await);
}

/// After a minute, or a twentieth of the time to live if that is less.
pub async fn uses_are_written_down_now_and_then(home: Home) {
    let sessions = home.fleet().sessions();
    for (ttl, step) in [(HOUR, MINUTE), (MINUTE * 10, SECOND * 30)] {
        let made = sessions.create("alice").ttl(ttl).await.unwrap();
        home.elapse(step - SECOND * 5).await;
        let session = sessions.get_and_touch(&made.id).await.unwrap().unwrap();
        assert_eq!(session.expires_at(), made.expires_at);
        assert!(session.seen_at() < session.read_at());
        home.elapse(SECOND * 5).await;
        let session = sessions.get_and_touch(&made.id).await.unwrap().unwrap();
        assert_eq!((session.expires_in(), made.expires_in), (ttl, ttl));
        assert_eq!(session.seen_at(), session.read_at());
        assert!(session.seen_at() >= session.created_at().plus(step));
        let kept = sessions.get(&made.id).await.unwrap().unwrap();
        assert_eq!(kept.expires_at(), session.expires_at());
    }
}

/// At once, and for later uses too; never behind its absolute end, and not where there is none.
pub async fn a_use_may_give_another_time_to_live(home: Home) {
    let sessions = home.fleet().sessions();
    let made = sessions.create("alice").ttl(MINUTE).absolute(HOUR * 3);
    let id = made.await.unwrap().id;
    assert!(sessions.touch(&id).ttl(HOUR).await.unwrap());
    let session = sessions.get(&id).await.unwrap().unwrap();
    assert_eq!(session.ttl(), HOUR);
    assert!(session.expires_in() > HOUR - MINUTE);
    home.elapse(MINUTE * 50).await;
    let session = sessions.get_and_touch(&id).await.unwrap().unwrap();
    assert_eq!(session.expires_in(), HOUR);
    assert!(sessions.touch(&id).ttl(DAY).await.unwrap());
    let session = sessions.get(&id).await.unwrap().unwrap();
    assert_eq!(Some(session.expires_at()), session.ends_at_last());
    assert!(sessions.touch(&id).ttl(MINUTE).await.unwrap());
    let error = sessions.touch(&id).ttl(SECOND / 2).await.unwrap_err();
    assert!(error.to_string().contains("ttl must be"), "{error}");
    home.elapse(MINUTE).await;
    assert!(!sessions.touch(&id).ttl(HOUR).await.unwrap());
    assert!(!is_there(home.fleet(), &id).await);
}

/// However much the session is used.
pub async fn an_absolute_end_is_not_moved(home: Home) {
    let sessions = home.fleet().sessions();
    let made = sessions
        .create("alice")
        .ttl(HOUR)
        .absolute(HOUR * 2)
        .await
        .unwrap();
    for _ in 0..3 {
        home.elapse(MINUTE * 30).await;
        assert!(sessions.touch(&made.id).await.unwrap());
    }
    let session = sessions.get(&made.id).await.unwrap().unwrap();
    assert_eq!(Some(session.expires_at()), session.ends_at_last());
    assert_eq!(
        session.ends_at_last(),
        Some(session.created_at().plus(HOUR * 2))
    );
    home.elapse(MINUTE * 30).await;
    assert!(!sessions.touch(&made.id).await.unwrap());
}

/// Each way to ask is answered, while others of the user's keep the unit there.
pub async fn defect_13_what_has_ended_is_gone_at_once_and_stays(home: Home) {
    let sessions = home.fleet().sessions();
    let id = sessions.create("alice").ttl(MINUTE).await.unwrap().id;
    let stays = alice(&sessions).await;
    home.elapse(MINUTE).await;
    assert!(sessions.get(&id).await.unwrap().is_none());
    assert!(!sessions.touch(&id).await.unwrap());
    assert!(!sessions.update(&id).set(&TEXT, &text("x")).await.unwrap());
    assert!(sessions.rotate(&id).await.unwrap().rotated().is_none());
    assert!(!sessions.delete(&id).await.unwrap());
    assert!(sessions.get(&id).await.unwrap().is_none());
    assert!(is_there(home.fleet(), &stays).await);
}

/// A session of a minute is one of a minute after it.
pub async fn defect_14_a_use_keeps_the_time_to_live_of_the_session(home: Home) {
    let id = home
        .fleet()
        .sessions()
        .create("alice")
        .ttl(MINUTE)
        .await
        .unwrap()
        .id;
    home.elapse(SECOND * 30).await;
    // By a handle with the default of seven days.
    let session = home
        .fleet()
        .sessions()
        .get_and_touch(&id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((session.ttl(), session.expires_in()), (MINUTE, MINUTE));
    home.elapse(MINUTE).await;
    assert!(!is_there(home.fleet(), &id).await);
}

/// Whatever is tried.
pub async fn what_was_deleted_is_not_used_nor_changed(home: Home) {
    let sessions = home.fleet().sessions();
    let id = alice(&sessions).await;
    assert!(sessions.delete(&id).await.unwrap());
    assert!(!sessions.delete(&id).await.unwrap());
    assert!(!sessions.touch(&id).await.unwrap());
    assert!(!sessions.update(&id).set(&TEXT, &text("x")).await.unwrap());
    assert!(sessions.take(&id, &TEXT).await.unwrap().is_none());
    assert!(sessions.rotate(&id).await.unwrap().rotated().is_none());
    assert!(
        sessions
            .rotate(&id)
            .login("bob")
            .await
            .unwrap()
            .rotated()
            .is_none()
    );
    assert!(!is_there(home.fleet(), &id).await);
    assert_eq!(sessions.count("alice").await.unwrap(), 0);
    assert_eq!(sessions.count("bob").await.unwrap(), 0);
}

/// Nothing brings the session back.
pub async fn of_deletion_and_use_at_once_deletion_wins(home: Home) {
    let other = home.instance("b").await;
    for _ in 0..10 {
        let id = alice(&home.fleet().sessions()).await;
        home.elapse(MINUTE).await;
        let use_it = |number: usize| {
            let sessions = other.sessions();
            let id = &id;
            async move {
                match number % 3 {
                    0 => drop(sessions.touch(id).await.unwrap()),
                    1 => drop(sessions.rotate(id).await.unwrap()),
                    _ => drop(sessions.update(id).set(&TEXT, &text("x")).await.unwrap()),
                }
            }
        };
        let delete = async { home.fleet().sessions().delete_all("alice").await.unwrap() };
        let (_, deleted) = tokio::join!(join_all((0..12).map(use_it)), delete);
        assert_eq!(deleted, 1);
        assert!(!is_there(&other, &id).await);
        assert_eq!(other.sessions().count("alice").await.unwrap(), 0);
    }
}

/// Before anything is touched.
pub async fn bad_input_is_refused_with_the_rule(home: Home) {
    let sessions = home.fleet().sessions();
    let long = "x".repeat(513);
    let id = alice(&sessions).await;
    let most = sessions.clone().max_per_user(0);
    let overlap = sessions.clone().overlap(Duration::MAX);
    let field = sessions
        .create("bob")
        .field_for(&TEXT, &text("x"), Duration::ZERO);
    for (error, says) in [
        (
            sessions.create("").await.unwrap_err(),
            "user must not be empty",
        ),
        (
            sessions.list("a\n").await.unwrap_err(),
            "user must not contain control characters",
        ),
        (
            sessions.count(&long).await.unwrap_err(),
            "user must be at most 512 bytes",
        ),
        (
            sessions
                .create("bob")
                .ttl(Duration::ZERO)
                .await
                .unwrap_err(),
            "ttl must be from 1s to 100 years",
        ),
        (
            sessions.create("bob").ttl(Duration::MAX).await.unwrap_err(),
            "ttl must be from 1s to 100 years",
        ),
        (
            sessions
                .create("bob")
                .absolute(Duration::ZERO)
                .await
                .unwrap_err(),
            "absolute must be from 1s to 100 years",
        ),
        (
            most.create("bob").await.unwrap_err(),
            "max_per_user must be from 1 to 1000",
        ),
        (
            overlap.rotate(&id).await.unwrap_err(),
            "overlap must be from 0ns to 100 years",
        ),
        (
            sessions.create("bob").device_info("").await.unwrap_err(),
            "device_info must be from 1 to 1024 bytes",
        ),
        (
            field.await.unwrap_err(),
            "ttl of a field must be from 1ms to 100 years",
        ),
        (
            sessions.delete_others("bob", &id).await.unwrap_err(),
            "keep must be a session of this user",
        ),
        (
            sessions.rotate(&id).login("").await.unwrap_err(),
            "user must not be empty",
        ),
    ] {
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(error.outcome(), Outcome::NotApplied);
        assert_eq!(error.message(), Some(says));
    }
    assert_eq!(sessions.count("bob").await.unwrap(), 0);
    assert!(is_there(home.fleet(), &id).await);
}

/// And changes nothing.
pub async fn a_closed_fleet_refuses(home: Home) {
    let other: Fleet = home.instance("b").await;
    let id = alice(&other.sessions()).await;
    other.close().await;
    let sessions = other.sessions();
    for error in [
        sessions.create("bob").await.unwrap_err(),
        sessions.get(&id).await.unwrap_err(),
        sessions.delete(&id).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Closed);
    }
    assert!(is_there(home.fleet(), &id).await);
}
