//! The events of one instance: routes from the transport to local subscriptions, and publishing.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use metrics::{Counter, Gauge};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::envelope::Draft;
use super::mailbox::{Limits, Mailbox, MailboxMeters};
use super::outgoing::{Outgoing, Outgoings};
use super::port::{CallOptions, Channel, EventsPort, Receipt, Submission, Target};
use super::route::{Phase, Reading, Route, TypedGroup};
use crate::context::{Attempt, Call, Context, Operation, Repeat, timed_out_waiting};
use crate::error::{Error, Result};
use crate::history::{GroupPort, HistoryPort};
use crate::telemetry;

static SUBSCRIBE: Operation =
    Operation::new("events.subscribe", "events", "subscribe", Repeat::Harmless);
static PUBLISH: Operation = Operation::new(
    "events.publish",
    "events",
    "publish",
    Repeat::OnlyIfNotApplied,
);

/// Shared by every topic handle of an instance.
#[derive(Debug)]
pub(crate) struct Hub {
    pub(crate) context: Arc<Context>,
    port: Arc<dyn EventsPort>,
    history: Arc<dyn HistoryPort>,
    /// `None`: the history is of the user's own, and has none.
    groups: Option<Arc<dyn GroupPort>>,
    routes: Mutex<HashMap<Target, Arc<Route>>>,
    outgoings: Outgoings,
    /// Identifies this instance in sequences; random, so that two never meet.
    pub(crate) publisher: u64,
    pub(crate) service: Arc<str>,
    pub(crate) max_payload: usize,
    beacon_interval: Duration,
    /// Wakes the beacon task when there is something to confirm.
    pub(super) unconfirmed: Arc<Notify>,
    beacons_run: std::sync::Once,
    meters: Meters,
}

#[derive(Debug)]
struct Meters {
    published: Counter,
    mailboxes: Arc<MailboxMeters>,
    subscriptions: Gauge,
}

impl Hub {
    pub(crate) fn new(
        context: Arc<Context>,
        port: Arc<dyn EventsPort>,
        history: Arc<dyn HistoryPort>,
        groups: Option<Arc<dyn GroupPort>>,
        service: Arc<str>,
        max_payload: usize,
        beacon_interval: Duration,
    ) -> Arc<Self> {
        Arc::new(Self {
            context,
            port,
            history,
            groups,
            routes: Mutex::default(),
            outgoings: Outgoings::default(),
            publisher: rand::random(),
            service,
            max_payload,
            beacon_interval,
            unconfirmed: Arc::new(Notify::new()),
            beacons_run: std::sync::Once::new(),
            meters: Meters {
                published: metrics::counter!(telemetry::PUBLISHED),
                mailboxes: Arc::new(MailboxMeters::new()),
                subscriptions: metrics::gauge!(telemetry::SUBSCRIPTIONS),
            },
        })
    }

    pub(crate) fn outgoing(&self, channel: &Channel) -> Arc<Outgoing> {
        self.outgoings.of(channel)
    }

    /// Begins to publish an enveloped message: offers it once, without waiting for anything.
    ///
    /// What is `Done(Ok)` in the end is passed to [`published`](Self::published), everything else to
    /// [`persist`](Self::persist).
    pub(crate) fn offer(
        self: &Arc<Self>,
        outgoing: &Outgoing,
        draft: &mut Draft,
        deadline: Option<Duration>,
    ) -> (Call<'static>, Submission) {
        self.start_beacons();
        let call = self.context.begin(&PUBLISH, deadline);
        let submission = if self.context.closed().is_cancelled() {
            // The error is made where all are made.
            Submission::Unavailable
        } else {
            self.submit(outgoing, draft, self.context.first_attempt(&call))
        };
        (call, submission)
    }

    /// Counts a message that the transport has taken.
    pub(crate) fn published(&self, call: &Call<'static>, receipt: Receipt) -> Result<Receipt> {
        let result = Ok(receipt);
        call.finish(&result);
        self.meters.published.increment(1);
        result
    }

    /// Publishes an enveloped message that was offered before, and for which there was no room, or which
    /// `failed`: waits and repeats as far as the call allows.
    pub(crate) async fn persist(
        self: &Arc<Self>,
        outgoing: &Outgoing,
        call: Call<'static>,
        draft: Draft,
        failed: Option<Error>,
    ) -> Result<Receipt> {
        let channel = &outgoing.channel;
        let size = draft.len() + channel.name.len();
        let draft = Mutex::new(draft);
        let offer = |attempt: Attempt| self.submit(outgoing, &mut draft.lock(), attempt);
        let attempt = |attempt| self.attempt(attempt, size, offer);
        let receipt = self
            .context
            .resume(call, &channel.name, failed, attempt)
            .await?;
        self.meters.published.increment(1);
        Ok(receipt)
    }

