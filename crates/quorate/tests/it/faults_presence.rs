//! Rosters when servers die, connections break and instances are lost: nobody stays who is gone, and
//! nobody is missing who is there.

use std::collections::BTreeSet;
use std::time::Duration;

use quorate::{ErrorKind, Fleet, FleetBuilder, PresenceEvent, PresenceWatch};
use quorate_testing::harness::{PRESENCE_LEASE, eventually, within};
use quorate_testing::proxy::{Direction, Proxy};
use quorate_testing::servers::{Server, ServerKind};

const ROOM: &str = "room";
/// Longer than any test: what leaves before it ends was taken off by somebody.
const LONG: Duration = Duration::from_secs(600);

async fn server() -> Server {
    Server::start(ServerKind::Redis).await.unwrap()
}

/// Quick to notice and quick to come back, so that tests take no longer than they must.
fn brisk(url: String) -> FleetBuilder {
    Fleet::builder()
        .url(url)
        .command_timeout(Duration::from_secs(1))
        .retry_delay(Duration::from_millis(50))
        .max_reconnect_delay(Duration::from_millis(100))
        .ping_interval(Duration::from_millis(500))
        .presence_lease(PRESENCE_LEASE)
}

async fn join(fleet: &Fleet, id: &str) {
    fleet.presence(ROOM).join(id, "").await.unwrap().detach();
}

async fn present(fleet: &Fleet) -> Vec<String> {
    let roster = fleet.presence(ROOM).members().await.unwrap();
    let mut ids: Vec<_> = roster.members.into_iter().map(|it| it.id).collect();
    ids.sort();
    ids
}

/// A watch, who is there by its events, and what they were.
struct Watched {
    watch: PresenceWatch,
    there: BTreeSet<String>,
    told: Vec<String>,
}

impl Watched {
    async fn of(fleet: &Fleet) -> Self {
        let mut watched = Self {
            watch: fleet.presence(ROOM).watch().await.unwrap(),
            there: BTreeSet::new(),
            told: Vec::new(),
        };
        watched.next().await;
        watched
    }

    async fn next(&mut self) {
        let event = within("an event", self.watch.next()).await;
        self.told.push(match event.expect("the stream goes on") {
            PresenceEvent::Joined(it) => {
                assert!(self.there.insert(it.id.clone()), "{} is there", it.id);
                format!("+{}", it.id)
            }
            PresenceEvent::Left(it) => {
                assert!(self.there.remove(&it.id), "{} is not there", it.id);
                format!("-{}", it.id)
            }
            PresenceEvent::Resync(roster) => {
                self.there = roster.members.into_iter().map(|it| it.id).collect();
                "whole".to_owned()
            }
            other => panic!("{other:?}"),
        });
    }

    async fn until(&mut self, ids: &[&str]) {
        while !self.there.iter().eq(ids) {
            self.next().await;
        }
    }
}

/// A join, an update and a leave whose replies are lost are repeated, and happen once.
#[tokio::test(flavor = "multi_thread")]
async fn fault_lost_replies_change_a_roster_once() {
    let server = server().await;
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let fleet = brisk(proxy.url()).build().await.unwrap();
    let other = brisk(server.url()).build().await.unwrap();
    // Known to the server, so that the replies that are lost are those of the transitions.
    let warm = fleet.presence("warm").join("ada", "").await.unwrap();
    assert!(warm.leave().await.unwrap());
    let mut watched = Watched::of(&other).await;
    proxy.cut_before_reply();
    let ada = fleet.presence(ROOM).join("ada", "").await.unwrap();
    proxy.cut_before_reply();
    let bob = fleet.presence(ROOM).join("bob", "").await.unwrap();
    proxy.cut_before_reply();
    assert!(ada.leave().await.unwrap());
    watched.until(&["bob"]).await;
    assert_eq!(watched.told, ["whole", "+ada", "+bob", "-ada"]);
    let roster = other.presence(ROOM).members().await.unwrap();
    assert_eq!((roster.count, roster.version.number), (1, 3));
    drop(bob);
}

