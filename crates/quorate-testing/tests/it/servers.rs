//! Servers start, do what tests do to them, and are gone afterwards.

use std::env;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpStream as StdTcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use quorate_testing::servers::{
    Detached, Flavour, Reply, Server, ServerError, ServerKind, TlsFiles, shared,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Long enough for anything here; only a broken harness reaches it.
const SOON: Duration = Duration::from_secs(20);

async fn connect(port: u16) -> TcpStream {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port))
        .await
        .unwrap()
}

/// Sends PING, and reads exactly the answer that is expected.
async fn ping(stream: &mut TcpStream, expected: &str) {
    stream.write_all(b"PING\r\n").await.unwrap();
    let mut answer = vec![0; expected.len()];
    timeout(SOON, stream.read_exact(&mut answer))
        .await
        .expect("an answer")
        .unwrap();
    assert_eq!(String::from_utf8(answer).unwrap(), expected);
}

fn refuses(port: u16) -> bool {
    StdTcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err()
}

async fn starts_and_answers(kind: ServerKind) -> Server {
    let server = Server::start(kind).await.unwrap();
    assert_eq!(server.url(), format!("redis://127.0.0.1:{}", server.port()));
    ping(&mut connect(server.port()).await, "+PONG\r\n").await;
    server
}

#[tokio::test]
async fn redis_starts_and_answers() {
    let server = starts_and_answers(ServerKind::Redis).await;
    let info = server.command(&["INFO", "server"]).await.unwrap();
    let info = info.as_str().unwrap();
    assert!(
        info.contains("redis_version:") && !info.contains("valkey_version:"),
        "{info}"
    );
}

#[tokio::test]
async fn valkey_starts_and_answers() {
    let server = starts_and_answers(ServerKind::Valkey).await;
    let info = server.command(&["INFO", "server"]).await.unwrap();
    assert!(info.as_str().unwrap().contains("valkey_version:"));
}

#[tokio::test]
async fn a_cluster_of_one_serves_all_slots_and_refuses_to_cross_them() {
    let server = starts_and_answers(ServerKind::RedisCluster).await;
    for key in ["a", "b", "{tag}c"] {
        server.command(&["SET", key, "1"]).await.unwrap();
    }
    let error = server.command(&["MGET", "a", "b"]).await.unwrap_err();
    assert!(error.to_string().contains("CROSSSLOT"), "{error}");
    let nodes = server
        .command(&["CLUSTER", "SLOTS"])
        .await
        .unwrap()
        .to_string();
    assert!(
        nodes.contains("127.0.0.1"),
        "clients must be sent to loopback: {nodes}"
    );
}

#[tokio::test]
async fn a_cluster_of_one_comes_back_with_its_slots() {
    let server = Server::start(ServerKind::RedisCluster).await.unwrap();
    server.restart().await.unwrap();
    server.command(&["SET", "a", "1"]).await.unwrap();
}

#[tokio::test]
async fn a_killed_server_refuses_until_it_is_restarted_on_the_same_port() {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let (port, pid) = (server.port(), server.pid());
    server.command(&["SET", "k", "v"]).await.unwrap();

    server.kill();
    assert_eq!(server.pid(), None);
    assert!(refuses(port));
    assert!(matches!(
        server.pause(),
        Err(ServerError::NotRunning { .. })
    ));

    server.restart().await.unwrap();
    assert_eq!(server.port(), port);
    assert!(server.pid().is_some() && server.pid() != pid);
    ping(&mut connect(port).await, "+PONG\r\n").await;
    assert_eq!(
        server.command(&["GET", "k"]).await.unwrap(),
        Reply::Nil,
        "nothing persists"
    );
}

#[tokio::test]
async fn options_and_what_they_persist_survive_a_restart() {
    let server = Server::builder(ServerKind::Redis)
        .arg("--appendonly", "yes")
        .arg("--appendfsync", "always")
        .start()
        .await
        .unwrap();
    server.command(&["SET", "k", "v"]).await.unwrap();
    server.restart().await.unwrap();
    assert_eq!(
        server.command(&["GET", "k"]).await.unwrap().as_str(),
        Some("v")
    );
}

#[tokio::test]
async fn a_paused_server_keeps_connections_and_answers_when_resumed() {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let mut stream = connect(server.port()).await;
    server.pause().unwrap();
    stream.write_all(b"PING\r\n").await.unwrap();
    let mut answer = [0; 7];
    let early = timeout(Duration::from_millis(100), stream.read_exact(&mut answer)).await;
    assert!(early.is_err(), "a stopped process answers nothing");
    server.resume().unwrap();
    timeout(SOON, stream.read_exact(&mut answer))
        .await
        .expect("an answer")
        .unwrap();
    assert_eq!(&answer, b"+PONG\r\n");
}

