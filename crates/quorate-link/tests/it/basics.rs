//! Without faults.

use bytes::Bytes;
use futures_util::StreamExt as _;
use quorate_link::{
    Batch, Flavour, Frame, Lane, LinkErrorKind, LinkState, Outcome, Protocol, ServerMode,
    ServerRole, StateChange,
};
use quorate_testing::servers::{Server, ServerKind};
use tokio::time::Instant;

use crate::support::{PATIENCE, ask, config, connected, open, patiently, redis, wait_state};

#[tokio::test]
async fn commands_are_answered_in_both_protocols() {
    let server = redis().await;
    for protocol in [Protocol::Resp3, Protocol::Resp2] {
        let mut config = config(server.port());
        config.protocol = protocol;
        let link = connected(config).await;
        assert!(ask(&link, &["SET", "k", "v"]).await.unwrap().is_ok());
        assert_eq!(
            ask(&link, &["GET", "k"]).await.unwrap(),
            Frame::Bulk(Bytes::from("v"))
        );
        assert!(ask(&link, &["GET", "none"]).await.unwrap().is_null());
        ask(&link, &["HSET", "h", "f", "1"]).await.unwrap();
        let pairs = ask(&link, &["HGETALL", "h"])
            .await
            .unwrap()
            .into_pairs()
            .unwrap();
        assert_eq!(pairs.len(), 1, "{protocol:?}");
        ask(&link, &["FLUSHALL"]).await.unwrap();
        let spoken = link.server().unwrap().protocol;
        assert_eq!(spoken, if protocol == Protocol::Resp2 { 2 } else { 3 });
    }
}

#[tokio::test]
async fn an_error_reply_is_an_error_that_says_what_is_known() {
    let server = redis().await;
    let link = connected(config(server.port())).await;
    ask(&link, &["SET", "k", "v"]).await.unwrap();
    let error = ask(&link, &["LPUSH", "k", "x"]).await.unwrap_err();
    assert_eq!(error.kind(), LinkErrorKind::Server);
    assert_eq!(error.server_code(), Some("WRONGTYPE"));
    assert_eq!(error.outcome(), Outcome::NotApplied);
    assert!(!error.is_retryable());

    let script: &[&[u8]] = &[
        b"EVAL",
        b"redis.call('SET', 'done', '1'); return redis.call('LPUSH', 'k', 'x')",
        b"0",
    ];
    let error = link
        .call(script, &patiently().script(true))
        .await
        .unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
    assert_eq!(
        ask(&link, &["GET", "done"]).await.unwrap().as_int(),
        Some(1),
        "it did write"
    );
}

#[tokio::test]
async fn permits_put_commands_on_the_wire_in_program_order() {
    let server = redis().await;
    let link = connected(config(server.port())).await;
    let mut replies = Vec::new();
    for n in 0..100 {
        let permit = link.reserve(32, &patiently()).await.unwrap();
        replies.push(permit.enqueue(&[b"RPUSH", b"list", n.to_string().as_bytes()]));
    }
    for (n, reply) in replies.into_iter().enumerate() {
        assert_eq!(reply.await.unwrap().as_int(), Some(n as i64 + 1));
    }
}

#[tokio::test]
async fn a_dropped_permit_gives_its_room_back() {
    let server = redis().await;
    let link = connected(config(server.port())).await;
    let permit = link.reserve(1000, &patiently()).await.unwrap();
    assert_eq!(link.stats().in_flight(), 1);
    drop(permit);
    assert_eq!(
        (link.stats().in_flight(), link.stats().in_flight_bytes()),
        (0, 0)
    );
    ask(&link, &["PING"]).await.unwrap();
}

