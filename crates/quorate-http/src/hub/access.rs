//! What a client may do: what hooks are asked, and what they answer.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::timeout;

use super::credentials::Credentials;
use super::identity::{ClientInfo, Identity, wall_clock};
use super::seam::Gatekeeper;
use crate::problem::{Code, Problem};

/// How long a hook may take, unless the hub is told otherwise.
pub(crate) const HOOK_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a hook says no. The reason is sent to the client.
///
/// Any error becomes one that says only that it could not be decided: the client may try again, and the
/// error's text is logged and not sent. So `?` works in hooks.
///
/// # Example
/// ```
/// use quorate_http::{ClientInfo, Denied};
///
/// async fn members_only(client: ClientInfo) -> Result<(), Denied> {
///     match client.user() {
///         Some("ada") => Ok(()),
///         _ => Err(Denied::permission("only for members")),
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Denied {
    code: Code,
    reason: String,
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Denied {
    /// It is not known who asks (`UNAUTHENTICATED`): show yourself, or get a new token.
    #[must_use]
    pub fn unauthenticated(reason: impl Into<String>) -> Self {
        Self::with_code(Code::Unauthenticated, reason)
    }

    /// Who asks may not do this (`PERMISSION_DENIED`).
    #[must_use]
    pub fn permission(reason: impl Into<String>) -> Self {
        Self::with_code(Code::PermissionDenied, reason)
    }

    fn with_code(code: Code, reason: impl Into<String>) -> Self {
        Self {
            code,
            reason: reason.into(),
            cause: None,
        }
    }

    /// The code that is sent.
    #[must_use]
    pub const fn code(&self) -> Code {
        self.code
    }

    /// The reason that is sent.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// What the client is told. What it is not told is logged.
    pub(crate) fn into_problem(self, hook: &'static str) -> Problem {
        if let Some(error) = self.cause {
            tracing::warn!(hook, error = &*error, "a hook failed: access is denied");
        }
        undecided_later(Problem::new(self.code, self.reason))
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for Denied {
    fn from(error: E) -> Self {
        Self {
            code: Code::Unavailable,
            reason: "access cannot be decided at the moment".to_owned(),
            cause: Some(Box::new(error)),
        }
    }
}

/// What is not known now may be known in a moment.
fn undecided_later(problem: Problem) -> Problem {
    if problem.code() == Code::Unavailable {
        return problem.with_retry_after(Duration::from_secs(1));
    }
    problem
}

/// Says who a client is: an async function of [`Credentials`], or
/// [`ConnectionTokens`](crate::ConnectionTokens).
///
/// It is asked when a client connects, with the headers of the request; and for every `authenticate`
/// frame, with its token. `UNAUTHENTICATED` when connecting leaves the client the chance to say who it is in
/// its first frame; any other denial refuses the connection.
pub trait Authenticate: Send + Sync + 'static {
    /// Who shows these credentials.
    fn authenticate(
        &self,
        credentials: Credentials,
    ) -> BoxFuture<'static, Result<Identity, Denied>>;
}

impl<F, Fut> Authenticate for F
where
    F: Fn(Credentials) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Identity, Denied>> + Send + 'static,
{
    fn authenticate(
        &self,
        credentials: Credentials,
    ) -> BoxFuture<'static, Result<Identity, Denied>> {
        self(credentials).boxed()
    }
}

/// A hook that decides about one client and something it wants.
pub(crate) type Hook<T> =
    Arc<dyn Fn(ClientInfo, T) -> BoxFuture<'static, Result<(), Denied>> + Send + Sync>;

/// Boxes a hook given by the user.
pub(crate) fn hook<T, F, Fut>(function: F) -> Hook<T>
where
    F: Fn(ClientInfo, T) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), Denied>> + Send + 'static,
{
    Arc::new(move |client, subject| function(client, subject).boxed())
}

/// The hooks of a hub.
#[derive(Clone)]
pub(crate) struct Access {
    pub(crate) authenticate: Option<Arc<dyn Authenticate>>,
    pub(crate) subscribe: Option<Hook<Arc<str>>>,
    pub(crate) publish: Option<Hook<Arc<str>>>,
    /// How long any hook may take.
    pub(crate) limit: Duration,
}

impl Default for Access {
    fn default() -> Self {
        Self {
            authenticate: None,
            subscribe: None,
            publish: None,
            limit: HOOK_TIMEOUT,
        }
    }
}

