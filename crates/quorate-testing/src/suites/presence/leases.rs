//! Instances that renew, are lost, come back, and close.

use quorate::{CallOptions, ErrorKind, Fleet, Key};

use super::{ROOM, join, present, watch};
use crate::harness::{Home, PRESENCE_LEASE, eventually, within};

/// As long as an instance lives, nobody sees its members leave.
pub async fn renewal_keeps_members_beyond_their_lease(home: Home) {
    let other = home.instance("b").await;
    let _ada = join(home.fleet(), "ada").await;
    let mut watched = watch(&other).await;
    let silence = tokio::time::timeout(PRESENCE_LEASE * 2, watched.watch.next()).await;
    assert!(silence.is_err(), "nothing happens: {silence:?}");
    assert_eq!(present(&other).await, ["ada"]);
}

/// An instance that does not renew: dropped, with its members left behind.
async fn lose(fleet: Fleet, ids: &[&str]) {
    for id in ids {
        join(&fleet, id).await.detach();
    }
    drop(fleet);
}

/// From the moment the lease ends nobody reads its members, whether anybody has removed them or not.
pub async fn a_lost_instance_is_not_read_once_its_lease_ends(home: Home) {
    lose(home.instance("b").await, &["ada", "bob"]).await;
    assert_eq!(present(home.fleet()).await, ["ada", "bob"]);
    home.elapse(PRESENCE_LEASE).await;
    assert_eq!(home.fleet().presence(ROOM).count().await.unwrap(), 0);
    assert!(present(home.fleet()).await.is_empty());
    let roster = home.fleet().presence(ROOM).members().await.unwrap();
    assert_eq!(roster.version.number, 4, "their leaving counts");
}

/// Whoever watches is told within one lease.
pub async fn a_lost_instance_is_removed_by_those_who_watch(home: Home) {
    let mut watched = watch(home.fleet()).await;
    lose(home.instance("b").await, &["ada", "bob"]).await;
    let mut events = Vec::new();
    while events.len() < 4 {
        events.push(watched.next().await);
    }
    assert_eq!(events, ["+ada", "+bob", "-ada", "-bob"]);
    assert_eq!(watched.resyncs, 0);
}

/// So is whoever has members there, with nobody watching.
pub async fn a_lost_instance_is_removed_by_those_who_are_there(home: Home) {
    let _eve = join(home.fleet(), "eve").await;
    lose(home.instance("b").await, &["ada"]).await;
    let room = home.fleet().presence_port();
    let key = Key::new(home.fleet().namespace(), ROOM).unwrap();
    eventually("it is removed", async || {
        let deadline = tokio::time::Instant::now() + PRESENCE_LEASE;
        let look = room.look(&key, CallOptions::until(deadline)).await;
        look.unwrap().instances.len() == 1
    })
    .await;
    assert_eq!(present(home.fleet()).await, ["eve"]);
}

/// An instance that was away for longer than its lease joins again by itself, and is seen to.
pub async fn an_instance_whose_lease_ended_joins_again(home: Home) {
    let other = home.instance("b").await;
    let ada = join(home.fleet(), "ada").await;
    join(home.fleet(), "bob").await.detach();
    let mut watched = watch(&other).await;
    home.elapse(PRESENCE_LEASE * 2).await;
    let mut events = Vec::new();
    while events.len() < 4 {
        events.push(watched.next().await);
    }
    assert_eq!(events, ["-ada", "-bob", "+ada", "+bob"]);
    assert_eq!(present(&other).await, ["ada", "bob"]);
    // The guards still stand for them.
    assert!(ada.leave().await.unwrap());
    assert_eq!(present(&other).await, ["bob"]);
}

/// A closed instance has left every roster when the call returns.
pub async fn closing_leaves_every_roster(home: Home) {
    let other = home.instance("b").await;
    let mut watched = watch(home.fleet()).await;
    let ada = join(&other, "ada").await;
    let elsewhere = other.presence("elsewhere").join("ada", "").await.unwrap();
    join(&other, "bob").await.detach();
    drop(join(&other, "just dropped").await);
    let mut ends = other.presence(ROOM).watch().await.unwrap();
    other.close().await;
    assert!(present(home.fleet()).await.is_empty());
    let elsewhere_now = home.fleet().presence("elsewhere");
    assert_eq!(elsewhere_now.count().await.unwrap(), 0);
    watched.until(|watched| watched.known.is_empty()).await;
    while within("the end", ends.next()).await.is_some() {}
    assert_eq!(ada.leave().await.unwrap_err().kind(), ErrorKind::Closed);
    drop(elsewhere);
    let late = other.presence(ROOM).join("late", "").await;
    assert_eq!(late.unwrap_err().kind(), ErrorKind::Closed);
}
