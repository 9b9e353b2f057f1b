//! Removing many entries.

use super::handle::Cache;
use super::port::Sought;
use crate::context::{Operation, Repeat};
use crate::error::{Error, Outcome, Result};
use crate::glob;
use crate::port::CallOptions;
use crate::scan::ScanCursor;

static CLEAR: Operation = Operation::new("cache.clear", "cache", "clear", Repeat::Harmless);
impl<K: ?Sized, V> Cache<K, V> {
    /// Removes every entry, and says how many there were. No load that is under way keeps its value.
    ///
    /// On a server this looks at every key of the whole database, some hundred at a time. To end entries at once, give
    /// them a tag and [invalidate](crate::Fleet::invalidate_tags) it.
    ///
    /// # Errors
    /// Those of the backend; some of the entries may be removed then.
    ///
    /// # Cancel safety
    /// When the future is dropped, some of the entries may be removed.
    pub async fn clear(&self) -> Result<u64> {
        self.clear_glob("*").await
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
        self.clear_glob(glob).await
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

    async fn clear_glob(&self, glob: &str) -> Result<u64> {
        let mut from = None::<ScanCursor>;
        let mut removed = 0;
        loop {
            let (context, start) = (&self.shared.context, from.as_ref());
            let (some, next) = context
                .run_within(self.limits, &CLEAR, self.name(), |attempt| {
                    self.clear_page(glob, start, CallOptions::until(attempt.deadline))
                })
                .await
                .map_err(|error| match start {
                    None => error,
                    // What came before this page is done.
                    Some(_) => error.with_outcome(Outcome::Unknown),
                })?;
            removed += some;
            from = next;
            if from.is_none() {
                return Ok(removed);
            }
        }
    }

    async fn clear_page(
        &self,
        glob: &str,
        from: Option<&ScanCursor>,
        options: CallOptions,
    ) -> Result<(u64, Option<ScanCursor>)> {
        let (port, area) = (&self.shared.port, &self.known.area);
        let sought = Sought::EntriesAndLoads;
        let page = port.scan(area, glob, sought, from, options).await?;
        let keys: Result<Vec<_>> = page.names.into_iter().map(|name| area.key(name)).collect();
        let keys = keys?;
        if keys.is_empty() {
            return Ok((0, page.next));
        }
        Ok((port.remove(&keys, options).await?, page.next))
    }
}
