//! Sessions as users hold them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::create::CreateSession;
use super::id::{Place, SessionHandle, SessionId, SessionRef};
use super::partition::{Claim, Deleted, MAX_SESSIONS};
use super::port::{Found, RevokedWhy, SessionPort};
use super::snapshot::Session;
use super::touch::TouchSession;
use crate::backoff::RetryPolicy;
use crate::context::{Context, Limits, Operation, Repeat};
use crate::error::{Error, Result};
use crate::events::Hub;
use crate::key::{Key, Namespace};
use crate::port::CallOptions;

static GET: Operation = Operation::new("session.get", "session", "get", Repeat::Harmless);
static TOUCH: Operation = Operation::new("session.touch", "session", "touch", Repeat::Harmless);
static DELETE: Operation = Operation::new("session.delete", "session", "delete", Repeat::Harmless);
static LIST: Operation = Operation::new("session.list", "session", "list", Repeat::Harmless);
static COUNT: Operation = Operation::new("session.count", "session", "count", Repeat::Harmless);
/// Not repeated when its reply is lost: who logged in again meanwhile would be logged out.
static CLEAR: Operation = Operation::new(
    "session.delete_all",
    "session",
    "delete_all",
    Repeat::OnlyIfNotApplied,
);

/// How long a session outlives a use, unless its maker says otherwise.
const TTL: Duration = Duration::from_secs(7 * 24 * 3600);
pub(super) const SHORTEST: Duration = Duration::from_secs(1);

/// How long an id is good after it was replaced: requests that are under way have it.
const OVERLAP: Duration = Duration::from_secs(10);

/// What the sessions of an instance share.
#[derive(Debug)]
pub(crate) struct SharedSessions {
    pub(crate) context: Arc<Context>,
    pub(crate) port: Arc<dyn SessionPort>,
    pub(crate) hub: Arc<Hub>,
}

/// What holds for sessions that are made by a handle.
#[derive(Clone, Copy, Debug)]
pub(super) struct Policy {
    pub(super) ttl: Duration,
    pub(super) absolute: Option<Duration>,
    pub(super) most: usize,
    pub(super) overlap: Duration,
}

/// Who is logged in, on every instance.
///
/// A session ends when it is removed, when it was not used for as long as its time to live, or at its absolute
/// end. Nothing has to clean up behind it. Its id is a secret of which the home knows only a hash.
///
/// # Clone
/// Cheap; clones are the same, with the same options.
///
/// # Concurrent calls
/// The calls about one user's sessions happen one after the other. A session that was removed does not come
/// back, whoever uses or changes it at that moment; who change different fields lose none.
///
/// # Lost replies
/// `get`, `touch`, `list`, `count`, `delete` and `rotate` are tried again. `create`, `update`, `take`, `delete_all`,
/// `delete_others`, and a `touch` with another time to live, fail with [`Outcome::Unknown`](crate::Outcome) instead, because doing them late could undo
/// what happened in between; call `delete_all` again in that case.
///
/// # Example
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> quorate::Result<()> {
/// use quorate::{Fleet, SessionKey};
///
/// const CART: SessionKey<Vec<u32>> = SessionKey::new("cart");
///
/// let sessions = Fleet::embedded().sessions();
/// let made = sessions.create("alice").device_info("Firefox on Linux").field(&CART, &vec![7]).await?;
/// let session = sessions.get_and_touch(&made.id).await?.expect("it is there");
/// assert_eq!((session.user(), session.get(&CART)?), (Some("alice"), Some(vec![7])));
///
/// sessions.update(&made.id).set(&CART, &vec![7, 8]).await?;
/// assert_eq!(sessions.list("alice").await?[0].device_info(), Some("Firefox on Linux"));
/// assert_eq!(sessions.delete_all("alice").await?, 1);
/// assert!(!sessions.is_valid(&made.id).await?);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Sessions {
    pub(super) shared: Arc<SharedSessions>,
    pub(super) namespace: Namespace,
    pub(super) partition_key: Option<Arc<[u8]>>,
    pub(super) policy: Policy,
    pub(super) limits: Limits,
}

impl Sessions {
    pub(crate) fn new(shared: Arc<SharedSessions>, namespace: &Namespace) -> Self {
        Self {
            shared,
            namespace: namespace.clone(),
            partition_key: None,
            policy: Policy {
                ttl: TTL,
                absolute: None,
                most: MAX_SESSIONS,
                overlap: OVERLAP,
            },
            limits: Limits::default(),
        }
    }