/// Asks a hook. One that panics or takes longer than `limit` has not said yes, and so denies.
pub(crate) async fn ask<T>(
    name: &'static str,
    limit: Duration,
    hook: impl Future<Output = Result<T, Denied>>,
) -> Result<T, Problem> {
    match timeout(limit, AssertUnwindSafe(hook).catch_unwind()).await {
        Ok(Ok(Ok(granted))) => Ok(granted),
        Ok(Ok(Err(denied))) => Err(denied.into_problem(name)),
        Ok(Err(_panic)) => {
            tracing::error!(hook = name, "a hook panicked: access is denied");
            Err(Problem::new(Code::Internal, "access cannot be decided"))
        }
        Err(_elapsed) => {
            tracing::warn!(
                hook = name,
                ?limit,
                "a hook took too long: access is denied"
            );
            Err(undecided_later(Problem::new(
                Code::Unavailable,
                "access could not be decided in time",
            )))
        }
    }
}

impl Access {
    /// Asks the hook who shows these credentials, and checks its answer.
    fn identify(&self, credentials: Credentials) -> BoxFuture<'static, Result<Identity, Problem>> {
        let Some(hook) = self.authenticate.clone() else {
            let rule = "this hub does not authenticate";
            return std::future::ready(Err(Problem::new(Code::FailedPrecondition, rule))).boxed();
        };
        let limit = self.limit;
        async move {
            // Called within, so that its panics are caught.
            let asked = async { hook.authenticate(credentials).await };
            let identity = ask("authenticate", limit, asked).await?;
            if let Err(rule) = identity.check() {
                tracing::error!(
                    rule,
                    "the hook `authenticate` gave an identity that is none"
                );
                return Err(Problem::new(Code::Internal, "access cannot be decided"));
            }
            if identity.remaining(wall_clock()) == Some(Duration::ZERO) {
                let reason = "the credentials have expired";
                return Err(Problem::new(Code::Unauthenticated, reason));
            }
            Ok(identity)
        }
        .boxed()
    }

    fn decide(
        &self,
        name: &'static str,
        hook: Hook<Arc<str>>,
        client: ClientInfo,
        topic: Arc<str>,
    ) -> BoxFuture<'static, Result<(), Problem>> {
        ask(name, self.limit, async move { hook(client, topic).await }).boxed()
    }
}

impl Gatekeeper for Access {
    fn required(&self) -> bool {
        self.authenticate.is_some()
    }

