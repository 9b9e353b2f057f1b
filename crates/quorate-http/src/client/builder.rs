//! A client with options.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri};
use futures_util::FutureExt;
use quorate::Backoff;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::actor::{Actor, Behaviour};
use super::connect::{Target, TokenProvider};
use super::error::{ClientError, ClientResult};
use super::handle::{HubClient, Shared};
use super::link::Ids;
use super::listen::ErrorHook;
use super::state::ClientState;
use super::tls::Tls;
use crate::problem::Code;

/// The delays between attempts to connect, unless told otherwise.
const BACKOFF: Backoff = Backoff {
    initial: Duration::from_millis(300),
    factor: 2.0,
    max: Duration::from_secs(30),
    jitter: 0.5,
};

/// A client about to be made; see [`HubClient::builder`].
///
/// # Example
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use quorate_http::client::HubClient;
///
/// # async fn fetch_token() -> std::io::Result<String> { Ok(String::new()) }
/// let client = HubClient::builder("wss://example.com/live/ws")
///     .token(fetch_token) // asked before each connection, and before a token expires
///     .on_error(|error| eprintln!("{error}"))
///     .build()?;
/// client.ready().await?;
/// # Ok(()) }
/// ```
#[must_use = "a client is made by `build` or `connect`"]
pub struct HubClientBuilder {
    url: String,
    headers: ClientResult<HeaderMap>,
    token: Option<TokenProvider>,
    ca_pem: Option<String>,
    backoff: Backoff,
    connect_timeout: Duration,
    patience: Duration,
    deadline: Duration,
    offline_queue: usize,
    max_message_bytes: usize,
    on_error: Option<ErrorHook>,
}

impl HubClientBuilder {
    pub(super) fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            headers: Ok(HeaderMap::new()),
            token: None,
            ca_pem: None,
            backoff: BACKOFF,
            connect_timeout: Duration::from_secs(10),
            patience: Duration::from_secs(10),
            deadline: Duration::from_secs(30),
            offline_queue: 100,
            max_message_bytes: 16 * 1024 * 1024,
            on_error: None,
        }
    }

    /// Says who this is with a token, in the first frame. `provider` is asked for a fresh one before each
    /// connection, and again before the server's patience with the last ends.
    pub fn token<F, Fut, E>(mut self, provider: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<String, E>> + Send + 'static,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        self.token = Some(Arc::new(move || {
            let token = provider();
            let asked = async move {
                token.await.map_err(|source| {
                    let message = "the application has no token";
                    ClientError::new(Code::Unauthenticated, message).caused_by_any(source.into())
                })
            };
            asked.boxed()
        }));
        self
    }

    /// A header of the upgrade, such as `authorization` or `cookie`. Its value stays out of logs. What is
    /// no header is said when the client is made.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let parsed = name
            .parse::<HeaderName>()
            .map_err(|error| {
                ClientError::invalid("header", "must have a valid name").caused_by(error)
            })
            .and_then(|name| match HeaderValue::from_str(value) {
                Ok(value) => Ok((name, value)),
                Err(error) => {
                    let rule = format!("`{name}` must have a valid value");
                    Err(ClientError::invalid("header", rule).caused_by(error))
                }
            });
        self.headers = self.headers.and_then(|mut headers| {
            let (name, mut value) = parsed?;
            value.set_sensitive(true);
            headers.append(name, value);
            Ok(headers)
        });
        self
    }

    /// Trusts these authorities too, in PEM, besides those of the system. There is no way not to verify a
    /// server.
    pub fn ca_pem(mut self, pem: impl Into<String>) -> Self {
        self.ca_pem = Some(pem.into());
        self
    }

    /// The delays between attempts to connect, where the server names none. Default: from 300 ms,
    /// doubling, to 30 s, half of it random.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Time for one attempt to connect, and for the token. Default 10 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How late a sign of life of the server's may be before the connection is given up. It is asked for
    /// one whenever nothing came for as long as its heartbeat. Default 10 s.
    pub fn heartbeat_timeout(mut self, timeout: Duration) -> Self {
        self.patience = timeout;
        self
    }

    /// Time for calls that name none. Default 30 s.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Requests and other calls that may wait for a connection; beyond, they fail with
    /// `RESOURCE_EXHAUSTED`. Default 100.
    pub fn offline_queue(mut self, calls: usize) -> Self {
        self.offline_queue = calls;
        self
    }

    /// The largest message taken from the server. Default 16 MiB.
    pub fn max_message_bytes(mut self, bytes: usize) -> Self {
        self.max_message_bytes = bytes;
        self
    }

    /// Called with errors that no caller waits for: a listener that failed, a message it cannot read.
    pub fn on_error(mut self, hook: impl Fn(&ClientError) + Send + Sync + 'static) -> Self {
        self.on_error = Some(Arc::new(hook));
        self
    }

    /// Makes the client. It connects in the background, and keeps trying.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for a URL or option that breaks a rule; `FAILED_PRECONDITION` outside of a tokio
    /// runtime.
    pub fn build(self) -> ClientResult<HubClient> {
        let runtime = Handle::try_current().map_err(|error| {
            let message = "a client is made inside of a tokio runtime";
            ClientError::new(Code::FailedPrecondition, message).caused_by(error)
        })?;
        for (field, value) in [
            ("connect_timeout", self.connect_timeout),
            ("heartbeat_timeout", self.patience),
            ("deadline", self.deadline),
            ("backoff.max", self.backoff.max),
        ] {
            if value.is_zero() {
                return Err(ClientError::invalid(field, "must be longer than zero"));
            }
        }
        let target = target(&self)?;
        let (commands, received) = mpsc::unbounded_channel();
        let (state, states) = watch::channel(ClientState::Connecting);
        let (client, clients) = watch::channel(None);
        let closing = CancellationToken::new();
        let ids = Ids::default();
        let actor = Actor {
            target,
            behaviour: Behaviour {
                backoff: self.backoff,
                patience: self.patience,
                max_queue: self.offline_queue,
            },
            commands: received,
            state,
            client,
            closing: closing.clone(),
            ids: ids.clone(),
        };
        let tasks = TaskTracker::new();
        tasks.spawn_on(actor.run(), &runtime);
        Ok(HubClient {
            shared: Arc::new(Shared {
                commands,
                ids,
                state: states,
                client: clients,
                deadline: self.deadline,
                on_error: self.on_error,
                tasks,
                runtime,
                _closes: closing.clone().drop_guard(),
                closing,
                listeners: OnceLock::new(),
            }),
        })
    }

    /// Makes the client and waits for its first connection.
    ///
    /// # Errors
    /// Those of [`build`](Self::build), and why the first attempt failed; nothing goes on in the
    /// background then.
    ///
    /// # Cancel safety
    /// Dropping the future ends the attempt.
    pub async fn connect(self) -> ClientResult<HubClient> {
        let client = self.build()?;
        let mut states = client.states();
        let settled = |state: &ClientState| !matches!(state, ClientState::Connecting);
        let error = match states.wait_for(settled).await.as_deref() {
            Ok(ClientState::Ready) => None,
            Ok(ClientState::Waiting { error, .. } | ClientState::Closed { error: Some(error) }) => {
                Some(error.clone())
            }
            _ => Some(ClientError::closed()),
        };
        match error {
            None => Ok(client),
            Some(error) => {
                client.close().await;
                Err(error)
            }
        }
    }
}

