//! The client's task: connects, serves a connection as long as it lasts, waits, and connects again.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use quorate::Backoff;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::call::Call;
use super::connect::{Connected, Lost, Target, authenticate_frame, expiry, fresh_token};
use super::error::{ClientError, ClientResult};
use super::frame::{AnswerBody, ServerFrame, read, read_body};
use super::link::Ids;
use super::listener::Listener;
use super::rooms::{ListenerId, Wanted};
use super::session::Session;
use super::state::ClientState;
use super::wire::{Incoming, Wire};
use crate::problem::Code;
use crate::telemetry;

/// A connection that lasted so long was a good one: the next attempts begin with short delays again.
const STABLE: Duration = Duration::from_secs(5);
/// How long a goodbye may take.
const FAREWELL: Duration = Duration::from_secs(1);
/// The share of a token's life after which the next is asked for.
const RENEW_AT: f64 = 0.8;
/// How long to wait before the application is asked again for a token that it did not have.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// What handles ask of the task.
#[derive(Debug)]
pub(super) enum Command {
    Subscribe(Wanted, Listener),
    Unsubscribe(ListenerId),
    /// A subscription has room again.
    Resume(ListenerId),
    Call(Call),
    /// Nobody waits for a call any more.
    GiveUp(u64),
}

/// The client is to be closed.
struct Closing;

/// How the client behaves.
#[derive(Clone, Debug)]
pub(super) struct Behaviour {
    pub(super) backoff: Backoff,
    /// How long a sign of life may be late.
    pub(super) patience: Duration,
    pub(super) max_queue: usize,
}

pub(super) struct Actor {
    pub(super) target: Target,
    pub(super) behaviour: Behaviour,
    pub(super) commands: mpsc::UnboundedReceiver<Command>,
    pub(super) state: watch::Sender<ClientState>,
    /// The id of the present connection.
    pub(super) client: watch::Sender<Option<Arc<str>>>,
    pub(super) closing: CancellationToken,
    pub(super) ids: Ids,
}

impl Actor {
    pub(super) async fn run(mut self) {
        let mut session = Session::new(self.ids.clone(), self.behaviour.max_queue);
        let end = Box::pin(self.keep_connected(&mut session)).await;
        self.commands.close();
        session.close(end.as_ref());
        // What handles asked for in the last moment.
        while let Ok(command) = self.commands.try_recv() {
            session.command(command);
        }
        session.close(end.as_ref());
        self.client.send_replace(None);
        self.state.send_replace(ClientState::Closed { error: end });
    }

    /// Until the client is closed, or the server does not want it back. Why, if nobody closed it.
    async fn keep_connected(&mut self, session: &mut Session) -> Option<ClientError> {
        let mut failures = 0_u32;
        loop {
            self.state.send_replace(ClientState::Connecting);
            let connecting = self.target.clone().connect();
            let lost = match self.attend(session, connecting).await {
                Err(Closing) => return None,
                Ok(Ok(connected)) => {
                    metrics::counter!(telemetry::CLIENT_CONNECTIONS, "result" => "ok").increment(1);
                    let since = Instant::now();
                    let lost = self.serve(session, connected).await;
                    self.client.send_replace(None);
                    let Ok(lost) = lost else { return None };
                    session.lost();
                    if since.elapsed() >= STABLE {
                        failures = 0;
                    }
                    lost
                }
                Ok(Err(lost)) => {
                    metrics::counter!(telemetry::CLIENT_CONNECTIONS, "result" => "failed")
                        .increment(1);
                    lost
                }
            };
            if lost.for_good {
                return Some(lost.error);
            }
            tracing::debug!(error = %lost.error, "not connected to the hub");
            failures = failures.saturating_add(1);
            let delay = self.behaviour.backoff.delay(failures);
            let until = Instant::now() + lost.retry_after.unwrap_or(delay);
            self.state.send_replace(ClientState::Waiting {
                until,
                error: lost.error,
            });
            if let Err(Closing) = self.attend(session, sleep_until(until)).await {
                return None;
            }
        }
    }

