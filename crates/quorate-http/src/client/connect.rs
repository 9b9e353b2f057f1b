//! Making a connection: TCP, TLS, the upgrade, the server's greeting, and saying who this is.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::client_async_with_config;
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::Error as SocketError;
use tokio_tungstenite::tungstenite::handshake::client::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};

use super::error::{ClientError, ClientResult};
use super::frame::{AnswerBody, Closing, Hello, ServerFrame, read, read_body};
use super::tls::Tls;
use super::wire::{Incoming, Transport, Wire};
use crate::problem::Code;

/// What the server calls the version of the protocol that this client speaks.
const SUBPROTOCOL: &str = "quorate.v1";
/// Who is not, or no longer, authenticated: get a new token first.
pub(super) const NOT_AUTHENTICATED: u16 = 4401;
/// Whose access was taken away: do not come back.
pub(super) const REVOKED: u16 = 4403;
/// The client's read buffer. The library's own default takes 128 KiB.
const READ_BUFFER: usize = 16 * 1024;

/// Gets a token, fresh for each time it is asked for.
pub(super) type TokenProvider =
    Arc<dyn Fn() -> BoxFuture<'static, ClientResult<String>> + Send + Sync>;

/// Where to connect to, and how.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) uri: Uri,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: Option<Tls>,
    pub(super) headers: HeaderMap,
    pub(super) token: Option<TokenProvider>,
    pub(super) timeout: Duration,
    pub(super) max_message: usize,
}

/// A connection on which requests can be made.
pub(super) struct Connected {
    pub(super) wire: Wire,
    pub(super) hello: Hello,
    /// When the server wants to be told again who this is.
    pub(super) expires: Option<Instant>,
}

/// Why there is no connection, or none any more.
#[derive(Debug)]
pub(super) struct Lost {
    pub(super) error: ClientError,
    /// When the server wants to see this client again.
    pub(super) retry_after: Option<Duration>,
    /// It does not want to see it again.
    pub(super) for_good: bool,
}

impl Lost {
    pub(super) const fn new(error: ClientError) -> Self {
        Self {
            error,
            retry_after: None,
            for_good: false,
        }
    }

    const fn for_good(error: ClientError) -> Self {
        Self {
            error,
            retry_after: None,
            for_good: true,
        }
    }

    /// The server closed the connection.
    pub(super) fn closed(frame: Option<&CloseFrame>, closing: Option<&Closing>) -> Self {
        let code = frame.map(|frame| u16::from(frame.code));
        let reason = match (closing, frame) {
            (Some(closing), _) if !closing.reason.is_empty() => closing.reason.as_str(),
            (_, Some(frame)) => frame.reason.as_str(),
            _ => "",
        };
        let said = match code {
            Some(code) => format!("the server closed the connection: {code} {reason}"),
            None => format!("the server closed the connection {reason}"),
        };
        let said = said.trim_end();
        let mut lost = match code {
            Some(NOT_AUTHENTICATED) => Self::new(ClientError::new(Code::Unauthenticated, said)),
            Some(REVOKED) => Self::for_good(ClientError::new(Code::PermissionDenied, said)),
            _ => Self::new(ClientError::new(Code::Unavailable, said)),
        };
        lost.retry_after = closing.and_then(Closing::retry_after);
        lost
    }

    /// The connection broke.
    pub(super) fn broken(error: SocketError) -> Self {
        let message = "the connection broke";
        Self::new(ClientError::new(Code::Unavailable, message).caused_by(error))
    }
}

impl From<ClientError> for Lost {
    fn from(error: ClientError) -> Self {
        Self::new(error)
    }
}

