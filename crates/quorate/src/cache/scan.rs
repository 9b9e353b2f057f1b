//! The keys of a cache.

use super::handle::Cache;
use super::port::Sought;
use crate::context::{Operation, Repeat};
use crate::scan::Scan;

static SCAN: Operation = Operation::new("cache.scan", "cache", "scan", Repeat::Harmless);

impl<K: ?Sized, V> Cache<K, V> {
    /// The entries whose keys match a glob (of the key's text; `*` for all), as a stream of keys. In a glob `*` is any
    /// text, `?` one byte, `[abc]` one of these, and `\\` stands before what is meant as it is.
    ///
    /// Every key that is there from beginning to end comes once; one that comes or goes meanwhile may be missing. A
    /// page is read when the stream is polled for it. To leave out what came before, the stream remembers 16
    /// bytes for each key. A glob that is empty or has more than 512 bytes is `InvalidInput`, and the end of the stream.
    ///
    /// On a server this looks at every key of the whole database, some hundred at a time: it is for operators
    /// and clean-up, not for requests.
    pub fn scan(&self, glob: &str) -> Scan {
        let (shared, area) = (self.inner.shared.clone(), self.inner.known.area.clone());
        let (text, limits) = (glob.to_owned(), self.limits);
        let scan = Scan::new(move |from| {
            let (shared, area, glob) = (shared.clone(), area.clone(), text.clone());
            Box::pin(async move {
                let (from, port) = (from.as_ref(), &shared.port);
                let page = shared
                    .context
                    .run_within(limits, &SCAN, area.cache(), |attempt| {
                        let options = attempt.options();
                        port.scan(&area, &glob, Sought::Entries, from, options)
                    });
                page.await
            })
        });
        match crate::key::check_name("pattern", glob) {
            Ok(()) => scan,
            Err(error) => scan.refused(error.with_operation(SCAN.name)),
        }
    }
}
