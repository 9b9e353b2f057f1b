//! The task that owns a socket: writes what callers queued, reads replies and hands them out.

mod ending;
#[cfg(test)]
mod tests;
mod timer;

use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::time::{Instant, Sleep};

use ending::fail;

use super::handshake::Session;
use super::queue::{Collected, Entry, Queue, ReplySink};
use crate::decoder::Decoder;
use crate::error::{LinkError, LinkErrorKind, Outcome};
use crate::frame::Frame;
use crate::push::{Inbound, Received};
use crate::server_code;

/// How much is read at a time: some six hundred small replies.
const READ_CHUNK: usize = 64 << 10;
const READ_LEAST: usize = 8 << 10;
const READ_MOST: usize = 1 << 20;

/// An out-buffer that a large command has grown beyond this is given back.
const KEEP_OUT: usize = 1 << 20;

/// How often at most the task lets others run before it writes, while they keep queueing.
const GATHER_ROUNDS: u8 = 8;

/// Replies handed out before their callers run and what they send next is written: at least so many,
/// and at least this share of what one read brought.
///
/// Where callers and this task share a thread, handing out all replies of a read at once means that the
/// server idles until all of them have run, and they idle until it has answered all. In slices, it works
/// on the commands of the first while the second runs.
const SLICE_LEAST: usize = 16;
const SLICES: usize = 4;

/// Rounds of reading and writing before the task lets others run.
const TURNS: usize = 16;

/// A write is not gathered for beyond this: the kernel would not take more at once anyway.
const GATHER_BYTES: usize = 128 << 10;

/// What the connection reports besides replies.
pub(crate) trait Observer: Send + Sync + 'static {
    /// The server refused a command because of a passing condition of its own.
    fn condition(&self, code: &str, line: &str);
}

/// What is fixed for the life of one connection.
pub(crate) struct DriverConfig {
    pub(crate) command_timeout: Duration,
    pub(crate) ping_interval: Option<Duration>,
    pub(crate) ping_timeout: Duration,
}

/// Runs one connection until it ends. Dropping it answers everything in flight.
pub(crate) struct Driver<S> {
    stream: S,
    queue: Arc<Queue>,
    observer: Arc<dyn Observer>,
    /// Takes what the server sends unasked; `None` where nothing is expected.
    inbound: Option<Box<dyn Inbound>>,
    config: DriverConfig,

    input: BytesMut,
    decoder: Decoder,

    out: Vec<u8>,
    /// How much of `out` the socket has taken.
    written: usize,
    in_flight: VecDeque<Entry>,
    /// Replies decoded and not handed out yet, each with the bytes its command took.
    answered: VecDeque<(ReplySink, Frame, usize)>,
    /// How many of them are handed out at a time.
    slice: usize,
    gather: Gather,

    timer: Pin<Box<Sleep>>,
    /// No entry in flight expires before this; `None`: no entry in flight was looked at.
    next_expiry: Option<Instant>,
    /// When bytes last came, or commands last went: a reply that a command has to wait for on the
    /// server is no silence yet.
    last_active: Instant,
    /// Since when an answer to a probe is waited for.
    probe: Option<Instant>,
    /// The probe is not in the out-buffer yet.
    probe_unsent: bool,
    /// The stream may hold bytes back (TLS does).
    unflushed: bool,
    finished: bool,
}

enum End {
    Lost(LinkError),
    Drained,
}

enum Sent {
    Some,
    Gathering,
    Drained,
}

