//! The server is there and refuses: each condition by its code, what it says about the command, and
//! that it passes.

use quorate_link::{Link, LinkError, LinkErrorKind, LinkState, Outcome};
use quorate_testing::servers::{Reply, Server, ServerKind};

use crate::support::{
    ask, config, connected, millis, patiently, persist, redis, wait_state, wait_status, within,
};

fn refused(error: &LinkError, code: &str, retryable: bool) {
    assert_eq!(error.kind(), LinkErrorKind::Server, "{error}");
    assert_eq!(error.server_code(), Some(code), "{error}");
    assert_eq!(error.outcome(), Outcome::NotApplied, "{error}");
    assert_eq!(error.is_retryable(), retryable, "{error}");
}

/// A refusal shows in the state, and the state recovers after the condition has passed.
async fn degraded_then_ready(link: &Link, code: &str) {
    let status = wait_status(link, |s| s.state == LinkState::Degraded).await;
    assert!(status.reason.starts_with(code), "{}", status.reason);
    wait_state(link, LinkState::Ready).await;
}

/// Commands and scripts that write are refused with `code`; neither has written anything.
async fn writes_are_refused(link: &Link, code: &str) {
    refused(
        &ask(link, &["SET", "k", "v"]).await.unwrap_err(),
        code,
        true,
    );
    let legacy: &[&[u8]] = &[
        b"EVAL",
        b"return redis.call('SET', KEYS[1], 'v')",
        b"1",
        b"k",
    ];
    let modern: &[&[u8]] = &[
        b"EVAL",
        b"#!lua\nreturn redis.call('SET', KEYS[1], 'v')",
        b"1",
        b"k",
    ];
    for script in [legacy, modern] {
        let error = link
            .call(script, &patiently().script(true))
            .await
            .unwrap_err();
        refused(&error, code, true);
    }
    assert!(ask(link, &["GET", "k"]).await.unwrap().is_null());
}

#[tokio::test]
async fn fault_oom() {
    let server = redis().await;
    let link = connected(config(server.port())).await;
    server
        .command(&["CONFIG", "SET", "maxmemory", "1"])
        .await
        .unwrap();
    writes_are_refused(&link, "OOM").await;
    server
        .command(&["CONFIG", "SET", "maxmemory", "0"])
        .await
        .unwrap();
    ask(&link, &["SET", "k", "v"]).await.unwrap();
    degraded_then_ready(&link, "OOM").await;
}

#[tokio::test]
async fn fault_noreplicas() {
    let server = redis().await;
    let link = connected(config(server.port())).await;
    server
        .command(&["CONFIG", "SET", "min-replicas-to-write", "1"])
        .await
        .unwrap();
    writes_are_refused(&link, "NOREPLICAS").await;
    server
        .command(&["CONFIG", "SET", "min-replicas-to-write", "0"])
        .await
        .unwrap();
    ask(&link, &["SET", "k", "v"]).await.unwrap();
    degraded_then_ready(&link, "NOREPLICAS").await;
}

#[tokio::test]
async fn fault_misconf() {
    let server = Server::builder(ServerKind::Redis)
        .arg("--save", "3600 1000000")
        .start()
        .await
        .unwrap();
    let link = connected(config(server.port())).await;
    let reply = server.command(&["CONFIG", "GET", "dir"]).await.unwrap();
    let Reply::Array(pair) = reply else {
        panic!("{reply:?}")
    };
    let dir = pair[1].as_str().unwrap();
    // A snapshot cannot replace a directory, not even for root.
    let obstacle = std::path::Path::new(dir).join("dump.rdb");
    std::fs::create_dir_all(obstacle.join("full")).unwrap();
    server.command(&["BGSAVE"]).await.unwrap();
    wait_info(&server, "rdb_last_bgsave_status:err").await;
    writes_are_refused(&link, "MISCONF").await;
    std::fs::remove_dir_all(&obstacle).unwrap();
    server.command(&["BGSAVE"]).await.unwrap();
    wait_info(&server, "rdb_last_bgsave_status:ok").await;
    ask(&link, &["SET", "k", "v"]).await.unwrap();
    degraded_then_ready(&link, "MISCONF").await;
}

