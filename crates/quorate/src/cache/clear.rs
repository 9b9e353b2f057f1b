//! Removing many entries, and ending many loads.

use super::handle::Cache;
use super::port::Sought;
use crate::context::{Operation, Repeat};
use crate::error::{Error, Outcome, Result};
use crate::glob;
use crate::port::CallOptions;
use crate::scan::ScanCursor;

static CLEAR: Operation = Operation::new("cache.clear", "cache", "clear", Repeat::Harmless);
static END_LOADS: Operation =
    Operation::new("cache.end_loads", "cache", "end_loads", Repeat::Harmless);

/// What becomes of each page of names.
#[derive(Clone, Copy)]
enum Ended {
    All,
    Loads,
}

impl<K: ?Sized, V> Cache<K, V> {
    /// Removes every entry, and says how many there were. No load that is under way keeps its value.
    ///
    /// On a server this looks at every key of the whole database twice, some hundred at a time. To end entries at once, give
    /// them a tag and [invalidate](crate::Fleet::invalidate_tags) it.
    ///
    /// # Errors
    /// Those of the backend; some of the entries may be removed then.
    ///
    /// # Cancel safety
    /// When the future is dropped, some of the entries may be removed.
    pub async fn clear(&self) -> Result<u64> {
        self.end_all("*").await
    }

    /// Lets no load that is under way keep its value, and says how many there were. What is there stays; whoever loads is
    /// given its value, and whoever waits for it asks again.
    ///
    /// On a server this looks at every key of the whole database, some hundred at a time.
    ///
    /// # Errors
    /// Those of the backend; some of the loads may be ended then.
    ///
    /// # Cancel safety
    /// When the future is dropped, some of the loads may be ended.
    ///
    /// # Example
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> quorate::Result<()> {
    /// use quorate::{CacheSpec, Fleet};
    ///
    /// const PRICES: CacheSpec<u64, u64> = CacheSpec::new("prices");
    ///
    /// let prices = Fleet::embedded().cache(&PRICES);
    /// let price = prices.get_or_load(&7, async {
    ///     // All prices change while this one is read.
    ///     assert_eq!(prices.end_loads().await.unwrap(), 1);
    ///     Ok::<_, std::io::Error>(100)
    /// });
    /// assert_eq!(price.await?, 100);
    /// assert_eq!(prices.get(&7).await?, None);
    /// # Ok(()) }
    /// ```
    pub async fn end_loads(&self) -> Result<u64> {
        self.each_page("*", Ended::Loads, &END_LOADS).await
    }

    /// [`clear`](Self::clear) for the entries whose keys match a glob: `*` for any text, `?` for one byte, `[abc]`, and
    /// `\` before what is meant as it is.
    ///
    /// # Errors
    /// `InvalidInput` if the glob is empty or has more than 512 bytes, and as [`clear`](Self::clear).
    ///
    /// # Cancel safety
    /// As [`clear`](Self::clear).
    pub async fn clear_matching(&self, glob: &str) -> Result<u64> {
        let named = |error: Error| error.with_operation(CLEAR.name);
        crate::key::check_name("pattern", glob).map_err(named)?;
        self.end_all(glob).await
    }

    /// [`clear`](Self::clear) for the entries whose keys begin with a text, whatever is in it.
    ///
    /// # Errors
    /// As [`clear_matching`](Self::clear_matching).
    ///
    /// # Cancel safety
    /// As [`clear`](Self::clear).
    pub async fn clear_prefix(&self, prefix: &str) -> Result<u64> {
        self.clear_matching(&format!("{}*", glob::escape(prefix)))
            .await
    }

    async fn end_all(&self, glob: &str) -> Result<u64> {
        // First, and not in one go: a load could land where the scan has been while its lease is where it has not. From
        // then on loads that began before this do not land any more, and what did is there to be found.
        self.each_page(glob, Ended::Loads, &CLEAR).await?;
        let ended = self.each_page(glob, Ended::All, &CLEAR).await;
        ended.map_err(|error| error.with_outcome(Outcome::Unknown))
    }

    async fn each_page(
        &self,
        glob: &str,
        ended: Ended,
        operation: &'static Operation,
    ) -> Result<u64> {
        let mut from = None::<ScanCursor>;
        let mut count = 0;
        loop {
            let (context, start) = (&self.inner.shared.context, from.as_ref());
            let (some, next) = context
                .run_within(self.limits, operation, self.name(), |attempt| {
                    self.end_page(glob, ended, start, attempt.options())
                })
                .await
                .map_err(|error| match start {
                    None => error,
                    // What came before this page is done.
                    Some(_) => error.with_outcome(Outcome::Unknown),
                })?;
            count += some;
            from = next;
            if from.is_none() {
                return Ok(count);
            }
        }
    }

    async fn end_page(
        &self,
        glob: &str,
        ended: Ended,
        from: Option<&ScanCursor>,
        options: CallOptions,
    ) -> Result<(u64, Option<ScanCursor>)> {
        let (port, area) = (&self.inner.shared.port, &self.inner.known.area);
        let sought = match ended {
            Ended::All => Sought::EntriesAndLoads,
            Ended::Loads => Sought::Loads,
        };
        let page = port.scan(area, glob, sought, from, options).await?;
        let keys: Result<Vec<_>> = page.names.into_iter().map(|name| area.key(&name)).collect();
        let keys = keys?;
        if keys.is_empty() {
            return Ok((0, page.next));
        }
        let count = match ended {
            Ended::All => port.remove(&keys, options).await?,
            Ended::Loads => port.end_loads(&keys, options).await?,
        };
        Ok((count, page.next))
    }
}