    fn connect(
        &self,
        headers: &HeaderMap,
        address: Option<SocketAddr>,
    ) -> BoxFuture<'static, Result<Option<Identity>, Problem>> {
        if !self.required() {
            return std::future::ready(Ok(None)).boxed();
        }
        let identified = self.identify(Credentials::of_request(headers.clone(), address));
        async move {
            match identified.await {
                Ok(identity) => Ok(Some(identity)),
                Err(problem) if problem.code() == Code::Unauthenticated => Ok(None),
                Err(problem) => Err(problem),
            }
        }
        .boxed()
    }

    fn authenticate(
        &self,
        token: String,
        address: Option<SocketAddr>,
    ) -> BoxFuture<'static, Result<Identity, Problem>> {
        self.identify(Credentials::of_frame(token, address))
    }

    fn subscribe(
        &self,
        client: ClientInfo,
        topic: Arc<str>,
    ) -> BoxFuture<'static, Result<(), Problem>> {
        match &self.subscribe {
            Some(hook) => self.decide("authorize_subscribe", hook.clone(), client, topic),
            None => std::future::ready(Ok(())).boxed(),
        }
    }

    fn publish(
        &self,
        client: ClientInfo,
        topic: Arc<str>,
        declared: bool,
    ) -> BoxFuture<'static, Result<(), Problem>> {
        match &self.publish {
            Some(hook) => self.decide("authorize_publish", hook.clone(), client, topic),
            // The event's own hook decides.
            None if declared => std::future::ready(Ok(())).boxed(),
            None => {
                let reason = format!("clients may not publish to `{topic}`");
                let problem = Problem::new(Code::PermissionDenied, reason);
                std::future::ready(Err(problem)).boxed()
            }
        }
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("authenticate", &self.authenticate.is_some())
            .field("subscribe", &self.subscribe.is_some())
            .field("publish", &self.publish.is_some())
            .field("limit", &self.limit)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::identity::MAX_INFO;
    use super::*;
    use axum::http::HeaderValue;
    use serde_json::json;
    use std::time::SystemTime;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn access(authenticate: impl Authenticate) -> Access {
        Access {
            authenticate: Some(Arc::new(authenticate)),
            ..Access::default()
        }
    }

    fn somebody() -> ClientInfo {
        ClientInfo {
            client: "c-1".into(),
            identity: Some(Arc::new(Identity::new("ada"))),
            address: None,
        }
    }

    #[tokio::test]
    async fn who_is_not_known_by_headers_may_still_say_so_in_a_frame() {
        let access = access(async |credentials: Credentials| match credentials.token() {
            Some("good") => Ok(Identity::new("ada")),
            _ if credentials.cookie("banned").is_some() => Err(Denied::permission("banned")),
            _ => Err(Denied::unauthenticated("show a token")),
        });
        assert_eq!(access.connect(&headers(&[]), None).await.unwrap(), None);
        let banned = access.connect(&headers(&[("cookie", "banned=1")]), None);
        assert_eq!(banned.await.unwrap_err().code(), Code::PermissionDenied);
        let ada = access.authenticate("good".to_owned(), None).await.unwrap();
        assert_eq!(ada.user(), "ada");
        let problem = access.authenticate("bad".to_owned(), None).await;
        let problem = problem.unwrap_err();
        assert_eq!(problem.code(), Code::Unauthenticated);
        assert_eq!(problem.detail(), "show a token");
    }

    #[tokio::test(start_paused = true)]
    async fn a_hook_that_panics_hangs_or_fails_denies_and_says_nothing_of_its_insides() {
        let hangs = access(async |_: Credentials| std::future::pending().await);
        let panics = access(async |_: Credentials| panic!("insides"));
        let panics_at_once = access(|_: Credentials| -> BoxFuture<'static, _> {
            panic!("insides");
        });
        let fails = access(async |_: Credentials| Err(std::io::Error::other("insides"))?);
        for (access, code) in [
            (hangs, Code::Unavailable),
            (panics, Code::Internal),
            (panics_at_once, Code::Internal),
            (fails, Code::Unavailable),
        ] {
            let problem = access.authenticate("t".to_owned(), None).await.unwrap_err();
            assert_eq!(problem.code(), code);
            assert!(!problem.detail().contains("insides"), "{problem:?}");
        }
        let mut access = Access {
            subscribe: Some(hook(async |_, _: Arc<str>| std::future::pending().await)),
            ..Access::default()
        };
        access.publish = Some(hook(async |_, _: Arc<str>| panic!("insides")));
        let subscribe = access.subscribe(somebody(), "t".into()).await;
        assert_eq!(subscribe.unwrap_err().code(), Code::Unavailable);
        let publish = access.publish(somebody(), "t".into(), true).await;
        assert_eq!(publish.unwrap_err().code(), Code::Internal);
    }

    #[tokio::test]
    async fn an_identity_that_breaks_a_rule_or_has_expired_is_not_taken() {
        let long = json!("x".repeat(MAX_INFO));
        for (identity, code) in [
            (Identity::new(""), Code::Internal),
            (Identity::new("a\nb"), Code::Internal),
            (Identity::new("x".repeat(513)), Code::Internal),
            (Identity::new("ada").with_info(long), Code::Internal),
            (
                Identity::new("ada").with_expiry(SystemTime::UNIX_EPOCH),
                Code::Unauthenticated,
            ),
        ] {
            let access = access(move |_: Credentials| {
                let identity = identity.clone();
                async move { Ok(identity) }
            });
            let problem = access.authenticate("t".to_owned(), None).await.unwrap_err();
            assert_eq!(problem.code(), code);
        }
    }

    #[tokio::test]
    async fn without_hooks_everybody_may_subscribe_and_nobody_publish_to_what_is_not_declared() {
        let access = Access::default();
        assert!(!access.required());
        assert_eq!(access.connect(&headers(&[]), None).await.unwrap(), None);
        access.subscribe(somebody(), "t".into()).await.unwrap();
        access.publish(somebody(), "t".into(), true).await.unwrap();
        let refused = access.publish(somebody(), "t".into(), false).await;
        assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
    }
}