    pub(crate) fn group_port(&self) -> Option<Arc<dyn GroupPort>> {
        self.groups.clone()
    }

    pub(crate) fn history_port(&self) -> Arc<dyn HistoryPort> {
        self.history.clone()
    }

    /// Counts a message that was kept.
    pub(super) fn count_published(&self) {
        self.meters.published.increment(1);
    }

    fn submit(&self, outgoing: &Outgoing, draft: &mut Draft, attempt: Attempt) -> Submission {
        outgoing.submit(
            &*self.port,
            self.publisher,
            draft,
            attempt.began,
            CallOptions::until(attempt.deadline),
            &self.unconfirmed,
        )
    }

    /// Publishes bytes as they are.
    pub(crate) async fn publish_raw(
        &self,
        channel: &Channel,
        message: &Bytes,
        deadline: Option<Duration>,
    ) -> Result<Receipt> {
        let size = message.len() + channel.name.len();
        let offer = |attempt: Attempt| {
            let options = CallOptions::until(attempt.deadline);
            self.port.publish(channel, message.clone(), options)
        };
        let call = |attempt| self.attempt(attempt, size, offer);
        let receipt = self
            .context
            .run(&PUBLISH, &channel.name, deadline, call)
            .await?;
        self.meters.published.increment(1);
        Ok(receipt)
    }

    /// Offers a message, waiting for room as often as it takes.
    async fn attempt(
        &self,
        attempt: Attempt,
        size: usize,
        offer: impl Fn(Attempt) -> Submission,
    ) -> Result<Receipt> {
        let options = CallOptions::until(attempt.deadline);
        loop {
            match offer(attempt) {
                Submission::Done(result) => return result,
                Submission::Pending(reply) => return reply.await,
                Submission::Unavailable => {}
            }
            self.port.writable(size, options).await?;
            if tokio::time::Instant::now() >= attempt.deadline {
                return Err(timed_out_waiting("room to publish"));
            }
            // Others may take the room first: whoever comes back too early must let them run.
            tokio::task::yield_now().await;
        }
    }

    /// The one task that confirms what was last sent. It sleeps while nothing is unconfirmed.
    pub(super) fn start_beacons(self: &Arc<Self>) {
        self.beacons_run.call_once(|| {
            let hub = Arc::downgrade(self);
            let unconfirmed = self.unconfirmed.clone();
            let closed = self.context.closed().clone();
            let started = self.context.spawn(async move {
                tokio::select! {
                    () = closed.cancelled() => {}
                    () = beacons(hub, unconfirmed) => {}
                }
            });
            debug_assert!(started, "publishing happens on a runtime");
        });
    }

    fn send_beacons(&self) -> bool {
        let waiting = self.outgoings.unconfirmed();
        for outgoing in &waiting {
            let options = CallOptions::until(self.context.attempt_deadline());
            // The reply does not matter: a lost beacon is followed by another, or by a reconnect.
            if let Some(Submission::Pending(reply)) =
                outgoing.beacon(&*self.port, self.publisher, self.beacon_interval, options)
            {
                let _ = reply.now_or_never();
            }
        }
        !waiting.is_empty()
    }

