//! The driver against a peer made of memory, in paused time.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::task::TaskTracker;

use super::{Driver, DriverConfig, Observer};
use crate::config::{LinkConfig, WhenUnavailable};
use crate::connection::{Batch, Queue, Session};
use crate::error::{LinkError, LinkErrorKind, Outcome};

struct Nobody;

impl Observer for Nobody {
    fn condition(&self, _code: &str, _line: &str) {}
}

struct Rig {
    queue: Arc<Queue>,
    peer: DuplexStream,
    driver: JoinHandle<Option<LinkError>>,
}

/// A connection whose socket takes `buffer` bytes; commands time out after 5 s, silence after 10 s
/// is asked about, and the answer waited for 3 s.
fn rig(buffer: usize) -> Rig {
    let config = LinkConfig::new("peer", 1);
    let (ours, peer) = tokio::io::duplex(buffer);
    let queue = Arc::new(Queue::new(&config.limits, WhenUnavailable::FailNow));
    queue.open();
    let driver = Driver::new(
        Session::new(ours, &config),
        Arc::clone(&queue),
        Arc::new(Nobody),
        None,
        DriverConfig {
            command_timeout: Duration::from_secs(5),
            ping_interval: Some(Duration::from_secs(10)),
            ping_timeout: Duration::from_secs(3),
        },
    );
    let driver = TaskTracker::new().spawn(driver.run());
    Rig {
        queue,
        peer,
        driver,
    }
}

impl Rig {
    async fn expect(&mut self, bytes: &[u8]) {
        let mut read = vec![0; bytes.len()];
        self.peer.read_exact(&mut read).await.unwrap();
        assert_eq!(
            read.escape_ascii().to_string(),
            bytes.escape_ascii().to_string()
        );
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.peer.write_all(bytes).await.unwrap();
    }
}

const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_asked_and_lives_if_it_answers() {
    let mut rig = rig(1024);
    for _ in 0..3 {
        let began = Instant::now();
        rig.expect(PING).await;
        assert_eq!(began.elapsed().as_secs(), 10);
        rig.send(b"+PONG\r\n").await;
        // The answer is read before the time of the next silence begins.
        tokio::task::yield_now().await;
    }
    assert!(!rig.driver.is_finished());
    assert_eq!(rig.queue.stats().in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn silence_after_the_question_is_the_end() {
    let mut rig = rig(1024);
    let began = Instant::now();
    rig.expect(PING).await;
    let error = (&mut rig.driver).await.unwrap().unwrap();
    assert_eq!(began.elapsed().as_secs(), 13);
    assert_eq!(error.kind(), LinkErrorKind::ConnectionLost);
}

#[tokio::test(start_paused = true)]
async fn a_slow_reply_to_a_command_sent_after_a_pause_is_no_silence() {
    let mut rig = rig(1024);
    sleep(Duration::from_secs(9)).await;
    let reply = rig
        .queue
        .submit(&[b"WAIT", b"1", b"4500"], None, false)
        .unwrap();
    rig.expect(b"*3\r\n$4\r\nWAIT\r\n$1\r\n1\r\n$4\r\n4500\r\n")
        .await;
    sleep(Duration::from_millis(4500)).await;
    rig.send(b":1\r\n").await;
    assert_eq!(reply.await.unwrap().as_int(), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_late_reply_belongs_to_nobody() {
    let mut rig = rig(1024);
    let slow = rig.queue.submit(&[b"A"], None, false).unwrap();
    let error = slow.await.unwrap_err();
    assert_eq!(
        (error.kind(), error.outcome()),
        (LinkErrorKind::Timeout, Outcome::Unknown)
    );
    let next = rig.queue.submit(&[b"B"], None, false).unwrap();
    rig.expect(b"*1\r\n$1\r\nA\r\n").await;
    rig.expect(PING).await;
    rig.expect(b"*1\r\n$1\r\nB\r\n").await;
    rig.send(b"+late\r\n+PONG\r\n+mine\r\n").await;
    assert_eq!(next.await.unwrap().as_str(), Some("mine"));
    assert_eq!(rig.queue.stats().in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn when_a_connection_breaks_each_command_is_told_what_is_known() {
    let mut rig = rig(64);
    let fits = rig.queue.submit(&[b"FIRST"], None, false).unwrap();
    let cut = rig
        .queue
        .submit(&[b"SECOND", &[b'x'; 100]], None, false)
        .unwrap();
    let behind = rig.queue.submit(&[b"THIRD"], None, false).unwrap();
    rig.expect(b"*1\r\n$5\r\nFIRST\r\n*2").await;
    let late = rig.queue.submit(&[b"FOURTH"], None, false).unwrap();
    drop(rig.peer);
    for (reply, outcome) in [
        (fits, Outcome::Unknown),
        (cut, Outcome::Unknown),
        (behind, Outcome::NotApplied),
        (late, Outcome::NotApplied),
    ] {
        let error = reply.await.unwrap_err();
        assert_eq!(
            (error.kind(), error.outcome()),
            (LinkErrorKind::ConnectionLost, outcome)
        );
    }
    let stats = rig.queue.stats();
    assert_eq!(
        (stats.in_flight, stats.in_flight_bytes, stats.connected),
        (0, 0, false)
    );
}

#[tokio::test(start_paused = true)]
async fn a_batch_half_answered_is_unknown_as_a_whole() {
    let mut rig = rig(1024);
    let mut batch = Batch::new();
    batch.command(&[b"A"]).command(&[b"B"]);
    let permit = rig
        .queue
        .reserve(2, batch.bytes.len(), Instant::now())
        .await
        .unwrap();
    let slot = permit.enqueue_batch(&batch);
    rig.expect(b"*1\r\n$1\r\nA\r\n*1\r\n$1\r\nB\r\n").await;
    rig.send(b"+OK\r\n").await;
    drop(rig.peer);
    let error = slot.replies().await.unwrap_err();
    assert_eq!(
        (error.kind(), error.outcome()),
        (LinkErrorKind::ConnectionLost, Outcome::Unknown)
    );
}

#[tokio::test(start_paused = true)]
async fn a_reply_to_no_command_ends_the_connection() {
    let mut rig = rig(1024);
    rig.send(b"+surprise\r\n").await;
    let error = (&mut rig.driver).await.unwrap().unwrap();
    assert_eq!(error.kind(), LinkErrorKind::Protocol);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_driver_answers_everything() {
    let rig = rig(1024);
    let reply = rig.queue.submit(&[b"A"], None, false).unwrap();
    rig.driver.abort();
    assert_eq!(reply.await.unwrap_err().kind(), LinkErrorKind::Closed);
    assert_eq!(rig.queue.stats().in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn many_commands_travel_in_one_write() {
    let mut rig = rig(1 << 16);
    let replies: Vec<_> = (0..100)
        .map(|_| rig.queue.submit(&[b"PING"], None, false).unwrap())
        .collect();
    let mut all = vec![0; 1 << 16];
    let n = rig.peer.read(&mut all).await.unwrap();
    assert_eq!(n, PING.len() * 100);
    rig.send(&b"+PONG\r\n".repeat(100)).await;
    for reply in replies {
        reply.await.unwrap();
    }
}
