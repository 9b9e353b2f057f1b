//! The end of a connection: every command still in flight is answered, honestly.

use super::Driver;
use crate::connection::queue::ReplySink;
use crate::error::{LinkError, LinkErrorKind, Outcome};

impl<S> Driver<S> {
    /// Answers everything that will get no reply.
    pub(super) fn finish(&mut self, reason: &LinkError) {
        self.finished = true;
        while !self.answered.is_empty() {
            self.hand_out();
        }
        let lost = match reason.kind() {
            LinkErrorKind::ConnectionLost | LinkErrorKind::Closed => reason.clone(),
            _ => LinkError::with_source(
                LinkErrorKind::ConnectionLost,
                Outcome::Unknown,
                "the connection was dropped",
                reason.clone(),
            ),
        };
        // From the back, the commands of which no byte was written certainly had no effect.
        let mut unwritten = self.out.len() - self.written;
        let mut certain = 0;
        for entry in self.in_flight.iter().rev() {
            if entry.bytes > unwritten {
                break;
            }
            unwritten -= entry.bytes;
            certain += 1;
        }
        let uncertain = self.in_flight.len() - certain;
        let (mut commands, mut bytes) = (0, 0);
        let unknown = lost.with_outcome(Outcome::Unknown);
        let not_applied = lost.with_outcome(Outcome::NotApplied);
        let in_flight = std::mem::take(&mut self.in_flight);
        let counted = in_flight.iter().filter(|e| !e.is_probe());
        for entry in counted {
            commands += 1;
            bytes += entry.bytes;
        }
        // The queue first: whoever learns of the loss and tries again must find the door shut.
        let never_taken =
            self.queue
                .abandon(commands, bytes, reason.with_outcome(Outcome::NotApplied));
        for (at, entry) in in_flight.into_iter().enumerate() {
            fail(
                entry.sink,
                if at < uncertain {
                    &unknown
                } else {
                    &not_applied
                },
            );
        }
        for entry in never_taken {
            fail(entry.sink, &not_applied);
        }
    }
}

impl<S> Drop for Driver<S> {
    fn drop(&mut self) {
        if !self.finished {
            self.finish(&LinkError::closed());
        }
    }
}

pub(super) fn fail(sink: ReplySink, error: &LinkError) {
    match sink {
        ReplySink::One(slot) | ReplySink::Ack { slot, .. } => slot.fill(Err(error.clone())),
        ReplySink::Batch { batch, .. } => batch.fail(error),
        ReplySink::Probe | ReplySink::Abandoned => {}
    }
}
