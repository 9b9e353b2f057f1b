//! What an instance tells the others, and what it hears of them.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::figures::{Counts, HOTTEST, HotCount, MINUTES, Minute, Sum, Tell, Told, summed};
use super::known::{Known, Subject};
use crate::context::Context;
use crate::error::Result;
use crate::key::Namespace;
use crate::presence::{MAX_INFO, Presence, Presences};

/// The most caches, or limiters, that one instance tells of: those that were asked most in the last minutes.
pub(super) const MOST: usize = 64;

/// How many minutes these are, the one that is under way among them.
const RECENT: usize = 10;

const MINUTE: Duration = Duration::from_secs(60);

/// Who tells what, and how often.
#[derive(Clone, Debug)]
pub(crate) struct Telling {
    pub(crate) context: Arc<Context>,
    pub(crate) presences: Arc<Presences>,
    pub(crate) what: Tell,
    pub(crate) every: Duration,
}

/// What is known of the caches, or limiters, of a namespace, over all instances that tell.
pub(crate) async fn sums<S: Subject>(
    presences: &Arc<Presences>,
    namespace: &Namespace,
) -> Result<Vec<Sum<S::Counts>>> {
    let roster = Presence::new(presences.clone(), namespace, S::ROSTER)
        .members()
        .await?;
    let read = |info: &[u8]| serde_json::from_slice(info).unwrap_or_default();
    let members = roster.members.into_iter();
    Ok(summed(
        members.map(|member| (member.id, read(&member.info))),
    ))
}

/// Tells until the instance is closed, or gone. Between two looks nothing of it is held.
pub(super) async fn announce<S: Subject>(
    known: Weak<Known<S>>,
    every: Duration,
    closed: CancellationToken,
) {
    let mut places: Places<S> = HashMap::new();
    let mut due = interval(every);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            // Places on rosters are given up with the instance.
            () = closed.cancelled() => return,
            _ = due.tick() => {}
        }
        let Some(known) = known.upgrade() else {
            return;
        };
        tokio::select! {
            biased;
            () = closed.cancelled() => return,
            () = tell(&mut places, &known) => {}
        }
    }
}

/// What was told of each.
type Places<S> = HashMap<(Namespace, String), Place<<S as Subject>::Counts>>;

/// One of those that are told of.
struct Used<S: Subject> {
    namespace: Namespace,
    name: String,
    subject: Arc<S>,
    counts: S::Counts,
}

impl<S: Subject> Used<S> {
    fn key(&self) -> (Namespace, String) {
        (self.namespace.clone(), self.name.clone())
    }
}

/// Those that were used at all.
fn used<S: Subject>(known: &Known<S>) -> Vec<Used<S>> {
    let all = known.all().into_iter().map(|(namespace, name, subject)| {
        let counts = subject.counts();
        Used {
            namespace,
            name,
            subject,
            counts,
        }
    });
    all.filter(|it| it.counts.is_used()).collect()
}

async fn tell<S: Subject>(places: &mut Places<S>, known: &Known<S>) {
    let Some(telling) = known.telling() else {
        return;
    };
    let mut ranked = Vec::new();
    for used in used(known) {
        let place = places.entry(used.key()).or_insert_with(Place::new);
        place.look(&used);
        // Of two alike the one stays that is told of.
        ranked.push((place.recent(&used.counts), place.is_on, used));
    }
    ranked.sort_by_key(|(recent, is_on, _)| Reverse((*recent, *is_on)));
    // From the end: there is room on the roster before somebody joins.
    for (number, (_, _, used)) in ranked.iter().enumerate().rev() {
        let Some(place) = places.get_mut(&used.key()) else {
            continue;
        };
        let done = if number < MOST {
            place.say(used, &telling.presences).await
        } else {
            place.leave(used, &telling.presences).await
        };
        // Tried again with the next look. That the backend is away is said elsewhere.
        if let Err(error) = done {
            tracing::debug!(%error, roster = S::ROSTER, member = used.name, "cannot tell what was counted");
        }
    }
}

/// What is remembered of one for the roster.
struct Place<C: Counts> {
    /// Whether it may be on the roster.
    is_on: bool,
    said: Option<Told<C>>,
    /// The minutes that are over, the newest last.
    over: Vec<Minute>,
    began: Instant,
    /// What was counted before this minute.
    before: Minute,
}

impl<C: Counts> Place<C> {
    fn new() -> Self {
        Self {
            is_on: false,
            said: None,
            over: Vec::new(),
            began: Instant::now(),
            before: Minute::default(),
        }
    }

    /// Ends the minutes that are over.
    fn look<S: Subject<Counts = C>>(&mut self, used: &Used<S>) {
        let mut elapsed = self.began.elapsed();
        while elapsed >= MINUTE {
            let now = used.counts.minute();
            // What came in a minute without a look is that of the first.
            self.over.push(now.since(self.before));
            self.before = now;
            self.began += MINUTE;
            elapsed -= MINUTE;
            if let Some(hot) = used.subject.hot() {
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

    /// How often it was asked for in the last minutes.
    fn recent(&self, counts: &C) -> u64 {
        let over = self.over.iter().rev().take(RECENT - 1);
        let under_way = counts.minute().since(self.before).all;
        over.fold(under_way, |sum, minute| sum.saturating_add(minute.all))
    }

    fn told<S: Subject<Counts = C>>(&self, used: &Used<S>) -> Told<C> {
        let mut minutes = self.over.clone();
        minutes.push(used.counts.minute().since(self.before));
        // Rounded: where nothing happens, nothing new is to be said.
        let whole = |it: f64| (it * 10.0).round() / 10.0;
        let hottest = used.subject.hot().map(|hot| {
            let hottest = hot.hottest(HOTTEST).into_iter();
            let hottest = hottest.map(|it| HotCount {
                key: it.key.into(),
                count: whole(it.count),
                error: whole(it.error),
                part: whole(it.part),
            });
            hottest.collect()
        });
        Told {
            counts: used.counts.clone(),
            minutes,
            hottest,
        }
    }

    async fn say<S: Subject<Counts = C>>(
        &mut self,
        used: &Used<S>,
        presences: &Arc<Presences>,
    ) -> Result<()> {
        let now = self.told(used);
        if self.said.as_ref() == Some(&now) {
            return Ok(());
        }
        let roster = Presence::new(presences.clone(), &used.namespace, S::ROSTER);
        let info = now.clone().written(MAX_INFO);
        // Also if the reply is lost.
        self.is_on = true;
        // Joining again replaces what was said. It stays as long as the instance does, or until others are asked for more.
        roster.join(&used.name, &info).await?.detach();
        self.said = Some(now);
        Ok(())
    }

    /// Leaves the roster: nothing is read there that is not told any more.
    async fn leave<S: Subject<Counts = C>>(
        &mut self,
        used: &Used<S>,
        presences: &Arc<Presences>,
    ) -> Result<()> {
        if !self.is_on {
            return Ok(());
        }
        // Said anew, should it come back.
        self.said = None;
        let roster = Presence::new(presences.clone(), &used.namespace, S::ROSTER);
        roster.leave(&used.name).await?;
        self.is_on = false;
        Ok(())
    }
}
