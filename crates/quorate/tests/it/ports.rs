//! Ports of one's own: the builder takes anybody's.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use quorate::events::{Channel, Delivery, EventSink, EventsPort, Receipt, Submission, Target};
use quorate::history::{Append, Appended, From, HistoryPort, PageLimit, Replay};
use quorate::lock::{AcquireReply, Ask, LockKey, LockPort, LockStatus, ScannedLocks};
use quorate::presence::{Cursor, InstanceId, Look, Page, PresencePort, Removal, Standing};
use quorate::store::ScanCursor;
use quorate::{
    CallOptions, Event, FencingToken, Fleet, GapReason, Key, LeaseId, Namespace, Outcome,
    PresenceEvent, Result, TopicSpec,
};
use quorate_testing::harness::{BEACON_INTERVAL, eventually, within};

const NUMBERS: TopicSpec<u64> = TopicSpec::new("numbers");

/// A transport that can be told to lose messages, and to have no room.
#[derive(Debug, Default)]
struct Unreliable {
    sinks: Mutex<HashMap<Target, Arc<dyn EventSink>>>,
    loses: AtomicBool,
    full: AtomicBool,
    offered: AtomicU64,
}

impl fmt::Display for Unreliable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an unreliable transport")
    }
}

#[async_trait]
impl EventsPort for Unreliable {
    fn publish(&self, channel: &Channel, message: Bytes, _options: CallOptions) -> Submission {
        self.offered.fetch_add(1, Ordering::SeqCst);
        if self.full.swap(false, Ordering::SeqCst) {
            return Submission::Unavailable;
        }
        if !self.loses.load(Ordering::SeqCst) {
            let sink = self
                .sinks
                .lock()
                .unwrap()
                .get(&Target::Channel(channel.clone()))
                .cloned();
            if let Some(sink) = sink {
                let channel = Bytes::copy_from_slice(channel.name.as_bytes());
                sink.message(Delivery { channel, message });
            }
        }
        Submission::Done(Ok(Receipt::default()))
    }

    async fn writable(&self, _size: usize, _options: CallOptions) -> Result<()> {
        Ok(())
    }

    async fn subscribe(
        &self,
        target: &Target,
        sink: Arc<dyn EventSink>,
        _options: CallOptions,
    ) -> Result<()> {
        self.sinks.lock().unwrap().insert(target.clone(), sink);
        Ok(())
    }

    async fn unsubscribe(&self, target: &Target, _options: CallOptions) -> Result<()> {
        self.sinks.lock().unwrap().remove(target);
        Ok(())
    }
}

async fn on(port: &Arc<Unreliable>) -> Fleet {
    let builder = Fleet::builder()
        .url("memory:")
        .beacon_interval(BEACON_INTERVAL);
    builder.events_port(port.clone()).build().await.unwrap()
}

/// Messages lost in the middle show at the next one; lost at the end, by the publisher's beacons.
#[tokio::test(start_paused = true)]
async fn what_a_transport_loses_shows_as_gaps() {
    let port = Arc::new(Unreliable::default());
    let fleet = on(&port).await;
    let topic = fleet.topic(&NUMBERS);
    let mut numbers = topic.subscribe().await.unwrap();
    topic.publish(&1).await.unwrap();
    port.loses.store(true, Ordering::SeqCst);
    topic.publish(&2).await.unwrap();
    topic.publish(&3).await.unwrap();
    port.loses.store(false, Ordering::SeqCst);
    topic.publish(&4).await.unwrap();
    port.loses.store(true, Ordering::SeqCst);
    topic.publish(&5).await.unwrap();
    port.loses.store(false, Ordering::SeqCst);

    assert!(matches!(numbers.next().await, Some(Event::Message(one)) if *one == 1));
    let expected = [Some(2), None, Some(1)];
    for missed in expected {
        match (within("an event", numbers.next()).await, missed) {
            (Some(Event::Gap(gap)), Some(missed)) => {
                assert_eq!((gap.reason, gap.missed), (GapReason::Lost, Some(missed)));
            }
            (Some(Event::Message(four)), None) => assert_eq!(*four, 4),
            other => panic!("{other:?}"),
        }
    }
}

