//! Waiting for conditions outside this process.

use std::thread;
use std::time::{Duration, Instant};

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(5);

/// Looks at a condition until it holds; whether it did in time.
#[expect(
    clippy::disallowed_methods,
    reason = "other processes live in real time, off the runtime"
)]
pub(crate) fn wait_until(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while !condition() {
        if start.elapsed() > limit {
            return false;
        }
        thread::sleep(POLL);
    }
    true
}