impl Target {
    /// Connects, as far as requests can be made.
    pub(super) async fn connect(self) -> Result<Connected, Lost> {
        let limit = self.timeout;
        // Before there is a connection: a server does not wait for long.
        let token = match &self.token {
            Some(provider) => Some(fresh_token(provider, limit).await?),
            None => None,
        };
        match timeout(limit, self.greet(token)).await {
            Ok(result) => result,
            Err(_) => {
                let message = format!("there was no connection within {limit:?}");
                Err(Lost::new(ClientError::new(Code::Unavailable, message)))
            }
        }
    }

    async fn greet(self, token: Option<String>) -> Result<Connected, Lost> {
        let mut greeting = Greeting {
            wire: self.open().await?,
            out: VecDeque::new(),
            closing: None,
        };
        let hello = greeting.hello().await?;
        let mut expires = None;
        let mut hello = hello;
        match (hello.authentication.as_deref(), token) {
            (Some("required"), None) => {
                let message = "the server wants to know who this is, and there is no token";
                return Err(Lost::for_good(ClientError::new(
                    Code::Unauthenticated,
                    message,
                )));
            }
            (Some("required"), Some(token)) => {
                expires = greeting.authenticate(&token, &mut hello, true).await?;
            }
            // Said by a header; or a server of before there were tokens.
            (Some("done") | None, _) | (_, None) => {}
            // Nobody has to say who it is, but who does may be allowed more.
            (Some(_), Some(token)) => {
                expires = greeting.authenticate(&token, &mut hello, false).await?;
            }
        }
        Ok(Connected {
            wire: greeting.wire,
            hello,
            expires,
        })
    }

    async fn open(&self) -> Result<Wire, Lost> {
        let unreachable = |error: std::io::Error| {
            let message = format!("{}:{} cannot be reached", self.host, self.port);
            ClientError::new(Code::Unavailable, message).caused_by(error)
        };
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((host, self.port))
            .await
            .map_err(unreachable)?;
        stream.set_nodelay(true).map_err(unreachable)?;
        let transport: Box<dyn Transport> = match &self.tls {
            None => Box::new(stream),
            Some(tls) => {
                let secured = tls.connector.connect(tls.name.clone(), stream).await;
                Box::new(secured.map_err(|error| {
                    let message = format!("the TLS handshake failed: {error}");
                    ClientError::new(Code::Unavailable, message).caused_by(error)
                })?)
            }
        };
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .max_message_size(Some(self.max_message))
            .max_frame_size(Some(self.max_message));
        let upgraded = client_async_with_config(self.request()?, transport, Some(config)).await;
        match upgraded {
            Ok((socket, _)) => Ok(Wire::new(socket)),
            Err(SocketError::Http(response)) => Err(refused(&response)),
            Err(error) => {
                let message = "the server does not speak WebSocket as it should";
                Err(ClientError::new(Code::Unavailable, message)
                    .caused_by(error)
                    .into())
            }
        }
    }

    fn request(&self) -> Result<Request, Lost> {
        let mut request =
            self.uri.clone().into_client_request().map_err(|error| {
                ClientError::invalid("url", "cannot be asked for").caused_by(error)
            })?;
        let headers = request.headers_mut();
        for (name, value) in &self.headers {
            headers.append(name, value.clone());
        }
        headers.insert(
            header::SEC_WEBSOCKET_PROTOCOL,
            HeaderValue::from_static(SUBPROTOCOL),
        );
        Ok(request)
    }
}

/// The server answered the upgrade with an error.
fn refused(response: &Response) -> Lost {
    let status = response.status();
    let code = match status {
        StatusCode::UNAUTHORIZED => Code::Unauthenticated,
        StatusCode::FORBIDDEN => Code::PermissionDenied,
        StatusCode::NOT_FOUND => Code::NotFound,
        _ => Code::Unavailable,
    };
    let after = response.headers().get(header::RETRY_AFTER);
    let seconds = after.and_then(|value| value.to_str().ok()?.parse::<u32>().ok());
    let mut lost = Lost::new(ClientError::new(
        code,
        format!("the server answered {status}"),
    ));
    lost.retry_after = seconds.map(|seconds| Duration::from_secs(seconds.min(86_400).into()));
    lost
}

