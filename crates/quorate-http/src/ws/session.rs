//! One connected WebSocket client: a loop that reads, works, writes and keeps the time, and in which
//! none of these waits for another.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, close_code};
use bytes::Bytes;
use futures_util::{Sink, SinkExt, Stream};
use tokio::time::{Instant, Sleep, sleep_until};

use super::Authentication;
use super::verbs::Work;
use crate::frame::{Closing, FrameError, gap_line, read_request};
use crate::hub::{Bucket, CloseWith, Connected, Hub, Item, Next, Verdict};
use crate::problem::{Code, Problem};
use crate::socket;

/// Frames read, and written, before other tasks get their turn.
const BATCH: usize = 64;

/// How long a client may take to answer a farewell.
const FAREWELL: Duration = Duration::from_secs(2);

/// Why a session ends.
enum End {
    /// The client left, or its connection broke.
    Gone,
    /// The client said goodbye, and waits for an answer.
    Answer,
    /// The client takes nothing.
    Stuck,
    /// What it sent cannot be read.
    Unreadable(CloseFrame),
    /// A frame is too large.
    Oversized,
    /// It gives no sign of life.
    Silent,
    /// The hub sends it away.
    Close(CloseWith),
}

struct Session {
    socket: WebSocket,
    /// Whether the socket may have something to read.
    unread: bool,
    work: Work,
    authentication_due: Option<Instant>,
    last_seen: Instant,
    next_beat: Instant,
    /// Since when the socket has taken nothing.
    blocked: Option<Instant>,
    /// Whether the socket takes no further frame until it has taken what it was handed.
    full: bool,
    /// Whether something was handed to the socket that may not be on its way.
    unflushed: bool,
    /// The hub drains: until when requests under way may end.
    finish_by: Option<Instant>,
    /// How many frames it may send.
    bucket: Bucket,
    begun: Instant,
    /// The one timer, for whatever comes first.
    timer: Pin<Box<Sleep>>,
}

pub(super) async fn run(
    hub: Hub,
    connected: Connected,
    authentication: Authentication,
    socket: WebSocket,
) {
    let now = Instant::now();
    let options = &hub.shared.options;
    let next_beat = now + options.heartbeat;
    let authentication_due =
        (authentication == Authentication::Required).then(|| now + options.authenticate_within);
    let mut session = Box::new(Session {
        socket,
        unread: true,
        authentication_due,
        last_seen: now,
        next_beat,
        blocked: None,
        full: false,
        unflushed: false,
        finish_by: None,
        bucket: Bucket::new(options.rate, 0),
        begun: now,
        timer: Box::pin(sleep_until(
            authentication_due.unwrap_or(next_beat).min(next_beat),
        )),
        work: Work::new(hub, connected, authentication),
    });
    let end = std::future::poll_fn(|cx| session.poll(cx)).await;
    // Boxed: tasks are made of it by the thousand, and this part of them is short.
    Box::pin(session.finish(end)).await;
}

/// Whether a part of the loop got anything done, or why the session ends.
type Progress = Result<bool, End>;

impl Session {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        self.work.client().wake_with(cx.waker());
        match self.turn(cx) {
            Ok(false) => Poll::Pending,
            // There is more; others first.
            Ok(true) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Err(end) => Poll::Ready(end),
        }
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Progress {
        let read = self.read(cx)?;
        self.work.catch_up(cx);
        let worked = self.work.poll(cx);
        let behind = self.work.client().is_behind();
        let written = self.write(cx)?;
        self.keep_time(cx)?;
        // Reading stopped for want of room, and there is room again.
        let resumed = behind && !self.work.client().is_behind();
        Ok(read || worked || written || resumed)
    }

    /// Reads frames for as long as there are some, and the client takes the answers.
    fn read(&mut self, cx: &mut Context<'_>) -> Progress {
        // A broadcast wakes every client to write to it. To find out that it has said nothing, the library
        // below would clear its whole buffer each time.
        self.unread |= self.work.client().was_heard();
        if !self.unread {
            return Ok(false);
        }
        let waker = Waker::from(self.work.client().clone());
        let mut listening = Context::from_waker(&waker);
        for _ in 0..BATCH {
            if self.work.client().is_behind() {
                return Ok(false);
            }
            match Pin::new(&mut self.socket).poll_next(&mut listening) {
                Poll::Pending => {
                    self.unread = false;
                    return Ok(false);
                }
                Poll::Ready(None) => return Err(End::Gone),
                Poll::Ready(Some(Ok(message))) => {
                    self.last_seen = Instant::now();
                    self.received(message, cx)?;
                    // Before more is read: behind a farewell nothing can be said.
                    self.hand_out(cx)?;
                }
                Poll::Ready(Some(Err(error))) => {
                    tracing::debug!(%error, "websocket");
                    return Err(socket::refusal(&error).map_or(End::Gone, End::Unreadable));
                }
            }
        }
        Ok(true)
    }

