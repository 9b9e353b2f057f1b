//! What the suites of locks cannot ask every home for.

use std::fmt;
use std::future::IntoFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use quorate::events::Channel;
use quorate::lock::{AcquireAll, AcquireReply, Ask, LockKey, LockPort, LockStatus, ScannedLocks};
use quorate::store::ScanCursor;
use quorate::{
    CallOptions, Error, ErrorKind, FencingToken, Fleet, LeaseId, Lock, LockGuard, Namespace,
    Outcome, Result, WithLock,
};
use quorate_testing::harness::namespace;
use quorate_testing::servers::{ServerKind, shared};
use tokio::task::JoinSet;

/// Ten thousand real waiters would take longer than a heartbeat on a slow machine.
#[tokio::test]
async fn a_full_queue_is_an_error_that_says_so() {
    const FILL: &str = "#!lua
for nth = 1, 10000 do
  local lease = string.format('%032x', nth)
  redis.call('ZADD', KEYS[1], nth, lease)
  redis.call('HSET', KEYS[2], lease, struct.pack('<ddddB', 1000000, 1, 1, 1, 0) .. 'crowd')
  redis.call('ZADD', KEYS[3], ARGV[1], lease)
end
local state = {struct.unpack('<dddddddddddd', redis.call('HGET', KEYS[4], 'state'))}
state[8], state[9], state[10], state[11] = 10000, 10000, tonumber(ARGV[1]), 1
redis.call('HSET', KEYS[4], 'state', struct.pack('<dddddddddddd', unpack(state, 1, 12)))
return 1";
    let server = shared(ServerKind::Redis).await.unwrap();
    let builder = Fleet::builder().url(server.url()).namespace(namespace());
    let fleet = builder.build().await.unwrap();
    let lock = fleet.lock("report");
    let _guard = lock.try_acquire().await.unwrap().guard().unwrap();
    let unit = format!("{}:lock:{{report}}", fleet.namespace());
    let keys = [":queue", ":waiting", ":alive", ""].map(|rest| format!("{unit}{rest}"));
    let keys = keys.each_ref().map(|key| &**key);
    let of_queue = &keys[..3];
    let redis = fleet.redis().unwrap();
    // Alive for ages.
    redis
        .script(FILL, &keys, &["9000000000000000"])
        .await
        .unwrap();
    let error = lock
        .acquire()
        .wait(Duration::from_secs(60))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Overloaded, "{error}");
    assert_eq!(error.outcome(), Outcome::NotApplied);
    assert!(error.to_string().contains("10000 are waiting"), "{error}");
    let status = lock.status().await.unwrap();
    assert_eq!((status.waiters.len(), status.waiting), (100, 10_000));
    // All of them die, and a server takes no longer for them than for those who live.
    redis.script(FILL, &keys, &["1"]).await.unwrap();
    let status = lock.status().await.unwrap();
    assert_eq!((status.waiters.len(), status.waiting), (0, 0));
    let asked = lock.acquire().wait(Duration::from_millis(1)).await.unwrap();
    assert!(!asked.is_acquired());
    for key in of_queue {
        let left = redis.command(&["EXISTS", key]).await.unwrap();
        assert_eq!(left.as_int(), Some(0), "{key}");
    }
}