/// A server that comes back without its data: everybody joins again by himself, and who watches is told.
#[tokio::test(flavor = "multi_thread")]
async fn fault_a_server_restarted_empty_is_filled_again() {
    let server = server().await;
    let (a, b) = tokio::join!(brisk(server.url()).build(), brisk(server.url()).build());
    let (a, b) = (a.unwrap(), b.unwrap());
    join(&a, "ada").await;
    join(&b, "bob").await;
    let before = a.presence(ROOM).members().await.unwrap().version;
    let mut watched = Watched::of(&b).await;
    server.kill();
    server.restart().await.unwrap();
    // First of all that something may have been missed.
    watched.next().await;
    assert_eq!(watched.told, ["whole", "whole"]);
    watched.until(&["ada", "bob"]).await;
    eventually("both are read", async || {
        let read = a.presence(ROOM).members().await;
        read.is_ok_and(|roster| roster.count == 2)
    })
    .await;
    let after = a.presence(ROOM).members().await.unwrap().version;
    assert!(after.epoch > before.epoch, "{before} {after}");
    // And nothing is left to be done: they stay.
    join(&a, "eve").await;
    watched.until(&["ada", "bob", "eve"]).await;
}

/// An instance that cannot reach the server is gone when its lease ends, and back when it can.
#[tokio::test(flavor = "multi_thread")]
async fn fault_an_instance_cut_off_leaves_and_comes_back() {
    let server = server().await;
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let cut_off = brisk(proxy.url()).build().await.unwrap();
    let other = brisk(server.url()).build().await.unwrap();
    join(&cut_off, "ada").await;
    join(&cut_off, "bob").await;
    join(&other, "eve").await;
    let mut watched = Watched::of(&other).await;
    let mut inside = Watched::of(&cut_off).await;
    proxy.swallow(Direction::Both);
    watched.until(&["eve"]).await;
    assert_eq!(watched.told, ["whole", "-ada", "-bob"]);
    assert_eq!(present(&other).await, ["eve"]);
    proxy.heal().await.unwrap();
    watched.until(&["ada", "bob", "eve"]).await;
    assert_eq!(watched.told[3..], ["+ada", "+bob"]);
    // What it missed itself comes whole.
    while inside.told.len() < 2 {
        inside.next().await;
    }
    inside.until(&["ada", "bob", "eve"]).await;
    assert_eq!(inside.told[1], "whole");
}

/// A process that stops for longer than its lease: its members leave, and join again by themselves.
#[tokio::test(flavor = "multi_thread")]
async fn fault_a_paused_instance_leaves_and_comes_back() {
    let server = server().await;
    let other = brisk(server.url()).build().await.unwrap();
    let mut watched = Watched::of(&other).await;
    let (go_on, paused) = std::sync::mpsc::channel::<()>();
    let (done, ended) = tokio::sync::oneshot::channel::<()>();
    let url = server.url();
    let instance = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let fleet = brisk(url).build().await.unwrap();
            let ada = fleet.presence(ROOM).join("ada", "").await.unwrap();
            // Nothing of this runtime runs meanwhile: no renewal, no connection.
            paused.recv().unwrap();
            ended.await.unwrap();
            assert!(ada.leave().await.unwrap());
            fleet.close().await;
        });
    });
    watched.until(&["ada"]).await;
    watched.until(&[]).await;
    go_on.send(()).unwrap();
    watched.until(&["ada"]).await;
    done.send(()).unwrap();
    watched.until(&[]).await;
    assert_eq!(watched.told, ["whole", "+ada", "-ada", "+ada", "-ada"]);
    instance.join().unwrap();
}

/// A server that stops for longer than every lease: nobody is there then, and soon everybody again.
#[tokio::test(flavor = "multi_thread")]
async fn fault_a_stalled_server_ends_leases_that_begin_again() {
    let server = server().await;
    let lease = Duration::from_millis(300);
    let a = brisk(server.url())
        .presence_lease(lease)
        .build()
        .await
        .unwrap();
    let b = brisk(server.url())
        .presence_lease(lease)
        .build()
        .await
        .unwrap();
    join(&a, "ada").await;
    join(&b, "bob").await;
    let mut watched = Watched::of(&b).await;
    server.pause().unwrap();
    // Longer than a lease is what this is about; that it is over is seen by who joins again.
    tokio::time::sleep(lease * 3).await;
    server.resume().unwrap();
    while !watched.told.iter().any(|it| it != "whole") {
        watched.next().await;
    }
    watched.until(&["ada", "bob"]).await;
    eventually("both are read", async || {
        let read = a.presence(ROOM).members().await;
        read.is_ok_and(|roster| roster.count == 2)
    })
    .await;
}