    fn received(&mut self, message: Message, cx: &mut Context<'_>) -> Result<(), End> {
        match message {
            Message::Text(text) => {
                let hub = &self.work.hub().shared;
                hub.meters.received.increment(1);
                if text.len() > hub.options.max_frame_bytes {
                    return Err(End::Oversized);
                }
                let too_many = self.too_many()?;
                let read = read_request(&text);
                let refused = match (read, too_many) {
                    (Ok(request), Some(problem)) => request.refuse(problem),
                    (Ok(request), None) if self.finish_by.is_some() && request.verb.is_work() => {
                        request.refuse(self.work.hub().shutting_down())
                    }
                    (Ok(request), None) => {
                        self.work.begin(request, cx);
                        return Ok(());
                    }
                    (Err(refused), _) => refused,
                };
                let (id, kind) = (refused.id.as_ref(), refused.kind.as_deref());
                let answer = FrameError::new(id, kind, &refused.problem);
                self.work.client().reply(answer.to_text());
                Ok(())
            }
            Message::Binary(bytes) => {
                let hub = &self.work.hub().shared;
                hub.meters.received.increment(1);
                if bytes.len() > hub.options.max_frame_bytes {
                    return Err(End::Oversized);
                }
                let too_many = self.too_many()?;
                let problem = too_many
                    .unwrap_or_else(|| Problem::new(Code::InvalidArgument, "frames must be text"));
                let answer = FrameError::new(None, None, &problem);
                self.work.client().reply(answer.to_text());
                Ok(())
            }
            Message::Close(_) => Err(End::Answer),
            // Pings are answered by the library below.
            Message::Ping(_) | Message::Pong(_) => Ok(()),
        }
    }

    /// Whether the client sends more than it may, and what to tell it.
    fn too_many(&mut self) -> Result<Option<Problem>, End> {
        let passed = self.begun.elapsed().as_micros();
        let now = u64::try_from(passed).unwrap_or(u64::MAX);
        match self.bucket.take(self.work.hub().shared.options.rate, now) {
            Verdict::Allowed => Ok(None),
            Verdict::Refused { retry_after } => {
                let text = "more messages than a client may send";
                let problem = Problem::new(Code::ResourceExhausted, text);
                Ok(Some(problem.with_retry_after(retry_after)))
            }
            Verdict::Excessive => Err(End::Close(CloseWith::TooManyMessages)),
        }
    }

    /// Writes what waits for as long as the socket takes it.
    fn write(&mut self, cx: &mut Context<'_>) -> Progress {
        let sent = self.hand_out(cx)?;
        self.flush(cx)?;
        // Seen also while the socket takes nothing.
        if let Some(end) = self.work.client().ending() {
            if !end.lets_finish() {
                return Err(End::Close(end));
            }
            let time = self.work.hub().shared.options.drain_timeout;
            self.finish_by.get_or_insert_with(|| Instant::now() + time);
        }
        Ok(sent == BATCH)
    }

    /// Hands what waits to the socket, which may still hold it back. How many frames there were.
    fn hand_out(&mut self, cx: &mut Context<'_>) -> Result<usize, End> {
        let mut sent = 0;
        while sent < BATCH && self.ready(cx)?.is_ready() {
            match self.work.client().next() {
                Next::End(end) if end.lets_finish() && self.work.is_under_way() => break,
                Next::End(end) => return Err(End::Close(end)),
                Next::Nothing => break,
                Next::Send(item) => {
                    if let Some(frame) = self.frame(item) {
                        self.hand_over(Message::Text(frame))?;
                        sent += 1;
                    }
                }
            }
        }
        if sent > 0 {
            self.work.sent(sent);
        }
        Ok(sent)
    }

    fn frame(&self, item: Item) -> Option<Utf8Bytes> {
        match item {
            Item::Reply(text) => Some(Utf8Bytes::from(text.into_string())),
            Item::Event { event, .. } => Some(event.frame.clone()),
            Item::Dropped {
                subscription,
                missed,
            } => {
                let topic = self.work.client().topic_of(subscription)?;
                Some(gap_line(&topic, "buffer_full", Some(missed), None).into())
            }
        }
    }