    /// How long sessions made by this handle outlive a use: at least 1 s, at most 100 years. Default 7 days.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.policy.ttl = ttl;
        self
    }

    /// How long they live however much they are used. Default without limit.
    #[must_use]
    pub fn absolute(mut self, absolute: Duration) -> Self {
        self.policy.absolute = Some(absolute);
        self
    }

    /// The most sessions of a user, from 1 to 1000: who makes one more loses the oldest. Default 1000.
    #[must_use]
    pub fn max_per_user(mut self, most: usize) -> Self {
        self.policy.most = most;
        self
    }

    /// How long an id is good after [`rotate`](Self::rotate) has replaced it, up to 100 years. Default 10 s.
    #[must_use]
    pub fn overlap(mut self, overlap: Duration) -> Self {
        self.policy.overlap = overlap;
        self
    }

    /// A secret of the service's, by which the names of keys are made of those of users. All instances need the
    /// same, for as long as there are sessions: with another, a user's sessions are not found by the user.
    ///
    /// Without one the namespace takes its place, and who can read keys can find out whether a user whose name is
    /// known has sessions.
    #[must_use]
    pub fn partition_key(mut self, secret: impl AsRef<[u8]>) -> Self {
        self.partition_key = Some(secret.as_ref().into());
        self
    }

    /// Bounds each call of this handle with all its attempts, instead of the fleet's own deadline.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.limits.deadline = Some(deadline);
        self
    }

    /// Tries calls of this handle again by this policy instead of the fleet's.
    #[must_use]
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.limits.retry = Some(policy);
        self
    }

    /// Makes a session of a user, whose name has 1 to 512 bytes and no control characters.
    pub fn create(&self, user: &str) -> CreateSession {
        CreateSession::new(self.clone(), Some(user.to_owned()))
    }

    /// Makes a session of nobody. Who logs in [rotates](Self::rotate) it.
    pub fn create_anonymous(&self) -> CreateSession {
        CreateSession::new(self.clone(), None)
    }

    /// A session as it is, without using it; `None` if there is none.
    ///
    /// # Errors
    /// Those of the backend.
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn get(&self, session: &impl SessionRef) -> Result<Option<Session>> {
        self.read(&GET, session, false).await
    }

    /// Uses a session: it lives on for its own time to live from now, or for [another](TouchSession::ttl). `false` if
    /// there is none.
    ///
    /// A use is written down only when a minute, or a twentieth of the time to live if that is less, has passed
    /// since the last that was.
    pub fn touch(&self, id: &SessionId) -> TouchSession {
        TouchSession::new(self.clone(), id.clone())
    }

    /// [`touch`](Self::touch), and the session as it is then, in one round trip.
    ///
    /// # Errors
    /// Those of the backend.
    ///
    /// # Cancel safety
    /// When the future is dropped, it may or may not be used.
    pub async fn get_and_touch(&self, id: &SessionId) -> Result<Option<Session>> {
        self.read(&TOUCH, id, true).await
    }

    /// Whether there is a session.
    ///
    /// # Errors
    /// Those of the backend.
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn is_valid(&self, session: &impl SessionRef) -> Result<bool> {
        Ok(self.get(session).await?.is_some())
    }

    /// Removes a session, by its id or its handle. `false` if there is none (any more).
    ///
    /// # Errors
    /// Those of the backend.
    ///
    /// # Cancel safety
    /// When the future is dropped, it may or may not be removed.
    pub async fn delete(&self, session: &impl SessionRef) -> Result<bool> {
        let deleted = self.remove(&DELETE, session, None, RevokedWhy::Deleted);
        Ok(deleted.await? == Deleted::Done)
    }

    /// The sessions of a user, newest first, in one round trip.
    ///
    /// # Errors
    /// `InvalidInput` if the name breaks a rule, and those of the backend.
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn list(&self, user: &str) -> Result<Vec<Session>> {
        let (place, key) = self.unit_of(user, &LIST)?;
        let (context, port) = (&self.shared.context, &self.shared.port);
        let found = context
            .run_within(self.limits, &LIST, user, |attempt| {
                port.list(&key, CallOptions::until(attempt.deadline))
            })
            .await?;
        let session = |(serial, found)| Session::new(SessionHandle { place, serial }, None, found);
        let mut sessions: Vec<_> = found.into_iter().map(session).collect();
        sessions.sort_by_key(|session| {
            let handle = session.handle();
            std::cmp::Reverse((session.created_at(), handle.serial))
        });
        Ok(sessions)
    }

    /// How many sessions a user has.
    ///
    /// # Errors
    /// As [`list`](Self::list).
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn count(&self, user: &str) -> Result<u64> {
        let (_, key) = self.unit_of(user, &COUNT)?;
        let (context, port) = (&self.shared.context, &self.shared.port);
        context
            .run_within(self.limits, &COUNT, user, |attempt| {
                port.count(&key, CallOptions::until(attempt.deadline))
            })
            .await
    }

    /// Removes all sessions of a user, and says how many there were.
    ///
    /// # Errors
    /// As [`list`](Self::list). When the reply is lost they may be removed: call it again.
    ///
    /// # Cancel safety
    /// When the future is dropped, they may or may not be removed.
    pub async fn delete_all(&self, user: &str) -> Result<u64> {
        self.clear(user, None).await
    }

    /// Removes all sessions of a user but this one, and says how many there were.
    ///
    /// # Errors
    /// As [`delete_all`](Self::delete_all), and `InvalidInput` if the session is not one of this user's.
    ///
    /// # Cancel safety
    /// As [`delete_all`](Self::delete_all).
    pub async fn delete_others(&self, user: &str, keep: &impl SessionRef) -> Result<u64> {
        self.clear(user, Some(keep.handle())).await
    }

    async fn clear(&self, user: &str, keep: Option<SessionHandle>) -> Result<u64> {
        let (place, key) = self.unit_of(user, &CLEAR)?;
        if keep.is_some_and(|keep| keep.place != place) {
            let error = Error::invalid("keep", "must be a session of this user");
            return Err(error.with_operation(CLEAR.name));
        }
        let keep = keep.map(|keep| keep.serial);
        let (context, port) = (&self.shared.context, &self.shared.port);
        let gone = context
            .run_within(self.limits, &CLEAR, user, |attempt| {
                port.clear(&key, keep, CallOptions::until(attempt.deadline))
            })
            .await?;
        Ok(gone.len() as u64)
    }

    async fn read(
        &self,
        operation: &'static Operation,
        session: &impl SessionRef,
        touch: bool,
    ) -> Result<Option<Session>> {
        let (handle, claim) = (session.handle(), claim_of(session));
        let found = self.find(operation, handle, &claim, touch).await?;
        Ok(found.map(|found| Session::new(handle, claim.digest, found)))
    }

    pub(super) async fn find(
        &self,
        operation: &'static Operation,
        handle: SessionHandle,
        claim: &Claim,
        touch: bool,
    ) -> Result<Option<Found>> {
        let (key, target) = (self.key(handle.place)?, handle.to_string());
        let (context, port) = (&self.shared.context, &self.shared.port);
        context
            .run_within(self.limits, operation, &target, |attempt| {
                let options = CallOptions::until(attempt.deadline);
                if touch {
                    port.touch(&key, claim, None, options)
                } else {
                    port.get(&key, claim, options)
                }
            })
            .await
    }

    pub(super) async fn remove(
        &self,
        operation: &'static Operation,
        session: &impl SessionRef,
        changes: Option<u64>,
        why: RevokedWhy,
    ) -> Result<Deleted> {
        let (handle, claim) = (session.handle(), claim_of(session));
        let (key, target) = (self.key(handle.place)?, handle.to_string());
        let (context, port) = (&self.shared.context, &self.shared.port);
        context
            .run_within(self.limits, operation, &target, |attempt| {
                let options = CallOptions::until(attempt.deadline);
                port.delete(&key, &claim, changes, why, options)
            })
            .await
    }

    fn unit_of(&self, user: &str, operation: &'static Operation) -> Result<(Place, Key)> {
        let place = self.place_of(user);
        let place = place.map_err(|error| error.with_operation(operation.name))?;
        Ok((place, self.key(place)?))
    }

    /// The unit of a session, as backends take it.
    ///
    /// # Errors
    /// None today; backends may come to have rules.
    pub fn unit(&self, session: &impl SessionRef) -> Result<Key> {
        self.key(session.handle().place)
    }

    pub(super) fn key(&self, place: Place) -> Result<Key> {
        Key::new(&self.namespace, &place.to_string())
    }
}

pub(super) fn claim_of(session: &impl SessionRef) -> Claim {
    Claim {
        serial: session.handle().serial,
        digest: session.digest(),
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions")
            .field("namespace", &self.namespace)
            .field("policy", &self.policy)
            .field("port", &format_args!("{}", self.shared.port))
            .finish_non_exhaustive()
    }
}
