//! Sessions under fire: lost replies, what a dump of the server shows, and the process that ends.

use std::future::{IntoFuture, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use quorate::session::RevokedWhy;
use quorate::{ErrorKind, Fleet, Outcome, SessionId, SessionKey, Sessions};
use quorate_testing::harness::{file_url, namespace};
use quorate_testing::proxy::Proxy;
use quorate_testing::servers::{Server, ServerKind, shared};

const COUNT: SessionKey<u32> = SessionKey::new("count");

/// A server, a proxy before it, and sessions through that.
async fn behind_a_proxy() -> (Server, Proxy, Sessions, SessionId) {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let builder = Fleet::builder()
        .url(proxy.url())
        .command_timeout(Duration::from_secs(2))
        .retry_delay(Duration::from_millis(50))
        .max_reconnect_delay(Duration::from_millis(100));
    let sessions = builder.build().await.unwrap().sessions();
    // Known to the server, so that the reply that is lost is that of the call.
    let warm = sessions.create("warm").await.unwrap().id;
    sessions.update(&warm).set(&COUNT, &1).await.unwrap();
    sessions.get_and_touch(&warm).await.unwrap();
    let warm = sessions.rotate(&warm).await.unwrap().rotated().unwrap().id;
    sessions.delete(&warm).await.unwrap();
    sessions.delete_all("warm").await.unwrap();
    let id = sessions.create("alice").await.unwrap().id;
    (server, proxy, sessions, id)
}

/// What could undo something that happened in between is not repeated.
#[tokio::test(flavor = "multi_thread")]
async fn fault_a_session_call_with_a_lost_reply_is_unknown_and_happens_once() {
    let (_server, proxy, sessions, id) = behind_a_proxy().await;
    // Connected again after the one before: otherwise it is the greeting whose reply is lost.
    let cut = || async {
        sessions.get(&id).await.unwrap();
        proxy.cut_before_reply();
    };
    cut().await;
    let mut errors = vec![sessions.create("alice").await.unwrap_err()];
    cut().await;
    errors.push(sessions.update(&id).set(&COUNT, &1).await.unwrap_err());
    assert_eq!(sessions.list("alice").await.unwrap().len(), 2);
    let session = sessions.get(&id).await.unwrap().unwrap();
    assert_eq!(session.get(&COUNT).unwrap(), Some(1));
    cut().await;
    errors.push(sessions.take(&id, &COUNT).await.unwrap_err());
    cut().await;
    errors.push(sessions.delete_all("alice").await.unwrap_err());
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::ConnectionLost);
        assert_eq!(error.outcome(), Outcome::Unknown);
    }
    assert_eq!(sessions.count("alice").await.unwrap(), 0);
}

/// The rest is, and answers as if nothing had been lost.
#[tokio::test(flavor = "multi_thread")]
async fn fault_a_rotation_with_a_lost_reply_gives_the_new_id() {
    let (_server, proxy, sessions, id) = behind_a_proxy().await;
    proxy.cut_before_reply();
    let new = sessions.rotate(&id).await.unwrap().rotated().unwrap().id;
    assert!(sessions.is_valid(&new).await.unwrap());
    proxy.cut_before_reply();
    assert!(sessions.get_and_touch(&new).await.unwrap().is_some());
    proxy.cut_before_reply();
    // It was there, and its first attempt removed it.
    assert!(!sessions.delete(&new).await.unwrap());
    assert!(!sessions.is_valid(&new).await.unwrap());
}