/// Whatever a server evicts of a lock, who waits for it asks again, and gets it.
#[tokio::test]
async fn waiters_outlive_what_is_evicted_of_their_queue() {
    let server = shared(ServerKind::Redis).await.unwrap();
    let builder = Fleet::builder().url(server.url()).namespace(namespace());
    let fleet = builder.build().await.unwrap();
    let redis = fleet.redis().unwrap();
    for evicted in ["", ":queue", ":waiting", ":alive"] {
        let lock = fleet.lock("report");
        let guard = lock.try_acquire().await.unwrap().guard().unwrap();
        let mut waiters = JoinSet::new();
        for _ in 0..3 {
            waiters.spawn(lock.acquire().wait(MINUTE).into_future());
        }
        while lock.status().await.unwrap().waiting < 3 {
            tokio::task::yield_now().await;
        }
        let key = format!("{}:lock:{{report}}{evicted}", fleet.namespace());
        let gone = redis.command(&["DEL", &key]).await.unwrap();
        assert_eq!(gone.as_int(), Some(1), "{key}");
        let is_known = guard.release().await.unwrap();
        assert_eq!(is_known, !evicted.is_empty(), "{key}");
        while let Some(waiter) = waiters.join_next().await {
            let guard = waiter.unwrap().unwrap().guard().unwrap();
            assert!(guard.release().await.unwrap(), "{key}");
        }
        let status = lock.status().await.unwrap();
        assert_eq!(status.waiting, 0, "{key}");
    }
}

/// Where a user may not publish, nobody is granted anything in secret, nothing is half done, and nobody stands still.
#[tokio::test]
async fn a_hand_over_that_may_not_be_announced_is_refused_whole() {
    let server = shared(ServerKind::Redis).await.unwrap();
    let builder = Fleet::builder().url(server.url()).namespace(namespace());
    let fleet = builder.clone().build().await.unwrap();
    let user = fleet.namespace().to_string().replace([':', '/'], "-");
    let rules = ["on", ">secret", "~*", "&*", "+@all", "-spublish"];
    let set_user: Vec<_> = ["ACL", "SETUSER", &user].into_iter().chain(rules).collect();
    fleet.redis().unwrap().command(&set_user).await.unwrap();
    let url = server.url();
    let mute = url.replace("redis://", &format!("redis://{user}:secret@"));
    let mute = builder.url(mute).build().await.unwrap();

    let (lock, mute) = (fleet.lock("report"), mute.lock("report"));
    let guard = mute.try_acquire().await.unwrap().guard().unwrap();
    let mut waiter = JoinSet::new();
    waiter.spawn(lock.acquire().wait(MINUTE).into_future());
    while lock.status().await.unwrap().waiting < 1 {
        tokio::task::yield_now().await;
    }
    // It is given back, and the waiter finds that when it asks.
    let error = guard.release().await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
    assert!(
        error.to_string().contains("can't run this command"),
        "{error}"
    );
    let guard = waiter.join_next().await.unwrap().unwrap().unwrap();
    let guard = guard.guard().unwrap();

    waiter.spawn(lock.acquire().wait(MINUTE).into_future());
    while lock.status().await.unwrap().waiting < 1 {
        tokio::task::yield_now().await;
    }
    let token = guard.token();
    let error = mute.force_release_token(token).await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
    assert_eq!(lock.status().await.unwrap().holders.len(), 1);
    guard.release().await.unwrap();
    let guard = waiter.join_next().await.unwrap().unwrap().unwrap();
    assert!(guard.is_acquired());
}

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// What happens to the replies to `extend`, and in one case to those to `acquire`.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Replies {
    Lost,
    /// For lengths above an hour, a second after they were sent.
    Late,
    /// After a second, of which the request takes 600 ms.
    TooLate,
    /// To `acquire`, of which the request takes 50 ms.
    Slow,
    /// There are none to `look`: it is refused.
    Refused,
    /// As they come.
    Good,
}

/// Locks whose extensions are answered as a test wants.
#[derive(Debug)]
struct Answers {
    inner: Arc<dyn LockPort>,
    replies: AtomicU8,
}

impl Answers {
    fn switch_to(&self, replies: Replies) {
        self.replies.store(replies as u8, Ordering::SeqCst);
    }

    fn are(&self, replies: Replies) -> bool {
        self.replies.load(Ordering::SeqCst) == replies as u8
    }
}

impl fmt::Display for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} behind a bad connection", self.inner)
    }
}

