//! Counters in a cache.

use super::handle::Cache;
use super::slot::NotAdded;
use crate::context::{Operation, Repeat};
use crate::entry_key::EntryKey;
use crate::error::{Error, ErrorKind, Result};

static INCREMENT: Operation = Operation::new(
    "cache.increment",
    "cache",
    "increment",
    Repeat::OnlyIfNotApplied,
);
impl<K: EntryKey + ?Sized> Cache<K, i64> {
    /// Adds `by` to a counter, which begins at 0 and is then kept as long as the spec says; gives its new value.
    ///
    /// # Errors
    /// `InvalidInput` if the key breaks a rule, the codec does not write numbers in digits, or the counter would leave the range of 64 bits; `Decode` if what
    /// is there is no counter, such as a value that was [`put`](Self::put); and those of the backend. A lost reply is
    /// `Unknown`, and the call is not repeated.
    ///
    /// # Cancel safety
    /// When the future is dropped, it may or may not be added.
    pub async fn increment(&self, key: &K, by: i64) -> Result<i64> {
        let key = self.key(key, &INCREMENT)?;
        if !self
            .inner
            .spec
            .codec
            .encode(&-10)
            .is_ok_and(|text| text == "-10")
        {
            let rule = "must write numbers in digits where they are counted";
            return Err(Error::invalid("codec", rule).with_operation(INCREMENT.name));
        }
        let (context, port, ttl) = (
            &self.inner.shared.context,
            &self.inner.shared.port,
            self.inner.spec.ttl,
        );
        let added = context
            .run_within(self.limits, &INCREMENT, key.name(), |attempt| {
                port.add(&key, by, ttl, attempt.options())
            })
            .await?;
        let refused = |error: Error| error.with_operation(INCREMENT.name).with_target(key.name());
        added.map_err(|why| match why {
            NotAdded::NoCounter => {
                refused(Error::new(ErrorKind::Decode).with_message("what is there is no counter"))
            }
            NotAdded::Overflow => refused(Error::invalid(
                "by",
                "must not take the counter out of the range of 64 bits",
            )),
        })
    }

    /// Takes `by` from a counter: [`increment`](Self::increment) by its negative.
    ///
    /// # Errors
    /// As [`increment`](Self::increment).
    ///
    /// # Cancel safety
    /// As [`increment`](Self::increment).
    pub async fn decrement(&self, key: &K, by: i64) -> Result<i64> {
        let negative = by.checked_neg().ok_or_else(|| {
            Error::invalid("by", "must be more than the least number of 64 bits")
                .with_operation(INCREMENT.name)
        })?;
        self.increment(key, negative).await
    }
}