#[tokio::test]
async fn a_stopped_server_is_gone_even_if_it_was_paused() {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    server.pause().unwrap();
    server.stop().await;
    assert!(refuses(server.port()));
    let log = server.log().unwrap();
    assert!(log.contains("SIGTERM"), "it was asked, not killed: {log}");
}

#[tokio::test]
async fn a_dropped_server_is_gone() {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let port = server.port();
    drop(server);
    assert!(refuses(port));
}

#[test]
fn a_server_dies_with_a_process_that_drops_nothing() {
    const ROLE: &str = "QUORATE_TESTING_OWNS_A_SERVER";
    const NAME: &str = "servers::a_server_dies_with_a_process_that_drops_nothing";
    if env::var_os(ROLE).is_some() {
        let server = Server::builder(ServerKind::Redis).start_blocking().unwrap();
        // Stopped, so that it can't end by itself.
        server.pause().unwrap();
        println!("port {}", server.port());
        loop {
            std::thread::park();
        }
    }

    let mut owner = Command::new(env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture"])
        .env(ROLE, "yes")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(owner.stdout.take().unwrap()).lines();
    let port = lines
        .map_while(Result::ok)
        // The test runner may have written "test … " before it, on the same line.
        .find_map(|line| line.split_once("port ")?.1.parse().ok())
        .expect("the owner starts a server");
    assert!(!refuses(port));
    owner.kill().unwrap();
    owner.wait().unwrap();
    // A stopped process accepts connections in its backlog: refusal is the sign of its death. The
    // test runner's own time limit ends this if it never comes.
    while !refuses(port) {
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn a_password_is_required_and_part_of_the_url() {
    let server = Server::builder(ServerKind::Redis)
        .password("s3cret/%")
        .start()
        .await
        .unwrap();
    assert_eq!(
        server.url(),
        format!("redis://:s3cret%2F%25@127.0.0.1:{}", server.port())
    );
    ping(
        &mut connect(server.port()).await,
        "-NOAUTH Authentication required.\r\n",
    )
    .await;
    server.command(&["SET", "k", "v"]).await.unwrap();
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why() {
    let error = Server::builder(ServerKind::Redis)
        .arg("--maxmemory", "plenty")
        .start()
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, ServerError::Start { .. }), "{text}");
    assert!(
        text.contains("maxmemory") && text.contains("ended"),
        "{text}"
    );
}

#[tokio::test]
async fn a_taken_port_is_refused() {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let error = Server::builder(ServerKind::Redis)
        .port(server.port())
        .start()
        .await
        .unwrap_err();
    assert!(matches!(error, ServerError::Port(_)), "{error}");
}

#[tokio::test]
async fn a_tls_server_hides_behind_its_certificate() {
    let files = TlsFiles::generate().unwrap();
    let server = Server::builder(ServerKind::Redis)
        .tls(files.clone())
        .start()
        .await
        .unwrap();
    assert!(server.url().starts_with("rediss://"));
    // Plain text is no TLS: the server closes, perhaps after an alert.
    let mut stream = connect(server.port()).await;
    stream.write_all(b"PING\r\n").await.unwrap();
    let mut answer = Vec::new();
    // A reset instead of an orderly end is as good.
    let _ = timeout(SOON, stream.read_to_end(&mut answer))
        .await
        .expect("it closes");
    assert!(!answer.starts_with(b"+PONG"));
    assert_eq!(
        server.command(&["PING"]).await.unwrap().as_str(),
        Some("PONG")
    );
    assert!(files.authority().is_file() && files.client_key().is_file());
}

#[tokio::test]
async fn tests_share_one_server_per_kind() {
    let first = shared(ServerKind::Redis).await.unwrap();
    let again = shared(ServerKind::Redis).await.unwrap();
    let other = shared(ServerKind::Valkey).await.unwrap();
    assert_eq!(first.url(), again.url());
    assert_ne!(first.url(), other.url());
    assert_eq!(other.kind().flavour(), Flavour::Valkey);
}

#[tokio::test(start_paused = true)]
async fn starting_does_not_move_a_paused_clock() {
    let before = tokio::time::Instant::now();
    let server = Server::start(ServerKind::Redis).await.unwrap();
    server.restart().await.unwrap();
    assert_eq!(before.elapsed(), Duration::ZERO);
}

#[test]
fn a_detached_server_outlives_its_owner_and_is_found_by_its_directory() {
    let dir = tempfile::tempdir().unwrap();
    let found = Detached::at(dir.path());
    assert!(!found.is_running() && found.url().is_none());
    assert!(!found.stop().unwrap(), "nothing to stop yet");

    let server = Server::builder(ServerKind::Redis)
        .detached(dir.path())
        .start_blocking()
        .unwrap();
    let (url, port) = (server.url(), server.port());
    drop(server);
    assert!(!refuses(port));
    assert_eq!(found.url(), Some(url));
    assert!(found.stop().unwrap());
    assert!(refuses(port));
    assert!(!found.stop().unwrap(), "it is gone");
    assert!(found.log_path().is_file());
}
