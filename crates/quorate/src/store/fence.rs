//! The greatest fencing token that an entry was written with, as a pure function: `scripts/*.lua` mirror it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Micros;
use crate::lock::FencingToken;

/// How long a token is remembered after the last write with one: longer than the longest lease of a lock.
pub(super) const REMEMBERED: Duration = Duration::from_secs(31 * 24 * 3600);

/// What is remembered of the tokens that an entry was written with; also when the entry is gone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fence {
    greatest: Option<Greatest>,
    /// Whether it came, grew or went since somebody asked.
    changed: bool,
}

/// The greatest, and until when it is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Greatest {
    token: u64,
    until: Micros,
}

impl Fence {
    /// Lets a token pass that is as great as the greatest at least, which it is from now on.
    ///
    /// # Errors
    /// The greatest, if this one is smaller.
    pub(super) fn pass(&mut self, token: FencingToken, now: Micros) -> Result<(), FencingToken> {
        match self.greatest {
            Some(Greatest {
                token: greatest, ..
            }) if token.get() < greatest => Err(FencingToken::new(greatest)),
            _ => {
                self.changed = true;
                self.greatest = Some(Greatest {
                    token: token.get(),
                    until: now.plus(REMEMBERED),
                });
                Ok(())
            }
        }
    }

    /// Forgets what has ended.
    pub(super) fn expire(&mut self, now: Micros) {
        if self.due().is_some_and(|until| until <= now) {
            (self.greatest, self.changed) = (None, true);
        }
    }

    /// When it is forgotten.
    pub(super) fn due(&self) -> Option<Micros> {
        self.greatest.map(|greatest| greatest.until)
    }

    /// Whether it came, grew or went since this was last asked.
    pub(super) fn changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }
}

/// For the file that it is kept in.
#[cfg(feature = "file")]
impl Fence {
    /// What the file has to say of it; `None`: nothing.
    pub(super) const fn kept(&self) -> Option<&Greatest> {
        self.greatest.as_ref()
    }

    /// What the file says of it.
    pub(super) const fn of(greatest: Greatest) -> Self {
        Self {
            greatest: Some(greatest),
            changed: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_smaller_token_does_not_pass_until_the_greatest_is_forgotten() {
        let (mut fence, start) = (Fence::default(), Micros::new(7));
        let (old, new) = (FencingToken::new(3), FencingToken::new(5));
        assert_eq!(fence.pass(new, start), Ok(()));
        assert_eq!(fence.pass(new, start), Ok(()), "its holder writes again");
        assert_eq!(fence.pass(old, start), Err(new));
        fence.expire(start.plus(REMEMBERED / 2));
        assert_eq!(fence.pass(old, start), Err(new));
        fence.expire(start.plus(REMEMBERED));
        assert!(fence.changed() && !fence.changed());
        assert_eq!((fence.due(), fence), (None, Fence::default()));
    }
}
