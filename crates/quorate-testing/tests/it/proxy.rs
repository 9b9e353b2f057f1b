//! The proxy does to a connection what it says, seen from a plain socket to a real server.

use std::io::ErrorKind;
use std::time::Duration;

use quorate_testing::proxy::{Direction, Proxy};
use quorate_testing::servers::{Server, ServerKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

/// Long enough for anything here; only a broken proxy reaches it.
const SOON: Duration = Duration::from_secs(20);

/// Long enough to believe that nothing comes.
const A_WHILE: Duration = Duration::from_millis(100);

async fn setup() -> (Server, Proxy) {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let proxy = Proxy::start(server.addr()).await.unwrap();
    (server, proxy)
}

async fn send(client: &mut TcpStream, command: &str) {
    client
        .write_all(format!("{command}\r\n").as_bytes())
        .await
        .unwrap();
}

async fn expect(client: &mut TcpStream, reply: &str) {
    let mut bytes = vec![0; reply.len()];
    timeout(SOON, client.read_exact(&mut bytes))
        .await
        .expect("a reply")
        .unwrap();
    assert_eq!(String::from_utf8(bytes).unwrap(), reply);
}

async fn call(client: &mut TcpStream, command: &str, reply: &str) {
    send(client, command).await;
    expect(client, reply).await;
}

/// Nothing more comes, and the connection is reset.
async fn expect_reset(client: &mut TcpStream) {
    let read = timeout(SOON, client.read(&mut [0; 64]))
        .await
        .expect("an end");
    assert_eq!(read.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

async fn expect_silence(client: &mut TcpStream) {
    let read = timeout(A_WHILE, client.read(&mut [0; 64])).await;
    assert!(read.is_err(), "nothing should come, not {read:?}");
}

#[tokio::test]
async fn without_faults_everything_passes_and_is_counted() {
    let (_server, proxy) = setup().await;
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    call(&mut client, "PING", "+PONG\r\n").await;
    let stats = proxy.wait(|stats| stats.to_client == 7).await;
    assert_eq!((stats.accepted, stats.open, stats.to_server), (1, 1, 6));
    assert_eq!(stats.discarded, 0);
    send(&mut client, "QUIT").await;
    expect(&mut client, "+OK\r\n").await;
    assert_eq!(
        client.read(&mut [0; 8]).await.unwrap(),
        0,
        "an orderly end stays one"
    );
    drop(client);
    proxy.wait(|stats| stats.open == 0).await;
}

#[tokio::test]
async fn new_connections_go_where_it_is_told() {
    let (first, proxy) = setup().await;
    let second = Server::start(ServerKind::Redis).await.unwrap();
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    call(&mut client, "SET which first", "+OK\r\n").await;
    proxy.retarget(second.addr());
    // An open connection stays where it is.
    call(&mut client, "GET which", "$5\r\nfirst\r\n").await;
    let mut other = TcpStream::connect(proxy.addr()).await.unwrap();
    call(&mut other, "GET which", "$-1\r\n").await;
    drop(first);
}

#[tokio::test]
async fn a_large_reply_passes_whole() {
    let (server, proxy) = setup().await;
    let value = "x".repeat(1 << 20);
    server.command(&["SET", "k", &value]).await.unwrap();
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    call(
        &mut client,
        "GET k",
        &format!("${}\r\n{value}\r\n", value.len()),
    )
    .await;
}

#[tokio::test]
async fn cut_resets_what_is_open_on_both_sides_and_accepts_anew() {
    let (server, proxy) = setup().await;
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    call(&mut client, "CLIENT SETNAME victim", "+OK\r\n").await;
    proxy.cut().await;
    expect_reset(&mut client).await;
    assert_eq!(proxy.stats().open, 0);
    let mut again = TcpStream::connect(proxy.addr()).await.unwrap();
    call(&mut again, "PING", "+PONG\r\n").await;
    while server
        .command(&["CLIENT", "LIST"])
        .await
        .unwrap()
        .to_string()
        .contains("victim")
    {}
}

#[tokio::test]
async fn cut_reaches_a_connection_as_soon_as_it_was_counted() {
    let (_server, proxy) = setup().await;
    for round in 1..=20 {
        let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
        proxy.wait_connections(round).await;
        proxy.cut().await;
        expect_reset(&mut client).await;
    }
}

#[tokio::test]
async fn refuse_turns_new_connections_away_and_keeps_old_ones() {
    let (_server, proxy) = setup().await;
    let mut old = TcpStream::connect(proxy.addr()).await.unwrap();
    call(&mut old, "PING", "+PONG\r\n").await;
    proxy.refuse().await;
    let refused = TcpStream::connect(proxy.addr()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    call(&mut old, "PING", "+PONG\r\n").await;
    proxy.heal().await.unwrap();
    let mut new = TcpStream::connect(proxy.addr()).await.unwrap();
    call(&mut new, "PING", "+PONG\r\n").await;
}

#[tokio::test]
async fn swallowed_requests_never_reach_the_server_and_the_connection_ends_with_the_fault() {
    let (server, proxy) = setup().await;
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    call(&mut client, "PING", "+PONG\r\n").await;
    proxy.swallow(Direction::ToServer);
    send(&mut client, "SET k v").await;
    proxy.wait(|stats| stats.discarded == 9).await;
    expect_silence(&mut client).await;
    proxy.heal().await.unwrap();
    expect_reset(&mut client).await;
    assert_eq!(
        server.command(&["EXISTS", "k"]).await.unwrap().as_integer(),
        Some(0)
    );
}

#[tokio::test]
async fn swallowing_replies_leaves_requests_alone() {
    let (server, proxy) = setup().await;
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    proxy.swallow(Direction::ToClient);
    send(&mut client, "SET k v").await;
    proxy.wait(|stats| stats.discarded == 5).await;
    assert_eq!(
        server.command(&["GET", "k"]).await.unwrap().as_str(),
        Some("v")
    );
    expect_silence(&mut client).await;
}

#[tokio::test]
async fn a_connection_nothing_was_taken_from_survives_swallowing() {
    let (_server, proxy) = setup().await;
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    call(&mut client, "PING", "+PONG\r\n").await;
    proxy.swallow(Direction::Both);
    proxy.heal().await.unwrap();
    call(&mut client, "PING", "+PONG\r\n").await;
}

#[tokio::test]
async fn what_was_held_arrives_after_healing() {
    let (_server, proxy) = setup().await;
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    proxy.hold(Direction::Both);
    send(&mut client, "PING").await;
    expect_silence(&mut client).await;
    proxy.heal().await.unwrap();
    expect(&mut client, "+PONG\r\n").await;
}

#[tokio::test]
async fn delay_is_added_in_both_directions() {
    let (_server, proxy) = setup().await;
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    proxy.delay(Duration::from_millis(50));
    let start = Instant::now();
    call(&mut client, "PING", "+PONG\r\n").await;
    // A lower bound, which no slow machine breaks.
    assert!(start.elapsed() >= Duration::from_millis(100));
}

#[tokio::test]
async fn dropped_replies_were_executed_and_healing_cuts() {
    let (server, proxy) = setup().await;
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    call(&mut client, "INCR n", ":1\r\n").await;
    proxy.drop_replies();
    send(&mut client, "INCR n").await;
    send(&mut client, "INCR n").await;
    proxy.wait(|stats| stats.discarded == 8).await;
    expect_silence(&mut client).await;
    assert_eq!(
        server.command(&["GET", "n"]).await.unwrap().as_str(),
        Some("3")
    );
    proxy.heal().await.unwrap();
    expect_reset(&mut client).await;
}

#[tokio::test]
async fn cut_before_reply_executes_once_and_resets() {
    let (server, proxy) = setup().await;
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    call(&mut client, "INCR n", ":1\r\n").await;
    proxy.cut_before_reply();
    send(&mut client, "INCR n").await;
    expect_reset(&mut client).await;
    assert_eq!(
        server.command(&["GET", "n"]).await.unwrap().as_str(),
        Some("2")
    );
    let mut again = TcpStream::connect(proxy.addr()).await.unwrap();
    call(&mut again, "INCR n", ":3\r\n").await;
}

#[tokio::test]
async fn the_next_replies_are_dropped_one_by_one_even_when_they_come_together() {
    let (_server, proxy) = setup().await;
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    call(&mut client, "PING", "+PONG\r\n").await;
    proxy.drop_next_replies(3);
    client.write_all(b"PING\r\nPING\r\n").await.unwrap();
    proxy.wait(|stats| stats.discarded == 14).await;
    expect_silence(&mut client).await;
    send(&mut client, "PING").await;
    expect_reset(&mut client).await;
    assert_eq!(proxy.stats().discarded, 21);
}

#[tokio::test]
async fn pushes_are_not_replies() {
    let (server, proxy) = setup().await;
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    send(&mut client, "HELLO 3").await;
    // However it is worded; the marker is the reply after it.
    send(&mut client, "ECHO done").await;
    let mut seen = Vec::new();
    while !seen.ends_with(b"$4\r\ndone\r\n") {
        timeout(SOON, client.read_buf(&mut seen))
            .await
            .expect("a reply")
            .unwrap();
    }
    call(
        &mut client,
        "SUBSCRIBE c",
        ">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n",
    )
    .await;
    proxy.cut_before_reply();
    server.command(&["PUBLISH", "c", "hi"]).await.unwrap();
    expect(
        &mut client,
        ">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\nhi\r\n",
    )
    .await;
    send(&mut client, "PING").await;
    expect_reset(&mut client).await;
}

#[tokio::test]
async fn an_absent_server_shows_as_a_reset_and_may_come_later() {
    let (server, proxy) = setup().await;
    server.kill();
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    expect_reset(&mut client).await;
    server.restart().await.unwrap();
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    call(&mut client, "PING", "+PONG\r\n").await;
}

#[tokio::test]
async fn dropping_the_proxy_ends_everything() {
    let (_server, proxy) = setup().await;
    let addr = proxy.addr();
    let mut client = TcpStream::connect(addr).await.unwrap();
    call(&mut client, "PING", "+PONG\r\n").await;
    drop(proxy);
    expect_reset(&mut client).await;
    while TcpStream::connect(addr).await.is_ok() {}
}