    /// Waits for something, and takes what handles ask for meanwhile.
    async fn attend<F: Future>(
        &mut self,
        session: &mut Session,
        future: F,
    ) -> Result<F::Output, Closing> {
        let mut future = pin!(future);
        loop {
            tokio::select! {
                biased;
                () = self.closing.cancelled() => return Err(Closing),
                output = &mut future => return Ok(output),
                Some(command) = self.commands.recv() => session.command(command),
            }
        }
    }

    /// Serves a connection until it ends. Why it did.
    async fn serve(
        &mut self,
        session: &mut Session,
        Connected {
            mut wire,
            hello,
            expires,
        }: Connected,
    ) -> Result<Lost, Closing> {
        let mut life = Life::new(hello.heartbeat(), self.behaviour.patience);
        let mut renewal = Renewal::new(&self.target, expires);
        self.client
            .send_replace(hello.client.as_deref().map(Arc::from));
        session.connected(hello);
        self.state.send_replace(ClientState::Ready);
        loop {
            let due = session.due();
            let event = {
                let out = &mut session.link.out;
                tokio::select! {
                    () = self.closing.cancelled() => Event::Closing,
                    incoming = wire.next(out) => Event::Incoming(incoming),
                    Some(command) = self.commands.recv() => Event::Command(command),
                    () = sleep_until(life.due()) => Event::Silence,
                    () = sleep_until(due.unwrap_or_else(far)), if due.is_some() => Event::Due,
                    token = renewal.next() => Event::Token(token),
                }
            };
            let lost = match event {
                Event::Closing => {
                    self.farewell(session, &mut wire).await;
                    return Err(Closing);
                }
                Event::Incoming(incoming) => {
                    life.seen();
                    received(session, &mut renewal, incoming)
                }
                Event::Command(command) => {
                    session.command(command);
                    None
                }
                Event::Silence => life.silent(session),
                Event::Due => {
                    session.again();
                    None
                }
                Event::Token(token) => renewal.ask(token, session),
            };
            if let Some(lost) = lost {
                return Ok(lost);
            }
        }
    }

    /// What handles asked for before is still written.
    async fn farewell(&mut self, session: &mut Session, wire: &mut Wire) {
        while let Ok(command) = self.commands.try_recv() {
            session.command(command);
        }
        // A server that does not answer is left without.
        let _ = timeout(FAREWELL, wire.close(&mut session.link.out)).await;
    }
}

/// What happens on a connection.
enum Event {
    Closing,
    Incoming(Incoming),
    Command(Command),
    Silence,
    Due,
    Token(ClientResult<String>),
}

fn far() -> Instant {
    Instant::now() + Duration::from_secs(3600)
}

/// Takes what came in. Why the connection is over, if it is.
fn received(session: &mut Session, renewal: &mut Renewal, incoming: Incoming) -> Option<Lost> {
    match incoming {
        Incoming::Text(text) => {
            if renewal.is_answered() {
                match renewal.answered(&text) {
                    Ok(true) => return None,
                    Ok(false) => {}
                    Err(error) => return Some(Lost::new(error)),
                }
            }
            session.received(&text).err().map(Lost::new)
        }
        Incoming::Sign => None,
        Incoming::Closed(frame) => Some(Lost::closed(frame.as_ref(), session.closing.as_ref())),
        Incoming::Broken(error) => {
            let mut lost = Lost::broken(error);
            // It may have been told before.
            lost.retry_after = session.closing.as_ref().and_then(|it| it.retry_after());
            Some(lost)
        }
    }
}

/// Signs of life, both ways.
struct Life {
    heartbeat: Duration,
    patience: Duration,
    seen: Instant,
    asked: Option<Instant>,
}

impl Life {
    fn new(heartbeat: Duration, patience: Duration) -> Self {
        Self {
            heartbeat,
            patience,
            seen: Instant::now(),
            asked: None,
        }
    }

