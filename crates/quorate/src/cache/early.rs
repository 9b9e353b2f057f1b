//! When a value that is still fresh is loaded again, as a pure function: XFetch, of Vattani, Chierichetti and Lowenstein,
//! "Optimal Probabilistic Cache Stampede Prevention" (2015).

use std::time::Duration;

use super::slot::Stored;
use crate::clock::Micros;

/// What is to be known of a value that is still fresh.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ahead {
    /// When it was stored, by the home's clock.
    pub(crate) stored: Micros,
    /// How much longer it is.
    pub(crate) left: Duration,
    /// How long it took to load.
    pub(crate) cost: Duration,
}

impl Ahead {
    pub(super) fn of(stored: &Stored) -> Self {
        Self {
            stored: stored.stored,
            left: stored.fresh_until.since(stored.now),
            cost: stored.cost,
        }
    }

    /// Whether whoever reads it now is to load it again. `random` is drawn evenly, from 0 to less than 1.
    pub(super) fn is_due(self, beta: f64, random: f64) -> bool {
        is_due(self.left, self.cost, beta, random)
    }
}

/// Whether whoever reads a value that is fresh for `left` and took `cost` to load is to load it again. `random` is
/// drawn evenly, from 0 to less than 1.
///
/// Each reader decides for itself, and the more likely the nearer the end: after `cost × beta` one in e does. So a value
/// that is read often is loaded again about so long before its end, and the readers of a fleet not all at a time.
fn is_due(left: Duration, cost: Duration, beta: f64, random: f64) -> bool {
    let ahead = cost.as_secs_f64() * beta * -(1.0 - random).ln();
    // Not at all without a cost or a weight.
    ahead > 0.0 && left.as_secs_f64() <= ahead
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn one_in_e_is_due_as_long_before_the_end_as_a_load_takes() {
        let due = (0..1000)
            .filter(|number| is_due(SECOND, SECOND, 1.0, f64::from(*number) / 1000.0))
            .count();
        assert!((365..=370).contains(&due), "{due}");
        let due = (0..1000)
            .filter(|number| is_due(SECOND * 10, SECOND, 1.0, f64::from(*number) / 1000.0))
            .count();
        assert_eq!(due, 0);
    }

    proptest! {
        #[test]
        fn who_is_due_stays_so_nearer_the_end_and_with_more_weight(
            left in 0..10_000_u64, less in 0..10_000_u64, cost in 0..10_000_u64, beta in 0.0..5.0,
            more in 0.0..5.0, random in 0.0..1.0,
        ) {
            let of = Duration::from_millis;
            let due = |left, beta| is_due(of(left), of(cost), beta, random);
            if due(left, beta) {
                prop_assert!(due(left.saturating_sub(less), beta));
                prop_assert!(due(left, beta + more));
            }
        }

        #[test]
        fn without_a_cost_or_a_weight_nobody_is_due(left in 0..10_000_u64, random in 0.0..1.0) {
            let left = Duration::from_millis(left);
            prop_assert!(!is_due(left, Duration::ZERO, 1.0, random));
            prop_assert!(!is_due(left, SECOND, 0.0, random));
        }
    }
}
