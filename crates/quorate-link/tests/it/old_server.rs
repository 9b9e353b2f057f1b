//! A server below the floor, which none of those we can start is: a few lines that answer like one.

use bytes::BytesMut;
use quorate_link::{Decoder, Lane, Limits, LinkErrorKind, LinkState, Outcome};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{config, millis, open, wait_status, within};

const INFO: &str = "redis_version:6.2.14\r\nredis_mode:standalone\r\nrole:master\r\n";

async fn answer_like_redis_6(mut stream: TcpStream) {
    let mut decoder = Decoder::new(&Limits::default());
    let mut input = BytesMut::new();
    while stream.read_buf(&mut input).await.is_ok_and(|n| n > 0) {
        while let Some(command) = decoder.decode(&mut input).unwrap() {
            let reply = match command.as_array().unwrap()[0].as_str().unwrap() {
                "HELLO" => "%1\r\n$7\r\nversion\r\n$6\r\n6.2.14\r\n".to_owned(),
                "INFO" => format!("${}\r\n{INFO}\r\n", INFO.len()),
                _ => "+OK\r\n".to_owned(),
            };
            if stream.write_all(reply.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

#[tokio::test]
async fn an_old_server_is_refused_on_every_lane() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut server = tokio::task::JoinSet::new();
    server.spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            connections.spawn(answer_like_redis_6(stream));
        }
    });
    let link = open(config(port));
    let status = wait_status(&link, |s| s.reason.contains("upgrade it to Redis 7.0")).await;
    assert_eq!(status.state, LinkState::Connecting);
    for lane in [Lane::Command, Lane::Bulk, Lane::Durable] {
        let options = within(millis(100)).lane(lane);
        let error = link.call(&[b"PING"], &options).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.outcome()),
            (LinkErrorKind::Unsupported, Outcome::NotApplied),
            "{lane:?}: {error}"
        );
    }
}
