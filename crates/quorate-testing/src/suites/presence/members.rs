//! Who is on a roster, and who is not.

use std::future::IntoFuture;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use futures_util::FutureExt;
use futures_util::future::join_all;
use quorate::presence::MAX_INFO;
use quorate::{ErrorKind, Fleet, Member, PresenceEvent};

use super::{ROOM, join, present, watch};
use crate::harness::{Home, eventually, within};

/// Whoever joined is read on every instance when the join has returned, with info and instance.
pub async fn a_member_is_seen_on_every_instance(home: Home) {
    let other = home.instance("b").await;
    let ada = home.fleet().presence(ROOM).join("ada", "{}").await.unwrap();
    assert_eq!((ada.id(), ada.name()), ("ada", ROOM));
    for fleet in [home.fleet(), &other] {
        let roster = fleet.presence(ROOM).members().await.unwrap();
        let instance = home.fleet().presence(ROOM).instance();
        assert_eq!(roster.members, [Member::new("ada", "{}", instance)]);
        assert_eq!(roster.count, 1);
        assert_eq!(roster.version.number, 1);
        assert!(roster.version.epoch > 0);
        assert_eq!(fleet.presence(ROOM).count().await.unwrap(), 1);
    }
}

/// Leaving returns when nobody reads the member any more.
pub async fn a_member_that_left_is_not_there(home: Home) {
    let other = home.instance("b").await;
    assert_eq!(other.presence(ROOM).count().await.unwrap(), 0);
    assert!(present(&other).await.is_empty());
    let (ada, bob) = (join(home.fleet(), "ada").await, join(&other, "bob").await);
    assert!(ada.leave().await.unwrap());
    assert_eq!(present(home.fleet()).await, ["bob"]);
    assert!(bob.leave().await.unwrap());
    assert!(present(&other).await.is_empty());
    let roster = other.presence(ROOM).members().await.unwrap();
    assert_eq!(roster.version.number, 4, "an empty roster goes on counting");
    let _ada = join(home.fleet(), "ada").await;
    assert_eq!(present(&other).await, ["ada"]);
}

/// An update replaces the info of a member that is there; the same info again is no change.
pub async fn an_update_replaces_the_info(home: Home) {
    let ada = join(home.fleet(), "ada").await;
    for _ in 0..2 {
        assert!(ada.update([0, 159, 255]).await.unwrap());
        let roster = home.fleet().presence(ROOM).members().await.unwrap();
        assert_eq!(&roster.members[0].info[..], [0, 159, 255]);
        assert_eq!(roster.version.number, 2);
    }
}

/// One id joined twice on an instance is one member, and the second guard's.
pub async fn joining_again_replaces_the_info_and_takes_over(home: Home) {
    let room = home.fleet().presence(ROOM);
    let first = room.join("ada", "1").await.unwrap();
    let second = room.join("ada", "2").await.unwrap();
    let roster = room.members().await.unwrap();
    assert_eq!((roster.count, &roster.members[0].info[..]), (1, &b"2"[..]));
    assert!(!first.update("3").await.unwrap());
    assert!(!first.leave().await.unwrap());
    let third = room.join("ada", "2").await.unwrap();
    drop(second);
    assert!(third.update("4").await.unwrap());
    assert_eq!(room.count().await.unwrap(), 1);
    assert!(third.leave().await.unwrap());
    assert_eq!(room.count().await.unwrap(), 0);
}

/// An id belongs to its instance.
pub async fn one_id_on_two_instances_is_two_members(home: Home) {
    let other = home.instance("b").await;
    let (here, there) = (join(home.fleet(), "ada").await, join(&other, "ada").await);
    assert_eq!(present(&other).await, ["ada", "ada"]);
    assert!(!other.presence(ROOM).leave("nobody").await.unwrap());
    assert!(here.leave().await.unwrap());
    assert_eq!(present(&other).await, ["ada"]);
    drop(there);
}

/// Dropping the guard leaves, in the background.
pub async fn a_dropped_membership_leaves(home: Home) {
    let other = home.instance("b").await;
    let mut watched = watch(&other).await;
    drop(join(home.fleet(), "ada").await);
    assert_eq!(watched.next().await, "+ada");
    assert_eq!(watched.next().await, "-ada");
    assert!(present(&other).await.is_empty());
}