async fn wait_info(server: &Server, line: &str) {
    let until = tokio::time::Instant::now() + crate::support::PATIENCE;
    loop {
        let info = server
            .command(&["INFO", "persistence"])
            .await
            .unwrap()
            .to_string();
        if info.contains(line) && info.contains("rdb_bgsave_in_progress:0") {
            return;
        }
        assert!(tokio::time::Instant::now() < until, "{info}");
    }
}

#[tokio::test]
async fn fault_noperm() {
    let server = redis().await;
    server
        .command(&[
            "ACL",
            "SETUSER",
            "app",
            "on",
            ">pw",
            "~mine:*",
            "+@all",
            "-flushall",
        ])
        .await
        .unwrap();
    let mut config = config(server.port());
    config.username = Some("app".to_owned());
    config.password = Some("pw".into());
    let link = connected(config).await;
    refused(
        &ask(&link, &["FLUSHALL"]).await.unwrap_err(),
        "NOPERM",
        false,
    );
    refused(
        &ask(&link, &["SET", "yours", "v"]).await.unwrap_err(),
        "NOPERM",
        false,
    );
    ask(&link, &["SET", "mine:k", "v"]).await.unwrap();
    assert_eq!(
        link.status().borrow().state,
        LinkState::Ready,
        "the server is in order"
    );
    let script: &[&[u8]] = &[
        b"EVAL",
        b"redis.call('SET', 'mine:k', 'changed'); return redis.call('FLUSHALL')",
        b"0",
    ];
    let error = link
        .call(script, &patiently().script(true))
        .await
        .unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
    assert_eq!(
        ask(&link, &["GET", "mine:k"]).await.unwrap().as_str(),
        Some("changed")
    );
}

#[tokio::test]
async fn fault_noperm_for_the_probe_itself() {
    let server = redis().await;
    server
        .command(&[
            "ACL", "SETUSER", "app", "on", ">pw", "~*", "+@read", "+@write", "+hello",
        ])
        .await
        .unwrap();
    let mut config = config(server.port());
    config.username = Some("app".to_owned());
    config.password = Some("pw".into());
    let link = connected(config).await;
    let found = link.server().unwrap();
    assert_eq!(
        found.version.major,
        u16::try_from(server.binary().version.0).unwrap()
    );
    assert!(
        !found.scripting,
        "EVAL is not granted, and the probe noticed"
    );
    assert_eq!(found.eviction_policy, None);
    ask(&link, &["SET", "k", "v"]).await.unwrap();
}

#[tokio::test]
async fn fault_busy() {
    let server = redis().await;
    let link = connected(config(server.port())).await;
    let other = connected(config(server.port())).await;
    server
        .command(&["CONFIG", "SET", "busy-reply-threshold", "50"])
        .await
        .unwrap();
    let options = patiently().script(true);
    let endless: &[&[u8]] = &[b"EVAL", b"while true do end", b"0"];
    let endless = other.call(endless, &options);
    let story = async {
        // The first call may come before the script; it is answered, or it meets the script.
        let error = loop {
            match ask(&link, &["GET", "k"]).await {
                Ok(_) => tokio::task::yield_now().await,
                Err(error) => break error,
            }
        };
        refused(&error, "BUSY", true);
        let health = link.health(crate::support::PATIENCE).await;
        assert!(!health.healthy);
        assert_eq!(health.error.unwrap().server_code(), Some("BUSY"));
        // A link that comes now waits until the server has time for it.
        let late = crate::support::open(config(server.port()));
        wait_status(&late, |s| s.reason.starts_with("BUSY")).await;
        let refused = late
            .call(&[b"PING"], &within(millis(100)))
            .await
            .unwrap_err();
        assert_eq!(refused.kind(), LinkErrorKind::Disconnected);
        ask(&link, &["SCRIPT", "KILL"]).await.unwrap();
        wait_state(&late, LinkState::Ready).await;
    };
    let (killed, ()) = tokio::join!(endless, story);
    assert_eq!(killed.unwrap_err().outcome(), Outcome::Unknown);
    ask(&link, &["SET", "k", "v"]).await.unwrap();
    degraded_then_ready(&link, "BUSY").await;
}

