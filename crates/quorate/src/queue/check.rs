//! A queue about to be checked, page by page or as a whole.

use std::future::IntoFuture;

use futures_util::future::BoxFuture;

use super::fsck::FsckPage;
use super::handle::Queue;
use super::queues::{FSCK, FSCK_REPAIR};
use crate::context::Attempt;
use crate::error::Result;
use crate::scan::ScanCursor;

/// A queue about to be checked: options, then `.await` for the whole, or [`next_page`](Self::next_page) for some of it at a time. Made by
/// [`Queue::fsck`].
///
/// The queue goes on meanwhile: whatever was wrong all the time is found.
///
/// # Errors
/// Those of the backend.
///
/// # Cancel safety
/// When the future is dropped, some of what was found may have been put right.
#[derive(Debug)]
#[must_use = "nothing is checked without `.await`, or without asking for pages"]
pub struct FsckQueue<I, O = ()> {
    queue: Queue<I, O>,
    repair: bool,
    next: Option<ScanCursor>,
    is_over: bool,
}

impl<I, O> FsckQueue<I, O> {
    pub(super) fn new(queue: &Queue<I, O>) -> Self {
        Self {
            queue: queue.clone(),
            repair: false,
            next: None,
            is_over: false,
        }
    }

    /// Puts right what is found.
    pub const fn repair(mut self) -> Self {
        self.repair = true;
        self
    }

    /// Begins where another check of the same queue stopped: its last page says where that is.
    pub fn after(mut self, page: ScanCursor) -> Self {
        self.next = Some(page);
        self
    }

    /// What is found of some of the queue; `None` after the last.
    ///
    /// # Errors
    /// Those of the backend. The next call begins with the same page.
    ///
    /// # Cancel safety
    /// As a whole.
    pub async fn next_page(&mut self) -> Result<Option<FsckPage>> {
        if self.is_over {
            return Ok(None);
        }
        let (from, repair) = (self.next.as_ref(), self.repair);
        let operation = if repair { &FSCK_REPAIR } else { &FSCK };
        let (key, shared) = (self.queue.key(operation)?, &self.queue.shared);
        let fsck = |attempt: Attempt| shared.port.fsck(key, from, repair, attempt.options());
        let page = shared
            .context
            .run(operation, key.name(), None, fsck)
            .await?;
        (self.is_over, self.next) = (page.next.is_none(), page.next.clone());
        Ok(Some(page))
    }

    /// Everything that is found, as one page.
    async fn whole(mut self) -> Result<FsckPage> {
        let mut found = FsckPage::default();
        while let Some(page) = self.next_page().await? {
            found.checked += page.checked;
            found.strays.extend(page.strays);
        }
        Ok(found)
    }
}

impl<I, O> IntoFuture for FsckQueue<I, O>
where
    I: Send + Sync + 'static,
    O: Send + Sync + 'static,
{
    type Output = Result<FsckPage>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.whole())
    }
}