#[tokio::test]
async fn a_batch_has_nothing_of_others_between_its_commands() {
    let server = redis().await;
    let link = connected(config(server.port())).await;
    let other = link.clone();
    let noise = async {
        for _ in 0..500 {
            ask(&other, &["INCR", "n"]).await.unwrap();
        }
    };
    let batches = async {
        for _ in 0..100 {
            let mut batch = Batch::new();
            batch
                .command(&[b"INCR", b"n"])
                .command(&[b"LPUSH", b"n", b"x"])
                .command(&[b"INCR", b"n"]);
            let replies = link.pipeline(&batch, &patiently()).await.unwrap();
            let [Ok(first), Err(error), Ok(last)] = replies.as_slice() else {
                panic!("{replies:?}")
            };
            assert_eq!(error.server_code(), Some("WRONGTYPE"));
            assert_eq!(first.as_int().unwrap() + 1, last.as_int().unwrap());
        }
    };
    tokio::join!(noise, batches);
    assert!(
        link.pipeline(&Batch::new(), &patiently())
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn lanes_do_not_hold_each_other_up() {
    let server = redis().await;
    let link = connected(config(server.port())).await;
    let blocked = link
        .reserve(32, &patiently().lane(Lane::Bulk))
        .await
        .unwrap();
    let blocked = blocked.enqueue(&[b"BLPOP", b"list", b"0"]);
    ask(&link, &["PING"]).await.unwrap();
    link.call(&[b"PING"], &patiently().lane(Lane::Durable))
        .await
        .unwrap();
    let stats = link.stats();
    assert!(stats.command.connected && stats.bulk.connected && stats.durable.connected);
    assert_eq!(stats.bulk.in_flight, 1);
    ask(&link, &["RPUSH", "list", "x"]).await.unwrap();
    assert_eq!(blocked.await.unwrap().into_array().unwrap().len(), 2);
}

#[tokio::test]
async fn the_probe_tells_what_the_server_is() {
    for (kind, flavour, mode) in [
        (ServerKind::Redis, Flavour::Redis, ServerMode::Standalone),
        (ServerKind::Valkey, Flavour::Valkey, ServerMode::Standalone),
        (
            ServerKind::RedisCluster,
            Flavour::Redis,
            ServerMode::Cluster,
        ),
    ] {
        let server = Server::start(kind).await.unwrap();
        let link = connected(config(server.port())).await;
        let found = link.server().unwrap();
        assert_eq!((found.flavour, found.mode), (flavour, mode));
        assert_eq!(found.role, ServerRole::Primary);
        assert_eq!(found.eviction_policy.as_deref(), Some("noeviction"));
        assert!(found.scripting && found.sharded_pubsub && found.supports("EVALSHA"));
        assert!(!found.supports("NOSUCHCOMMAND"));
        assert!(
            link.status()
                .borrow()
                .reason
                .contains(&found.version.to_string())
        );
    }
}

#[tokio::test]
async fn database_name_and_user_are_as_configured() {
    let server = redis().await;
    server
        .command(&["ACL", "SETUSER", "app", "on", ">s3cret", "~*", "+@all"])
        .await
        .unwrap();
    let mut config = config(server.port());
    config.db = 3;
    config.client_name = Some("tester".to_owned());
    config.username = Some("app".to_owned());
    config.password = Some("s3cret".into());
    assert!(!format!("{config:?}").contains("s3cret"));
    for protocol in [Protocol::Resp3, Protocol::Resp2] {
        config.protocol = protocol;
        let link = connected(config.clone()).await;
        assert!(!format!("{link:?}").contains("s3cret"));
        let info = ask(&link, &["CLIENT", "INFO"]).await.unwrap();
        let info = info.as_str().unwrap();
        for part in [" db=3 ", " name=tester ", " user=app "] {
            assert!(info.contains(part), "{part} in {info}");
        }
    }
    config.db = 4711;
    let error = open(config)
        .ready(Instant::now() + PATIENCE / 60)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), LinkErrorKind::Config, "{error}");
    assert!(error.to_string().contains("database 4711"), "{error}");
}

