//! Holes in a publisher's sequence: a pure function of what has been seen.

/// What a sequence number says, given those seen before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The next one, or the first ever seen of this publisher: nothing is missing before it.
    InOrder,
    /// This many messages before it are missing.
    Hole(u64),
    /// It fills a hole that has been reported.
    Late,
    /// It has been seen.
    Duplicate,
}

/// Remembers the sequence of one publisher on one topic.
///
/// A *run* begins whenever a publisher forgets its counter; sequences count from 1 in each run, and
/// runs of one publisher only grow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tracker {
    run: u64,
    highest: u64,
    /// Bit `n` is set if `highest - n` was seen. Older ones are taken for seen.
    seen: u64,
}

impl Tracker {
    /// Begins with a message: what came before it is not our concern.
    pub(crate) const fn starting_with(run: u64, sequence: u64) -> Self {
        Self {
            run,
            highest: sequence,
            seen: u64::MAX,
        }
    }

    /// Takes note of a message.
    pub(crate) fn message(&mut self, run: u64, sequence: u64) -> Verdict {
        if run < self.run {
            return Verdict::Late;
        }
        if run > self.run {
            *self = Self {
                run,
                highest: 0,
                seen: u64::MAX,
            };
        }
        if sequence > self.highest {
            let step = sequence - self.highest;
            self.seen = shifted(self.seen, step) | 1;
            self.highest = sequence;
            return if step == 1 {
                Verdict::InOrder
            } else {
                Verdict::Hole(step - 1)
            };
        }
        let behind = self.highest - sequence;
        if behind >= 64 || self.seen & (1 << behind) != 0 {
            return Verdict::Duplicate;
        }
        self.seen |= 1 << behind;
        Verdict::Late
    }

    /// Takes note of a beacon: the publisher says that `sequence` was the last it sent.
    pub(crate) fn beacon(&mut self, run: u64, sequence: u64) -> Verdict {
        if run < self.run {
            return Verdict::Duplicate;
        }
        if run > self.run {
            *self = Self {
                run,
                highest: 0,
                seen: u64::MAX,
            };
        }
        if sequence <= self.highest {
            return Verdict::Duplicate;
        }
        let missing = sequence - self.highest;
        self.seen = shifted(self.seen, missing);
        self.highest = sequence;
        Verdict::Hole(missing)
    }
}

fn shifted(seen: u64, by: u64) -> u64 {
    u32::try_from(by)
        .ok()
        .and_then(|by| seen.checked_shl(by))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_hole_is_counted_and_may_be_filled_once() {
        let mut tracker = Tracker::starting_with(1, 5);
        assert_eq!(tracker.message(1, 6), Verdict::InOrder);
        assert_eq!(tracker.message(1, 9), Verdict::Hole(2));
        assert_eq!(tracker.message(1, 8), Verdict::Late);
        assert_eq!(tracker.message(1, 8), Verdict::Duplicate);
        assert_eq!(tracker.message(1, 4), Verdict::Duplicate);
    }

    #[test]
    fn a_beacon_reveals_a_lost_tail_once() {
        let mut tracker = Tracker::starting_with(1, 5);
        assert_eq!(tracker.beacon(1, 5), Verdict::Duplicate);
        assert_eq!(tracker.beacon(1, 7), Verdict::Hole(2));
        assert_eq!(tracker.beacon(1, 7), Verdict::Duplicate);
        assert_eq!(tracker.message(1, 8), Verdict::InOrder);
        assert_eq!(tracker.message(1, 7), Verdict::Late);
    }

    #[test]
    fn a_new_run_counts_from_one() {
        let mut tracker = Tracker::starting_with(1, 500);
        assert_eq!(tracker.message(2, 1), Verdict::InOrder);
        assert_eq!(tracker.message(1, 501), Verdict::Late);
        assert_eq!(tracker.message(3, 3), Verdict::Hole(2));
    }

    proptest! {
        /// Whatever is dropped, what is reported missing and what arrives late add up.
        #[test]
        fn reported_minus_late_is_what_never_arrived(kept in proptest::collection::vec(any::<bool>(), 1..200)) {
            let mut tracker = Tracker::starting_with(1, 0);
            let (mut reported, mut late, mut lost) = (0_u64, 0_u64, 0_u64);
            let mut note = |verdict| match verdict {
                Verdict::Hole(missing) => reported += missing,
                Verdict::Late => late += 1,
                Verdict::InOrder | Verdict::Duplicate => {}
            };
            let total = kept.len() as u64;
            for (sequence, kept) in (1_u64..).zip(&kept) {
                if *kept { note(tracker.message(1, sequence)); } else { lost += 1; }
            }
            note(tracker.beacon(1, total));
            prop_assert_eq!(reported - late, lost);
        }

        /// Numbers never overflow or panic, whatever arrives.
        #[test]
        fn any_numbers_are_survived(numbers: Vec<(u8, u64, bool)>) {
            let mut tracker = Tracker::starting_with(0, 0);
            for (run, sequence, beacon) in numbers {
                if beacon { tracker.beacon(run.into(), sequence); } else { tracker.message(run.into(), sequence); }
            }
        }
    }
}