/// A join whose future is dropped, at whatever point, leaves nobody there.
pub async fn a_dropped_join_leaves_nobody(home: Home) {
    let other = home.instance("b").await;
    let room = home.fleet().presence(ROOM);
    for polls in 0..6 {
        let mut joining = Box::pin(room.join("ada", "").into_future());
        for _ in 0..polls {
            if (&mut joining).now_or_never().is_some() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(joining);
        // Behind it in the order of this instance.
        let bob = join(home.fleet(), "bob").await;
        assert!(bob.leave().await.unwrap());
        eventually("nobody is there", async || present(&other).await.is_empty()).await;
    }
}

/// A detached member stays, and can be taken off by its id.
pub async fn a_detached_member_stays_until_it_is_named(home: Home) {
    let other = home.instance("b").await;
    join(home.fleet(), "ada").await.detach();
    assert_eq!(present(&other).await, ["ada"]);
    assert!(!other.presence(ROOM).leave("ada").await.unwrap());
    assert!(home.fleet().presence(ROOM).leave("ada").await.unwrap());
    assert!(!home.fleet().presence(ROOM).leave("ada").await.unwrap());
    assert!(present(&other).await.is_empty());
}

async fn crowd(fleet: &Fleet, members: u32) {
    let room = fleet.presence(ROOM);
    let joining = (0..members).map(|number| {
        let room = room.clone();
        async move {
            let id = format!("m{number:05}");
            room.join(&id, vec![b'x'; 100]).await.unwrap().detach();
        }
    });
    within("the crowd", join_all(joining)).await;
}

/// Thousands join at once, and are all there.
pub async fn a_large_roster_is_read_whole(home: Home) {
    let other = home.instance("b").await;
    tokio::join!(crowd(home.fleet(), 1500), crowd(&other, 700));
    assert_eq!(other.presence(ROOM).count().await.unwrap(), 2200);
    let roster = other.presence(ROOM).members().await.unwrap();
    assert_eq!((roster.count, roster.members.len()), (2200, 2200));
    assert!(roster.members.iter().all(|it| it.info.len() == 100));
    let mut keys: Vec<_> = roster
        .members
        .iter()
        .map(|it| (it.instance, &*it.id))
        .collect();
    keys.dedup();
    assert_eq!(keys.len(), 2200);
    assert_eq!(watch(&other).await.known.len(), 2200);
}

/// Somebody goes from one id to the next while a roster of many pages is read: each read finds it at one
/// place, or on the way between two neighbours.
pub async fn a_roster_read_while_it_changes_is_of_one_moment(home: Home) {
    let other = home.instance("b").await;
    crowd(home.fleet(), 1500).await;
    let (steps, done) = (AtomicU32::new(0), AtomicBool::new(false));
    let wandering = async {
        let room = other.presence(ROOM);
        let mut here = room.join("w0", "").await.unwrap();
        while !done.load(Ordering::SeqCst) {
            let step = steps.fetch_add(1, Ordering::SeqCst) + 1;
            let next = room.join(&format!("w{step}"), "").await.unwrap();
            assert!(std::mem::replace(&mut here, next).leave().await.unwrap());
        }
    };
    let reading = async {
        let mut reads = 0;
        while reads < 10 || steps.load(Ordering::SeqCst) < 10 {
            let roster = home.fleet().presence(ROOM).members().await.unwrap();
            let found = |it: &Member| it.id.strip_prefix('w')?.parse::<u32>().ok();
            let mut places: Vec<_> = roster.members.iter().filter_map(found).collect();
            places.sort_unstable();
            assert_eq!(roster.count, 1500 + places.len() as u64);
            match places[..] {
                // None: before it came.
                [] | [_] => {}
                [one, two] => assert_eq!(one + 1, two),
                _ => panic!("at {places:?} at once"),
            }
            reads += 1;
            tokio::task::yield_now().await;
        }
        done.store(true, Ordering::SeqCst);
    };
    within("every read", async { tokio::join!(wandering, reading) }).await;
}

/// Rosters are apart by name and by namespace, and any name works.
pub async fn rosters_are_apart(home: Home) {
    let inner = home.fleet().namespaced("inner").unwrap();
    for name in ["a", "b", "{", "}", "a}b{c", "größe", "%7B"] {
        let room = home.fleet().presence(name);
        assert_eq!(room.name(), name);
        let mut watch = room.watch().await.unwrap();
        let member = room.join(name, "").await.unwrap();
        assert_eq!(room.count().await.unwrap(), 1);
        assert_eq!(inner.presence(name).count().await.unwrap(), 0);
        let _ = within("the roster", watch.next()).await;
        let event = within("the join", watch.next()).await;
        assert!(matches!(event, Some(PresenceEvent::Joined(it)) if it.id == name));
        member.detach();
    }
}

/// A name, id or info that breaks its rule is refused by name, and nothing is touched.
pub async fn bad_input_is_refused_with_the_rule(home: Home) {
    let fleet = home.fleet();
    let room = fleet.presence(ROOM);
    let ada = room.join("ada", vec![0; MAX_INFO]).await.unwrap();
    let long = vec![0; MAX_INFO + 1];
    let refused = [
        (fleet.presence("").join("ada", "").await.map(drop), "name"),
        (fleet.presence("a\u{7}").members().await.map(drop), "name"),
        (
            fleet.presence(&"x".repeat(513)).count().await.map(drop),
            "name",
        ),
        (fleet.presence("").watch().await.map(drop), "name"),
        (fleet.presence("").leave("ada").await.map(drop), "name"),
        (room.join("", "").await.map(drop), "id"),
        (room.join("a\nb", "").await.map(drop), "id"),
        (room.join(&"x".repeat(513), "").await.map(drop), "id"),
        (room.join("bob", &long).await.map(drop), "info"),
        (ada.update(&long).await.map(drop), "info"),
    ];
    for (number, (result, field)) in refused.into_iter().enumerate() {
        let error = result.expect_err(&format!("case {number} ({field})"));
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(error.message().unwrap().starts_with(field), "{error}");
    }
    assert_eq!(present(fleet).await, ["ada"]);
}
