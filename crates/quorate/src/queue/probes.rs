//! Whether the jobs of a queue wait for too long: a pure function of which were last in line, when, and which of those wait still.
//!
//! When a job was queued says nothing of how long it has been ready: it may have been delayed, or tried before. So a job that is last in line is
//! looked at again: while it is ready, somebody waits at least since then; once it is not, nobody does who was in line with it.

use std::collections::VecDeque;
use std::time::Duration;

use super::job::JobId;

/// Into how many parts the longest wait is divided by those that are looked at again: the longer it is, the fewer are taken note of.
const PARTS: u32 = 8;

/// Jobs that were last in line, and when that was seen.
#[derive(Debug, Default)]
pub(super) struct Probes {
    seen: VecDeque<(Duration, JobId)>,
}

impl Probes {
    /// The one that was seen first, to be looked at.
    pub(super) fn first(&self) -> Option<JobId> {
        self.seen.front().map(|(_, id)| *id)
    }

    /// That one waits no more.
    pub(super) fn pass(&mut self) {
        self.seen.pop_front();
    }

    /// Takes note of who is last in line now.
    pub(super) fn saw(&mut self, now: Duration, last: Option<JobId>) {
        let Some(last) = last else {
            // Nobody waits.
            return self.seen.clear();
        };
        let is_near =
            |(at, _): &(Duration, JobId)| now.saturating_sub(*at) < self.waited(now) / PARTS;
        let is_known = self.seen.iter().any(|(_, id)| *id == last);
        if !is_known && !self.seen.back().is_some_and(is_near) {
            self.seen.push_back((now, last));
        }
    }

    /// How long somebody has waited, at least.
    pub(super) fn waited(&self, now: Duration) -> Duration {
        let first = self.seen.front().map(|(at, _)| *at);
        first.map_or(Duration::ZERO, |at| now.saturating_sub(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn id(number: u32) -> JobId {
        let mut bytes = [0; 16];
        bytes[12..].copy_from_slice(&number.to_be_bytes());
        JobId::from_bytes(bytes)
    }

    /// Looks at a line in which one is queued each second, of whom the first ones have been taken.
    fn look(probes: &mut Probes, second: u32, taken: u32) -> Duration {
        let now = SECOND * second;
        while probes.first().is_some_and(|first| first < id(taken)) {
            probes.pass();
        }
        probes.saw(now, (second >= taken).then(|| id(second)));
        probes.waited(now)
    }

    #[test]
    fn who_is_taken_in_time_is_not_behind() {
        let mut probes = Probes::default();
        for second in 1..100 {
            assert_eq!(look(&mut probes, second, second), Duration::ZERO);
        }
    }

    #[test]
    fn nobody_in_line_has_waited() {
        let mut probes = Probes::default();
        look(&mut probes, 1, 0);
        assert_eq!(look(&mut probes, 9, 0), 8 * SECOND);
        probes.saw(10 * SECOND, None);
        assert_eq!(probes.waited(11 * SECOND), Duration::ZERO);
    }

    proptest! {
        /// Never more than the first in line has waited, and no more than a part less.
        #[test]
        fn what_is_told_is_never_more_than_it_is(pace in 1..4_u32, seconds in 2..400_u32) {
            let mut probes = Probes::default();
            for second in 1..seconds {
                // So many in ten seconds fewer than come.
                let taken = second - second * pace / 10;
                let waited = look(&mut probes, second, taken);
                let longest = SECOND * (second - taken);
                prop_assert!(waited <= longest, "{waited:?} of {longest:?}");
                prop_assert!(waited + SECOND >= longest / 10 * 8, "{waited:?} of {longest:?}");
                prop_assert!(probes.seen.len() < 50, "{}", probes.seen.len());
            }
        }
    }
}
