//! The instances that have a home's file open: the last to go closes it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::HomeFile;
use crate::error::{Error, Result};
use crate::hooks::{ErrorSource, Hooks};
use crate::state::{ConnectionState, Monitor};

/// An instance's use of the file.
///
/// # Clone
/// Clones are the same seat. It is left with [`leave`](Self::leave), or when the last clone is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Seat(Arc<Place>);

#[derive(Debug)]
struct Place {
    file: Arc<HomeFile>,
    hooks: Hooks,
    monitor: OnceLock<Weak<Monitor>>,
    left: AtomicBool,
}

/// Who uses the file.
#[derive(Debug, Default)]
pub(super) struct Seats(Mutex<Taken>);

#[derive(Debug, Default)]
struct Taken {
    count: usize,
    places: Vec<Weak<Place>>,
    /// The last has gone, and nobody may come any more.
    ending: bool,
}

impl Seat {
    /// A seat for a further instance.
    ///
    /// # Errors
    /// `Closed` when the last one has gone.
    pub(crate) fn take(file: &Arc<HomeFile>, hooks: &Hooks) -> Result<Self> {
        let mut taken = file.seats().0.lock();
        if taken.ending {
            return Err(Error::closed("the home"));
        }
        let place = Arc::new(Place {
            file: file.clone(),
            hooks: hooks.clone(),
            monitor: OnceLock::new(),
            left: AtomicBool::new(false),
        });
        taken.count += 1;
        taken.places.retain(|place| place.strong_count() > 0);
        taken.places.push(Arc::downgrade(&place));
        Ok(Self(place))
    }

    pub(crate) fn file(&self) -> &Arc<HomeFile> {
        &self.0.file
    }

    /// Where to show whether the file can be written.
    pub(crate) fn report_to(&self, monitor: &Arc<Monitor>) {
        self.0.monitor.get_or_init(|| Arc::downgrade(monitor));
    }

    /// Leaves, and if it was the last, waits until the file is closed or it is time.
    pub(crate) async fn leave(&self, deadline: Instant) {
        if self.0.leave() {
            self.0.file.ended(deadline).await;
        }
    }
}

impl Place {
    /// Returns whether it is, or was, the last.
    fn leave(&self) -> bool {
        let ending = {
            let mut taken = self.file.seats().0.lock();
            if self.left.swap(true, Ordering::SeqCst) {
                return taken.ending;
            }
            taken.count -= 1;
            taken.ending = taken.count == 0;
            taken.ending
        };
        if ending {
            self.file.write_soon();
        }
        ending
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Seats {
    pub(super) fn are_ending(&self) -> bool {
        self.0.lock().ending
    }

    /// Tells the hooks of every instance.
    pub(super) fn tell(&self, error: &Error) {
        for place in self.places() {
            place.hooks.error(ErrorSource::File, error);
        }
    }

    /// Shows every instance's state.
    pub(super) fn show(&self, state: ConnectionState, reason: &str) {
        for place in self.places() {
            if !place.left.load(Ordering::SeqCst)
                && let Some(monitor) = place.monitor.get().and_then(Weak::upgrade)
            {
                monitor.set(state, reason);
            }
        }
    }

    /// Not under the lock: a hook may do anything, and the last to drop a place takes the lock.
    fn places(&self) -> Vec<Arc<Place>> {
        let taken = self.0.lock();
        taken.places.iter().filter_map(Weak::upgrade).collect()
    }
}
