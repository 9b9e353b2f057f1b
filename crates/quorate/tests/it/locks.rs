//! What the suites of locks cannot ask every home for.

use std::time::Duration;

use quorate::{ErrorKind, Fleet, Outcome};
use quorate_testing::harness::namespace;
use quorate_testing::servers::{ServerKind, shared};

/// Ten thousand real waiters would take longer than a heartbeat on a slow machine.
#[tokio::test]
async fn a_full_queue_is_an_error_that_says_so() {
    const FILL: &str = "#!lua
for nth = 1, 10000 do
  local lease = string.format('%032x', nth)
  redis.call('ZADD', KEYS[1], nth, lease)
  redis.call('HSET', KEYS[2], lease, ARGV[1] .. ' 1000000 1 1 0 1 crowd')
end
return 1";
    let server = shared(ServerKind::Redis).await.unwrap();
    let builder = Fleet::builder().url(server.url()).namespace(namespace());
    let fleet = builder.build().await.unwrap();
    let lock = fleet.lock("report");
    let _guard = lock.try_acquire().await.unwrap().guard().unwrap();
    let unit = format!("{}:lock:{{report}}", fleet.namespace());
    let keys = [format!("{unit}:queue"), format!("{unit}:waiting")];
    let keys = [&*keys[0], &*keys[1]];
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
    for key in keys {
        redis.command(&["DEL", key]).await.unwrap();
    }
}