/// A connection on which nothing else happens yet.
struct Greeting {
    wire: Wire,
    out: VecDeque<Utf8Bytes>,
    closing: Option<Closing>,
}

impl Greeting {
    async fn hello(&mut self) -> Result<Hello, Lost> {
        let text = self.next().await?;
        match read_greeting(&text)? {
            ServerFrame::Hello(hello) => Ok(hello),
            ServerFrame::Closing(closing) => {
                self.closing = Some(closing);
                Err(self.ended().await)
            }
            _ => {
                let message = "the server does not begin with `hello`: is this the URL of a hub?";
                Err(ClientError::new(Code::Unavailable, message).into())
            }
        }
    }

    /// Says who this is. How long that lasts.
    async fn authenticate(
        &mut self,
        token: &str,
        hello: &mut Hello,
        required: bool,
    ) -> Result<Option<Instant>, Lost> {
        let asked = Instant::now();
        self.out.push_back(authenticate_frame(0, token).into());
        loop {
            let text = self.next().await?;
            match read_greeting(&text)? {
                ServerFrame::Answer { id: 0, error: None } => {
                    let body: AnswerBody = read_body(&text)?;
                    hello.client = body.client.or_else(|| hello.client.take());
                    return Ok(expiry(asked, body.expires_in_ms));
                }
                ServerFrame::Answer {
                    id: 0,
                    error: Some(error),
                } => {
                    let error = ClientError::from(error);
                    return match error.code() {
                        Code::Unimplemented | Code::FailedPrecondition if !required => Ok(None),
                        Code::PermissionDenied => Err(Lost::for_good(error)),
                        _ => Err(Lost {
                            retry_after: error.retry_after(),
                            ..Lost::new(error)
                        }),
                    };
                }
                ServerFrame::Closing(closing) => self.closing = Some(closing),
                _ => {}
            }
        }
    }

    async fn next(&mut self) -> Result<Utf8Bytes, Lost> {
        loop {
            match self.wire.next(&mut self.out).await {
                Incoming::Text(text) => return Ok(text),
                Incoming::Sign => {}
                Incoming::Closed(frame) => {
                    return Err(Lost::closed(frame.as_ref(), self.closing.as_ref()));
                }
                Incoming::Broken(error) => return Err(Lost::broken(error)),
            }
        }
    }

    /// The server has said that it closes.
    async fn ended(&mut self) -> Lost {
        loop {
            if let Err(lost) = self.next().await {
                return lost;
            }
        }
    }
}

fn read_greeting(text: &str) -> Result<ServerFrame<'_>, Lost> {
    read(text).map_err(|error| ClientError::nonsense("a frame of the server", error).into())
}

/// Asks the application for a token. It cannot keep the client from trying again.
pub(super) async fn fresh_token(provider: &TokenProvider, limit: Duration) -> ClientResult<String> {
    let late = |_| {
        let message = format!("the application gave no token within {limit:?}");
        ClientError::new(Code::Unauthenticated, message)
    };
    // A panic is the application's, and ends nothing here.
    let asked = AssertUnwindSafe(async { provider().await }).catch_unwind();
    timeout(limit, asked)
        .await
        .map_err(late)?
        .unwrap_or_else(|_| {
            let message = "the application panicked when it was asked for a token";
            Err(ClientError::new(Code::Unauthenticated, message))
        })
}

/// Says who this is.
pub(super) fn authenticate_frame(id: u64, token: &str) -> String {
    serde_json::json!({"id": id, "authenticate": token}).to_string()
}

/// When the server wants to be told again, if what it said at `asked` was that.
pub(super) fn expiry(asked: Instant, expires_in_ms: Option<u64>) -> Option<Instant> {
    asked.checked_add(Duration::from_millis(expires_in_ms?))
}