/// Neither keys nor values name the secret, nor keys the user; all keys have a lifetime.
#[tokio::test]
async fn a_dump_of_the_server_holds_no_id() {
    let server = shared(ServerKind::Redis).await.unwrap();
    let namespace = namespace();
    let builder = Fleet::builder().url(server.url()).namespace(&*namespace);
    let fleet = builder.build().await.unwrap();
    let sessions = fleet.sessions();
    let id = sessions.create("alice").await.unwrap().id;
    let id = sessions.rotate(&id).await.unwrap().rotated().unwrap().id;
    let redis = fleet.redis().unwrap();
    let keys = redis
        .command(&["KEYS", &format!("{namespace}*")])
        .await
        .unwrap();
    let keys = keys.as_array().unwrap();
    let mut names: Vec<_> = keys.iter().map(|key| key.as_str().unwrap()).collect();
    names.sort_unstable();
    let unit = sessions.unit(&id).unwrap();
    assert_eq!(
        names,
        [unit.unit("session", ""), unit.unit("session", ":ends")]
    );
    let secret = id.expose();
    for name in names {
        let left = redis
            .command(&["PTTL", name])
            .await
            .unwrap()
            .as_int()
            .unwrap();
        assert!(left > 0 && left <= 7 * 24 * 3_600_000, "{name}: {left}");
        assert!(!name.contains("alice"));
        let dump = redis.command(&["DUMP", name]).await.unwrap();
        let dump = format!("{dump:?}");
        assert!(!dump.contains(&secret) && !dump.contains(&secret[43..]));
    }
    sessions.delete(&id).await.unwrap();
    let keys = redis
        .command(&["KEYS", &format!("{namespace}*")])
        .await
        .unwrap();
    assert!(keys.as_array().unwrap().is_empty(), "nothing is left");
}

/// With what it held, and under its present id alone.
#[tokio::test]
async fn sessions_of_a_file_outlive_the_process() {
    let directory = tempfile::tempdir().unwrap();
    let url = file_url(&directory.path().join("home.redb"));
    let fleet = Fleet::connect(&url).await.unwrap();
    let sessions = fleet.sessions().overlap(Duration::ZERO);
    let made = sessions
        .create("alice")
        .field(&COUNT, &7)
        .device_info("Firefox")
        .await
        .unwrap();
    let deleted = sessions.create("alice").await.unwrap().id;
    sessions.delete(&deleted).await.unwrap();
    let id = sessions
        .rotate(&made.id)
        .await
        .unwrap()
        .rotated()
        .unwrap()
        .id;
    let before = sessions.get(&id).await.unwrap().unwrap();
    fleet.close().await;

    let fleet = Fleet::connect(&url).await.unwrap();
    let sessions = fleet.sessions();
    let session = sessions.get(&id).await.unwrap().unwrap();
    assert_eq!(session.get(&COUNT).unwrap(), Some(7));
    assert_eq!(session.device_info(), Some("Firefox"));
    assert_eq!(session.expires_at(), before.expires_at());
    assert_eq!(sessions.count("alice").await.unwrap(), 1);
    for gone in [&made.id, &deleted] {
        assert!(!sessions.is_valid(gone).await.unwrap());
    }
    assert_eq!(sessions.delete_all("alice").await.unwrap(), 1);
    fleet.close().await;
    let fleet = Fleet::connect(&url).await.unwrap();
    assert!(!fleet.sessions().is_valid(&id).await.unwrap());
}

/// Of a removal, and of an eviction, whose caller has given up before they are on disk.
#[tokio::test]
async fn fault_what_is_removed_by_who_gives_up_is_heard_of() {
    let directory = tempfile::tempdir().unwrap();
    let url = file_url(&directory.path().join("home.redb"));
    let fleet = Fleet::connect(&url).await.unwrap();
    let sessions = fleet.sessions().max_per_user(1);
    for (user, why) in [("alice", RevokedWhy::Deleted), ("bob", RevokedWhy::Evicted)] {
        let id = sessions.create(user).await.unwrap().id;
        let mut watch = sessions.watch(&id).await.unwrap();
        let mut ended = pin!(watch.ended());
        assert!(poll_once(ended.as_mut()).await.is_none(), "it waits");
        match why {
            RevokedWhy::Deleted => {
                let removing = pin!(sessions.delete(&id));
                assert!(poll_once(removing).await.is_none(), "not on disk yet");
            }
            _ => {
                let removing = pin!(sessions.create(user).into_future());
                assert!(poll_once(removing).await.is_none(), "not on disk yet");
            }
        }
        let heard = tokio::time::timeout(Duration::from_secs(10), ended).await;
        assert_eq!(heard.expect("the removal").unwrap(), Some(why));
    }
}

async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|cx| {
        Poll::Ready(match future.as_mut().poll(cx) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        })
    })
    .await
}
