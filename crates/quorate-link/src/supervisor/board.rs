//! Where the lanes report how they are, and from which the link's state follows.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio::sync::{Notify, broadcast, watch};
use tokio::time::Instant;

use super::status::{LinkState, StateChange, Status};

/// How long after a server last refused a command because of a condition of its own the link
/// counts as degraded. There is no reply that says such a condition is over.
const CONDITION_LASTS: Duration = Duration::from_secs(5);

/// How many changes of state a slow reader may be behind.
const CHANGES_KEPT: usize = 64;

/// Which connection of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Command,
    Bulk,
    Durable,
    Push,
}

impl Role {
    pub(crate) const ALL: [Self; 4] = [Self::Command, Self::Bulk, Self::Durable, Self::Push];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Bulk => "bulk",
            Self::Durable => "durable",
            Self::Push => "push",
        }
    }
}

#[derive(Clone, Debug)]
enum Phase {
    /// Nothing was asked of it.
    Idle,
    Down(Arc<str>),
    Up(Arc<str>),
    /// Connected, but not as it should be.
    Impaired(Arc<str>),
}

#[derive(Debug)]
struct Lanes {
    phases: [Phase; 4],
    connections: [u64; 4],
    ever_ready: bool,
    failover: Option<Arc<str>>,
    condition: Option<(Arc<str>, Instant)>,
    closed: Option<Arc<str>>,
    epoch: u64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Board {
    // Held while the state is derived and published, so that changes are published in order.
    lanes: Mutex<Lanes>,
    status: watch::Sender<Status>,
    changes: broadcast::Sender<StateChange>,
    /// A condition was noted: somebody must look again once it has run out.
    condition_noted: Notify,
}

impl Board {
    pub(crate) fn new() -> Self {
        let status = Status {
            state: LinkState::Idle,
            reason: Arc::from("not connected yet"),
            epoch: 0,
            since: now(),
        };
        Self {
            lanes: Mutex::new(Lanes {
                phases: [Phase::Idle, Phase::Idle, Phase::Idle, Phase::Idle],
                connections: [0; 4],
                ever_ready: false,
                failover: None,
                condition: None,
                closed: None,
                epoch: 0,
            }),
            status: watch::Sender::new(status),
            changes: broadcast::Sender::new(CHANGES_KEPT),
            condition_noted: Notify::new(),
        }
    }

    pub(crate) fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    pub(crate) fn changes(&self) -> broadcast::Receiver<StateChange> {
        self.changes.subscribe()
    }

    pub(crate) fn connections(&self, role: Role) -> u64 {
        self.lanes.lock().connections[role as usize]
    }

    pub(crate) fn is_up(&self, role: Role) -> bool {
        matches!(
            self.lanes.lock().phases[role as usize],
            Phase::Up(_) | Phase::Impaired(_)
        )
    }

    pub(crate) fn in_failover(&self) -> bool {
        self.lanes.lock().failover.is_some()
    }

    /// A lane is connected, perhaps with something still missing. Returns the epoch it belongs to.
    pub(crate) fn up(&self, role: Role, reason: &str, trouble: Option<&str>) -> u64 {
        self.change(|lanes| {
            lanes.connections[role as usize] += 1;
            if matches!(role, Role::Command | Role::Push) {
                lanes.epoch += 1;
            }
            if role == Role::Command {
                lanes.ever_ready = true;
            }
            lanes.phases[role as usize] = match trouble {
                None => Phase::Up(Arc::from(reason)),
                Some(trouble) => Phase::Impaired(Arc::from(trouble)),
            };
            lanes.epoch
        })
    }

    /// A lane that is connected works (again) or does not.
    pub(crate) fn impaired(&self, role: Role, trouble: Option<&str>) {
        self.change(|lanes| {
            let phase = &mut lanes.phases[role as usize];
            match (trouble, &*phase) {
                (Some(trouble), Phase::Up(_) | Phase::Impaired(_)) => {
                    *phase = Phase::Impaired(Arc::from(trouble));
                }
                (None, Phase::Impaired(_)) => *phase = Phase::Up(Arc::from("connected")),
                _ => {}
            }
        });
    }

    /// A lane is not connected, or could not be.
    pub(crate) fn down(&self, role: Role, reason: &str) {
        self.change(|lanes| lanes.phases[role as usize] = Phase::Down(Arc::from(reason)));
    }

    /// A lane is not connected and nobody wants it to be.
    pub(crate) fn idle(&self, role: Role) {
        self.change(|lanes| lanes.phases[role as usize] = Phase::Idle);
    }

    /// The server is no primary (`Some`), or is one. Returns whether that is news.
    pub(crate) fn failover(&self, reason: Option<&str>) -> bool {
        self.change(|lanes| {
            let news = lanes.failover.is_some() != reason.is_some();
            lanes.failover = reason.map(Arc::from);
            news
        })
    }

    /// The server refused a command because of a passing condition of its own.
    pub(crate) fn condition(&self, reason: &str) {
        let until = Instant::now() + CONDITION_LASTS;
        self.change(|lanes| lanes.condition = Some((Arc::from(reason), until)));
        self.condition_noted.notify_one();
    }

    pub(crate) fn closed(&self, reason: &str) {
        self.change(|lanes| {
            if lanes.closed.is_none() {
                lanes.closed = Some(Arc::from(reason));
            }
        });
    }

