//! The instances of `quorate serve` on one backend: each says what it is doing, and hears of the others.

use std::net::SocketAddr;
use std::time::Duration;

use jiff::Timestamp;
use quorate::presence::InstanceId;
use quorate::{Fleet, Membership, Presence};
use serde::{Deserialize, Serialize};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use crate::app::App;

/// The roster they are on. Those of topics begin with `hub:`.
const ROSTER: &str = "quorate/instances";

/// What each is called on it: the home tells instances apart by itself.
const MEMBER: &str = "serve";

/// How often an instance says what it is doing, if that has changed.
const EVERY: Duration = Duration::from_secs(2);

/// What an instance says of itself.
///
/// Read leniently: another version may say more, or less.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct About {
    /// The name of the service.
    service: String,
    /// The machine it runs on.
    host: String,
    /// The address it listens on.
    listen: String,
    /// Its process.
    pid: u32,
    version: String,
    /// When it was started (RFC 3339).
    started_at: String,
    /// The state of its connection to the backend.
    state: String,
    /// Clients connected to it.
    clients: usize,
    /// Their subscriptions.
    subscriptions: usize,
    /// Topics and patterns they are subscribed to.
    topics: usize,
    /// Messages in a second, over about the last ten.
    messages_per_second: f64,
    /// Messages dropped because clients were slower than they came.
    dropped: u64,
}

impl About {
    /// What does not change while it runs.
    pub(crate) fn new(fleet: &Fleet, listen: SocketAddr) -> Self {
        let system = rustix::system::uname();
        Self {
            service: fleet.service().to_owned(),
            host: system.nodename().to_string_lossy().into_owned(),
            listen: listen.to_string(),
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: format!("{:.0}", Timestamp::now()),
            ..Self::default()
        }
    }

    /// With what it is doing now.
    fn now(&self, app: &App) -> Self {
        let stats = app.hub.stats();
        // Not `sum`, which makes a negative zero of nothing.
        let rates = stats.topics.iter().map(|topic| topic.rate);
        let rate = rates.fold(0.0_f64, |sum, rate| sum + rate);
        Self {
            state: app.fleet.status().borrow().state.as_str().to_owned(),
            clients: stats.clients,
            subscriptions: stats.subscriptions,
            topics: stats.topics.len(),
            // Rounded: where nothing happens, nothing new is to be said.
            messages_per_second: (rate * 10.0).round() / 10.0,
            dropped: stats.topics.iter().map(|topic| topic.dropped).sum(),
            ..self.clone()
        }
    }

    /// What people know it by.
    pub(crate) fn name(&self) -> (String, String, String) {
        (self.service.clone(), self.host.clone(), self.listen.clone())
    }
}

/// The roster of instances.
pub(crate) fn roster(fleet: &Fleet) -> Presence {
    fleet.presence(ROSTER)
}

/// All instances, with what they said last.
pub(crate) async fn known(fleet: &Fleet) -> quorate::Result<Vec<(InstanceId, About)>> {
    let roster = roster(fleet).members().await?;
    let read = |info: &[u8]| serde_json::from_slice(info).unwrap_or_default();
    let members = roster.members.into_iter();
    Ok(members
        .map(|member| (member.instance, read(&member.info)))
        .collect())
}

/// Keeps this instance on the roster, with what it is doing, until it is stopped.
pub(crate) async fn announce(app: App, about: About, stop: CancellationToken) {
    let mut place = Place {
        roster: roster(&app.fleet),
        membership: None,
        said: None,
    };
    let saying = async {
        let mut due = interval(EVERY);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            due.tick().await;
            // Tried again with the next tick. That the backend is away is in the log already.
            if let Err(error) = place.say(about.now(&app)).await {
                tracing::debug!(%error, "cannot tell the other instances of this one");
            }
        }
    };
    let stopped = stop.run_until_cancelled(saying).await;
    debug_assert!(stopped.is_none(), "it has no other end");
    if let Some(membership) = place.membership
        && let Err(error) = membership.leave().await
    {
        tracing::debug!(%error, "the other instances notice that this one is gone when its lease ends");
    }
}

/// A place on the roster.
struct Place {
    roster: Presence,
    membership: Option<Membership>,
    said: Option<About>,
}

impl Place {
    async fn say(&mut self, now: About) -> quorate::Result<()> {
        if self.said.as_ref() == Some(&now) {
            return Ok(());
        }
        let info = serde_json::to_vec(&now).expect("made of what JSON has");
        match &self.membership {
            None => self.membership = Some(self.roster.join(MEMBER, info).await?),
            Some(membership) => {
                // Taken off by somebody who knew its name: it comes back with the next tick.
                if !membership.update(info).await? {
                    self.membership = None;
                    return Ok(());
                }
            }
        }
        self.said = Some(now);
        Ok(())
    }
}
