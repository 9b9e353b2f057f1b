//! The keys of a store.

use super::handle::Store;
use crate::context::{Operation, Repeat};
use crate::scan::Scan;

static SCAN: Operation = Operation::new("store.scan", "store", "scan", Repeat::Harmless);

impl<K: ?Sized, V> Store<K, V> {
    /// The entries whose keys begin with `prefix` (of the key's text; empty for all), as a stream of keys.
    ///
    /// Every key that is there from beginning to end comes once; one that comes or goes meanwhile may be missing. A
    /// page is read when the stream is polled for it. To leave out what came before, the stream remembers 16
    /// bytes for each key.
    ///
    /// On a server this looks at every key of the whole database, some hundred at a time: it is for operators
    /// and clean-up, not for requests.
    pub fn scan(&self, prefix: &str) -> Scan {
        let (shared, area) = (self.shared.clone(), self.area.clone());
        let (prefix, limits) = (prefix.to_owned(), self.limits);
        Scan::new(move |from| {
            let (shared, area, prefix) = (shared.clone(), area.clone(), prefix.clone());
            Box::pin(async move {
                let (from, port) = (from.as_ref(), &shared.port);
                let pages = shared
                    .context
                    .run_within(limits, &SCAN, &prefix, |attempt| {
                        let options = attempt.options();
                        port.scan(&area, &prefix, from, options)
                    });
                pages.await
            })
        })
    }
}