#[async_trait]
impl LockPort for Answers {
    async fn acquire(
        &self,
        lock: &LockKey,
        ask: &Ask,
        options: CallOptions,
    ) -> Result<AcquireReply> {
        if self.are(Replies::Slow) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.inner.acquire(lock, ask, options).await
    }

    async fn extend(
        &self,
        lock: &LockKey,
        lease: LeaseId,
        length: Duration,
        options: CallOptions,
    ) -> Result<bool> {
        let too_late = self.are(Replies::TooLate);
        if too_late {
            tokio::time::sleep(Duration::from_millis(600)).await;
        }
        let extended = self.inner.extend(lock, lease, length, options).await?;
        if too_late {
            tokio::time::sleep(Duration::from_millis(400)).await;
        }
        if self.are(Replies::Lost) {
            return Err(Error::new(ErrorKind::Backend).with_outcome(Outcome::Unknown));
        }
        if self.are(Replies::Late) && length > HOUR {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        Ok(extended)
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
        if self.are(Replies::Refused) {
            return Err(Error::new(ErrorKind::Auth).with_outcome(Outcome::NotApplied));
        }
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

    fn announced_on(&self, lock: &LockKey) -> Option<Channel> {
        self.inner.announced_on(lock)
    }
}

/// Who has locks from that port, and who has them from the backend behind it.
async fn fleets(replies: Replies) -> (Arc<Answers>, Fleet, Fleet) {
    let home = Fleet::embedded();
    let port = Arc::new(Answers {
        inner: home.lock_port(),
        replies: AtomicU8::new(replies as u8),
    });
    let builder = Fleet::builder().url("memory:").lock_port(port.clone());
    let fleet = builder.build().await.unwrap();
    (port, fleet, home)
}

/// A lock as its holder has it, and the same as the backend sees it.
async fn answers(replies: Replies) -> (Arc<Answers>, Lock, Lock) {
    let (port, fleet, home) = fleets(replies).await;
    (port, fleet.lock("report"), home.lock("report"))
}

async fn unrenewed(lock: &Lock, lease: Duration) -> LockGuard {
    let asked = lock.try_acquire().lease(lease).no_renewal();
    asked.await.unwrap().guard().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_guard_assumes_the_shorter_lease_when_a_reply_is_lost() {
    let (_port, lock, seen) = answers(Replies::Lost).await;
    let guard = unrenewed(&lock, HOUR).await;
    guard.extend(MINUTE).await.unwrap_err();
    assert!(guard.remaining() <= seen.remaining().await.unwrap().unwrap());
    assert!(!guard.is_lost());
}

/// What was given up may be done late, after what came after it.
#[tokio::test(start_paused = true)]
async fn a_guard_counts_on_no_more_than_a_late_extension_leaves() {
    let (port, lock, seen) = answers(Replies::Lost).await;
    let guard = unrenewed(&lock, HOUR).await;
    guard.extend(MINUTE).await.unwrap_err();
    port.switch_to(Replies::Good);
    assert!(guard.extend(HOUR * 2).await.unwrap());
    assert!(!guard.is_lost() && guard.remaining() > MINUTE / 2);
    assert!(seen.extend(guard.lease_id(), MINUTE).await.unwrap());
    assert!(guard.remaining() <= seen.remaining().await.unwrap().unwrap());
}

/// Whoever may not look now may later.
#[tokio::test(start_paused = true)]
async fn a_guard_that_was_refused_a_look_looks_again() {
    let (port, lock, seen) = answers(Replies::Refused).await;
    let guard = unrenewed(&lock, HOUR).await;
    // Of which the guard does not hear: it listens to another home.
    assert!(seen.release(guard.lease_id()).await.unwrap());
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(!guard.is_lost());
    port.switch_to(Replies::Good);
    tokio::time::timeout(MINUTE, guard.lost()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_guard_assumes_the_shorter_lease_when_nobody_waits_for_the_reply() {
    let (_port, lock, seen) = answers(Replies::Late).await;
    let guard = unrenewed(&lock, HOUR * 5).await;
    assert!(guard.extend(HOUR * 2).now_or_never().is_none());
    assert!(guard.remaining() <= seen.remaining().await.unwrap().unwrap());
    assert!(!guard.is_lost());
}

#[tokio::test(start_paused = true)]
async fn a_guard_is_extended_by_one_at_a_time() {
    let (_port, lock, seen) = answers(Replies::Late).await;
    let guard = unrenewed(&lock, HOUR).await;
    let (late, soon) = tokio::join!(guard.extend(HOUR * 2), guard.extend(MINUTE));
    assert!(late.unwrap() && soon.unwrap());
    assert!(guard.remaining() <= seen.remaining().await.unwrap().unwrap());
}

/// Each is lost before it is known to be had.
#[tokio::test(start_paused = true)]
async fn several_locks_that_are_lost_at_once_are_not_asked_for_without_end() {
    let (_port, fleet, _) = fleets(Replies::Slow).await;
    let all = fleet.multi_lock(["a", "b"]);
    let lease = Duration::from_millis(20);
    for asked in [
        all.try_acquire(),
        all.acquire().wait(Duration::from_secs(1)),
    ] {
        match asked.lease(lease).await.unwrap() {
            AcquireAll::Held {
                name, remaining, ..
            } => {
                assert_eq!((&*name, remaining), ("a", Duration::ZERO));
            }
            other => panic!("{other:?}"),
        }
    }
}

/// A renewal under way when the lease ran out by the holder's clock does not keep the lock for who has gone.
#[tokio::test(start_paused = true)]
async fn what_is_renewed_too_late_is_released_with_its_guard() {
    let (_port, lock, seen) = answers(Replies::TooLate).await;
    let asked = lock.try_acquire().lease(Duration::from_millis(1200));
    let guard = asked.await.unwrap().guard().unwrap();
    guard.lost().await;
    let left = seen.remaining().await.unwrap().expect("it was renewed");
    drop(guard);
    let next = seen.acquire().wait(left / 2).await.unwrap();
    assert!(next.is_acquired());
}

/// An extension that is answered after the lease ran out does not bring it back, and leaves nothing behind.
#[tokio::test(start_paused = true)]
async fn what_is_extended_too_late_is_lost_and_released() {
    let (_port, lock, seen) = answers(Replies::TooLate).await;
    let guard = unrenewed(&lock, MINUTE).await;
    assert!(!guard.extend(Duration::from_millis(500)).await.unwrap());
    // The backend has it for 100 ms more.
    let next = seen
        .acquire()
        .wait(Duration::from_millis(50))
        .await
        .unwrap();
    assert!(next.is_acquired() && guard.is_lost());
    assert!(
        !guard.extend(HOUR).await.unwrap(),
        "what is lost stays lost"
    );
    drop(guard);
    assert!(seen.is_locked().await.unwrap());
}

/// The answer took longer than the lease lasts.
#[tokio::test(start_paused = true)]
async fn work_is_not_begun_when_the_lock_is_lost_already() {
    let (_port, lock, _) = answers(Replies::Slow).await;
    let asked = lock.try_acquire().lease(Duration::from_millis(20));
    let work = asked.with(async |_| panic!("nothing holds the lock"));
    assert_eq!(work.await.unwrap(), WithLock::Lost { result: None });
}

/// Work that does not yield keeps everybody from noticing, and is told afterwards.
#[tokio::test]
async fn work_that_outlasts_its_lease_without_yielding_is_told() {
    let (_port, lock, _) = answers(Replies::Slow).await;
    // Which the backend counts from 50 ms later.
    let asked = lock.try_acquire().lease(Duration::from_millis(200));
    let work = asked.no_renewal().with(async |lease| {
        while !lease.is_lost() {
            std::hint::spin_loop();
        }
        7
    });
    assert_eq!(work.await.unwrap(), WithLock::Lost { result: Some(7) });
}