fn target(builder: &HubClientBuilder) -> ClientResult<Target> {
    // `http` too: it is the same server.
    let rule = "must look like `wss://example.com/ws`";
    let (scheme, rest) = builder
        .url
        .split_once("://")
        .ok_or_else(|| ClientError::invalid("url", rule))?;
    let (scheme, port) = match scheme.to_ascii_lowercase().as_str() {
        "ws" | "http" => ("ws", 80),
        "wss" | "https" => ("wss", 443),
        _ => {
            return Err(ClientError::invalid(
                "url",
                "must begin with `wss://` or `ws://`",
            ));
        }
    };
    let uri: Uri = format!("{scheme}://{rest}")
        .parse()
        .map_err(|error| ClientError::invalid("url", rule).caused_by(error))?;
    let authority = uri
        .authority()
        .ok_or_else(|| ClientError::invalid("url", rule))?;
    if authority.as_str().contains('@') {
        let rule = "must hold no user or password: they would be seen; use `header` or `token`";
        return Err(ClientError::invalid("url", rule));
    }
    let host = authority.host().to_owned();
    if host.is_empty() {
        return Err(ClientError::invalid("url", rule));
    }
    let tls = match scheme {
        "wss" => Some(Tls::new(&host, builder.ca_pem.as_deref())?),
        _ => None,
    };
    Ok(Target {
        port: authority.port_u16().unwrap_or(port),
        host,
        tls,
        headers: builder.headers.clone()?,
        token: builder.token.clone(),
        timeout: builder.connect_timeout,
        max_message: builder.max_message_bytes,
        uri,
    })
}

impl fmt::Debug for HubClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The query may hold what does not belong there.
        let url = self.url.split(['?', '#']).next().unwrap_or_default();
        f.debug_struct("HubClientBuilder")
            .field("url", &url)
            .field("headers", &self.headers)
            .field("token", &self.token.is_some())
            .field("backoff", &self.backoff)
            .field("connect_timeout", &self.connect_timeout)
            .field("heartbeat_timeout", &self.patience)
            .field("deadline", &self.deadline)
            .field("offline_queue", &self.offline_queue)
            .finish_non_exhaustive()
    }
}
