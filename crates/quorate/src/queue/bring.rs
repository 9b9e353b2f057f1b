//! What one queue has for another, brought there by who was handed it.
//!
//! Nothing is lost with who brings it: what nobody says was performed is handed out again.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::time::Instant;

use super::ask::MOST_AT_ONCE;
use super::group::{BRING_LEASE, Bring, Effect, EffectName, MOST_BROUGHT, MemberEnded};
use super::job::NewJob;
use super::queues::Queues;
use crate::error::Result;
use crate::key::Key;

/// Effects that a queue handed out, and until when nobody else is handed them, by our clock.
struct Load {
    from: Key,
    effects: Vec<Effect>,
    until: Instant,
}

/// Of one queue, what is to happen there.
#[derive(Default)]
struct Parcel {
    names: Vec<EffectName>,
    jobs: Vec<NewJob>,
    ended: Vec<MemberEnded>,
}

impl Queues {
    /// Brings effects that `from` handed out in answer to a call made at `asked`, in the background.
    pub(super) fn bring_behind(self: &Arc<Self>, from: &Key, effects: Vec<Effect>, asked: Instant) {
        if !effects.is_empty() {
            let (queues, from) = (self.clone(), from.clone());
            self.context
                .spawn(async move { queues.bring_all(from, effects, asked).await });
        }
    }

    /// Brings effects, and those that follow from them, as far as that goes. What fails is reported, and is handed out again later.
    pub(super) async fn bring_all(&self, from: Key, effects: Vec<Effect>, asked: Instant) {
        let until = asked + BRING_LEASE;
        let mut loads = vec![Load {
            from,
            effects,
            until,
        }];
        while let Some(load) = loads.pop() {
            // Somebody else may have been handed them since.
            if load.effects.is_empty() || Instant::now() >= load.until {
                continue;
            }
            self.deliver(load, &mut loads).await;
        }
    }

    async fn deliver(&self, load: Load, next: &mut Vec<Load>) {
        let mut performed = Vec::new();
        for (name, parcel) in sorted(load.effects) {
            let names = parcel.names.clone();
            match self.hand_over(&load.from, &name, parcel, next).await {
                Ok(()) => performed.extend(names),
                Err(error) => self.report(&error),
            }
        }
        if performed.is_empty() {
            return;
        }
        let bring = Bring {
            performed,
            want: MOST_BROUGHT,
            ..Bring::default()
        };
        if let Err(error) = self.exchange(&load.from, bring, next).await {
            self.report(&error);
        }
    }

    async fn hand_over(
        &self,
        from: &Key,
        name: &str,
        parcel: Parcel,
        next: &mut Vec<Load>,
    ) -> Result<()> {
        let to = Key::new(from.namespace(), name)?;
        for jobs in parcel.jobs.chunks(MOST_AT_ONCE) {
            self.push(&to, jobs).await?;
        }
        if parcel.ended.is_empty() {
            return Ok(());
        }
        let bring = Bring {
            ended: parcel.ended,
            want: MOST_BROUGHT,
            ..Bring::default()
        };
        self.exchange(&to, bring, next).await
    }

    /// Brings something to a queue, and takes along what that has for others.
    async fn exchange(&self, queue: &Key, bring: Bring, next: &mut Vec<Load>) -> Result<()> {
        let until = Instant::now() + BRING_LEASE;
        let effects = self.bring(queue, &bring).await?;
        let from = queue.clone();
        next.push(Load {
            from,
            effects,
            until,
        });
        Ok(())
    }
}

/// By queue, each in its order.
fn sorted(effects: Vec<Effect>) -> HashMap<String, Parcel> {
    let mut parcels: HashMap<String, Parcel> = HashMap::new();
    for effect in effects {
        let name = effect.name();
        let (queue, job, ended) = match effect {
            Effect::Push(queue, job) => (queue, Some(job), None),
            Effect::Ended(queue, ended) => (queue, None, Some(ended)),
        };
        let parcel = parcels.entry(queue).or_default();
        parcel.names.push(name);
        parcel.jobs.extend(job);
        parcel.ended.extend(ended);
    }
    parcels
}
