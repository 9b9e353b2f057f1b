//! Clients that leave without a word, or stay without one.

use std::time::Duration;

use super::raw::{FIN, MASKED, RawClient, TEXT, frame, header};
use super::subject::Subject;
use crate::support::Served;

/// Where a client may stop: between frames, and at every place within one.
fn beginnings() -> Vec<Vec<u8>> {
    let whole = frame(FIN | TEXT, &[b' '; 200]);
    [0, 1, 2, 3, 4, 7, 8, 100, whole.len() - 1]
        .into_iter()
        .map(|length| whole[..length].to_vec())
        .collect()
}

#[tokio::test]
async fn a_connection_that_ends_anywhere_is_forgotten() {
    let mut subject = Subject::start().await;
    for beginning in beginnings() {
        let mut client = subject.open().await;
        client.assert_alive().await;
        client.send(&beginning).await;
        drop(client);
        subject.served.clients(1).await;
    }
    subject.assert_neighbour_is_served().await;
}

#[tokio::test]
async fn a_connection_that_is_half_closed_is_ended() {
    let mut subject = Subject::start().await;
    for beginning in beginnings() {
        let mut client = subject.open().await;
        client.assert_alive().await;
        client.send(&beginning).await;
        client.shut_down().await;
        client.farewell().await;
        subject.served.clients(1).await;
    }
    subject.assert_neighbour_is_served().await;
}

/// Nobody can tell a frame that is coming slowly from one that is not coming: only what is complete is a
/// sign of life.
#[tokio::test]
async fn a_frame_that_never_ends_is_not_waited_for() {
    // No neighbour: it would have to answer pings meanwhile.
    let served = Served::start(|hub| {
        hub.heartbeat(Duration::from_millis(10))
            .idle_timeout(Duration::from_millis(200))
    })
    .await;
    let mut stopped = RawClient::open(served.address).await;
    stopped.send(&header(FIN | TEXT, MASKED, 16_000)).await;
    let mut dribbling = RawClient::open(served.address).await;
    dribbling.send(&header(FIN | TEXT, MASKED, 16_000)).await;
    let ends = tokio::join!(
        stopped.farewell(),
        dribbling.dribble_until_farewell(Duration::from_millis(10))
    );
    assert_eq!(ends, (Some(1008), Some(1008)));
    served.clients(0).await;
}