    fn seen(&mut self) {
        self.seen = Instant::now();
        self.asked = None;
    }

    fn due(&self) -> Instant {
        match self.asked {
            None => self.seen + self.heartbeat,
            Some(asked) => asked + self.patience,
        }
    }

    /// Nothing came for a while: asks, and gives up if nothing comes then either.
    fn silent(&mut self, session: &mut Session) -> Option<Lost> {
        if self.asked.is_some() {
            let message = "the server gives no sign of life";
            return Some(Lost::new(ClientError::new(Code::Unavailable, message)));
        }
        self.asked = Some(Instant::now());
        session.link.out.push_back(r#"{"ping":true}"#.into());
        None
    }
}

/// Tells the server again who this is, before it forgets.
struct Renewal {
    target: Target,
    stage: Stage,
}

enum Stage {
    /// Nothing expires.
    Never,
    At(Instant, Instant),
    /// The application is asked for a token.
    Asking(BoxFuture<'static, ClientResult<String>>, Instant),
    /// The server is told.
    Telling {
        id: u64,
        asked: Instant,
    },
}

impl Renewal {
    fn new(target: &Target, expires: Option<Instant>) -> Self {
        let mut renewal = Self {
            target: target.clone(),
            stage: Stage::Never,
        };
        renewal.schedule(expires);
        renewal
    }

    fn schedule(&mut self, expires: Option<Instant>) {
        self.stage = match expires {
            Some(expires) => {
                let life = expires.saturating_duration_since(Instant::now());
                Stage::At(Instant::now() + life.mul_f64(RENEW_AT), expires)
            }
            None => Stage::Never,
        };
    }

    /// A new token, when it is time.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    async fn next(&mut self) -> ClientResult<String> {
        loop {
            match &mut self.stage {
                Stage::Never | Stage::Telling { .. } => std::future::pending().await,
                Stage::At(at, expires) => {
                    let expires = *expires;
                    sleep_until(*at).await;
                    let Some(provider) = self.target.token.clone() else {
                        self.stage = Stage::Never;
                        continue;
                    };
                    let limit = self.target.timeout;
                    let asking = async move { fresh_token(&provider, limit).await };
                    self.stage = Stage::Asking(Box::pin(asking), expires);
                }
                Stage::Asking(token, _) => return Pin::new(token).await,
            }
        }
    }

    fn ask(&mut self, token: ClientResult<String>, session: &mut Session) -> Option<Lost> {
        let Stage::Asking(_, expires) = &self.stage else {
            return None;
        };
        match token {
            Ok(token) => {
                let id = session.link.ids.next();
                let frame = authenticate_frame(id, &token);
                session.link.out.push_back(frame.into());
                let asked = Instant::now();
                self.stage = Stage::Telling { id, asked };
            }
            Err(error) => {
                tracing::warn!(%error, "no token to renew the connection with");
                // Until the last one ends there is time to try; then the server closes the connection.
                let (expires, next) = (*expires, Instant::now() + ASK_AGAIN);
                self.stage = if next < expires {
                    Stage::At(next, expires)
                } else {
                    Stage::Never
                };
            }
        }
        None
    }

    const fn is_answered(&self) -> bool {
        matches!(self.stage, Stage::Telling { .. })
    }

    /// Whether this was the answer to what the server was told.
    fn answered(&mut self, text: &str) -> ClientResult<bool> {
        let Stage::Telling { id, asked } = self.stage else {
            return Ok(false);
        };
        // What cannot be read is reported by whoever reads it next.
        let Ok(ServerFrame::Answer {
            id: answered,
            error,
        }) = read(text)
        else {
            return Ok(false);
        };
        if answered != id {
            return Ok(false);
        }
        if let Some(error) = error {
            return Err(error.into());
        }
        let body: AnswerBody = read_body(text)?;
        self.schedule(expiry(asked, body.expires_in_ms));
        Ok(true)
    }
}
