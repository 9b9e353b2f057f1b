//! The floor: what a socket and a runtime allow, with nothing in the way.
//!
//! One connection; replies are matched in order; one write carries whatever was asked for while the
//! tasks that could ask had their turn, or a good part of what is under way. No timeouts, no limits, no reconnecting, no protocol beyond
//! finding where a reply ends. It is written to be fast, because a slow floor would flatter what is
//! measured against it: no allocation and no channel per command, one lock to ask and one to take the
//! reply, replies handed out as slices of the read buffer.

mod wire;

use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::mem;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpStream, ToSocketAddrs};
use tokio_util::io::poll_read_buf;

use self::wire::{encode, reply_length};

/// How many more turns the other tasks get, at most, while the commands to write keep growing.
const MOST_YIELDS: u32 = 8;

/// A caller writes by itself once this many commands have gathered ...
const WORTH_A_WRITE: usize = 16;

/// ... and they are at least one in this many of those under way. So the server works on one part
/// while we prepare the next, instead of both taking turns.
const PARTS: usize = 4;

/// Replies handed out before their callers have a turn: at least so many, and at least one in
/// [`PARTS`] of what a read brought. The rest of the time the server would wait for all of them.
const SLICE: usize = 16;

/// Room made before every read.
const READ_BUFFER: usize = 64 * 1024;

/// A connection.
///
/// # Clone
/// Clones share the connection. It is closed when the last one, and its last call, is gone.
#[derive(Clone, Debug)]
pub(crate) struct Floor {
    shared: Arc<Shared>,
    /// Ends the driver when the last clone is dropped.
    _driver: Arc<tokio::task::JoinSet<()>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    outgoing: OwnedWriteHalf,
}

#[derive(Debug, Default)]
struct State {
    /// Commands asked for and not yet written: what is behind `written`.
    out: Vec<u8>,
    written: usize,
    /// How many commands that are.
    unsent: usize,
    /// How many replies the last read brought.
    batch: usize,
    /// The socket took less than it was given; the driver waits for room.
    full: bool,
    /// Where calls wait, reused: no allocation per command once enough of them exist.
    slots: Vec<Slot>,
    free: Vec<usize>,
    /// The calls whose replies are still to come, in the order of their commands.
    waiting: VecDeque<usize>,
    /// Set while the driver has nothing to write.
    idle_driver: Option<Waker>,
    /// Why there will be no more replies.
    failure: Option<ErrorKind>,
}

#[derive(Debug)]
enum Slot {
    Free,
    Waiting(Waker),
    /// Nobody waits any more, but the reply still has to be skipped.
    Abandoned,
    Done(Bytes),
}

impl Floor {
    /// Connects, and drives the connection on the present runtime.
    ///
    /// # Errors
    /// Those of the socket.
    pub(crate) async fn connect(address: impl ToSocketAddrs) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (incoming, outgoing) = stream.into_split();
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            outgoing,
        });
        let driver = Driver {
            incoming,
            shared: shared.clone(),
            read: BytesMut::with_capacity(READ_BUFFER),
            seen: 0,
            yields: 0,
            whole: Bytes::new(),
            ends: VecDeque::new(),
            start: 0,
            slice: SLICE,
            wakers: Vec::new(),
        };
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(driver.run());
        Ok(Self {
            shared,
            _driver: Arc::new(tasks),
        })
    }

    /// Sends one command, and returns its reply as it came, type byte and all.
    ///
    /// # Errors
    /// Those of the socket, and `Other` with the text of an error reply.
    pub(crate) async fn call(&self, parts: &[&[u8]]) -> io::Result<Bytes> {
        let reply = Call {
            shared: &self.shared,
            parts,
            slot: None,
        }
        .await?;
        if reply.first() == Some(&b'-') {
            let text = String::from_utf8_lossy(&reply[1..]).trim_end().to_owned();
            return Err(io::Error::other(text));
        }
        Ok(reply)
    }
}