    /// Whether the socket takes another frame.
    fn ready(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, End> {
        let ready = self.socket.poll_ready_unpin(cx);
        // Unless it was full, that there is room for more does not say that the client takes any of it.
        if ready.is_pending() || self.full {
            self.full = ready.is_pending();
            return self.note(&ready);
        }
        match ready {
            Poll::Ready(Err(_)) => Err(End::Gone),
            _ => Ok(Poll::Ready(())),
        }
    }

    fn hand_over(&mut self, message: Message) -> Result<(), End> {
        self.unflushed = true;
        Pin::new(&mut self.socket)
            .start_send(message)
            .map_err(|_| End::Gone)
    }

    fn flush(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        if self.unflushed {
            let flushed = self.socket.poll_flush_unpin(cx);
            if self.note(&flushed)?.is_ready() {
                self.unflushed = false;
                self.full = false;
            }
        }
        Ok(())
    }

    /// Keeps in mind since when the socket takes nothing.
    fn note(&mut self, poll: &Poll<Result<(), axum::Error>>) -> Result<Poll<()>, End> {
        match poll {
            Poll::Ready(Ok(())) => {
                self.blocked = None;
                Ok(Poll::Ready(()))
            }
            Poll::Ready(Err(_)) => Err(End::Gone),
            Poll::Pending => {
                self.blocked.get_or_insert_with(Instant::now);
                Ok(Poll::Pending)
            }
        }
    }

    /// Does what is due, and sets the timer for what comes next.
    fn keep_time(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        loop {
            let now = Instant::now();
            self.overdue(now)?;
            if now >= self.next_beat {
                self.next_beat = now + self.work.hub().shared.options.heartbeat;
                // One that waits for the socket has nothing to be asked.
                if self.blocked.is_none() {
                    self.hand_over(Message::Ping(Bytes::new()))?;
                    self.flush(cx)?;
                }
            }
            let due = self.due();
            // Later is found out when it fires: most of the time nothing changes.
            if self.timer.deadline() > due || self.timer.is_elapsed() {
                self.timer.as_mut().reset(due);
            }
            if self.timer.as_mut().poll(cx).is_pending() {
                return Ok(());
            }
        }
    }

    fn overdue(&self, now: Instant) -> Result<(), End> {
        let options = &self.work.hub().shared.options;
        if self
            .blocked
            .is_some_and(|since| now >= since + options.send_timeout)
        {
            return Err(End::Stuck);
        }
        if now > self.last_seen + options.idle_timeout {
            return Err(End::Silent);
        }
        if self.authentication_due().is_some_and(|due| now >= due) {
            return Err(End::Close(CloseWith::Unauthenticated));
        }
        if self.work.expires().is_some_and(|due| now >= due) {
            return Err(End::Close(CloseWith::Expired));
        }
        if let Some(end) = self.work.client().ending()
            && self.finish_by.is_some_and(|due| now >= due)
        {
            return Err(End::Close(end));
        }
        Ok(())
    }

    fn due(&self) -> Instant {
        let options = &self.work.hub().shared.options;
        let unblocked = self.blocked.map(|since| since + options.send_timeout);
        [
            unblocked,
            self.authentication_due(),
            self.work.expires(),
            self.finish_by,
        ]
        .into_iter()
        .flatten()
        .fold(self.next_beat, Instant::min)
    }

    /// Until when it has to say who it is.
    fn authentication_due(&self) -> Option<Instant> {
        self.authentication_due.filter(|_| self.work.is_unknown())
    }

    async fn finish(self: Box<Self>, end: End) {
        let Farewell {
            closing,
            close,
            metric,
        } = self.farewell(&end);
        if let Some(metric) = metric {
            self.work.disconnected(metric);
        }
        let Self {
            mut socket, work, ..
        } = *self;
        let patience = FAREWELL.min(work.hub().shared.options.send_timeout);
        // Its subscriptions and requests end before the farewell, which may take a while. The place is
        // kept: a drain waits until the farewell is said.
        let _place = work.end();
        if matches!(end, End::Gone | End::Stuck) {
            return;
        }
        if let Some(closing) = closing {
            let say = socket.send(Message::Text(closing.to_text().into()));
            if !matches!(tokio::time::timeout(patience, say).await, Ok(Ok(()))) {
                return;
            }
        }
        socket::hang_up(&mut socket, close, patience).await;
    }

    fn farewell(&self, end: &End) -> Farewell {
        let close = |code, reason| {
            Some(CloseFrame {
                code,
                reason: Utf8Bytes::from_static(reason),
            })
        };
        let plain = |close, metric| Farewell {
            closing: None,
            close,
            metric,
        };
        match end {
            End::Gone | End::Answer => plain(None, None),
            End::Stuck => plain(None, Some("slow")),
            End::Unreadable(frame) => plain(Some(frame.clone()), Some("protocol")),
            End::Oversized => plain(
                close(close_code::SIZE, "frame too large"),
                Some("oversized"),
            ),
            End::Silent => plain(close(close_code::POLICY, "no sign of life"), Some("idle")),
            End::Close(with) => {
                let comeback = with.comes_back().then(|| self.work.hub().comeback());
                Farewell {
                    closing: Some(Closing::new(with.reason(), comeback)),
                    close: close(with.code(), with.reason()),
                    metric: Some(with.metric()),
                }
            }
        }
    }
}

/// What is said at the end.
struct Farewell {
    closing: Option<Closing>,
    close: Option<CloseFrame>,
    metric: Option<&'static str>,
}
