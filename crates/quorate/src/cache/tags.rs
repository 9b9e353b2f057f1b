//! What is known of the tags of a namespace, as pure functions: `scripts/*.lua` mirror them.

use std::collections::HashMap;
use std::time::Duration;

use crate::clock::Micros;

/// The longest load whose value is kept. What happened to tags is remembered for as long as that matters, and this
/// much longer.
pub(super) const LONGEST_LOAD: Duration = Duration::from_secs(3600);

/// Tags remembered per namespace before those that matter to nobody any more are looked for.
const MANY: usize = 1024;

/// The most that are remembered: beyond, everything with tags has ended.
const MOST: usize = 100_000;

/// What is known of the tags of a namespace.
#[derive(Debug, Default)]
pub(crate) struct Tags {
    /// The newest generation.
    pub(super) last: u64,
    /// The generation of a tag's last invalidation, and when it was.
    invalidated: HashMap<String, (u64, Micros)>,
    /// What has tags and is older than this generation has ended.
    floor: u64,
    /// How many were remembered when they were looked through last.
    looked: usize,
    /// The longest time that anything with tags is kept.
    longest: Duration,
}

impl Tags {
    /// Something with tags is to be kept for so long.
    pub(super) fn will_keep(&mut self, time: Duration) {
        self.longest = self.longest.max(time);
    }

    /// Ends everything that has the tag and was stored before.
    pub(super) fn invalidate(&mut self, tag: &str, now: Micros) {
        self.last += 1;
        self.invalidated.insert(tag.to_owned(), (self.last, now));
        if self.invalidated.len() >= MANY.max(self.looked * 2) {
            // What it could have ended is gone by itself.
            let longest = self.longest;
            self.invalidated
                .retain(|_, (_, at)| at.plus(longest + LONGEST_LOAD) > now);
            self.looked = self.invalidated.len();
        }
        if self.invalidated.len() > MOST {
            self.invalidated.clear();
            (self.floor, self.looked) = (self.last, 0);
        }
    }

    /// Whether none of these was invalidated after `generation`.
    pub(super) fn are_untouched(&self, tags: &[String], generation: u64) -> bool {
        let touched = |tag: &String| {
            let last = self.invalidated.get(tag);
            last.is_some_and(|(last, _)| *last > generation)
        };
        tags.is_empty() || (generation >= self.floor && !tags.iter().any(touched))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_bounded_and_nothing_old_comes_back() {
        let mut tags = Tags::default();
        tags.will_keep(Duration::from_secs(365 * 24 * 3600));
        let of = |name: &str| [name.to_owned()];
        tags.invalidate("first", Micros::new(1));
        let before = tags.last;
        for number in 0..2 * MOST as u64 {
            tags.invalidate(&number.to_string(), Micros::new(number));
            assert!(tags.invalidated.len() <= MOST);
        }
        assert!(!tags.are_untouched(&of("first"), 0));
        assert!(
            !tags.are_untouched(&of("another"), before),
            "it is too old to be known"
        );
        assert!(tags.are_untouched(&of("another"), tags.last));
        assert!(tags.are_untouched(&[], 0));
    }
}