#[tokio::test]
async fn a_lazy_link_connects_on_first_use() {
    let server = redis().await;
    let mut config = config(server.port());
    config.lazy = true;
    let link = open(config);
    assert_eq!(link.status().borrow().state, LinkState::Idle);
    let before = server
        .command(&["INFO", "stats"])
        .await
        .unwrap()
        .to_string();
    ask(&link, &["PING"]).await.unwrap();
    assert_eq!(link.status().borrow().state, LinkState::Ready);
    let after = server
        .command(&["INFO", "stats"])
        .await
        .unwrap()
        .to_string();
    assert_ne!(before, after);
}

#[tokio::test]
async fn health_is_one_look_at_the_server() {
    let server = redis().await;
    let link = connected(config(server.port())).await;
    let health = link.health(PATIENCE).await;
    assert!(health.healthy && health.error.is_none(), "{health:?}");
    let figures = health.server.unwrap();
    assert_eq!(figures.flavour, Flavour::Redis);
    assert!(figures.connected_clients >= 1 && figures.used_memory > 0);

    let mut checks = Box::pin(link.health_checks(PATIENCE / 1000, PATIENCE));
    for _ in 0..3 {
        assert!(checks.next().await.unwrap().healthy);
    }
}

#[tokio::test]
async fn changes_are_told_once_each_with_reason_and_epoch() {
    let server = redis().await;
    let mut config = config(server.port());
    config.lazy = true;
    let link = open(config);
    let changes = link.changes();
    ask(&link, &["PING"]).await.unwrap();
    server.restart().await.unwrap();
    wait_state(&link, LinkState::Ready).await;
    crate::support::persist(&link, &["PING"]).await;
    link.close(PATIENCE).await;
    let seen: Vec<StateChange> = changes.take(5).collect().await;
    let states: Vec<_> = seen.iter().map(|c| c.new).collect();
    assert_eq!(
        states,
        [
            LinkState::Connecting,
            LinkState::Ready,
            LinkState::Reconnecting,
            LinkState::Ready,
            LinkState::Closed
        ]
    );
    assert!(
        seen.windows(2)
            .all(|w| w[0].new == w[1].previous && w[0].at <= w[1].at)
    );
    assert_eq!(
        seen.iter().map(|c| c.epoch).collect::<Vec<_>>(),
        [0, 1, 1, 2, 2]
    );
    assert!(seen.iter().all(|c| !c.reason.is_empty()));
}

#[tokio::test]
async fn invalid_configurations_name_the_field() {
    let mut invalid = config(1);
    invalid.command_timeout = std::time::Duration::ZERO;
    let error = quorate_link::Link::open(invalid, None).unwrap_err();
    assert_eq!(error.kind(), LinkErrorKind::Config);
    assert!(error.to_string().starts_with("command_timeout:"), "{error}");
    let mut invalid = config(1);
    invalid.username = Some("somebody".to_owned());
    let error = quorate_link::Link::open(invalid, None).unwrap_err();
    assert!(error.to_string().starts_with("password:"), "{error}");
}

#[test]
fn a_link_needs_a_runtime() {
    let error = quorate_link::Link::open(config(1), None).unwrap_err();
    assert_eq!(error.kind(), LinkErrorKind::Config);
    assert!(error.to_string().contains("runtime"), "{error}");
}

#[tokio::test]
async fn dropping_the_last_clone_closes_the_connections() {
    let server = redis().await;
    let link = connected(config(server.port())).await;
    let mut status = link.status();
    ask(&link, &["CLIENT", "SETNAME", "mine"]).await.unwrap();
    drop(link);
    status
        .wait_for(|s| s.state == LinkState::Closed)
        .await
        .unwrap();
    let until = Instant::now() + PATIENCE;
    while server
        .command(&["CLIENT", "LIST"])
        .await
        .unwrap()
        .to_string()
        .contains("name=mine")
    {
        assert!(Instant::now() < until, "the connection is still there");
    }
}