/// A command before, in, and after the queue.
struct Call<'a> {
    shared: &'a Shared,
    parts: &'a [&'a [u8]],
    slot: Option<usize>,
}

impl Future for Call<'_> {
    type Output = io::Result<Bytes>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.shared.state.lock();
        let failure = state.failure;
        let Some(slot) = self.slot else {
            if let Some(kind) = failure {
                return Poll::Ready(Err(kind.into()));
            }
            let slot = state.ask(self.parts, cx.waker());
            let at_once = state.is_worth_a_write();
            self.slot = Some(slot);
            // An error shows again when the driver reads or writes.
            if at_once && state.write(&self.shared.outgoing).is_ok() && !state.full {
                return Poll::Pending;
            }
            let driver = state.idle_driver.take();
            drop(state);
            if let Some(driver) = driver {
                driver.wake();
            }
            return Poll::Pending;
        };
        match &mut state.slots[slot] {
            Slot::Waiting(waker) => {
                if let Some(kind) = failure {
                    return Poll::Ready(Err(kind.into()));
                }
                waker.clone_from(cx.waker());
                Poll::Pending
            }
            place => {
                let place = mem::replace(place, Slot::Free);
                state.free.push(slot);
                drop(state);
                self.slot = None;
                match place {
                    Slot::Done(reply) => Poll::Ready(Ok(reply)),
                    _ => unreachable!("a slot is waited for by one call"),
                }
            }
        }
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let Some(slot) = self.slot else { return };
        let mut state = self.shared.state.lock();
        if matches!(state.slots[slot], Slot::Done(_)) {
            state.slots[slot] = Slot::Free;
            state.free.push(slot);
        } else {
            state.slots[slot] = Slot::Abandoned;
        }
    }
}

impl State {
    /// Whether whoever just asked had better write at once than leave it to the driver.
    fn is_worth_a_write(&self) -> bool {
        // One task alone: nobody else will ask, so waking the driver first would be wasted time.
        let alone = self.waiting.len() == 1 && self.batch <= 1;
        let enough = self.unsent >= WORTH_A_WRITE && self.unsent * PARTS >= self.waiting.len();
        (alone || enough) && !self.full
    }

    /// Writes as much as the socket takes.
    fn write(&mut self, outgoing: &OwnedWriteHalf) -> io::Result<()> {
        while self.written < self.out.len() {
            match outgoing.try_write(&self.out[self.written..]) {
                Ok(written) => self.written += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.full = true;
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        self.out.clear();
        self.written = 0;
        self.unsent = 0;
        Ok(())
    }

    fn ask(&mut self, parts: &[&[u8]], waker: &Waker) -> usize {
        encode(&mut self.out, parts);
        self.unsent += 1;
        let entry = Slot::Waiting(waker.clone());
        let slot = if let Some(slot) = self.free.pop() {
            self.slots[slot] = entry;
            slot
        } else {
            self.slots.push(entry);
            self.slots.len() - 1
        };
        self.waiting.push_back(slot);
        slot
    }

    /// Hands `reply` to the call it belongs to.
    fn answer(&mut self, reply: Bytes) -> io::Result<Option<Waker>> {
        let slot = self
            .waiting
            .pop_front()
            .ok_or_else(|| io::Error::other("a reply nobody asked for"))?;
        match mem::replace(&mut self.slots[slot], Slot::Done(reply)) {
            Slot::Waiting(waker) => Ok(Some(waker)),
            Slot::Abandoned => {
                self.slots[slot] = Slot::Free;
                self.free.push(slot);
                Ok(None)
            }
            Slot::Free | Slot::Done(_) => unreachable!("a slot in line is waited for"),
        }
    }
}

/// The task that reads and writes.
struct Driver {
    incoming: OwnedReadHalf,
    shared: Arc<Shared>,
    read: BytesMut,
    /// How much there was to write when last looked.
    seen: usize,
    yields: u32,
    /// Whole replies not handed out yet, where each ends, and where the next begins.
    whole: Bytes,
    ends: VecDeque<usize>,
    start: usize,
    slice: usize,
    /// Scratch, kept for its allocation: whom a slice wakes.
    wakers: Vec<Waker>,
}

impl Driver {
    async fn run(mut self) {
        let error = std::future::poll_fn(|cx| self.turn(cx)).await;
        let mut state = self.shared.state.lock();
        state.failure = Some(error.kind());
        let waiting = mem::take(&mut state.waiting);
        let wakers: Vec<_> = waiting
            .iter()
            .filter_map(|slot| match &state.slots[*slot] {
                Slot::Waiting(waker) => Some(waker.clone()),
                _ => None,
            })
            .collect();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Ready only when the connection is over.
    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if let Err(error) = self.receive(cx) {
            return Poll::Ready(error);
        }
        match ready!(self.send(cx)) {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(error),
        }
    }

    fn receive(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        loop {
            if !self.ends.is_empty() {
                self.hand_out()?;
                if !self.ends.is_empty() {
                    // After those who were just woken.
                    cx.waker().wake_by_ref();
                    return Ok(());
                }
            }
            self.read.reserve(READ_BUFFER);
            match poll_read_buf(pin!(&mut self.incoming), cx, &mut self.read) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(0)) => return Err(ErrorKind::UnexpectedEof.into()),
                Poll::Ready(Ok(_)) => self.find_replies()?,
                Poll::Ready(Err(error)) => return Err(error),
            }
        }
    }

