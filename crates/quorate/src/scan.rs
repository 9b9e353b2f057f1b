//! Names as a stream, page by page.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::future::poll_fn;
use std::hash::{BuildHasher, RandomState};
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Wakers, Poll, ready};

use futures_util::Stream;
use futures_util::future::BoxFuture;
use sync_wrapper::SyncWrapper;

use crate::error::{Error, Result};

/// Some of the names of a store or a cache.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "backends make it")]
pub struct ScanPage {
    /// What entries are called there; a name may occur on several pages.
    pub names: Vec<String>,
    /// Where the next page begins; `None`: this was the last.
    pub next: Option<ScanCursor>,
}

/// Where a page begins. Only the backend that gave it knows what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanCursor(Arc<str>);

impl ScanCursor {
    /// A backend's own words.
    #[must_use]
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// Those words.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How a page is read.
type Read = dyn Fn(Option<ScanCursor>) -> BoxFuture<'static, Result<ScanPage>> + Send + Sync;

/// The names of a store or a cache, page by page. Made by [`Store::scan`](crate::Store::scan) and
/// [`Cache::scan`](crate::Cache::scan).
///
/// # Errors
/// Those of the backend. The stream goes on where it was when it is polled again.
///
/// # Cancel safety
/// It may be dropped at any time.
#[must_use = "nothing is read until the stream is polled"]
pub struct Scan {
    read: Arc<Read>,
    /// Where the next page begins.
    next: Next,
    /// The page under way.
    reading: Option<SyncWrapper<BoxFuture<'static, Result<ScanPage>>>>,
    ready: VecDeque<String>,
    seen: Seen,
}

#[derive(Debug)]
enum Next {
    First,
    From(ScanCursor),
    /// What is asked for breaks a rule: told once.
    Refused(Error),
    End,
}

impl Scan {
    pub(crate) fn new(
        read: impl Fn(Option<ScanCursor>) -> BoxFuture<'static, Result<ScanPage>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        Self {
            read: Arc::new(read),
            next: Next::First,
            reading: None,
            ready: VecDeque::new(),
            seen: Seen::default(),
        }
    }

    /// Gives an error, and ends.
    pub(crate) fn refused(mut self, error: Error) -> Self {
        self.next = Next::Refused(error);
        self
    }

    /// Begins where another scan of the same home, for the same names, stopped: its last page says where that is. Names
    /// that the other one gave may come again.
    pub fn after(mut self, page: ScanCursor) -> Self {
        if matches!(self.next, Next::First) {
            self.next = Next::From(page);
        }
        self
    }

    /// The next page, for those who go on later or elsewhere; `None` after the last. It may be empty.
    ///
    /// # Errors
    /// Those of the stream.
    ///
    /// # Cancel safety
    /// Yes: nothing is left out, a page under way is taken up by the next call.
    pub async fn next_page(&mut self) -> Result<Option<ScanPage>> {
        if self.ready.is_empty() && !poll_fn(|wakers| self.poll_page(wakers)).await? {
            return Ok(None);
        }
        Ok(Some(ScanPage {
            names: self.ready.drain(..).collect(),
            next: match &self.next {
                Next::From(cursor) => Some(cursor.clone()),
                _ => None,
            },
        }))
    }

    /// Reads a page into `ready`; `false`: there is none any more.
    fn poll_page(&mut self, wakers: &mut Wakers<'_>) -> Poll<Result<bool>> {
        if self.reading.is_none() {
            let from = match &self.next {
                Next::First => None,
                Next::From(cursor) => Some(cursor.clone()),
                Next::End => return Poll::Ready(Ok(false)),
                Next::Refused(_) => {
                    let refused = mem::replace(&mut self.next, Next::End);
                    let Next::Refused(error) = refused else {
                        return Poll::Ready(Ok(false));
                    };
                    return Poll::Ready(Err(error));
                }
            };
            self.reading = Some(SyncWrapper::new((self.read)(from)));
        }
        let Some(reading) = &mut self.reading else {
            return Poll::Ready(Ok(false));
        };
        let page = ready!(reading.get_mut().as_mut().poll(wakers));
        self.reading = None;
        let page = page?;
        self.next = page.next.map_or(Next::End, Next::From);
        let seen = &mut self.seen;
        let new = page.names.into_iter().filter(|name| seen.is_new(name));
        self.ready.extend(new);
        Poll::Ready(Ok(true))
    }
}

impl Stream for Scan {
    type Item = Result<String>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Wakers<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(name) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(name)));
            }
            if !ready!(self.poll_page(cx))? {
                return Poll::Ready(None);
            }
        }
    }
}

/// What came before, in 16 bytes each: that two of a million million names are alike in all of them is less likely than
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
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}
