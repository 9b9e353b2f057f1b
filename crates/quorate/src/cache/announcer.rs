//! What an instance tells the others of its caches, and what it hears of theirs.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::figures::{
    CacheFigures, CacheMinute, HOTTEST, MINUTES, ReadCounts, TellCaches, Told, summed,
};
use super::shared::{Caches, Known};
use crate::error::Result;
use crate::key::Namespace;
use crate::presence::{MAX_INFO, Presence, Presences};

/// The roster on which instances tell of their caches: a member for each.
const ROSTER: &str = "quorate/caches";

/// The most caches that one instance tells of: those that are read most.
const MOST: usize = 64;

const MINUTE: Duration = Duration::from_secs(60);

/// Who tells what, and how often.
#[derive(Clone, Debug)]
pub(crate) struct Telling {
    pub(crate) presences: Arc<Presences>,
    pub(crate) what: TellCaches,
    pub(crate) every: Duration,
}

/// What is known of the caches of a namespace, over all instances that tell.
pub(crate) async fn figures(
    presences: &Arc<Presences>,
    namespace: &Namespace,
) -> Result<Vec<CacheFigures>> {
    let roster = Presence::new(presences.clone(), namespace, ROSTER)
        .members()
        .await?;
    let read = |info: &[u8]| serde_json::from_slice(info).unwrap_or_default();
    let members = roster.members.into_iter();
    Ok(summed(
        members.map(|member| (member.id, read(&member.info))),
    ))
}

/// Tells of the caches of an instance until it is closed, or gone. Between two looks nothing of it is held.
pub(super) async fn announce(caches: Weak<Caches>, every: Duration, closed: CancellationToken) {
    let mut places: Places = HashMap::new();
    let mut due = interval(every);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            // Places on rosters are given up with the instance.
            () = closed.cancelled() => return,
            _ = due.tick() => {}
        }
        let Some(caches) = caches.upgrade() else {
            return;
        };
        tokio::select! {
            biased;
            () = closed.cancelled() => return,
            () = tell(&mut places, &caches) => {}
        }
    }
}

/// What was told of each cache.
type Places = HashMap<(Namespace, String), Place>;

/// Those caches that were used at all, the most read ones first.
fn busiest(mut known: Vec<Arc<Known>>) -> Vec<Arc<Known>> {
    let reads = |known: &Arc<Known>| counts(known).total();
    known.retain(|known| reads(known) > 0 || known.meters.values.load(Ordering::Relaxed) > 0);
    known.sort_by_cached_key(|known| std::cmp::Reverse(reads(known)));
    known.truncate(MOST);
    known
}

async fn tell(places: &mut Places, caches: &Caches) {
    for known in busiest(caches.all_known()) {
        let area = &known.area;
        let key = (area.namespace().clone(), area.cache().to_owned());
        let place = places.entry(key).or_insert_with(Place::new);
        place.look(&known);
        // Tried again with the next look. That the backend is away is said elsewhere.
        if let Err(error) = place.say(&known, &caches.telling.presences).await {
            tracing::debug!(%error, cache = area.cache(), "cannot tell of a cache");
        }
    }
}

fn counts(known: &Known) -> ReadCounts {
    let meters = &known.meters;
    ReadCounts {
        near_hit: meters.near_hit.get(),
        hit: meters.hit.get(),
        stale: meters.stale.get(),
        loaded: meters.loaded.get(),
        followed: meters.followed.get(),
        miss: meters.miss.get(),
    }
}

/// A cache's place on the roster.
struct Place {
    said: Vec<u8>,
    /// The minutes that are over, the newest last.
    over: Vec<CacheMinute>,
    began: Instant,
    /// What was counted before this minute.
    before: CacheMinute,
}

impl Place {
    fn new() -> Self {
        Self {
            said: Vec::new(),
            over: Vec::new(),
            began: Instant::now(),
            before: CacheMinute::default(),
        }
    }

    /// Ends the minutes that are over.
    fn look(&mut self, known: &Known) {
        let mut elapsed = self.began.elapsed();
        while elapsed >= MINUTE {
            let now = counts(known).minute();
            // What was read in a minute without a look is that of the first.
            self.over.push(now.since(self.before));
            self.before = now;
            self.began += MINUTE;
            elapsed -= MINUTE;
            if let Some(hot) = &known.meters.hot {
                hot.minute();
            }
            // After a long pause the rest would be pushed out again.
            if elapsed > MINUTE * 120 {
                let now = Instant::now();
                (self.began, elapsed) = (now, Duration::ZERO);
                self.over.clear();
            }
        }
        let most = MINUTES - 1;
        let too_many = self.over.len().saturating_sub(most);
        self.over.drain(..too_many);
    }

    fn told(&self, known: &Known) -> Told {
        let meters = &known.meters;
        let reads = counts(known);
        let mut minutes = self.over.clone();
        minutes.push(reads.minute().since(self.before));
        let hottest = meters.hot.as_ref().map(|hot| {
            let hottest = hot.hottest(HOTTEST).into_iter();
            // Rounded: where nothing happens, nothing new is to be said.
            let whole = |it: f64| (it * 10.0).round() / 10.0;
            hottest
                .map(|it| (it.key.into(), whole(it.count), whole(it.error)))
                .collect()
        });
        Told {
            reads,
            values: meters.values.load(Ordering::Relaxed),
            bytes: meters.bytes.load(Ordering::Relaxed),
            undecodable: meters.undecodable.get(),
            oversized: meters.oversized.get(),
            minutes,
            hottest,
        }
    }

    async fn say(&mut self, known: &Known, presences: &Arc<Presences>) -> Result<()> {
        let now = self.told(known).written(MAX_INFO);
        if self.said == now {
            return Ok(());
        }
        let area = &known.area;
        let roster = Presence::new(presences.clone(), area.namespace(), ROSTER);
        // Joining again replaces what was said. It stays as long as the instance does.
        roster.join(area.cache(), &now).await?.detach();
        self.said = now;
        Ok(())
    }
}
