//! Where one caller waits for one reply.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use crate::error::{LinkError, Outcome};
use crate::frame::Frame;

/// A place for one value, filled by the connection and taken by the caller.
///
/// It belongs to one command only, which is why a dropped future cannot pass its reply on to
/// somebody else: the connection fills the slot and nobody looks.
#[derive(Debug)]
pub(crate) struct Slot<T> {
    // Held for a move in or out: the two sides hardly ever meet.
    state: Mutex<SlotState<T>>,
}

#[derive(Debug)]
enum SlotState<T> {
    Empty,
    Waiting(Waker),
    Full(T),
    Taken,
}

impl<T> Slot<T> {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(SlotState::Empty),
        }
    }

    /// Fills the slot and wakes who waits.
    pub(crate) fn fill(&self, value: T) {
        let mut state = self.state.lock();
        let before = std::mem::replace(&mut *state, SlotState::Full(value));
        drop(state);
        if let SlotState::Waiting(waker) = before {
            waker.wake();
        }
    }

    pub(crate) fn poll_take(&self, cx: &mut Context<'_>) -> Poll<T> {
        let mut state = self.state.lock();
        match &mut *state {
            SlotState::Full(_) => match std::mem::replace(&mut *state, SlotState::Taken) {
                SlotState::Full(value) => Poll::Ready(value),
                _ => unreachable!("matched as full under the same lock"),
            },
            SlotState::Waiting(waker) => {
                waker.clone_from(cx.waker());
                Poll::Pending
            }
            SlotState::Empty => {
                *state = SlotState::Waiting(cx.waker().clone());
                Poll::Pending
            }
            SlotState::Taken => panic!("a reply was polled after it was ready"),
        }
    }
}

/// What a connection hands to a caller.
pub(crate) type Answer = Result<Frame, LinkError>;

/// A reply to come.
///
/// # Cancel safety
/// Dropping it discards the reply; the command runs nevertheless.
///
/// # Panics
/// When polled again after it was ready.
#[must_use = "a reply does nothing unless awaited"]
#[derive(Debug)]
pub struct Reply {
    slot: Arc<Slot<Answer>>,
    script: bool,
}

impl Reply {
    pub(crate) fn new(slot: Arc<Slot<Answer>>, script: bool) -> Self {
        Self { slot, script }
    }
}

impl Future for Reply {
    type Output = Result<Frame, LinkError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.slot
            .poll_take(cx)
            .map(|answer| interpret(answer, self.script))
    }
}

/// An error reply at the top level is an error of the call.
pub(crate) fn interpret(answer: Answer, script: bool) -> Answer {
    match answer {
        Ok(Frame::Error(line)) => Err(LinkError::server(&line, script)),
        other => other,
    }
}

/// Collects the replies of a batch.
#[derive(Debug)]
pub(crate) struct BatchSlot {
    // `None` once the batch was completed or has failed; what still arrives is then dropped. Only
    // the connection's task touches it, so the lock is never waited for.
    frames: Mutex<Option<Vec<Frame>>>,
    slot: Slot<Result<Vec<Frame>, LinkError>>,
    script: bool,
}

impl BatchSlot {
    pub(crate) fn new(commands: usize, script: bool) -> Self {
        Self {
            frames: Mutex::new(Some(Vec::with_capacity(commands))),
            slot: Slot::new(),
            script,
        }
    }

    /// Adds the next reply; the last one completes the batch.
    pub(crate) fn push(&self, frame: Frame, last: bool) {
        let mut frames = self.frames.lock();
        if let Some(collected) = frames.as_mut() {
            collected.push(frame);
        }
        let done = if last { frames.take() } else { None };
        drop(frames);
        if let Some(all) = done {
            self.slot.fill(Ok(all));
        }
    }

    /// The batch has no replies as a whole. `error` speaks of the first command without a reply.
    pub(crate) fn fail(&self, error: &LinkError) {
        let Some(collected) = self.frames.lock().take() else {
            return;
        };
        let outcome = if collected.is_empty() {
            error.outcome()
        } else {
            Outcome::Unknown
        };
        self.slot.fill(Err(error.with_outcome(outcome)));
    }

    pub(crate) async fn replies(&self) -> Result<Vec<Answer>, LinkError> {
        let frames = std::future::poll_fn(|cx| self.slot.poll_take(cx)).await?;
        Ok(frames
            .into_iter()
            .map(|f| interpret(Ok(f), self.script))
            .collect())
    }
}