/// Whether it is worth waiting for more before writing.
#[derive(Clone, Copy)]
struct Gather {
    seen: usize,
    rounds: u8,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<S> {
    pub(crate) fn new(
        session: Session<S>,
        queue: Arc<Queue>,
        observer: Arc<dyn Observer>,
        inbound: Option<Box<dyn Inbound>>,
        config: DriverConfig,
    ) -> Self {
        let now = Instant::now();
        let Session {
            transport: stream,
            input,
            decoder,
        } = session;
        Self {
            stream,
            queue,
            observer,
            inbound,
            input,
            decoder,
            out: Vec::new(),
            written: 0,
            in_flight: VecDeque::new(),
            answered: VecDeque::new(),
            slice: SLICE_LEAST,
            gather: Gather { seen: 0, rounds: 0 },
            timer: Box::pin(tokio::time::sleep_until(
                now + config.ping_interval.unwrap_or(config.command_timeout),
            )),
            next_expiry: None,
            last_active: now,
            probe: None,
            probe_unsent: false,
            unflushed: false,
            finished: false,
            config,
        }
    }

    /// Runs until the connection ends, and says why it ended. `None`: it was asked to.
    pub(crate) async fn run(mut self) -> Option<LinkError> {
        // The handshake may have read more than its own replies.
        let end = match self.decode() {
            Ok(()) => std::future::poll_fn(|cx| self.poll(cx)).await,
            Err(error) => End::Lost(error),
        };
        let reason = match &end {
            End::Lost(error) => error.clone(),
            End::Drained => LinkError::new(
                LinkErrorKind::Disconnected,
                Outcome::NotApplied,
                "reconnecting",
            ),
        };
        self.finish(&reason);
        match end {
            End::Lost(error) => Some(error),
            End::Drained => None,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        if !self.answered.is_empty() {
            // The callers of the last slice have run: what they sent goes out before the next one.
            self.gather.rounds = GATHER_ROUNDS;
            match self.poll_send(cx) {
                Poll::Ready(Err(error)) => return Poll::Ready(End::Lost(error)),
                Poll::Ready(Ok(_)) | Poll::Pending => self.hand_out(),
            }
            if !self.answered.is_empty() {
                cx.waker().wake_by_ref();
                return self.poll_timer(cx);
            }
        }
        for _ in 0..TURNS {
            let read = match self.poll_read(cx) {
                Poll::Ready(Ok(())) => true,
                Poll::Ready(Err(error)) => return Poll::Ready(End::Lost(error)),
                Poll::Pending => false,
            };
            if !self.answered.is_empty() {
                cx.waker().wake_by_ref();
                return self.poll_timer(cx);
            }
            let wrote = match self.poll_send(cx) {
                Poll::Ready(Ok(Sent::Some)) => true,
                Poll::Ready(Ok(Sent::Gathering)) => {
                    cx.waker().wake_by_ref();
                    return self.poll_timer(cx);
                }
                Poll::Ready(Ok(Sent::Drained)) => return Poll::Ready(End::Drained),
                Poll::Ready(Err(error)) => return Poll::Ready(End::Lost(error)),
                Poll::Pending => false,
            };
            if !read && !wrote {
                return self.poll_timer(cx);
            }
        }
        cx.waker().wake_by_ref();
        self.poll_timer(cx)
    }

    // ── reading ──────────────────────────────────────────────────────────────────────────────

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        self.make_room();
        let read = ready!(pin!(self.stream.read_buf(&mut self.input)).poll(cx));
        let n = match read {
            Ok(n) => n,
            Err(error) => return Poll::Ready(Err(lost_io("reading", error))),
        };
        if n == 0 {
            let message = if self.decoder.is_mid_frame() {
                "the server closed the connection in the middle of a reply"
            } else {
                "the server closed the connection"
            };
            return Poll::Ready(Err(LinkError::new(
                LinkErrorKind::ConnectionLost,
                Outcome::Unknown,
                message,
            )));
        }
        // Any byte is a sign of life, also in the middle of a long reply.
        self.last_active = Instant::now();
        if self.probe.is_some() {
            self.probe = Some(self.last_active);
        }
        Poll::Ready(self.decode())
    }

    /// A new buffer only where the old one is nearly used up: a value kept by a caller keeps its
    /// buffer alive, and should share it with as many others as fit.
    fn make_room(&mut self) {
        let spare = self.input.capacity() - self.input.len();
        // For a large string, much at a time; but not all of it on the peer's word alone.
        let missing = self.decoder.missing_bytes(&self.input).min(READ_MOST);
        if spare < READ_LEAST.max(missing) {
            self.input.reserve(READ_CHUNK.max(missing));
        }
    }

    fn decode(&mut self) -> Result<(), LinkError> {
        let end = loop {
            match self.decoder.decode(&mut self.input) {
                Ok(Some(frame)) => {
                    if let Err(error) = self.receive(frame) {
                        break Err(error);
                    }
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(self.protocol_error(error)),
            }
        };
        self.slice = SLICE_LEAST.max(self.answered.len().div_ceil(SLICES));
        self.hand_out();
        end
    }

    fn receive(&mut self, frame: Frame) -> Result<(), LinkError> {
        let frame = match self.inbound.as_mut() {
            None if matches!(frame, Frame::Push(_)) => {
                tracing::trace!(?frame, "nothing expects what the server sent unasked");
                return Ok(());
            }
            None => frame,
            Some(inbound) => {
                let expected = self.in_flight.front().and_then(|e| match &e.sink {
                    ReplySink::Ack { verb, name, .. } => Some((*verb, name.as_ref())),
                    _ => None,
                });
                match inbound.receive(frame, expected) {
                    Received::Reply(reply) => reply,
                    Received::Kept => return Ok(()),
                    Received::Broken(why) => {
                        let kind = LinkErrorKind::ConnectionLost;
                        return Err(LinkError::new(kind, Outcome::Unknown, why));
                    }
                }
            }
        };
        let Some(entry) = self.in_flight.pop_front() else {
            return Err(LinkError::new(
                LinkErrorKind::Protocol,
                Outcome::Unknown,
                "the server sent a reply to no command",
            ));
        };
        if let Frame::Error(line) = &frame {
            self.note_error(line);
        }
        if entry.is_probe() {
            self.probe = None;
            return Ok(()); // it never was in the queue's count
        }
        self.answered.push_back((entry.sink, frame, entry.bytes));
        Ok(())
    }

    fn note_error(&self, line: &[u8]) {
        let text = String::from_utf8_lossy(line);
        let code = server_code::code_of(&text);
        if server_code::is_transient(code) {
            self.observer.condition(code, &text);
        }
    }

    /// The reply being read belongs to the first in flight: it alone learns what is wrong with it.
    fn protocol_error(&mut self, error: crate::decoder::DecodeError) -> LinkError {
        let error = LinkError::with_source(
            LinkErrorKind::Protocol,
            Outcome::Unknown,
            format!("{error}; the connection was dropped"),
            error,
        );
        if let Some(entry) = self.in_flight.front_mut() {
            let sink = std::mem::replace(&mut entry.sink, ReplySink::Abandoned);
            fail(sink, &error);
        }
        error
    }

    // ── writing ──────────────────────────────────────────────────────────────────────────────

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<Sent, LinkError>> {
        let mut blocked = self.poll_write(cx)?.is_pending();
        if !blocked && self.should_gather() {
            return Poll::Ready(Ok(Sent::Gathering));
        }
        self.gather = Gather { seen: 0, rounds: 0 };
        // Also while the socket takes nothing: only what was collected has an expiry.
        let before = self.in_flight.len();
        let collected = self
            .queue
            .collect(&mut self.out, &mut self.in_flight, cx.waker());
        match collected {
            Collected::Some => self.stamp(before),
            Collected::Drain if self.in_flight.is_empty() && !blocked => {
                return Poll::Ready(Ok(Sent::Drained));
            }
            Collected::None | Collected::Drain if !self.probe_unsent => return Poll::Pending,
            Collected::None | Collected::Drain => {}
        }
        self.append_probe();
        if !blocked {
            blocked = self.poll_write(cx)?.is_pending();
        }
        // While blocked, the socket's waker is registered; the queue's is too, once it is empty.
        let more = collected == Collected::Some || !blocked;
        if more {
            Poll::Ready(Ok(Sent::Some))
        } else {
            Poll::Pending
        }
    }

    /// Ready once everything in `out` was taken by the socket.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        while self.written < self.out.len() {
            let rest = &self.out[self.written..];
            match ready!(Pin::new(&mut self.stream).poll_write(cx, rest)) {
                Ok(0) => {
                    let error = std::io::ErrorKind::WriteZero.into();
                    return Poll::Ready(Err(lost_io("writing", error)));
                }
                Ok(n) => {
                    self.written += n;
                    self.unflushed = true;
                }
                Err(error) => return Poll::Ready(Err(lost_io("writing", error))),
            }
        }
        if self.unflushed {
            if let Err(error) = ready!(Pin::new(&mut self.stream).poll_flush(cx)) {
                return Poll::Ready(Err(lost_io("writing", error)));
            }
            self.unflushed = false;
        }
        self.out.clear();
        self.written = 0;
        if self.out.capacity() > KEEP_OUT {
            self.out = Vec::new();
        }
        Poll::Ready(Ok(()))
    }

