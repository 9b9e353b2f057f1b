//! What those who watch are told.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::join_all;

use super::{ROOM, join, watch};
use crate::harness::{Home, eventually, within};

/// The first event is the roster as it is.
pub async fn a_watch_begins_with_the_whole_roster(home: Home) {
    let other = home.instance("b").await;
    let _members = join_all(["ada", "bob", "eve"].map(|id| join(home.fleet(), id))).await;
    let watched = watch(&other).await;
    let ids: Vec<_> = watched.known.keys().map(|(_, id)| &**id).collect();
    assert_eq!(ids, ["ada", "bob", "eve"]);
}

/// Every change is one event, in order, on every instance, its own included.
pub async fn a_watch_yields_every_change(home: Home) {
    let other = home.instance("b").await;
    let (mut here, mut there) = (watch(home.fleet()).await, watch(&other).await);
    let ada = join(home.fleet(), "ada").await;
    let bob = join(&other, "bob").await;
    assert!(ada.update("away").await.unwrap());
    assert!(ada.leave().await.unwrap());
    assert!(bob.leave().await.unwrap());
    let _eve = join(&other, "eve").await;
    for watched in [&mut here, &mut there] {
        for expected in ["+ada", "+bob", "=ada", "-ada", "-bob", "+eve"] {
            assert_eq!(watched.next().await, expected);
        }
        assert_eq!(watched.resyncs, 0);
    }
}

/// Many that come and go at once, on three instances: what the events add up to is the roster.
pub async fn changes_at_once_reach_a_watch_one_by_one(home: Home) {
    let (b, c) = (home.instance("b").await, home.instance("c").await);
    let mut watched = watch(&c).await;
    let fleets = [home.fleet(), &b, &c];
    let coming = (0..90).map(|number| {
        let room = fleets[number % 3].presence(ROOM);
        async move {
            let id = format!("m{number}");
            let member = room.join(&id, "here").await.unwrap();
            if number % 2 == 0 {
                assert!(member.update("away").await.unwrap());
                member.detach();
            } else if number % 5 == 0 {
                member.detach();
            } else {
                assert!(member.leave().await.unwrap());
            }
        }
    });
    within("all of them", join_all(coming)).await;
    let roster = home.fleet().presence(ROOM).members().await.unwrap();
    assert_eq!(roster.count, 54);
    let expected: BTreeMap<_, _> = roster
        .members
        .into_iter()
        .map(|it| ((it.instance, it.id), it.info))
        .collect();
    watched.until(|watched| watched.known == expected).await;
}

/// A watch that was not read for long is told the whole roster instead of what it missed.
pub async fn a_watch_that_falls_behind_gets_the_whole_roster(home: Home) {
    let other = home.instance("b").await;
    let mut watched = watch(&other).await;
    let ada = join(home.fleet(), "ada").await;
    for number in 0..1100_u32 {
        assert!(ada.update(number.to_string()).await.unwrap());
    }
    let expected = Bytes::from("1099");
    watched
        .until(|watched| watched.known.values().eq([&expected]))
        .await;
    assert_eq!(watched.resyncs, 1);
    assert!(ada.leave().await.unwrap());
    assert_eq!(watched.next().await, "-ada");
}

/// Nothing is left subscribed, whether a watch or the making of one is dropped.
pub async fn a_dropped_watch_listens_no_more(home: Home) {
    let other = home.instance("b").await;
    let watched = watch(&other).await;
    assert_eq!(other.subscriptions().len(), 1);
    drop(watched);
    for polls in 0..4 {
        let room = other.presence(ROOM);
        let mut watching = Box::pin(room.watch());
        for _ in 0..polls {
            if (&mut watching).now_or_never().is_some() {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    eventually("nothing is subscribed", async || {
        other.subscriptions().is_empty()
    })
    .await;
}
