//! How fast one user may write: a pure function of what came before and of the time.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Messages at once.
const BURST: u32 = 10;

/// Then one message each so often.
const EVERY: Duration = Duration::from_millis(250);

/// So many users are remembered before those who have rested are forgotten.
const REMEMBERED: usize = 1_024;

/// How fast users may write on this instance.
///
/// By user and not by connection: a second window gives no second helping. By instance and not in the
/// fleet: it protects the readers from a stuck key, and is no billing.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// By user: when all that was written is paid off. Locked briefly, never across an await.
    paid_off: Mutex<HashMap<String, Instant>>,
}

impl Pace {
    /// Whether `user` may write one message at `now`.
    ///
    /// # Errors
    /// In what time the user may.
    pub(crate) fn check(&self, user: &str, now: Instant) -> Result<(), Duration> {
        let mut all = self.paid_off.lock();
        if all.len() >= REMEMBERED {
            all.retain(|_, paid_off| *paid_off > now);
        }
        let paid_off = all.get(user).map_or(now, |at| (*at).max(now)) + EVERY;
        let over = (paid_off - now).saturating_sub(EVERY * BURST);
        if over > Duration::ZERO {
            return Err(over);
        }
        all.insert(user.to_owned(), paid_off);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_one_each_so_often_for_every_user_by_itself() {
        let (pace, start) = (Pace::default(), Instant::now());
        for _ in 0..BURST {
            pace.check("ada", start).unwrap();
        }
        assert_eq!(pace.check("ada", start), Err(EVERY));
        pace.check("bob", start).unwrap();
        // Being refused costs nothing.
        pace.check("ada", start + EVERY).unwrap();
        assert_eq!(pace.check("ada", start + EVERY), Err(EVERY));
        // Who rests has a whole burst again, and no more.
        let later = start + EVERY * 100;
        for _ in 0..BURST {
            pace.check("ada", later).unwrap();
        }
        assert!(pace.check("ada", later).is_err());
    }

    #[test]
    fn who_has_rested_is_forgotten() {
        let (pace, start) = (Pace::default(), Instant::now());
        for user in 0..REMEMBERED {
            pace.check(&user.to_string(), start).unwrap();
        }
        pace.check("ada", start + EVERY).unwrap();
        assert_eq!(pace.paid_off.lock().len(), 1);
    }
}
