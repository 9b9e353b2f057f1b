//! The first words on a connection: protocol, credentials, name, database.

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::encode::Batch;
use crate::config::{LinkConfig, Protocol};
use crate::decoder::Decoder;
use crate::error::{LinkError, LinkErrorKind, Outcome};
use crate::frame::Frame;
use crate::server_code::{code_of, is_transient};

/// A connection on which one question is asked at a time.
#[derive(Debug)]
pub(crate) struct Session<S> {
    pub(crate) transport: S,
    pub(crate) input: BytesMut,
    pub(crate) decoder: Decoder,
}

/// What the server said in return.
#[derive(Debug)]
pub(crate) struct Greeting {
    /// 3 or 2.
    pub(crate) protocol: u8,
    /// The reply to `HELLO`, where it was understood.
    pub(crate) hello: Vec<(Frame, Frame)>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    pub(crate) fn new(transport: S, config: &LinkConfig) -> Self {
        Self {
            transport,
            input: BytesMut::new(),
            decoder: Decoder::new(&config.limits),
        }
    }

    /// Sends a batch and reads its replies. Error replies are frames like others.
    pub(crate) async fn exchange(&mut self, batch: &Batch) -> Result<Vec<Frame>, LinkError> {
        let mut written = self.transport.write_all(&batch.bytes).await;
        if written.is_ok() {
            written = self.transport.flush().await;
        }
        let mut replies = Vec::with_capacity(batch.len());
        while replies.len() < batch.len() {
            match self.decoder.decode(&mut self.input) {
                Ok(Some(Frame::Push(_))) => continue,
                Ok(Some(frame)) => {
                    replies.push(frame);
                    continue;
                }
                Ok(None) => {}
                Err(error) => {
                    let message = format!("this does not look like Redis or Valkey: {error}");
                    let kind = LinkErrorKind::Protocol;
                    return Err(LinkError::with_source(
                        kind,
                        Outcome::NotApplied,
                        message,
                        error,
                    ));
                }
            }
            // Read even if writing failed: a server that hangs up at once, because it has too many
            // clients, has said so first.
            match self.transport.read_buf(&mut self.input).await {
                Ok(0) => return Err(hung_up(written.err())),
                Ok(_) => {}
                Err(error) => return Err(hung_up(Some(error))),
            }
            if replies.is_empty() && written.is_err() {
                // One refusal answers them all.
                if let Ok(Some(frame @ Frame::Error(_))) = self.decoder.decode(&mut self.input) {
                    return Err(refused("the connection", &frame));
                }
            }
        }
        Ok(replies)
    }

    async fn ask(&mut self, parts: &[&[u8]]) -> Result<Frame, LinkError> {
        let mut batch = Batch::new();
        batch.command(parts);
        let mut replies = self.exchange(&batch).await?;
        Ok(replies.pop().expect("as many replies as commands"))
    }

    /// Introduces this client.
    pub(crate) async fn greet(&mut self, config: &LinkConfig) -> Result<Greeting, LinkError> {
        let greeting = match config.protocol {
            Protocol::Resp2 => None,
            Protocol::Resp3 => self.hello(config).await?,
        };
        let greeting = match greeting {
            Some(greeting) => greeting,
            None => self.authenticate_resp2(config).await?,
        };
        self.introduce(config).await?;
        Ok(greeting)
    }

    /// `None` if the peer knows no `HELLO` or no RESP3.
    async fn hello(&mut self, config: &LinkConfig) -> Result<Option<Greeting>, LinkError> {
        let mut parts: Vec<&[u8]> = vec![b"HELLO", b"3"];
        if let Some(password) = &config.password {
            let user = config.username.as_deref().unwrap_or("default");
            parts.extend([b"AUTH", user.as_bytes(), password.expose().as_bytes()]);
        }
        let reply = self.ask(&parts).await?;
        let Frame::Error(_) = reply else {
            let hello = reply.into_pairs().unwrap_or_default();
            return Ok(Some(Greeting { protocol: 3, hello }));
        };
        let line = reply.as_str().unwrap_or_default();
        let unknown = line.to_ascii_lowercase().contains("unknown command");
        match code_of(line) {
            "NOPROTO" | "NOPERM" => Ok(None),
            "ERR" if unknown => Ok(None),
            _ => Err(refused("the greeting", &reply)),
        }
    }

    async fn authenticate_resp2(&mut self, config: &LinkConfig) -> Result<Greeting, LinkError> {
        if let Some(password) = &config.password {
            let password = password.expose().as_bytes();
            let reply = match &config.username {
                Some(user) => self.ask(&[b"AUTH", user.as_bytes(), password]).await?,
                None => self.ask(&[b"AUTH", password]).await?,
            };
            if matches!(reply, Frame::Error(_)) {
                return Err(refused("the credentials", &reply));
            }
        }
        Ok(Greeting {
            protocol: 2,
            hello: Vec::new(),
        })
    }

    async fn introduce(&mut self, config: &LinkConfig) -> Result<(), LinkError> {
        let mut batch = Batch::new();
        batch.command(&[b"CLIENT", b"SETINFO", b"LIB-NAME", b"quorate"]);
        batch.command(&[
            b"CLIENT",
            b"SETINFO",
            b"LIB-VER",
            env!("CARGO_PKG_VERSION").as_bytes(),
        ]);
        if let Some(name) = &config.client_name {
            batch.command(&[b"CLIENT", b"SETNAME", name.as_bytes()]);
        }
        let db = config.db.to_string();
        if config.db != 0 {
            batch.command(&[b"SELECT", db.as_bytes()]);
        }
        let replies = self.exchange(&batch).await?;
        // Names are for people: a server that has no SETINFO, or a user that may not, does no harm.
        if let Some(refusal) = replies.iter().find(|r| is_auth(r)) {
            return Err(refused("the connection", refusal));
        }
        match replies.last() {
            Some(reply @ Frame::Error(_)) if config.db != 0 => {
                let line = reply.as_str().unwrap_or_default();
                if is_transient(code_of(line)) {
                    return Err(refused("the database", reply));
                }
                Err(LinkError::config(format!(
                    "db: the server refuses database {db}: {line}"
                )))
            }
            _ => Ok(()),
        }
    }
}

/// Whether the server wants (other) credentials.
pub(crate) fn is_auth(reply: &Frame) -> bool {
    match reply {
        Frame::Error(_) => {
            let line = reply.as_str().unwrap_or_default();
            matches!(code_of(line), "NOAUTH" | "WRONGPASS") || line.starts_with("ERR AUTH")
        }
        _ => false,
    }
}

/// An error reply during the handshake.
pub(crate) fn refused(what: &str, reply: &Frame) -> LinkError {
    let line = reply.as_str().unwrap_or("an error that is not text");
    let kind = if is_auth(reply) {
        LinkErrorKind::Auth
    } else {
        LinkErrorKind::Disconnected
    };
    // A server's line never repeats the password, and may name the user.
    LinkError::new(
        kind,
        Outcome::NotApplied,
        format!("the server refused {what}: {line}"),
    )
}

fn hung_up(error: Option<std::io::Error>) -> LinkError {
    let kind = LinkErrorKind::Disconnected;
    let message = "the server hung up during the handshake";
    match error {
        Some(e) => LinkError::with_source(kind, Outcome::NotApplied, message, e),
        None => LinkError::new(kind, Outcome::NotApplied, message),
    }
}