    /// Forgets conditions once they have run out. Runs as long as the link does.
    pub(crate) async fn watch_conditions(&self) {
        loop {
            self.condition_noted.notified().await;
            loop {
                let Some(until) = self
                    .lanes
                    .lock()
                    .condition
                    .as_ref()
                    .map(|(_, until)| *until)
                else {
                    break;
                };
                tokio::time::sleep_until(until).await;
                self.change(|lanes| {
                    if lanes
                        .condition
                        .as_ref()
                        .is_some_and(|(_, until)| *until <= Instant::now())
                    {
                        lanes.condition = None;
                    }
                });
            }
        }
    }

    fn change<T>(&self, edit: impl FnOnce(&mut Lanes) -> T) -> T {
        let mut lanes = self.lanes.lock();
        let result = edit(&mut lanes);
        let (state, reason) = lanes.derive();
        let epoch = lanes.epoch;
        let mut change = None;
        self.status.send_if_modified(|status| {
            if status.state == state && status.reason == reason && status.epoch == epoch {
                return false;
            }
            if status.state != state {
                let previous = std::mem::replace(&mut status.state, state);
                status.since = now();
                change = Some(StateChange {
                    previous,
                    new: state,
                    at: status.since,
                    reason: Arc::clone(&reason),
                    epoch,
                });
            }
            status.reason = reason;
            status.epoch = epoch;
            true
        });
        if let Some(change) = change {
            tracing::info!(
                previous = change.previous.as_str(),
                state = change.new.as_str(),
                reason = &*change.reason,
                epoch = change.epoch,
                "the link changed its state"
            );
            // Nobody listening is no error.
            let _ = self.changes.send(change);
        }
        result
    }
}

impl Lanes {
    fn derive(&self) -> (LinkState, Arc<str>) {
        if let Some(reason) = &self.closed {
            return (LinkState::Closed, Arc::clone(reason));
        }
        if let Some(reason) = &self.failover {
            let reason = match &self.phases[Role::Command as usize] {
                Phase::Down(reason) => reason,
                _ => reason,
            };
            return (LinkState::Failover, Arc::clone(reason));
        }
        let connected = match &self.phases[Role::Command as usize] {
            Phase::Idle => return (LinkState::Idle, Arc::from("not connected yet")),
            Phase::Down(reason) => {
                let state = if self.ever_ready {
                    LinkState::Reconnecting
                } else {
                    LinkState::Connecting
                };
                return (state, Arc::clone(reason));
            }
            Phase::Impaired(reason) => return (LinkState::Degraded, Arc::clone(reason)),
            Phase::Up(reason) => reason,
        };
        for role in [Role::Push, Role::Bulk, Role::Durable] {
            if let Phase::Down(reason) | Phase::Impaired(reason) = &self.phases[role as usize] {
                let reason = format!("the {} connection: {reason}", role.as_str());
                return (LinkState::Degraded, Arc::from(reason));
            }
        }
        match &self.condition {
            Some((reason, _)) => (LinkState::Degraded, Arc::clone(reason)),
            None => (LinkState::Ready, Arc::clone(connected)),
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "shown to people, decides nothing"
)]
fn now() -> SystemTime {
    SystemTime::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(board: &Board) -> LinkState {
        board.status().borrow().state
    }

    #[test]
    fn the_state_follows_from_the_lanes() {
        let board = Board::new();
        assert_eq!(state(&board), LinkState::Idle);
        board.down(Role::Command, "connecting");
        assert_eq!(state(&board), LinkState::Connecting);
        assert_eq!(board.up(Role::Command, "connected", None), 1);
        assert_eq!(state(&board), LinkState::Ready);
        board.down(Role::Push, "connecting");
        assert_eq!(state(&board), LinkState::Degraded);
        assert_eq!(board.up(Role::Push, "connected", None), 2);
        assert_eq!(
            board.up(Role::Bulk, "connected", None),
            2,
            "a lane for replies begins no epoch"
        );
        assert_eq!(state(&board), LinkState::Ready);
        assert!(board.failover(Some("READONLY")));
        assert!(!board.failover(Some("READONLY")), "no news");
        assert_eq!(state(&board), LinkState::Failover);
        board.failover(None);
        board.down(Role::Command, "lost");
        assert_eq!(state(&board), LinkState::Reconnecting);
        board.closed("closed");
        board.up(Role::Command, "connected", None);
        assert_eq!(state(&board), LinkState::Closed, "closed is for good");
    }

    #[test]
    fn only_changes_of_state_are_announced() {
        let board = Board::new();
        let mut changes = board.changes();
        board.down(Role::Command, "first attempt");
        board.down(Role::Command, "second attempt");
        board.up(Role::Command, "connected", None);
        board.up(Role::Command, "connected", None);
        let seen: Vec<_> = std::iter::from_fn(|| changes.try_recv().ok())
            .map(|c| (c.previous, c.new, c.epoch))
            .collect();
        assert_eq!(
            seen,
            [
                (LinkState::Idle, LinkState::Connecting, 0),
                (LinkState::Connecting, LinkState::Ready, 1)
            ]
        );
        assert_eq!(&*board.status().borrow().reason, "connected");
    }

    #[tokio::test(start_paused = true)]
    async fn a_condition_runs_out() {
        let board = Arc::new(Board::new());
        board.up(Role::Command, "connected", None);
        let watcher = Arc::clone(&board);
        let tracker = tokio_util::task::TaskTracker::new();
        let watching = tracker.spawn(async move { watcher.watch_conditions().await });
        board.condition("MISCONF cannot persist");
        assert_eq!(state(&board), LinkState::Degraded);
        let mut status = board.status();
        status
            .wait_for(|s| s.state == LinkState::Ready)
            .await
            .unwrap();
        watching.abort();
    }
}
