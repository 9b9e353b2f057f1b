//! All sessions of a user.

use futures_util::future::join_all;
use quorate::{RevokedWhy, SessionRef};

use super::{HOUR, MINUTE, SECOND, alice, is_there};
use crate::harness::{Home, within};

/// With what each says of itself.
pub async fn a_users_sessions_are_listed_newest_first(home: Home) {
    let other = home.instance("b").await;
    let mut handles = Vec::new();
    for device in ["a", "b", "c"] {
        let made = home
            .fleet()
            .sessions()
            .create("alice")
            .device_info(device)
            .await
            .unwrap();
        handles.push(made.id.handle());
        home.elapse(SECOND).await;
    }
    let listed = other.sessions().list("alice").await.unwrap();
    let devices: Vec<_> = listed
        .iter()
        .filter_map(|session| session.device_info())
        .collect();
    assert_eq!(devices, ["c", "b", "a"]);
    handles.reverse();
    let listed: Vec<_> = listed.iter().map(|session| session.handle()).collect();
    assert_eq!(listed, handles);
    assert_eq!(other.sessions().count("alice").await.unwrap(), 3);
    assert!(other.sessions().list("nobody").await.unwrap().is_empty());
}

/// And makes no room necessary.
pub async fn what_has_ended_is_neither_listed_nor_counted(home: Home) {
    let sessions = home.fleet().sessions().max_per_user(2);
    sessions.create("alice").ttl(MINUTE).await.unwrap();
    let stays = sessions.create("alice").ttl(HOUR).await.unwrap().id;
    home.elapse(MINUTE).await;
    let listed = sessions.list("alice").await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].handle(), stays.handle());
    assert_eq!(sessions.count("alice").await.unwrap(), 1);
    assert!(sessions.create("alice").await.unwrap().evicted.is_empty());
    home.elapse(HOUR).await;
    assert_eq!(sessions.count("alice").await.unwrap(), 1);
    assert_eq!(sessions.delete_all("alice").await.unwrap(), 1);
}

/// They are apart from each other, too.
pub async fn anonymous_sessions_are_nobodys(home: Home) {
    let sessions = home.fleet().sessions().max_per_user(1);
    let one = sessions.create_anonymous().await.unwrap();
    let two = sessions.create_anonymous().await.unwrap();
    assert!(two.evicted.is_empty());
    assert!(is_there(home.fleet(), &one.id).await && is_there(home.fleet(), &two.id).await);
    assert!(sessions.delete(&one.id).await.unwrap());
    assert!(is_there(home.fleet(), &two.id).await);
}

/// On every instance.
pub async fn all_sessions_of_a_user_are_deleted(home: Home) {
    let other = home.instance("b").await;
    let ids = [
        alice(&home.fleet().sessions()).await,
        alice(&other.sessions()).await,
    ];
    assert_eq!(other.sessions().delete_all("alice").await.unwrap(), 2);
    for id in &ids {
        assert!(!is_there(home.fleet(), id).await);
    }
    assert_eq!(other.sessions().delete_all("alice").await.unwrap(), 0);
    let again = alice(&home.fleet().sessions()).await;
    assert!(is_there(&other, &again).await);
}

/// By id or by handle.
pub async fn all_others_of_a_user_are_deleted(home: Home) {
    let sessions = home.fleet().sessions();
    let (keep, other) = (alice(&sessions).await, alice(&sessions).await);
    assert_eq!(sessions.delete_others("alice", &keep).await.unwrap(), 1);
    assert!(is_there(home.fleet(), &keep).await && !is_there(home.fleet(), &other).await);
    assert_eq!(
        sessions
            .delete_others("alice", &keep.handle())
            .await
            .unwrap(),
        0
    );
    assert!(is_there(home.fleet(), &keep).await);
}

/// And who made the new one is told which.
pub async fn the_oldest_goes_where_there_are_too_many(home: Home) {
    let other = home.instance("b").await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(alice(&home.fleet().sessions()).await);
        home.elapse(MINUTE * 2).await;
    }
    // Use makes no session younger.
    assert!(other.sessions().touch(&ids[0]).await.unwrap());
    let made = other
        .sessions()
        .max_per_user(3)
        .create("alice")
        .await
        .unwrap();
    assert_eq!(made.evicted, [ids[0].handle(), ids[1].handle()]);
    assert!(!is_there(&other, &ids[0]).await && is_there(&other, &ids[3]).await);
    assert_eq!(other.sessions().count("alice").await.unwrap(), 3);
}