/// A transport without room for a moment costs a second offer, and no hole in the sequence.
#[tokio::test(start_paused = true)]
async fn waiting_for_room_takes_no_number() {
    let port = Arc::new(Unreliable::default());
    let fleet = on(&port).await;
    let topic = fleet.topic(&NUMBERS);
    let mut numbers = topic.subscribe().await.unwrap();
    for number in 0..3 {
        port.full.store(true, Ordering::SeqCst);
        topic.publish(&number).await.unwrap();
        assert!(matches!(numbers.next().await, Some(Event::Message(it)) if *it == number));
    }
    assert_eq!(port.offered.load(Ordering::SeqCst), 6);
}

/// A backend for locks that wraps another, as one would to log or to inject faults.
#[derive(Debug)]
struct FailsFirst {
    inner: Arc<dyn LockPort>,
    failures: AtomicU64,
}

impl fmt::Display for FailsFirst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} that fail at first", self.inner)
    }
}

#[async_trait]
impl LockPort for FailsFirst {
    async fn acquire(
        &self,
        lock: &LockKey,
        ask: &Ask,
        options: CallOptions,
    ) -> Result<AcquireReply> {
        let reply = self.inner.acquire(lock, ask, options).await?;
        if self.failures.fetch_add(1, Ordering::SeqCst) < 2 {
            // Applied, and the reply lost.
            let lost = quorate::Error::new(quorate::ErrorKind::ConnectionLost);
            return Err(lost.with_outcome(Outcome::Unknown));
        }
        Ok(reply)
    }

    async fn extend(
        &self,
        lock: &LockKey,
        lease: LeaseId,
        length: Duration,
        options: CallOptions,
    ) -> Result<bool> {
        self.inner.extend(lock, lease, length, options).await
    }

    async fn release(&self, lock: &LockKey, lease: LeaseId, options: CallOptions) -> Result<bool> {
        self.inner.release(lock, lease, options).await
    }

    async fn force_release(
        &self,
        lock: &LockKey,
        token: Option<FencingToken>,
        options: CallOptions,
    ) -> Result<Vec<FencingToken>> {
        self.inner.force_release(lock, token, options).await
    }

    async fn look(&self, lock: &LockKey, options: CallOptions) -> Result<LockStatus> {
        self.inner.look(lock, options).await
    }

    async fn scan(
        &self,
        namespace: &Namespace,
        prefix: &str,
        from: Option<&ScanCursor>,
        options: CallOptions,
    ) -> Result<ScannedLocks> {
        self.inner.scan(namespace, prefix, from, options).await
    }

    fn announced_on(&self, _lock: &LockKey) -> Option<Channel> {
        None
    }
}

#[tokio::test(start_paused = true)]
async fn a_lock_backend_can_be_wrapped_and_need_not_announce() {
    let home = Fleet::embedded();
    let port = FailsFirst {
        inner: home.lock_port(),
        failures: AtomicU64::new(0),
    };
    let fleet = Fleet::builder()
        .url("memory:")
        .lock_port(Arc::new(port))
        .build()
        .await
        .unwrap();
    let guard = fleet
        .lock("report")
        .acquire()
        .await
        .unwrap()
        .guard()
        .unwrap();
    let lock = fleet.lock("report");
    let (next, released) = tokio::join!(lock.acquire(), guard.release());
    assert!(next.unwrap().is_acquired() && released.unwrap());
}

static HEARD: AtomicU64 = AtomicU64::new(0);

/// Async closures are handlers, as long as they capture nothing.
/// A history of one's own that keeps messages and forgets to announce every other one.
#[derive(Debug)]
struct HalfSilent {
    inner: Arc<dyn HistoryPort>,
    appended: AtomicU64,
}

impl fmt::Display for HalfSilent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a half silent history")
    }
}