/// Who leaves without a connection is gone once there is one, long before the lease ends.
#[tokio::test(flavor = "multi_thread")]
async fn fault_who_leaves_while_cut_off_is_gone_afterwards() {
    let server = server().await;
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let cut_off = brisk(proxy.url())
        .presence_lease(LONG)
        .retries(1_u32)
        .build()
        .await
        .unwrap();
    let other = brisk(server.url()).build().await.unwrap();
    let room = cut_off.presence(ROOM);
    let dropped = room.join("dropped", "").await.unwrap();
    let left = room.join("left", "").await.unwrap();
    join(&cut_off, "stays").await;
    let mut watched = Watched::of(&other).await;
    proxy.swallow(Direction::Both);
    drop(dropped);
    let error = left.leave().await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    proxy.heal().await.unwrap();
    watched.until(&["stays"]).await;
    assert_eq!(present(&other).await, ["stays"]);
}

/// A join that failed leaves nobody there, even if the server carried it out.
#[tokio::test(flavor = "multi_thread")]
async fn fault_a_join_that_failed_leaves_nobody() {
    let server = server().await;
    let fleet = brisk(server.url())
        .presence_lease(LONG)
        .retries(1_u32)
        .build()
        .await
        .unwrap();
    let other = brisk(server.url()).build().await.unwrap();
    join(&fleet, "ada").await;
    server.pause().unwrap();
    let error = fleet.presence(ROOM).join("bob", "").await.unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Timeout | ErrorKind::ConnectionLost),
        "{error}"
    );
    assert_eq!(error.operation(), Some("presence.join"));
    server.resume().unwrap();
    // Behind the leave in the order of this instance.
    eventually("the next one joins", async || {
        fleet.presence(ROOM).join("eve", "").await.is_ok_and(|eve| {
            eve.detach();
            true
        })
    })
    .await;
    assert_eq!(present(&other).await, ["ada", "eve"]);
}

/// Data taken back, as by a failover to a replica that was behind: the instance notices with its next
/// renewal that what was acknowledged is not there, and puts it there again.
#[tokio::test(flavor = "multi_thread")]
async fn fault_a_roster_that_was_taken_back_is_put_right() {
    let server = server().await;
    let fleet = brisk(server.url()).build().await.unwrap();
    join(&fleet, "ada").await;
    join(&fleet, "bob").await;
    let own = fleet.presence(ROOM).instance();
    let (head, members) = (
        format!("quorate:presence:{{{ROOM}}}"),
        format!("quorate:presence:{{{ROOM}}}:members:{own}"),
    );
    // As it was before bob came.
    let commands = [
        vec!["HSET", &*head, "version", "1"],
        vec!["HDEL", &members, "bob"],
    ];
    for command in commands {
        server.command(&command).await.unwrap();
    }
    let (at, of) = (format!("at:{own}"), format!("of:{own}"));
    server
        .command(&["HSET", &head, &at, "1", &of, "1"])
        .await
        .unwrap();
    eventually("bob is back", async || {
        present(&fleet).await == ["ada", "bob"]
    })
    .await;
}

/// Closing an instance ends on a dead server, and says what could not be done.
#[tokio::test(flavor = "multi_thread")]
async fn fault_closing_without_a_server_ends_and_the_lease_does_the_rest() {
    let server = server().await;
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let cut_off = brisk(proxy.url()).build().await.unwrap();
    let other = brisk(server.url()).build().await.unwrap();
    join(&cut_off, "ada").await;
    let mut watched = Watched::of(&other).await;
    proxy.swallow(Direction::Both);
    let closing = cut_off.close_within(Duration::from_millis(300));
    within("the close", closing).await;
    watched.until(&[]).await;
    assert_eq!(watched.told, ["whole", "-ada"]);
}