/// Each sees what the others made.
pub async fn of_many_who_log_in_at_once_no_more_than_allowed_stay(home: Home) {
    let other = home.instance("b").await;
    let fleets = [home.fleet(), &other];
    let login = |number: usize| {
        let sessions = fleets[number % 2].sessions().max_per_user(3);
        async move { sessions.create("alice").await.unwrap() }
    };
    let made = join_all((0..20).map(login)).await;
    let evicted: usize = made.iter().map(|made| made.evicted.len()).sum();
    assert_eq!(evicted, 17);
    assert_eq!(other.sessions().count("alice").await.unwrap(), 3);
}

/// At once; one more, and the oldest goes.
pub async fn a_thousand_sessions_are_listed(home: Home) {
    let sessions = home.fleet().sessions();
    for _ in 0..10 {
        let made = join_all((0..100).map(|_| async { sessions.create("alice").await.unwrap() }));
        assert!(made.await.iter().all(|made| made.evicted.is_empty()));
    }
    assert_eq!(sessions.list("alice").await.unwrap().len(), 1000);
    assert_eq!(sessions.create("alice").await.unwrap().evicted.len(), 1);
    assert_eq!(sessions.delete_all("alice").await.unwrap(), 1000);
}

/// Whatever text they are.
pub async fn users_are_apart(home: Home) {
    let sessions = home.fleet().sessions();
    let users = ["a", "A", "a:b", "{a}", "user:a", "é", "a b", "%7B"];
    for user in users {
        sessions.create(user).await.unwrap();
    }
    for user in users {
        let listed = sessions.list(user).await.unwrap();
        assert_eq!(listed.len(), 1, "{user}");
        assert_eq!(listed[0].user(), Some(user));
    }
    assert_eq!(sessions.delete_all("a").await.unwrap(), 1);
    assert_eq!(sessions.count("A").await.unwrap(), 1);
}

/// Ids carry their place: they are found by both.
pub async fn partition_keys_are_apart(home: Home) {
    let (one, two) = (
        home.fleet().sessions(),
        home.fleet().sessions().partition_key("secret"),
    );
    let id = alice(&two).await;
    assert_eq!(one.count("alice").await.unwrap(), 0);
    assert_eq!(two.count("alice").await.unwrap(), 1);
    assert!(one.is_valid(&id).await.unwrap());
}

/// With its reason: for what is open on the session.
pub async fn a_removal_is_heard_on_every_instance(home: Home) {
    let other = home.instance("b").await;
    let sessions = home.fleet().sessions();
    let (one, two) = (alice(&sessions).await, alice(&sessions).await);
    let mut watches = [
        other.sessions().watch(&one).await.unwrap(),
        other.sessions().watch(&two.handle()).await.unwrap(),
    ];
    sessions.delete_all("alice").await.unwrap();
    for watch in &mut watches {
        let heard = within("the removal", watch.ended()).await.unwrap();
        assert!(
            matches!(heard, Some(RevokedWhy::Deleted) | None),
            "{heard:?}"
        );
    }
    let before = sessions.create_anonymous().await.unwrap().id;
    let mut watch = other.sessions().watch(&before).await.unwrap();
    let login = async { sessions.rotate(&before).login("alice").await.unwrap() };
    let (ended, _) = tokio::join!(within("the login", watch.ended()), login);
    assert!(matches!(ended.unwrap(), Some(RevokedWhy::Moved) | None));
    // Where the session is gone before it is looked at, there is no reason.
    let mut late = other.sessions().watch(&before).await.unwrap();
    assert_eq!(within("the look", late.ended()).await.unwrap(), None);
}

/// Its own is.
pub async fn a_removal_that_is_not_ones_own_is_not_heard(home: Home) {
    let other = home.instance("b").await;
    let sessions = home.fleet().sessions().max_per_user(2);
    let one = alice(&sessions).await;
    home.elapse(SECOND).await;
    let two = alice(&sessions).await;
    let mut watch = other.sessions().watch(&two).await.unwrap();
    // Evicts the first, deletes the third, and only then the second.
    let third = alice(&sessions).await;
    assert!(!is_there(&other, &one).await);
    let remove = async {
        sessions.delete(&third).await.unwrap();
        assert!(is_there(&other, &two).await);
        sessions.delete(&two).await.unwrap();
    };
    let (ended, ()) = tokio::join!(within("the removal", watch.ended()), remove);
    ended.unwrap();
    assert!(!is_there(&other, &two).await);
}

/// In its time; one that is used goes on.
pub async fn the_end_of_an_unused_session_is_noticed(home: Home) {
    let sessions = home.fleet().sessions();
    let id = sessions.create("alice").ttl(SECOND).await.unwrap().id;
    let mut watch = sessions.watch(&id).await.unwrap();
    assert_eq!(within("the end", watch.ended()).await.unwrap(), None);
    assert!(!is_there(home.fleet(), &id).await);
}
