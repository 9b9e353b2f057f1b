//! The locks of a fleet, whatever their kind: for who operates them.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Wakers, Poll, ready};
use std::time::Duration;

use futures_util::Stream;

use super::ask::{LockKind, LockStatus};
use super::handle::Lock;
use super::lease::{FencingToken, LeaseId};
use super::locks::Locks;
use crate::context::{Operation, Repeat};
use crate::error::Result;
use crate::key::Namespace;
use crate::port::CallOptions;
use crate::scan::{Scan, ScanCursor, ScanPage};

static SCAN: Operation = Operation::new("lock.scan", "lock", "scan", Repeat::Harmless);

/// The locks of a fleet, whatever their kind: to be listed, looked at, and taken away.
///
/// # Clone
/// Clones are the same.
///
/// # Example
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> quorate::Result<()> {
/// use futures_util::TryStreamExt;
/// use quorate::Fleet;
///
/// let fleet = Fleet::embedded();
/// let _guard = fleet.semaphore("exports", 3).acquire().await?;
/// let mut all = fleet.locks().scan("");
/// while let Some(lock) = all.try_next().await? {
///     let status = lock.status().await?;
///     println!("{} is held by {}", lock.name(), status.holders.len());
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct AllLocks {
    shared: Arc<Locks>,
    namespace: Namespace,
}

/// A lock of whatever kind, by its name: to look at, to extend and release by the ids of its leases, and to take away. It
/// is acquired by what knows how much of it there is.
///
/// # Clone
/// Clones are the same lock.
#[derive(Clone, Debug)]
pub struct LockRef {
    kind: LockKind,
    lock: Lock,
}

/// Some of the locks of a fleet. Made by [`AllLocks::scan`].
///
/// # Errors
/// Those of the backend. The stream goes on where it was when it is polled again.
///
/// # Cancel safety
/// It may be dropped at any time.
#[must_use = "nothing is read until the stream is polled"]
pub struct LockScan {
    all: AllLocks,
    names: Scan,
}

/// Some of the locks.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LockPage {
    /// They; a lock may be on several pages.
    pub locks: Vec<LockRef>,
    /// Where the next page begins; `None`: this was the last.
    pub next: Option<ScanCursor>,
}

impl AllLocks {
    pub(crate) fn new(shared: Arc<Locks>, namespace: &Namespace) -> Self {
        let namespace = namespace.clone();
        Self { shared, namespace }
    }

    /// The lock of this kind and name.
    #[must_use]
    pub fn of(&self, kind: LockKind, name: &str) -> LockRef {
        let lock = Lock::new(self.shared.clone(), kind, &self.namespace, name);
        LockRef { kind, lock }
    }

    /// The locks whose names begin with `prefix` (empty for all), of every kind: those that are held, and those that were
    /// within the last day. Their [`status`](LockRef::status) says which.
    ///
    /// Every lock that is there from beginning to end comes once; one that comes or goes meanwhile may be missing. On a server
    /// this looks at every key of the whole database, some hundred at a time: it is for operators, not for requests.
    pub fn scan(&self, prefix: &str) -> LockScan {
        let (all, prefix) = (self.clone(), prefix.to_owned());
        let names = Scan::new(move |from| {
            let (all, prefix) = (all.clone(), prefix.clone());
            Box::pin(async move { all.page(&prefix, from.as_ref()).await })
        });
        let all = self.clone();
        LockScan { all, names }
    }

    async fn page(&self, prefix: &str, from: Option<&ScanCursor>) -> Result<ScanPage> {
        let port = &self.shared.port;
        let run = self.shared.context.run(&SCAN, prefix, None, |attempt| {
            let options = CallOptions::until(attempt.deadline);
            port.scan(&self.namespace, prefix, from, options)
        });
        let page = run.await?;
        let names = page.locks.into_iter();
        let names = names.map(|(kind, name)| format!("{} {name}", kind.as_str()));
        Ok(ScanPage {
            names: names.collect(),
            next: page.next,
        })
    }

    /// Of what `page` calls a lock.
    fn called(&self, text: &str) -> Option<LockRef> {
        let (kind, name) = text.split_once(' ')?;
        let kind = LockKind::ALL.into_iter().find(|it| it.as_str() == kind)?;
        Some(self.of(kind, name))
    }
}

impl LockRef {
    /// What it is.
    #[must_use]
    pub const fn kind(&self) -> LockKind {
        self.kind
    }

    /// Its name; empty if it was given one that breaks the rule for names.
    #[must_use]
    pub fn name(&self) -> &str {
        self.lock.name()
    }

    /// As [`Lock::status`].
    ///
    /// # Errors
    /// As there.
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn status(&self) -> Result<LockStatus> {
        self.lock.status().await
    }

    /// As [`Lock::extend`].
    ///
    /// # Errors
    /// As there.
    ///
    /// # Cancel safety
    /// As there.
    pub async fn extend(&self, lease: LeaseId, length: Duration) -> Result<bool> {
        self.lock.extend(lease, length).await
    }

    /// As [`Lock::release`].
    ///
    /// # Errors
    /// As there.
    ///
    /// # Cancel safety
    /// As there.
    pub async fn release(&self, lease: LeaseId) -> Result<bool> {
        self.lock.release(lease).await
    }

    /// As [`Lock::force_release`].
    ///
    /// # Errors
    /// As there.
    ///
    /// # Cancel safety
    /// As there.
    pub async fn force_release(&self) -> Result<Vec<FencingToken>> {
        self.lock.force_release().await
    }

    /// As [`Lock::force_release_token`].
    ///
    /// # Errors
    /// As there.
    ///
    /// # Cancel safety
    /// As there.
    pub async fn force_release_token(&self, token: FencingToken) -> Result<bool> {
        self.lock.force_release_token(token).await
    }
}

impl LockScan {
    /// Begins where another scan for the same names stopped: its last page says where that is. Locks that the other one
    /// gave may come again.
    pub fn after(mut self, page: ScanCursor) -> Self {
        self.names = self.names.after(page);
        self
    }

    /// The next page, for those who go on later or elsewhere; `None` after the last. It may be empty.
    ///
    /// # Errors
    /// Those of the stream.
    ///
    /// # Cancel safety
    /// Yes: nothing is left out, a page under way is taken up by the next call.
    pub async fn next_page(&mut self) -> Result<Option<LockPage>> {
        let page = self.names.next_page().await?;
        Ok(page.map(|page| LockPage {
            locks: page
                .names
                .iter()
                .filter_map(|it| self.all.called(it))
                .collect(),
            next: page.next,
        }))
    }
}

impl Stream for LockScan {
    type Item = Result<LockRef>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Wakers<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match ready!(Pin::new(&mut self.names).poll_next(cx)) {
                Some(Ok(name)) => {
                    if let Some(lock) = self.all.called(&name) {
                        return Poll::Ready(Some(Ok(lock)));
                    }
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
    }
}

impl fmt::Debug for LockScan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.names.fmt(f)
    }
}