/// A server that takes a while to load its data, and answers meanwhile.
async fn slow_to_load() -> Server {
    let server = Server::builder(ServerKind::Redis)
        .arg("--key-load-delay", "1000")
        .arg("--loading-process-events-interval-bytes", "1024")
        .start()
        .await
        .unwrap();
    server
        .command(&["DEBUG", "POPULATE", "1500", "key", "100"])
        .await
        .unwrap();
    server.command(&["SAVE"]).await.unwrap();
    server
}

#[tokio::test]
async fn fault_loading_holds_calls_back_until_it_is_done() {
    let server = slow_to_load().await;
    let link = connected(config(server.port())).await;
    let restarting = server.restart();
    let story = async {
        wait_status(&link, |s| s.reason.contains("loading")).await;
        assert_eq!(link.status().borrow().state, LinkState::Reconnecting);
        let error = link
            .call(&[b"PING"], &within(millis(50)))
            .await
            .unwrap_err();
        assert_eq!(
            (error.kind(), error.outcome()),
            (LinkErrorKind::Disconnected, Outcome::NotApplied)
        );
        assert!(error.to_string().contains("loading"), "{error}");
        let value = persist(&link, &["GET", "key:7"]).await;
        assert!(!value.is_null(), "it waited for the data");
    };
    let (restarted, ()) = tokio::join!(restarting, story);
    restarted.unwrap();
}

#[tokio::test]
async fn fault_loading_on_a_live_connection() {
    let server = slow_to_load().await;
    let link = connected(config(server.port())).await;
    let reloading = server.command(&["DEBUG", "RELOAD", "NOSAVE"]);
    let story = async {
        let error = loop {
            match ask(&link, &["SET", "k", "v"]).await {
                Ok(_) => tokio::task::yield_now().await,
                Err(error) => break error,
            }
        };
        refused(&error, "LOADING", true);
        persist(&link, &["SET", "k", "v"]).await;
    };
    let (reloaded, ()) = tokio::join!(reloading, story);
    reloaded.unwrap();
    degraded_then_ready(&link, "LOADING").await;
}

#[tokio::test]
async fn fault_readonly() {
    let server = redis().await;
    let primary = redis().await;
    let link = connected(config(server.port())).await;
    ask(&link, &["SET", "k", "v"]).await.unwrap();
    let port = primary.port().to_string();
    server
        .command(&["REPLICAOF", "127.0.0.1", &port])
        .await
        .unwrap();
    // While it copies, the new replica may also say that it is loading.
    let error = loop {
        let error = ask(&link, &["SET", "k", "w"]).await.unwrap_err();
        assert_eq!(error.outcome(), Outcome::NotApplied, "{error}");
        if error.server_code() == Some("READONLY") {
            break error;
        }
    };
    refused(&error, "READONLY", true);
    wait_state(&link, LinkState::Failover).await;
    let script: &[&[u8]] = &[
        b"EVAL",
        b"return redis.call('SET', KEYS[1], 'v')",
        b"1",
        b"k",
    ];
    let error = link
        .call(script, &patiently().script(true))
        .await
        .unwrap_err();
    assert_eq!(error.outcome(), Outcome::NotApplied, "{error}");
    assert_eq!(link.status().borrow().state, LinkState::Failover);
    server.command(&["REPLICAOF", "NO", "ONE"]).await.unwrap();
    wait_state(&link, LinkState::Ready).await;
    persist(&link, &["SET", "k", "x"]).await;
}

#[tokio::test]
async fn fault_started_on_a_replica() {
    let primary = redis().await;
    let replica = redis().await;
    primary.command(&["SET", "k", "v"]).await.unwrap();
    let port = primary.port().to_string();
    replica
        .command(&["REPLICAOF", "127.0.0.1", &port])
        .await
        .unwrap();
    let link = crate::support::open(config(replica.port()));
    wait_state(&link, LinkState::Failover).await;
    while persist(&link, &["GET", "k"]).await.as_str() != Some("v") {
        tokio::task::yield_now().await;
    }
    replica.command(&["REPLICAOF", "NO", "ONE"]).await.unwrap();
    wait_state(&link, LinkState::Ready).await;
    ask(&link, &["SET", "k", "w"]).await.unwrap();
}