    /// Subscribes a buffer to a target, at the transport too if it is the first.
    pub(crate) async fn subscribe<T: Send + Sync + 'static>(
        self: &Arc<Self>,
        target: Target,
        reading: Reading<T>,
        limits: Limits,
        deadline: Option<Duration>,
    ) -> Result<Membership<T>> {
        loop {
            let route = self.route(&target);
            let mailbox = Arc::new(Mailbox::new(limits, self.meters.mailboxes.clone()));
            // Joined before the transport is asked, so that the first message finds its way; and
            // owned by a guard, so that a dropped future leaves nothing behind.
            let group = route.join(mailbox.clone(), reading.clone());
            self.meters.subscriptions.increment(1.0);
            let membership = Membership {
                hub: self.clone(),
                route: route.clone(),
                group,
                mailbox,
            };
            let call = |attempt| self.activate(&route, attempt);
            if self
                .context
                .run(&SUBSCRIBE, target.name(), deadline, call)
                .await?
            {
                return Ok(membership);
            }
        }
    }

    /// Makes sure that the transport delivers to a route. `false`: the route was retired meanwhile.
    async fn activate(&self, route: &Arc<Route>, attempt: Attempt) -> Result<bool> {
        // Whoever holds it is subscribing or leaving, and may take as long as we have.
        let phase = tokio::time::timeout_at(attempt.deadline, route.phase.lock()).await;
        let mut phase =
            phase.map_err(|_| timed_out_waiting("another subscriber of the same topic"))?;
        match *phase {
            Phase::Active => return Ok(true),
            Phase::Retired => return Ok(false),
            Phase::Idle => {}
        }
        let options = CallOptions::until(attempt.deadline);
        self.port
            .subscribe(&route.target, route.clone(), options)
            .await?;
        *phase = Phase::Active;
        Ok(true)
    }

    fn route(&self, target: &Target) -> Arc<Route> {
        let mut routes = self.routes.lock();
        if let Some(route) = routes.get(target) {
            return route.clone();
        }
        let route = Arc::new(Route::new(target.clone(), self.publisher));
        routes.insert(target.clone(), route.clone());
        route
    }

    /// Gives a target up if nobody listens any more.
    async fn retire(&self, route: &Arc<Route>) -> Result<()> {
        let mut phase = route.phase.lock().await;
        if *phase == Phase::Retired || route.listeners() > 0 {
            return Ok(());
        }
        // Retired also when it was never active: a failed or dropped subscribe may have reached the
        // server.
        let options = CallOptions::until(self.context.attempt_deadline());
        let result = self.port.unsubscribe(&route.target, options).await;
        *phase = Phase::Retired;
        self.routes.lock().remove(&route.target);
        result
    }

    /// Whether this process listens to a channel already: then who joins asks nobody, and waits for nobody.
    pub(crate) fn hears(&self, channel: &Channel) -> bool {
        let target = Target::Channel(channel.clone());
        let routes = self.routes.lock();
        let phase = routes.get(&target).map(|route| route.phase.try_lock());
        phase.is_some_and(|phase| phase.is_ok_and(|phase| *phase == Phase::Active))
    }

    /// What is subscribed to, with the number of local subscriptions.
    pub(crate) fn targets(&self) -> Vec<(Target, usize)> {
        self.routes
            .lock()
            .values()
            .map(|route| (route.target.clone(), route.listeners()))
            .collect()
    }

    /// Ends every subscription.
    pub(crate) fn end_all(&self) {
        for route in self.routes.lock().values() {
            route.close();
        }
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        // The beacon task holds no hub while it sleeps: wake it, so that it notices.
        self.unconfirmed.notify_one();
    }
}

async fn beacons(hub: Weak<Hub>, unconfirmed: Arc<Notify>) {
    let Some(interval) = hub.upgrade().map(|hub| hub.beacon_interval) else {
        return;
    };
    loop {
        tokio::time::sleep(interval).await;
        let more = match hub.upgrade() {
            Some(hub) => hub.send_beacons(),
            None => return,
        };
        if !more {
            unconfirmed.notified().await;
        }
    }
}

/// A buffer's place in a route. Dropping it leaves, and the last one out gives the target up.
pub(crate) struct Membership<T: Send + Sync + 'static> {
    pub(crate) hub: Arc<Hub>,
    route: Arc<Route>,
    pub(crate) group: Arc<TypedGroup<T>>,
    pub(crate) mailbox: Arc<Mailbox<T>>,
}

impl<T: Send + Sync + 'static> Membership<T> {
    /// Leaves, and returns when the transport knows.
    pub(crate) async fn leave(self) -> Result<()> {
        let (hub, route) = (self.hub.clone(), self.route.clone());
        drop(self);
        hub.retire(&route).await.map_err(|error| {
            error
                .with_operation("events.unsubscribe")
                .with_target(&**route.target.name())
        })
    }
}

impl<T: Send + Sync + 'static> Drop for Membership<T> {
    fn drop(&mut self) {
        self.route.leave(&self.group, &self.mailbox);
        self.mailbox.close();
        self.hub.meters.subscriptions.decrement(1.0);
        if self.route.listeners() > 0 {
            return;
        }
        let (hub, route) = (self.hub.clone(), self.route.clone());
        self.hub.context.spawn(async move {
            if let Err(error) = hub.retire(&route).await {
                hub.context
                    .hooks
                    .error(crate::hooks::ErrorSource::Subscribe, &error);
            }
        });
    }
}

/// Refuses a payload that is too large, before anything is touched.
pub(crate) fn check_size(size: usize, limit: usize) -> Result<()> {
    if size > limit {
        return Err(Error::invalid(
            "payload",
            format_args!("must be at most {limit} bytes, and has {size}"),
        )
        .with_operation("events.publish"));
    }
    Ok(())
}
