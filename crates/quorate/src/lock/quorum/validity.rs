//! How long is how long, on clocks that are not quite alike: each a pure function.

use std::time::Duration;

use crate::clock::whole_micros;

/// Clocks may go wrong by one part in so many.
const DRIFT_OF: u64 = 100;
/// And what ends by them may be noticed so much too early.
const DRIFT: Duration = Duration::from_millis(2);
/// A server that has not answered by then is not waited for, however long the lease.
const LONGEST_PATIENCE: Duration = Duration::from_secs(1);
/// But by then, however short the lease.
const SHORTEST_PATIENCE: Duration = Duration::from_millis(20);

/// How many votes decide.
pub(super) const fn majority(servers: usize) -> usize {
    servers / 2 + 1
}

/// How long servers keep a vote for a lease that its holder believes to have for `length`, from before it asked: so much
/// longer that by a clock that goes as wrong as it may, it is still there.
pub(super) fn kept_for(length: Duration) -> Duration {
    let micros = whole_micros(length).saturating_add(whole_micros(DRIFT));
    let parts = u128::from(micros) * u128::from(DRIFT_OF);
    let micros = parts.div_ceil(u128::from(DRIFT_OF - 1));
    Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
}

/// How long to wait for an answer: a small part of the lease, which goes on meanwhile.
pub(super) fn patience(length: Duration) -> Duration {
    (length / 4).clamp(SHORTEST_PATIENCE, LONGEST_PATIENCE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_majority_is_more_than_half() {
        let majorities: Vec<_> = (1..=7).map(majority).collect();
        assert_eq!(majorities, [1, 2, 2, 3, 3, 4, 4]);
    }

    proptest! {
        /// Two majorities have a server in common.
        #[test]
        fn two_majorities_meet(servers in 1..100_usize) {
            prop_assert!(2 * majority(servers) > servers);
        }

        /// What is left of it after the drift is what was asked for.
        #[test]
        fn a_vote_outlasts_the_lease_by_the_drift(micros in 10_000..2_592_000_000_000_u64) {
            let length = Duration::from_micros(micros);
            let kept = kept_for(length);
            let validity = kept - kept / 100 - DRIFT;
            prop_assert!(validity + Duration::from_micros(2) >= length && validity <= length + Duration::from_micros(2));
        }
    }
}
