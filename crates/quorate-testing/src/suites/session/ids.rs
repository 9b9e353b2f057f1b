//! What proves a session.

use futures_util::future::join_all;
use quorate::session::SessionChanges;
use quorate::{Rotation, SessionId, SessionKey, SessionRef};

use super::{COUNT, MINUTE, SECOND, TEXT, alice, is_there, text};
use crate::harness::Home;

/// Nor one of another session.
pub async fn a_wrong_secret_proves_nothing(home: Home) {
    let sessions = home.fleet().sessions();
    let (id, other) = (alice(&sessions).await, alice(&sessions).await);
    // The place and number of one, the secret of the other: 32 bytes, and 10 and 2/3 of 3 each, stand in front.
    let mixed = format!("{}{}", &id.expose()[..42], &other.expose()[42..]);
    for wrong in [mixed, format!("{}{}", &id.expose()[..44], "A".repeat(42))] {
        let wrong = SessionId::parse(&wrong).unwrap();
        assert!(!is_there(home.fleet(), &wrong).await);
        assert!(!sessions.touch(&wrong).await.unwrap());
        assert!(!sessions.update(&wrong).set(&COUNT, &1).await.unwrap());
        assert!(!sessions.delete(&wrong).await.unwrap());
        assert!(matches!(
            sessions.rotate(&wrong).await.unwrap(),
            Rotation::Gone
        ));
    }
    assert!(is_there(home.fleet(), &id).await && is_there(home.fleet(), &other).await);
}

/// Also when the id is replaced.
pub async fn a_handle_deletes_and_stays_the_same(home: Home) {
    let other = home.instance("b").await;
    let id = alice(&home.fleet().sessions()).await;
    let listed = other.sessions().list("alice").await.unwrap()[0].handle();
    assert_eq!(listed, id.handle());
    let rotated = other
        .sessions()
        .rotate(&id)
        .await
        .unwrap()
        .rotated()
        .unwrap();
    assert_eq!(rotated.id.handle(), listed);
    assert!(other.sessions().delete(&listed).await.unwrap());
    assert!(!other.sessions().delete(&listed).await.unwrap());
    assert!(!is_there(home.fleet(), &rotated.id).await);
}

/// For requests that are under way; then only the new one.
pub async fn a_rotated_id_is_good_for_a_while(home: Home) {
    let sessions = home.fleet().sessions().overlap(MINUTE);
    let made = sessions.create("alice").field(&COUNT, &7).await.unwrap();
    let rotated = sessions.rotate(&made.id).await.unwrap().rotated().unwrap();
    assert_ne!(rotated.id.expose(), made.id.expose());
    assert_eq!(rotated.expires_at, made.expires_at);
    for (id, superseded) in [(&made.id, true), (&rotated.id, false)] {
        let session = sessions.get(id).await.unwrap().unwrap();
        assert_eq!(session.get(&COUNT).unwrap(), Some(7));
        assert_eq!(session.is_superseded(), superseded);
    }
    home.elapse(SECOND * 59).await;
    assert!(is_there(home.fleet(), &made.id).await);
    home.elapse(SECOND).await;
    assert!(!is_there(home.fleet(), &made.id).await);
    assert!(is_there(home.fleet(), &rotated.id).await);
    assert_eq!(sessions.count("alice").await.unwrap(), 1);
}

