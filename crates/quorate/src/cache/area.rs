//! The part of a namespace that a cache has for itself, its keys, and where they are on a server.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::entry_key;
use crate::error::Result;
use crate::key::Namespace;

/// Partitions of the caches of a namespace. Each is one unit, with what is known of tags beside its entries:
/// so a read can check an entry's tags in the same step, wherever in a cluster it is, and invalidating a tag costs
/// one small script for each. It cannot change without losing all entries.
pub const PARTITIONS: u16 = 64;

/// The part of a namespace that a cache has for itself.
#[derive(Debug)]
pub struct CacheArea {
    namespace: Namespace,
    cache: String,
    /// Whether an entry was seen that only a script can read.
    needs_scripts: AtomicBool,
}

/// The key of an entry.
#[derive(Clone, Debug)]
pub struct CacheKey {
    area: Arc<CacheArea>,
    name: String,
}

impl CacheArea {
    pub(super) fn new(namespace: &Namespace, cache: &str) -> Self {
        Self {
            namespace: namespace.clone(),
            cache: cache.to_owned(),
            needs_scripts: AtomicBool::new(false),
        }
    }

    /// Whether an entry was seen whose tags, or time, a read has to look at: then the next ones will be like it.
    #[must_use]
    pub fn needs_scripts(&self) -> bool {
        // Relaxed: whoever does not know yet finds out by itself.
        self.needs_scripts.load(Ordering::Relaxed)
    }

    /// Such an entry was seen, or written.
    pub fn will_need_scripts(&self) {
        self.needs_scripts.store(true, Ordering::Relaxed);
    }

    /// The namespace.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The cache's name.
    #[must_use]
    pub fn cache(&self) -> &str {
        &self.cache
    }

    /// The key of the entry called `name`.
    ///
    /// # Errors
    /// `InvalidInput` if no entry can be called that.
    pub fn key(self: &Arc<Self>, name: String) -> Result<CacheKey> {
        entry_key::check(&name)?;
        Ok(CacheKey {
            area: self.clone(),
            name,
        })
    }

    /// What an entry or a lease of this cache is called, from its key on a server.
    #[must_use]
    pub fn name_of<'k>(&self, key: &'k str) -> Option<&'k str> {
        let rest = key.strip_prefix(&*self.namespace.qualify("cache:{"))?;
        let (_, rest) = rest.split_once("}:")?;
        let rest = rest
            .strip_prefix("e:")
            .or_else(|| rest.strip_prefix("l:"))?;
        rest.strip_prefix(&*self.cache)?.strip_prefix(':')
    }
}

/// The key of what is known of the tags of a namespace, in one of its partitions.
pub(super) fn tags_key(namespace: &Namespace, partition: u16) -> String {
    namespace.qualify(&format!("cache:{{{partition}}}:tags"))
}

impl CacheKey {
    /// The cache it is in.
    #[must_use]
    pub fn area(&self) -> &Arc<CacheArea> {
        &self.area
    }

    /// What it is called there.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The partition it is in.
    #[must_use]
    pub fn partition(&self) -> u16 {
        // FNV-1a, which every version computes alike, folded: its low bits alone are not spread well.
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let parts = [self.area.cache.as_bytes(), b":", self.name.as_bytes()];
        for byte in parts.into_iter().flatten() {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        let folded = (hash ^ (hash >> 32)) % u64::from(PARTITIONS);
        u16::try_from(folded).unwrap_or(0)
    }

    /// The key of the entry.
    #[must_use]
    pub fn entry(&self) -> String {
        self.of('e')
    }

    /// The key of the lease of who loads it.
    #[must_use]
    pub fn lease(&self) -> String {
        self.of('l')
    }

    /// The key of what is known of tags.
    #[must_use]
    pub fn tags(&self) -> String {
        tags_key(&self.area.namespace, self.partition())
    }

    /// The channel on which the end of a load is announced.
    #[must_use]
    pub fn announced_on(&self) -> String {
        self.of('a')
    }

    fn of(&self, kind: char) -> String {
        let (partition, cache, name) = (self.partition(), &self.area.cache, &self.name);
        let namespace = self.area.namespace.as_str();
        let colon = if namespace.is_empty() { "" } else { ":" };
        // In one piece: it is made for each call.
        format!("{namespace}{colon}cache:{{{partition}}}:{kind}:{cache}:{name}")
    }
}

/// What errors call it.
impl fmt::Display for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.area.cache, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn area(cache: &str) -> Arc<CacheArea> {
        Arc::new(CacheArea::new(&Namespace::new("shop").unwrap(), cache))
    }

    #[test]
    fn names_read_back_and_those_of_others_do_not() {
        let profiles = area("profiles");
        for name in ["7", "a:b", "{x}", "}:e:", "*"] {
            let key = profiles.key(name.to_owned()).unwrap();
            assert_eq!(profiles.name_of(&key.entry()), Some(name));
            assert_eq!(profiles.name_of(&key.lease()), Some(name));
            assert_eq!(profiles.name_of(&key.tags()), None);
            assert_eq!(area("profile").name_of(&key.entry()), None);
        }
        let key = profiles.key("7".to_owned()).unwrap();
        let partition = key.partition();
        assert_eq!(
            key.entry(),
            format!("shop:cache:{{{partition}}}:e:profiles:7")
        );
        assert_eq!(key.tags(), format!("shop:cache:{{{partition}}}:tags"));
    }

    /// A change of this loses every cached entry of everybody.
    #[test]
    fn entries_stay_in_their_partitions_and_are_spread() {
        let profiles = area("profiles");
        let of = |name: usize| profiles.key(name.to_string()).unwrap().partition();
        assert_eq!([of(0), of(1), of(2)], [45, 26, 23]);
        let mut counts = [0_u32; PARTITIONS as usize];
        (0..64_000).for_each(|name| counts[usize::from(of(name))] += 1);
        assert!(
            counts.iter().all(|count| (800..1200).contains(count)),
            "{counts:?}"
        );
    }
}
