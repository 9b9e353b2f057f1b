//! What is known of the tags of a namespace, as pure functions: `scripts/*.lua` mirror them.

use std::collections::HashMap;
use std::time::Duration;

use crate::clock::Micros;

/// The longest load whose value is kept. What happened to tags is remembered for as long as that matters, and this
/// much longer.
pub(super) const LONGEST_LOAD: Duration = Duration::from_secs(3600);

/// Tags remembered per namespace before those that matter to nobody any more are looked for.
const MANY: usize = 1024;

/// What is known of the tags of a namespace.
#[derive(Debug, Default)]
pub(crate) struct Tags {
    /// The newest generation.
    pub(super) last: u64,
    /// The generation of a tag's last invalidation, and when it was.
    invalidated: HashMap<String, (u64, Micros)>,
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
        if self.invalidated.len() >= MANY && self.invalidated.len().is_power_of_two() {
            // What it could have ended is gone by itself.
            let longest = self.longest;
            self.invalidated
                .retain(|_, (_, at)| at.plus(longest + LONGEST_LOAD) > now);
        }
    }

    /// Whether none of these was invalidated after `generation`.
    pub(super) fn are_untouched(&self, tags: &[String], generation: u64) -> bool {
        let touched = |tag: &String| {
            let last = self.invalidated.get(tag);
            last.is_some_and(|(last, _)| *last > generation)
        };
        !tags.iter().any(touched)
    }
}
