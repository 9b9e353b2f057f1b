//! The last few items, again and again.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::Stream;
use pin_project_lite::pin_project;

pin_project! {
    /// A stream of sliding windows; see [`windows`](super::EventStreamExt::windows).
    #[must_use = "streams do nothing unless polled"]
    pub struct Windows<S: Stream> {
        #[pin]
        source: S,
        size: usize,
        last: VecDeque<S::Item>,
    }
}

impl<S: Stream> Windows<S> {
    pub(super) fn new(source: S, size: usize) -> Self {
        assert!(size > 0, "the size must be at least 1");
        Self {
            source,
            size,
            last: VecDeque::new(),
        }
    }
}

impl<S: Stream> Stream for Windows<S>
where
    S::Item: Clone,
{
    type Item = Vec<S::Item>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut this = self.project();
        while let Some(item) = ready!(this.source.as_mut().poll_next(cx)) {
            if this.last.len() == *this.size {
                this.last.pop_front();
            }
            this.last.push_back(item);
            if this.last.len() == *this.size {
                return Poll::Ready(Some(this.last.iter().cloned().collect()));
            }
        }
        Poll::Ready(None)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        // Items that only fill the first window; after that each item makes one.
        let filling = self.size.saturating_sub(self.last.len() + 1);
        let windows = |items: usize| items.saturating_sub(filling);
        let (lower, upper) = self.source.size_hint();
        (windows(lower), upper.map(windows))
    }
}

impl<S: Stream + fmt::Debug> fmt::Debug for Windows<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Windows")
            .field("source", &self.source)
            .field("size", &self.size)
            .field("last", &self.last.len())
            .finish()
    }
}
