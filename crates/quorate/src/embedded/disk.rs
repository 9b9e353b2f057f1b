//! What the in-process backends know of the file below their tables, where there is one.

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::Ticket;
#[cfg(feature = "file")]
use super::file::Seat;
use crate::error::{Outcome, Result};

/// One instance's way to the disk; in memory alone it leads nowhere, and costs nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    #[cfg(feature = "file")]
    pub(super) seat: Option<Seat>,
}

impl Disk {
    /// Whether what is written survives the process.
    pub(crate) fn is_there(&self) -> bool {
        #[cfg(feature = "file")]
        return self.seat.is_some();
        #[cfg(not(feature = "file"))]
        false
    }

    /// Refuses work when the home is closed.
    pub(crate) fn check_open(&self) -> Result<()> {
        #[cfg(feature = "file")]
        if let Some(seat) = &self.seat {
            return seat.file().check_open();
        }
        Ok(())
    }

    /// Refuses a change when the home is closed, or its file cannot be written.
    pub(crate) fn check_writable(&self) -> Result<()> {
        #[cfg(feature = "file")]
        if let Some(seat) = &self.seat {
            return seat.file().check_writable();
        }
        Ok(())
    }

    /// Waits until what `ticket` is for is on disk; `None` if nothing has to be waited for. An error says
    /// `outcome`.
    ///
    /// To be called as soon as there is a ticket: the round is asked for at once, and not when it is awaited.
    #[cfg_attr(
        not(feature = "file"),
        expect(unused_variables, clippy::unused_self, reason = "there is no file")
    )]
    pub(crate) fn written(
        &self,
        ticket: Ticket,
        deadline: Instant,
        outcome: Outcome,
    ) -> Option<BoxFuture<'static, Result<()>>> {
        #[cfg(feature = "file")]
        if let Some(seat) = &self.seat
            && ticket != Ticket::NONE
        {
            seat.file().write_changes();
            // In a box, so that calls in memory stay small.
            let written = seat.file().clone().written(ticket, deadline, outcome);
            return Some(Box::pin(written));
        }
        None
    }
}
