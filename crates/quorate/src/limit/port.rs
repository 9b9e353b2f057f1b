//! What a backend for limits must do.

use std::fmt::{self, Debug, Display};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::policy::Rate;
use super::slots::Entered;
use super::usage::{Charge, Verdict};
use crate::clock::Micros;
use crate::error::Result;
use crate::lock::LeaseId;
use crate::port::CallOptions;

/// What is limited: a limiter, perhaps an action, and a key; and how its policies are counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LimitKey {
    text: Arc<str>,
    /// Where in it the limiter begins, and where the key ends.
    shown: (usize, usize),
}

impl LimitKey {
    pub(super) fn new(text: &str, shown: (usize, usize)) -> Self {
        Self {
            text: text.into(),
            shown,
        }
    }

    /// The key as it is on a server: different for whatever is counted on its own.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Of a key of this limiter, what is behind its name: `:<key>`, or `@<action>:<key>`.
    pub(super) fn within(&self, limiter: &str) -> &str {
        self.shown().get(limiter.len()..).unwrap_or_default()
    }

    /// What errors call it: the limiter and the key.
    pub(crate) fn shown(&self) -> &str {
        self.text
            .get(self.shown.0..self.shown.1)
            .unwrap_or(&self.text)
    }
}

impl Display for LimitKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A backend for limits.
///
/// # Contract
/// * Keys with different [`LimitKey::text`] are independent. Of one, requests have one order, and `take` counts a
///   request with all of its policies or with none, at one moment of the backend's clock.
/// * A request is allowed exactly if no policy refuses, each as [`Policy`](super::Policy) says of its algorithm. What is
///   refused is not counted. One that is to block the key for being refused, blocked or not, does so for at least that long
///   from then on, which is what `retry_after` then says.
/// * `retry_after` of a refusal is long enough: after it, the same request is allowed if nobody else came. For all but the
///   sliding counter it is also no longer than that.
/// * `look` answers as `take` would, and changes nothing.
/// * `give_back` takes back what was counted at that moment as far as it still counts, and nothing of other requests: after
///   it no policy allows more than if the request had never been made.
/// * `reset` forgets what was counted, and lifts a block. Whether there was anything.
/// * While a key is blocked, every request is refused, and nothing is counted. What was counted before is kept.
/// * Time does not run backwards for a key, unless the backend's clock is set back by more than any of its policies
///   lasts: then the key begins anew.
/// * At most as many leases have a slot of a key as the call that took the last one said. `enter` repeated with a lease that
///   has a slot renews it and takes no other. A lease that has ended is as good as given back, and `stay` and `leave` answer
///   `false` for it and change nothing.
/// * The calls for one key have the same algorithms and windows. Limits may differ from call to call: each is decided by its
///   own.
#[async_trait]
pub trait LimitPort: Debug + Display + Send + Sync + 'static {
    /// [`take`](Self::take), where that needs no waiting and does not fail; `None`, and nothing counted, where it may.
    fn take_at_once(&self, _key: &LimitKey, _rates: &[Rate], _charge: Charge) -> Option<Verdict> {
        None
    }

    /// Counts a request that costs so much, unless a policy refuses it.
    ///
    /// # Errors
    /// Those of the backend.
    async fn take(
        &self,
        key: &LimitKey,
        rates: &[Rate],
        charge: Charge,
        options: CallOptions,
    ) -> Result<Verdict>;

    /// What a request would be answered; one that costs nothing asks how the key stands.
    ///
    /// # Errors
    /// Those of the backend.
    async fn look(
        &self,
        key: &LimitKey,
        rates: &[Rate],
        cost: u64,
        options: CallOptions,
    ) -> Result<Verdict>;

    /// Takes back a request that was counted at `at`. Whether anything of it still counted.
    ///
    /// # Errors
    /// Those of the backend.
    async fn give_back(
        &self,
        key: &LimitKey,
        rates: &[Rate],
        at: Micros,
        cost: u64,
        options: CallOptions,
    ) -> Result<bool>;

    /// Forgets a key. Whether anything of it counted, or it was blocked.
    ///
    /// # Errors
    /// Those of the backend.
    async fn reset(&self, key: &LimitKey, rates: &[Rate], options: CallOptions) -> Result<bool>;

    /// Refuses all requests of a key for so long; zero lifts it.
    ///
    /// # Errors
    /// Those of the backend.
    async fn block(
        &self,
        key: &LimitKey,
        rates: &[Rate],
        time: Duration,
        options: CallOptions,
    ) -> Result<()>;

    /// Takes a slot of a key that has `most`, if one is free, for `length` from now.
    ///
    /// # Errors
    /// Those of the backend.
    async fn enter(
        &self,
        key: &LimitKey,
        lease: LeaseId,
        most: u64,
        length: Duration,
        options: CallOptions,
    ) -> Result<Entered>;

    /// Lets the lease of a slot end `length` from now; `false` if it has none.
    ///
    /// # Errors
    /// Those of the backend.
    async fn stay(
        &self,
        key: &LimitKey,
        lease: LeaseId,
        length: Duration,
        options: CallOptions,
    ) -> Result<bool>;

    /// Gives a slot back; `false` if the lease had none.
    ///
    /// # Errors
    /// Those of the backend.
    async fn leave(&self, key: &LimitKey, lease: LeaseId, options: CallOptions) -> Result<bool>;

    /// How many slots are taken.
    ///
    /// # Errors
    /// Those of the backend.
    async fn taken(&self, key: &LimitKey, options: CallOptions) -> Result<u64>;
}
