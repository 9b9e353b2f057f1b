//! Whose turn it is: start-time fair queueing, each step a pure function.
//!
//! A job has a tag: one more than the last of its group, or than what the queue has come to, whichever is later. So groups
//! take turns, whatever each of them has queued, and within a group the older job is first. Priority is a head start of so
//! many turns: who has less of it is passed by so many jobs at most, and never waits for ever.
//!
//! Goyal, Vin, Cheng: Start-time Fair Queueing (SIGCOMM 1996), with every job of the same cost.

use std::collections::HashMap;

/// The most urgent jobs.
pub const MOST_PRIORITY: u8 = 9;
/// How many turns a step of priority is ahead.
pub(super) const HEAD_START: i64 = 1_000;
/// Groups that are behind are forgotten when there are more than twice as many as the last time.
const FEW: usize = 64;

/// Where a job stands among those that are ready; the least is next.
pub(super) type Rank = i64;

/// The tags of a queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fairness {
    /// The greatest tag delivered.
    turn: i64,
    /// The last tag of each group. One that the queue has come to says nothing.
    tags: HashMap<String, i64>,
    /// After how many groups to look for those.
    sweep_at: usize,
}

impl Fairness {
    /// The rank of a job that is ready now.
    pub(super) fn rank(&mut self, group: &str, priority: u8) -> Rank {
        let turn = self.turn;
        let tag = match self.tags.get_mut(group) {
            Some(last) => {
                *last = turn.max(*last) + 1;
                *last
            }
            None => {
                self.sweep();
                self.tags.insert(group.to_owned(), turn + 1);
                turn + 1
            }
        };
        tag - head_start(priority)
    }

    /// As it is when such a tag was the greatest delivered, and nobody else was there.
    #[cfg(feature = "file")]
    pub(super) fn after(turn: i64) -> Self {
        Self {
            turn,
            ..Self::default()
        }
    }

    /// The greatest tag delivered.
    #[cfg(feature = "file")]
    pub(super) const fn turn(&self) -> i64 {
        self.turn
    }

    /// Takes note of a job that was ready already.
    #[cfg(feature = "file")]
    pub(super) fn saw(&mut self, group: &str, rank: Rank, priority: u8) {
        let tag = rank + head_start(priority);
        let last = self.tags.entry(group.to_owned()).or_default();
        *last = tag.max(*last);
    }

    /// Takes note that a job was delivered.
    pub(super) fn claimed(&mut self, rank: Rank, priority: u8) {
        self.turn = self.turn.max(rank + head_start(priority));
    }

    fn sweep(&mut self) {
        if self.tags.len() >= self.sweep_at.max(FEW) {
            let turn = self.turn;
            self.tags.retain(|_, last| *last > turn);
            self.sweep_at = self.tags.len() * 2;
        }
    }
}

fn head_start(priority: u8) -> i64 {
    i64::from(priority) * HEAD_START
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use proptest::prelude::*;

    /// Delivers everything, and says in which order.
    fn order(jobs: &[(&'static str, u8)]) -> Vec<usize> {
        let mut fairness = Fairness::default();
        let ranked = jobs.iter().enumerate();
        let ranked = ranked.map(|(nth, (group, priority))| (fairness.rank(group, *priority), nth));
        ranked
            .collect::<BTreeSet<_>>()
            .into_iter()
            .map(|(_, nth)| nth)
            .collect()
    }

    #[test]
    fn groups_take_turns_and_the_older_of_a_group_is_first() {
        let jobs = [("a", 0), ("a", 0), ("a", 0), ("b", 0), ("b", 0), ("c", 0)];
        assert_eq!(order(&jobs), [0, 3, 5, 1, 4, 2]);
    }

    #[test]
    fn what_is_urgent_is_ahead() {
        assert_eq!(
            order(&[("", 0), ("", 0), ("", 1), ("", 9), ("", 1)]),
            [3, 2, 4, 0, 1]
        );
    }

    #[test]
    fn who_comes_late_neither_gains_nor_loses() {
        let mut fairness = Fairness::default();
        for _ in 0..10 {
            let rank = fairness.rank("busy", 0);
            fairness.claimed(rank, 0);
        }
        let (busy, late) = (fairness.rank("busy", 0), fairness.rank("late", 0));
        assert_eq!((busy, late), (11, 11));
    }

    const GROUPS: [&str; 3] = ["a", "b", "c"];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        /// However urgent others are, and however many groups there are of them: each passes by its head start at most.
        #[test]
        fn nobody_starves(others in prop::collection::vec((0_u8..3, 1..=MOST_PRIORITY), 1..20)) {
            let mut fairness = Fairness::default();
            let mut ready = BTreeSet::from([(fairness.rank("patient", 0), 0_usize, 0_u8)]);
            let most = 3 * (usize::from(MOST_PRIORITY) * 1_000 + 1) + others.len();
            let mut number = 0;
            let mut is_waiting = true;
            while is_waiting {
                for (group, priority) in &others {
                    number += 1;
                    ready.insert((fairness.rank(GROUPS[usize::from(*group)], *priority), number, *priority));
                }
                for _ in 0..others.len() {
                    let (rank, nth, priority) = ready.pop_first().unwrap();
                    is_waiting &= nth != 0;
                    fairness.claimed(rank, priority);
                }
                prop_assert!(number <= most, "{number} others have passed");
            }
        }
    }

    proptest! {
        /// What is forgotten of groups makes no difference.
        #[test]
        fn forgetting_changes_nothing(jobs in prop::collection::vec((0_u16..500, 0..=MOST_PRIORITY, any::<bool>()), 0..2_000)) {
            let mut fairness = Fairness::default();
            let (mut turn, mut tags) = (0, HashMap::<u16, i64>::new());
            for (group, priority, is_delivered) in jobs {
                let rank = fairness.rank(&group.to_string(), priority);
                let tag = tags.get(&group).copied().unwrap_or(0).max(turn) + 1;
                tags.insert(group, tag);
                prop_assert_eq!(rank, tag - head_start(priority));
                if is_delivered {
                    fairness.claimed(rank, priority);
                    turn = turn.max(tag);
                }
            }
        }
    }
}
