//! One question to the server and its answer, from both ends: the caller's and the connection's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::actor::Command;
use super::error::{ClientError, ClientResult};
use crate::problem::Code;

/// Progress reports that wait for the caller; beyond, the newest are dropped.
const MAX_PROGRESS: usize = 64;

/// What may be done with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Has an effect: never repeated. The server can be told to stop.
    Request,
    /// Has an effect: never repeated. Over in a moment.
    Publish {
        /// Whether this client wants the message back.
        echo: bool,
    },
    /// Asks and changes nothing: asked again on the next connection.
    Read,
}

/// How far a call is: decides, between two tasks, whether it has had a chance of an effect.
#[derive(Debug, Default)]
pub(super) struct Progress(AtomicU8);

const WAITING: u8 = 0;
const SENT: u8 = 1;
const OVER: u8 = 2;

impl Progress {
    fn turn(&self, from: u8, to: u8) -> bool {
        // The values say everything: no other memory is shared through them.
        self.0
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// It is about to be written. `false`: the caller gave it up before.
    fn send(&self) -> bool {
        self.turn(WAITING, SENT)
    }

    /// It is over. What it was.
    fn end(&self) -> u8 {
        self.0.swap(OVER, Ordering::AcqRel)
    }
}

/// The connection's end.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) id: u64,
    pub(super) frame: Utf8Bytes,
    pub(super) kind: Kind,
    progress: Arc<Progress>,
    reply: oneshot::Sender<ClientResult<Utf8Bytes>>,
    reports: mpsc::Sender<Utf8Bytes>,
}

impl Call {
    /// It is about to be written. `false`: nobody waits any more, and it must not be.
    pub(super) fn send(&self) -> bool {
        self.progress.send()
    }

    /// The connection broke after it was written. `true`: it waits for the next.
    pub(super) fn waits_again(&self) -> bool {
        self.kind == Kind::Read && self.progress.turn(SENT, WAITING)
    }

    /// The server reports progress.
    pub(super) fn report(&self, frame: Utf8Bytes) {
        // A caller that is slower than the reports, or takes none, does not want each of them.
        let _ = self.reports.try_send(frame);
    }

    pub(super) fn answer(self, answer: ClientResult<Utf8Bytes>) {
        self.progress.end();
        // Nobody takes it who has given up.
        let _ = self.reply.send(answer);
    }
}

/// The caller's end. Dropping it gives the call up.
#[derive(Debug)]
pub(super) struct Calling {
    id: u64,
    progress: Arc<Progress>,
    commands: mpsc::UnboundedSender<Command>,
    reply: oneshot::Receiver<ClientResult<Utf8Bytes>>,
    reports: mpsc::Receiver<Utf8Bytes>,
}

impl Calling {
    /// Hands a call over to the connection.
    pub(super) fn begin(
        commands: &mpsc::UnboundedSender<Command>,
        id: u64,
        frame: String,
        kind: Kind,
    ) -> ClientResult<Self> {
        let progress = Arc::new(Progress::default());
        let (sender, reply) = oneshot::channel();
        let (reports, receiver) = mpsc::channel(MAX_PROGRESS);
        let call = Call {
            id,
            frame: frame.into(),
            kind,
            progress: progress.clone(),
            reply: sender,
            reports,
        };
        let calling = Self {
            id,
            progress,
            commands: commands.clone(),
            reply,
            reports: receiver,
        };
        let sent = commands.send(Command::Call(call));
        sent.map_err(|_| ClientError::closed())?;
        Ok(calling)
    }

    /// The answer, as the frame it came in.
    pub(super) async fn answer(
        mut self,
        deadline: Instant,
        mut report: impl FnMut(&str),
    ) -> ClientResult<Utf8Bytes> {
        loop {
            tokio::select! {
                biased;
                // First: reports came before the answer.
                Some(frame) = self.reports.recv() => report(&frame),
                answer = &mut self.reply => return answer.unwrap_or_else(|_| Err(self.abandoned())),
                () = sleep_until(deadline) => return Err(self.late()),
            }
        }
    }

    /// The connection's task is gone without an answer: the runtime is shutting down.
    fn abandoned(&self) -> ClientError {
        match self.progress.end() {
            WAITING => ClientError::closed(),
            _ => ClientError::closed().unknown(),
        }
    }

    fn late(&self) -> ClientError {
        let late = |message| ClientError::new(Code::DeadlineExceeded, message);
        // Told before this end is dropped, which finds it over and says nothing.
        let was = self.progress.end();
        let _ = self.commands.send(Command::GiveUp(self.id));
        match was {
            WAITING => late("there was no connection, or no room on it, until the deadline"),
            _ => late("there was no answer until the deadline").unknown(),
        }
    }
}

impl Drop for Calling {
    fn drop(&mut self) {
        if self.progress.end() != OVER {
            // Without a connection's task there is nothing to give up.
            let _ = self.commands.send(Command::GiveUp(self.id));
        }
    }
}