#[async_trait]
impl HistoryPort for HalfSilent {
    async fn append(
        &self,
        topic: &Key,
        mut append: Append,
        options: CallOptions,
    ) -> Result<Appended> {
        if self
            .appended
            .fetch_add(1, Ordering::SeqCst)
            .is_multiple_of(2)
        {
            append.channel.name = "nobody-listens".into();
        }
        self.inner.append(topic, append, options).await
    }

    async fn read(
        &self,
        topic: &Key,
        from: From,
        limit: PageLimit,
        options: CallOptions,
    ) -> Result<Replay> {
        self.inner.read(topic, from, limit, options).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_history_can_be_wrapped_and_what_is_not_announced_is_refilled() {
    const ROOM: TopicSpec<u64> = TopicSpec::new("room").keep(Duration::from_secs(60), 100, 1 << 20);
    let home = Fleet::builder()
        .url("memory:")
        .beacon_interval(BEACON_INTERVAL)
        .build()
        .await
        .unwrap();
    let port = Arc::new(HalfSilent {
        inner: home.history_port(),
        appended: AtomicU64::new(0),
    });
    let builder = Fleet::builder()
        .url("memory:")
        .beacon_interval(BEACON_INTERVAL);
    let fleet = builder.history_port(port).build().await.unwrap();
    // The wrapped history announces where it is; so does its beacon.
    let mut room = fleet.topic(&ROOM).subscribe().await.unwrap();
    for number in 0..5_u64 {
        fleet.topic(&ROOM).publish(&number).await.unwrap();
    }
    // Beacons say what was last kept: not even the last one is missed.
    for expected in 0..5 {
        match within("a message", room.next()).await {
            Some(Event::Message(number)) => assert_eq!(*number, expected),
            other => panic!("expected {expected}, got {other:?}"),
        }
    }
}

#[tokio::test]
async fn an_async_closure_is_a_handler() {
    let fleet = Fleet::embedded();
    let listener = fleet
        .topic(&NUMBERS)
        .on(async |number| {
            HEARD.fetch_add(*number, Ordering::SeqCst);
        })
        .await
        .unwrap();
    fleet.topic(&NUMBERS).publish(&7).await.unwrap();
    eventually("it was called", async || HEARD.load(Ordering::SeqCst) == 7).await;
    listener.stop().await;
}

/// An announcement that nothing follows is missed at the next look at the roster's version.
#[tokio::test(start_paused = true)]
async fn a_lost_announcement_is_noticed_though_nothing_follows() {
    let port = Arc::new(Unreliable::default());
    let fleet = on(&port).await;
    let room = fleet.presence("room");
    let mut watch = room.watch().await.unwrap();
    assert!(matches!(watch.next().await, Some(PresenceEvent::Resync(_))));
    port.loses.store(true, Ordering::SeqCst);
    let ada = room.join("ada", "").await.unwrap();
    port.loses.store(false, Ordering::SeqCst);
    match within("the roster", watch.next()).await {
        Some(PresenceEvent::Resync(roster)) => assert_eq!(roster.members[0].id, "ada"),
        other => panic!("{other:?}"),
    }
    // One in the middle shows at the next one.
    port.loses.store(true, Ordering::SeqCst);
    assert!(ada.update("lost").await.unwrap());
    port.loses.store(false, Ordering::SeqCst);
    assert!(ada.update("heard").await.unwrap());
    match within("the roster", watch.next()).await {
        Some(PresenceEvent::Resync(roster)) => assert_eq!(&roster.members[0].info[..], b"heard"),
        other => panic!("{other:?}"),
    }
}

/// A backend for presence that wraps another, and loses every second reply.
#[derive(Debug)]
struct Forgetful {
    inner: Arc<dyn PresencePort>,
    calls: AtomicU64,
}

impl Forgetful {
    fn pass(&self, standing: Standing) -> Result<Standing> {
        if self.calls.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) {
            // Applied, and the reply lost.
            let lost = quorate::Error::new(quorate::ErrorKind::ConnectionLost);
            return Err(lost.with_outcome(Outcome::Unknown));
        }
        Ok(standing)
    }
}

impl fmt::Display for Forgetful {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} that lose replies", self.inner)
    }
}