/// The other one's id stays what it was, and nobody is logged out.
pub async fn of_two_who_rotate_one_does(home: Home) {
    let other = home.instance("b").await;
    let fleets = [home.fleet(), &other];
    let id = alice(&home.fleet().sessions()).await;
    let rotate = |number: usize| {
        let (sessions, id) = (fleets[number % 2].sessions(), &id);
        async move { sessions.rotate(id).await.unwrap() }
    };
    let (mut new, mut superseded) = (Vec::new(), 0);
    for rotation in join_all((0..8).map(rotate)).await {
        match rotation {
            Rotation::Rotated(session) => new.push(session.id),
            Rotation::Superseded => superseded += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((new.len(), superseded), (1, 7));
    home.elapse(MINUTE).await;
    assert!(is_there(&other, &new[0]).await && !is_there(&other, &id).await);
}

/// And the id before is worth nothing, at once.
pub async fn who_logs_in_has_another_id_and_the_same_fields(home: Home) {
    let other = home.instance("b").await;
    let sessions = home.fleet().sessions();
    let anonymous = sessions
        .create_anonymous()
        .device_info("Firefox")
        .field(&COUNT, &7);
    let before = anonymous
        .field_for(&TEXT, &text("x"), MINUTE)
        .await
        .unwrap()
        .id;
    let session = sessions.get(&before).await.unwrap().unwrap();
    assert_eq!(session.user(), None);
    let login = other
        .sessions()
        .rotate(&before)
        .login("alice")
        .await
        .unwrap();
    let id = login.rotated().unwrap().id;
    assert!(!is_there(home.fleet(), &before).await);
    assert_ne!(id.handle(), before.handle());
    let session = sessions.get(&id).await.unwrap().unwrap();
    assert_eq!(session.user(), Some("alice"));
    assert_eq!(session.device_info(), Some("Firefox"));
    assert_eq!(session.get(&COUNT).unwrap(), Some(7));
    assert_eq!(session.get(&TEXT).unwrap(), Some(text("x")));
    assert_eq!(
        sessions.list("alice").await.unwrap()[0].handle(),
        id.handle()
    );
    home.elapse(MINUTE).await;
    let session = sessions.get(&id).await.unwrap().unwrap();
    assert_eq!(session.get(&TEXT).unwrap(), None, "its end moved along");
}

/// A change was either refused or is there afterwards.
pub async fn of_login_and_changes_at_once_nothing_is_lost(home: Home) {
    let other = home.instance("b").await;
    let key = |number: usize| SessionKey::<usize>::try_new(format!("f{number}")).unwrap();
    for _ in 0..5 {
        let before = home.fleet().sessions().create_anonymous().await.unwrap().id;
        let change = |number: usize| {
            let (sessions, id) = (other.sessions(), &before);
            async move {
                sessions
                    .update(id)
                    .set(&key(number), &number)
                    .await
                    .unwrap()
            }
        };
        let sessions = home.fleet().sessions();
        let login = async { sessions.rotate(&before).login("alice").await.unwrap() };
        let (login, made) = tokio::join!(login, join_all((0..10).map(change)));
        let session = sessions
            .get(&login.rotated().unwrap().id)
            .await
            .unwrap()
            .unwrap();
        for (number, made) in made.into_iter().enumerate() {
            assert_eq!(session.get(&key(number)).unwrap().is_some(), made);
        }
    }
}

/// The other is told that the session is gone.
pub async fn of_two_who_log_in_with_one_id_one_does(home: Home) {
    let other = home.instance("b").await;
    let fleets = [home.fleet(), &other];
    let before = home.fleet().sessions().create_anonymous().await.unwrap().id;
    let login = |number: usize| {
        let (sessions, id) = (fleets[number % 2].sessions(), &before);
        async move { sessions.rotate(id).login("alice").await.unwrap().rotated() }
    };
    let new: Vec<_> = join_all((0..6).map(login))
        .await
        .into_iter()
        .flatten()
        .collect();
    assert_eq!(new.len(), 1);
    assert_eq!(other.sessions().count("alice").await.unwrap(), 1);
    assert!(is_there(&other, &new[0].id).await);
}

/// Their session ends, and nothing of it is in the new one.
pub async fn who_logs_in_with_the_session_of_another_begins_afresh(home: Home) {
    let other = home.instance("b").await;
    let sessions = home.fleet().sessions();
    let alices = sessions.create("alice").field(&COUNT, &7).await.unwrap().id;
    let login = other.sessions().rotate(&alices).login("bob").await.unwrap();
    let id = login.rotated().unwrap().id;
    let session = sessions.get(&id).await.unwrap().unwrap();
    assert_eq!((session.user(), session.fields().count()), (Some("bob"), 0));
    assert!(!is_there(home.fleet(), &alices).await);
    assert_eq!(other.sessions().count("alice").await.unwrap(), 0);
}

/// Also changes that were collected before: of a new session what they set, of another all.
pub async fn collected_changes_are_made_together(home: Home) {
    let other = home.instance("b").await;
    let sessions = home.fleet().sessions();
    let mut changes = SessionChanges::new();
    changes.set(&COUNT, &1).unwrap();
    changes.set(&COUNT, &2).unwrap();
    changes.remove(&TEXT);
    let made = sessions.create("alice").changes(changes.clone());
    let id = made.await.unwrap().id;
    let session = other.sessions().get(&id).await.unwrap().unwrap();
    assert_eq!(session.fields().collect::<Vec<_>>(), ["count"]);
    assert_eq!(session.get(&COUNT).unwrap(), Some(2));
    changes.remove(&COUNT);
    changes.set(&TEXT, &text("x")).unwrap();
    assert!(other.sessions().update(&id).changes(changes).await.unwrap());
    let session = sessions.get(&id).await.unwrap().unwrap();
    assert_eq!(session.fields().collect::<Vec<_>>(), ["text"]);
}

/// The session stays one and the same, also where there may be only one; its old id is good no more.
pub async fn who_is_logged_in_already_gets_another_id(home: Home) {
    let sessions = home.fleet().sessions().max_per_user(1);
    let made = sessions.create("alice").field(&COUNT, &7).await.unwrap();
    let again = sessions.rotate(&made.id).login("alice").await.unwrap();
    let again = again.rotated().unwrap().id;
    assert_eq!(again.handle(), made.id.handle());
    assert!(!is_there(home.fleet(), &made.id).await);
    let session = sessions.get(&again).await.unwrap().unwrap();
    assert_eq!(session.get(&COUNT).unwrap(), Some(7));
    let other = sessions
        .rotate(&again)
        .login("bob")
        .await
        .unwrap()
        .rotated()
        .unwrap()
        .id;
    assert!(!is_there(home.fleet(), &again).await && is_there(home.fleet(), &other).await);
}

/// An id of one proves nothing in another.
pub async fn namespaces_are_apart(home: Home) {
    let inner = home.fleet().namespaced("inner").unwrap();
    let id = alice(&home.fleet().sessions()).await;
    assert!(!is_there(&inner, &id).await);
    assert_eq!(inner.sessions().count("alice").await.unwrap(), 0);
    assert_eq!(inner.sessions().delete_all("alice").await.unwrap(), 0);
    assert!(is_there(home.fleet(), &id).await);
}