    /// Takes every whole reply out of the read buffer.
    fn find_replies(&mut self) -> io::Result<()> {
        let mut end = 0;
        while let Some(length) = reply_length(&self.read[end..])? {
            end += length;
            self.ends.push_back(end);
        }
        self.whole = self.read.split_to(end).freeze();
        self.start = 0;
        self.slice = SLICE.max(self.ends.len().div_ceil(PARTS));
        self.shared.state.lock().batch = self.ends.len();
        Ok(())
    }

    fn hand_out(&mut self) -> io::Result<()> {
        let mut state = self.shared.state.lock();
        for end in self.ends.drain(..self.slice.min(self.ends.len())) {
            let reply = self.whole.slice(self.start..end);
            self.wakers.extend(state.answer(reply)?);
            self.start = end;
        }
        drop(state);
        self.wakers.drain(..).for_each(Waker::wake);
        Ok(())
    }

    /// Ready(Ok) when there is nothing left to write.
    fn send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut state = self.shared.state.lock();
            if state.full {
                ready!(self.shared.outgoing.as_ref().poll_write_ready(cx))?;
                state.full = false;
            }
            let length = state.out.len();
            if length == 0 {
                state.idle_driver = Some(cx.waker().clone());
                return Poll::Ready(Ok(()));
            }
            if length > self.seen && self.yields < MOST_YIELDS {
                drop(state);
                self.seen = length;
                self.yields += 1;
                // Back to the end of the run queue: whoever can ask does so before we write.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            state.write(&self.shared.outgoing)?;
            self.seen = 0;
            self.yields = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_dropped_call_does_not_give_its_reply_to_another() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};

        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
            .await
            .unwrap();
        let floor = Floor::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        let dropped = floor.call(&[b"A"]);
        // Polled once, so that the command is sent, and dropped.
        assert!(futures_util::FutureExt::now_or_never(dropped).is_none());
        let answer = async {
            let mut commands = [0; 22];
            server.read_exact(&mut commands).await.unwrap();
            assert_eq!(commands, *b"*1\r\n$1\r\nA\r\n*1\r\n$1\r\nB\r\n");
            server.write_all(b":1\r\n:2\r\n").await.unwrap();
        };
        let both = async { tokio::join!(floor.call(&[b"B"]), answer) };
        let limit = std::time::Duration::from_secs(10);
        let (reply, ()) = tokio::time::timeout(limit, both)
            .await
            .expect("the second call got no reply");
        assert_eq!(reply.unwrap(), b":2\r\n"[..]);

        drop(server);
        let ended = floor.call(&[b"C"]).await;
        assert!(ended.is_err(), "{ended:?}");
    }
}