#[async_trait]
impl PresencePort for Forgetful {
    async fn join(
        &self,
        key: &Key,
        instance: InstanceId,
        lease: Duration,
        members: &[(String, Bytes)],
        options: CallOptions,
    ) -> Result<Standing> {
        self.pass(
            self.inner
                .join(key, instance, lease, members, options)
                .await?,
        )
    }

    async fn leave(
        &self,
        key: &Key,
        instance: InstanceId,
        ids: &[String],
        options: CallOptions,
    ) -> Result<Standing> {
        self.pass(self.inner.leave(key, instance, ids, options).await?)
    }

    async fn renew(
        &self,
        key: &Key,
        instance: InstanceId,
        lease: Duration,
        options: CallOptions,
    ) -> Result<Standing> {
        self.pass(self.inner.renew(key, instance, lease, options).await?)
    }

    async fn remove(
        &self,
        key: &Key,
        instance: InstanceId,
        removal: Removal,
        options: CallOptions,
    ) -> Result<Standing> {
        self.pass(self.inner.remove(key, instance, removal, options).await?)
    }

    async fn look(&self, key: &Key, options: CallOptions) -> Result<Look> {
        self.inner.look(key, options).await
    }

    async fn page(
        &self,
        key: &Key,
        instances: &[InstanceId],
        cursor: Option<&Cursor>,
        options: CallOptions,
    ) -> Result<Page> {
        self.inner.page(key, instances, cursor, options).await
    }

    fn announced_on(&self, key: &Key) -> Channel {
        self.inner.announced_on(key)
    }
}

#[tokio::test(start_paused = true)]
async fn a_presence_backend_can_be_wrapped_and_lose_replies() {
    let home = Fleet::embedded();
    let port = Forgetful {
        inner: home.presence_port(),
        calls: AtomicU64::new(0),
    };
    let fleet = Fleet::builder()
        .url("memory:")
        .presence_port(Arc::new(port))
        .build()
        .await
        .unwrap();
    let room = fleet.presence("room");
    for number in 0..20 {
        let member = room.join(&format!("m{number}"), "").await.unwrap();
        if number % 2 == 0 {
            assert!(member.leave().await.unwrap());
        } else {
            member.detach();
        }
    }
    let lease = Duration::from_secs(10);
    tokio::time::sleep(lease * 3).await;
    let roster = home.presence("room").members().await.unwrap();
    assert_eq!(roster.count, 10);
    assert_eq!(
        roster.version.number, 30,
        "every join and leave counted once"
    );
}

/// A backend of one's own for kept topics has consumer groups if it says so.
#[tokio::test]
async fn consumer_groups_are_of_the_backend_of_kept_topics() {
    const KEPT: TopicSpec<u64> = TopicSpec::new("kept").keep(Duration::from_secs(60), 10, 1 << 20);
    let home = Fleet::embedded();
    let builder = || {
        let builder = Fleet::builder().url("memory:");
        builder.history_port(home.history_port())
    };
    let without = builder().build().await.unwrap();
    let group = without.topic(&KEPT).group("billing").unwrap();
    let error = group.clone().join().await.unwrap_err();
    assert_eq!(error.kind(), quorate::ErrorKind::Unsupported);
    assert!(error.to_string().contains("group_port"), "{error}");
    assert!(without.group_port().is_none());

    let port = home.group_port().unwrap();
    let with = builder().group_port(port).build().await.unwrap();
    let mut work = with.topic(&KEPT).group("billing").unwrap().await.unwrap();
    with.topic(&KEPT).publish(&7).await.unwrap();
    let message = within("a message", work.next_message()).await.unwrap();
    assert_eq!(*message, 7);
    assert!(work.acknowledge(&message).await.unwrap());
}