    /// Lets others run while the out-buffer is still growing, so that one write carries many
    /// commands: on a multi-thread runtime, writing per command costs most of the throughput.
    fn should_gather(&mut self) -> bool {
        let pending = self.queue.pending_bytes();
        if pending <= self.gather.seen
            || pending >= GATHER_BYTES
            || self.gather.rounds >= GATHER_ROUNDS
        {
            return false;
        }
        self.gather.seen = pending;
        self.gather.rounds += 1;
        true
    }

    /// Gives entries from `from` on the time they expire at.
    fn stamp(&mut self, from: usize) {
        let now = Instant::now();
        self.last_active = now;
        let latest = now + self.config.command_timeout;
        let mut earliest = self.next_expiry.unwrap_or(latest);
        for entry in self.in_flight.range_mut(from..) {
            let expiry = entry.deadline.map_or(latest, |d| d.min(latest));
            entry.deadline = Some(expiry);
            earliest = earliest.min(expiry);
        }
        self.next_expiry = Some(earliest);
        self.arm(earliest);
    }

    fn append_probe(&mut self) {
        if !std::mem::take(&mut self.probe_unsent) {
            return;
        }
        let start = self.out.len();
        super::encode::encode(&[b"PING"], &mut self.out);
        let bytes = self.out.len() - start;
        self.in_flight.push_back(Entry {
            sink: ReplySink::Probe,
            bytes,
            deadline: None,
        });
    }
}

impl<S> Driver<S> {
    /// Hands out one slice of what was answered.
    pub(super) fn hand_out(&mut self) {
        let count = self.slice.min(self.answered.len());
        if count == 0 {
            return;
        }
        // Room first: whoever has a reply in hand must find the room its command took.
        let bytes = self
            .answered
            .range(..count)
            .map(|(_, _, bytes)| bytes)
            .sum();
        self.queue.release(count, bytes);
        for (sink, frame, _) in self.answered.drain(..count) {
            match sink {
                ReplySink::One(slot) | ReplySink::Ack { slot, .. } => slot.fill(Ok(frame)),
                ReplySink::Batch { batch, last } => batch.push(frame, last),
                ReplySink::Abandoned | ReplySink::Probe => {}
            }
        }
    }
}

fn lost_io(doing: &str, error: std::io::Error) -> LinkError {
    LinkError::with_source(
        LinkErrorKind::ConnectionLost,
        Outcome::Unknown,
        format!("the connection broke while {doing}"),
        error,
    )
}
