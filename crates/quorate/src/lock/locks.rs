//! What the locks of an instance share, and the calls that their handles and guards make.

use std::sync::Arc;
use std::time::Duration;

use super::ask::{LockKey, LockStatus};
use super::lease::{FencingToken, LeaseId};
use super::port::LockPort;
use crate::context::{Context, Limits, Operation, Repeat};
use crate::error::{Error, ErrorKind, Result};
use crate::events::Hub;
use crate::hooks::ErrorSource;
use crate::port::CallOptions;

pub(super) static EXTEND: Operation =
    Operation::new("lock.extend", "lock", "extend", Repeat::Harmless);
pub(super) static RELEASE: Operation =
    Operation::new("lock.release", "lock", "release", Repeat::Harmless);
pub(super) static LOOK: Operation = Operation::new("lock.look", "lock", "look", Repeat::Harmless);
/// Once more could take it from who got it since.
pub(super) static FORCE: Operation = Operation::new(
    "lock.force_release",
    "lock",
    "force_release",
    Repeat::OnlyIfNotApplied,
);

/// What the locks of an instance share.
#[derive(Debug)]
pub(crate) struct Locks {
    pub(crate) context: Arc<Context>,
    pub(crate) port: Arc<dyn LockPort>,
    pub(crate) hub: Arc<Hub>,
    /// What holders are called that say nothing else.
    pub(crate) service: Arc<str>,
}

impl Locks {
    pub(super) async fn extend(
        &self,
        key: &LockKey,
        lease: LeaseId,
        length: Duration,
    ) -> Result<bool> {
        self.extend_at(key, lease, length).await.0
    }

    /// The same, and how often it was asked for.
    pub(super) async fn extend_at(
        &self,
        key: &LockKey,
        lease: LeaseId,
        length: Duration,
    ) -> (Result<bool>, u32) {
        let mut attempts = 0;
        let extended = self
            .context
            .run(&EXTEND, key.name(), None, |attempt| {
                attempts += 1;
                let options = CallOptions::until(attempt.deadline);
                self.port.extend(key, lease, length, options)
            })
            .await;
        (extended, attempts)
    }

    pub(super) async fn release(&self, key: &LockKey, lease: LeaseId) -> Result<bool> {
        self.context
            .run(&RELEASE, key.name(), None, |attempt| {
                let options = CallOptions::until(attempt.deadline);
                self.port.release(key, lease, options)
            })
            .await
    }

    pub(super) async fn look(&self, key: &LockKey) -> Result<LockStatus> {
        self.context
            .run(&LOOK, key.name(), None, |attempt| {
                self.port.look(key, CallOptions::until(attempt.deadline))
            })
            .await
    }

    pub(super) async fn force(
        &self,
        key: &LockKey,
        token: Option<FencingToken>,
    ) -> Result<Vec<FencingToken>> {
        let limits = Limits {
            // Of one token, the same answer.
            is_harmless: token.is_some(),
            ..Limits::default()
        };
        self.context
            .run_within(limits, &FORCE, key.name(), |attempt| {
                let options = CallOptions::until(attempt.deadline);
                self.port.force_release(key, token, options)
            })
            .await
    }

    /// Releases in the background, for who cannot wait: best effort, the lease's end does the rest.
    pub(super) fn release_later(self: &Arc<Self>, key: LockKey, lease: LeaseId) {
        let shared = self.clone();
        self.context.spawn(async move {
            let result = match shared.release(&key, lease).await {
                // Dropped just before the fleet was closed, which waits for this task.
                Err(error) if error.kind() == ErrorKind::Closed => {
                    shared.give_back(&key, lease).await
                }
                result => result.map(drop),
            };
            if let Err(error) = result {
                shared.report(&error);
            }
        });
    }

    /// Tells of what failed, and nobody waits for.
    pub(super) fn report(&self, error: &Error) {
        self.context.hooks.error(ErrorSource::Lock, error);
    }

    /// Releases past the choke point, which refuses calls once the fleet is closing.
    pub(super) async fn give_back(&self, key: &LockKey, lease: LeaseId) -> Result<()> {
        let options = CallOptions::until(self.context.attempt_deadline());
        let released = self.port.release(key, lease, options).await;
        released
            .map(drop)
            .map_err(|error| error.with_operation(RELEASE.name).with_target(key.name()))
    }
}
