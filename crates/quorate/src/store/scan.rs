//! Keys as a stream.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Wakers, Poll, ready};

use futures_util::Stream;
use futures_util::future::BoxFuture;
use sync_wrapper::SyncWrapper;

use super::area::Area;
use super::handle::Stores;
use super::port::{ScanCursor, ScanPage};
use crate::context::{Limits, Operation, Repeat};
use crate::error::Result;
use crate::port::CallOptions;

static SCAN: Operation = Operation::new("store.scan", "store", "scan", Repeat::Harmless);

/// The keys of a store, page by page. Made by [`Store::scan`](super::Store::scan).
///
/// # Errors
/// Those of the backend. The stream goes on where it was when it is polled again.
///
/// # Cancel safety
/// It may be dropped at any time.
#[must_use = "nothing is read until the stream is polled"]
pub struct Scan {
    source: Arc<Source>,
    /// Where the next page begins.
    next: Next,
    /// The page under way.
    reading: Option<SyncWrapper<BoxFuture<'static, Result<ScanPage>>>>,
    ready: VecDeque<String>,
    seen: Seen,
}

struct Source {
    shared: Arc<Stores>,
    area: Arc<Area>,
    prefix: String,
    limits: Limits,
}

#[derive(Clone, Debug)]
enum Next {
    First,
    From(ScanCursor),
    End,
}

impl Scan {
    pub(super) fn new(shared: Arc<Stores>, area: Arc<Area>, prefix: &str, limits: Limits) -> Self {
        let source = Source {
            shared,
            area,
            prefix: prefix.to_owned(),
            limits,
        };
        Self {
            source: Arc::new(source),
            next: Next::First,
            reading: None,
            ready: VecDeque::new(),
            seen: Seen::default(),
        }
    }

    fn read(&self, from: Option<ScanCursor>) -> BoxFuture<'static, Result<ScanPage>> {
        let source = self.source.clone();
        Box::pin(async move {
            let Source {
                shared,
                area,
                prefix,
                limits,
            } = &*source;
            let from = from.as_ref();
            shared
                .context
                .run_within(*limits, &SCAN, prefix, |attempt| {
                    let options = CallOptions::until(attempt.deadline);
                    shared.port.scan(area, prefix, from, options)
                })
                .await
        })
    }
}

impl Stream for Scan {
    type Item = Result<String>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Wakers<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some(name) = this.ready.pop_front() {
                return Poll::Ready(Some(Ok(name)));
            }
            if let Some(reading) = &mut this.reading {
                let page = ready!(reading.get_mut().as_mut().poll(cx));
                this.reading = None;
                let page = page?;
                this.next = page.next.map_or(Next::End, Next::From);
                let seen = &mut this.seen;
                this.ready
                    .extend(page.names.into_iter().filter(|name| seen.is_new(name)));
                continue;
            }
            let from = match &this.next {
                Next::End => return Poll::Ready(None),
                Next::First => None,
                Next::From(cursor) => Some(cursor.clone()),
            };
            this.reading = Some(SyncWrapper::new(this.read(from)));
        }
    }
}

/// What came before, in 16 bytes each: that two of a million million keys are alike in all of them is less likely than
/// a fault of the memory they are in.
#[derive(Debug, Default)]
struct Seen {
    one: RandomState,
    two: RandomState,
    hashes: HashSet<(u64, u64)>,
}

impl Seen {
    fn is_new(&mut self, name: &str) -> bool {
        let hash = (self.one.hash_one(name), self.two.hash_one(name));
        self.hashes.insert(hash)
    }
}

impl fmt::Debug for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scan")
            .field("prefix", &self.source.prefix)
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}
