//! Loads under way in this process: whoever asks for the same meanwhile waits for the first one.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use super::failure::Failure;
use super::slot::Stored;

/// What a load came to.
#[derive(Clone, Debug)]
pub(super) enum Landed {
    /// A value, encoded.
    Value(Bytes),
    /// An old value, which stands in for a load that failed.
    Old(Stored),
    /// It failed.
    Failed(Failure),
}

/// Loads under way, by the key of the entry.
#[derive(Debug, Default)]
pub(super) struct Flights {
    // A short lock: a load is only looked up, added, and taken out.
    under_way: Mutex<HashMap<String, Flight>>,
}

/// One of them.
#[derive(Clone, Debug)]
struct Flight {
    outcome: watch::Receiver<Option<Landed>>,
    pulse: Arc<Pulse>,
}

/// When who loads was last seen at work.
#[derive(Debug)]
pub(super) struct Pulse(Mutex<Instant>);

/// What asking for an entry makes of the asker.
pub(super) enum Role {
    /// It loads.
    Lead(Lead),
    /// Somebody else does.
    Follow(Follow),
}

/// Who loads. Dropped without an outcome, the next one of those who wait loads.
pub(super) struct Lead {
    flights: Arc<Flights>,
    key: String,
    pulse: Arc<Pulse>,
    outcome: watch::Sender<Option<Landed>>,
}

/// Who waits.
pub(super) struct Follow {
    flights: Arc<Flights>,
    key: String,
    flight: Flight,
}

impl Flights {
    pub(super) fn join(self: &Arc<Self>, key: String) -> Role {
        match self.under_way.lock().entry(key) {
            Entry::Occupied(found) => Role::Follow(Follow {
                flights: self.clone(),
                key: found.key().clone(),
                flight: found.get().clone(),
            }),
            Entry::Vacant(free) => {
                let (sender, outcome) = watch::channel(None);
                let pulse = Arc::new(Pulse(Mutex::new(Instant::now())));
                let key = free.key().clone();
                free.insert(Flight {
                    outcome,
                    pulse: pulse.clone(),
                });
                Role::Lead(Lead {
                    flights: self.clone(),
                    key,
                    pulse,
                    outcome: sender,
                })
            }
        }
    }

    /// Takes out this flight, unless there is another one by now.
    fn take_out(&self, key: &str, outcome: &watch::Receiver<Option<Landed>>) {
        let mut under_way = self.under_way.lock();
        let found = under_way.get(key);
        if found.is_some_and(|found| found.outcome.same_channel(outcome)) {
            under_way.remove(key);
        }
    }
}

impl Pulse {
    /// Shows that `work` is under way, at least so often, while it is polled.
    pub(super) async fn during<F: Future>(
        pulses: &[Arc<Self>],
        pause: Duration,
        work: F,
    ) -> F::Output {
        let mut work = pin!(work);
        loop {
            let now = Instant::now();
            pulses.iter().for_each(|pulse| *pulse.0.lock() = now);
            tokio::select! {
                done = &mut work => return done,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    fn last(&self) -> Instant {
        *self.0.lock()
    }
}

impl Lead {
    pub(super) fn pulse(&self) -> Arc<Pulse> {
        self.pulse.clone()
    }

    /// Hands the outcome to all who wait.
    pub(super) fn land(self, landed: Landed) {
        // Taken out first: who asks from now on wants to know what is there now.
        self.leave();
        self.outcome.send_replace(Some(landed));
    }

    fn leave(&self) {
        self.flights.take_out(&self.key, &self.outcome.subscribe());
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Follow {
    /// The outcome; `None`: who loaded has given up, or was not seen at work for so long. A future that is kept and
    /// not polled holds nobody up: whoever asks next loads.
    pub(super) async fn landed(mut self, silence: Duration) -> Option<Landed> {
        loop {
            let silent = self.flight.pulse.last() + silence;
            tokio::select! {
                landed = self.flight.outcome.wait_for(Option::is_some) => {
                    return landed.ok().and_then(|landed| landed.clone());
                }
                () = tokio::time::sleep_until(silent) => {}
            }
            if self.flight.pulse.last() + silence <= Instant::now() {
                self.flights.take_out(&self.key, &self.flight.outcome);
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENCE: Duration = Duration::from_secs(3);

    fn flights() -> Arc<Flights> {
        Arc::default()
    }

    fn lead(flights: &Arc<Flights>, key: &str) -> Lead {
        match flights.join(key.to_owned()) {
            Role::Lead(lead) => lead,
            Role::Follow(_) => panic!("nobody else loads"),
        }
    }

    fn follow(flights: &Arc<Flights>, key: &str) -> Follow {
        match flights.join(key.to_owned()) {
            Role::Follow(follow) => follow,
            Role::Lead(_) => panic!("somebody loads"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_leads_and_the_others_are_told() {
        let flights = flights();
        let first = lead(&flights, "a");
        let second = follow(&flights, "a");
        drop(lead(&flights, "b"));
        first.land(Landed::Value(Bytes::from_static(b"1")));
        let landed = second.landed(SILENCE).await;
        assert!(matches!(landed, Some(Landed::Value(value)) if value == "1"));
        drop(lead(&flights, "a"));
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_leaves_the_load_to_others() {
        let flights = flights();
        let first = lead(&flights, "a");
        let second = follow(&flights, "a");
        drop(first);
        assert!(second.landed(SILENCE).await.is_none());
        drop(lead(&flights, "a"));
        assert!(flights.under_way.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_at_work_is_waited_for() {
        let flights = flights();
        let first = lead(&flights, "a");
        let second = follow(&flights, "a");
        let work = async move {
            let slow = tokio::time::sleep(SILENCE * 10);
            Pulse::during(&[first.pulse()], SILENCE / 3, slow).await;
            first.land(Landed::Value(Bytes::new()));
        };
        let (landed, ()) = tokio::join!(second.landed(SILENCE), work);
        assert!(landed.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_silent_is_replaced_and_does_not_speak_for_the_next() {
        let flights = flights();
        let silent = lead(&flights, "a");
        let two = [follow(&flights, "a"), follow(&flights, "a")];
        let [one, other] = two.map(|follow| follow.landed(SILENCE));
        assert!(one.await.is_none());
        let next = lead(&flights, "a");
        assert!(other.await.is_none(), "and the next one is not replaced");
        let waiting = follow(&flights, "a");
        silent.land(Landed::Value(Bytes::from_static(b"old")));
        next.land(Landed::Value(Bytes::from_static(b"new")));
        let landed = waiting.landed(SILENCE).await;
        assert!(matches!(landed, Some(Landed::Value(value)) if value == "new"));
        assert!(flights.under_way.lock().is_empty());
    }
}
