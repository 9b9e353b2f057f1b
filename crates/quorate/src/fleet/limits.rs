//! The limiters of a fleet.

use super::Fleet;
use crate::error::Result;
use crate::limit::{ConcurrencyLimit, LimitFigures, Limiter, Policies};

impl Fleet {
    /// The limiter called `name`, with a policy or an array of them. A name has 1 to 128 letters, digits and `_ . / -`.
    #[must_use]
    pub fn limiter(&self, name: &str, policies: impl Into<Policies>) -> Limiter {
        let shared = self.inner.limiters.clone();
        Limiter::new(shared, &self.namespace, name, policies.into())
    }

    /// The concurrency limit called `name`: at most `most` at a time of each of its keys. A name as a limiter's.
    #[must_use]
    pub fn concurrency(&self, name: &str, most: u64) -> ConcurrencyLimit {
        let shared = self.inner.limiters.clone();
        ConcurrencyLimit::new(shared, &self.namespace, name, most)
    }

    /// What is known of the limiters and concurrency limits of this namespace, over all instances that tell
    /// ([`FleetBuilder::tell_limits`](crate::FleetBuilder::tell_limits)), each as of at most
    /// [`tell_limits_every`](crate::FleetBuilder::tell_limits_every) ago.
    ///
    /// An instance that ended is gone from it within its `presence_lease`.
    ///
    /// # Errors
    /// Those of the backend.
    ///
    /// # Cancel safety
    /// Yes.
    ///
    /// # Example
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> quorate::Result<()> {
    /// use quorate::{Fleet, Policy, Tell};
    /// use std::time::Duration;
    ///
    /// let fleet = Fleet::builder().url("memory:").tell_limits(Tell::Keys).build().await?;
    /// let api = fleet.limiter("api", Policy::sliding_log(100, Duration::from_secs(60)));
    /// let _ = api.consume("user:7").await?;
    /// for limit in fleet.limit_figures().await? {
    ///     let decisions = limit.decisions;
    ///     println!("{}: {} of {} denied", limit.limiter, decisions.denied, decisions.asked());
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn limit_figures(&self) -> Result<Vec<LimitFigures>> {
        crate::limit::figures(&self.inner.presences, &self.namespace).await
    }
}
