//! The part of a namespace that a cache has for itself, its keys, and where they are on a server.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::entry_key::{self, EntryKey, with_text};
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
    /// What is before the partition in the keys of entries, and what is behind it and before the name.
    before: String,
    behind: String,
    /// What the hash of a name begins with.
    seed: u64,
    /// Whether an entry was seen that only a script can read.
    needs_scripts: AtomicBool,
}

/// The key of an entry.
#[derive(Clone, Debug)]
pub struct CacheKey {
    area: Arc<CacheArea>,
    partition: u16,
    /// That of the entry: made once, and of one piece.
    text: Box<str>,
    /// Where the name begins in it.
    name: usize,
}

/// An entry that is looked at before anything else: its key is not kept.
#[derive(Clone, Copy, Debug)]
pub struct CacheLook<'a> {
    area: &'a CacheArea,
    text: &'a str,
    /// Where the name begins in it.
    name: usize,
}

impl CacheArea {
    pub(super) fn new(namespace: &Namespace, cache: &str) -> Self {
        let namespace = namespace.clone();
        let before = namespace.qualify("cache:{");
        Self {
            namespace,
            cache: cache.to_owned(),
            before,
            behind: format!("}}:e:{cache}:"),
            seed: hashed(hashed(OFFSET, cache.as_bytes()), b":"),
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
    pub fn key(self: &Arc<Self>, name: &str) -> Result<CacheKey> {
        entry_key::check(name)?;
        let partition = self.partition(name);
        let digits = if partition > 9 { 2 } else { 1 };
        let length = self.before.len() + digits + self.behind.len() + name.len();
        let mut text = String::with_capacity(length);
        self.write_entry(partition, name, &mut text);
        Ok(CacheKey {
            area: self.clone(),
            partition,
            name: text.len() - name.len(),
            text: text.into_boxed_str(),
        })
    }

    /// What `look` makes of the entry of a key, without allocating. `None` if no entry can be called that.
    pub(super) fn with_entry<K: EntryKey + ?Sized, R>(
        &self,
        key: &K,
        look: impl FnOnce(CacheLook<'_>) -> R,
    ) -> Option<R> {
        with_text(key, |name, text| {
            entry_key::check(name).ok()?;
            self.write_entry(self.partition(name), name, text);
            let name = text.len() - name.len();
            let area = self;
            Some(look(CacheLook { area, text, name }))
        })
    }

    /// Appends the key of an entry.
    fn write_entry(&self, partition: u16, name: &str, text: &mut String) {
        // At most two digits. Formatting them would cost more than all the rest.
        let digit = |number: u16| char::from(b'0' + u8::try_from(number % 10).unwrap_or(0));
        text.push_str(&self.before);
        if partition > 9 {
            text.push(digit(partition / 10));
        }
        text.push(digit(partition));
        text.push_str(&self.behind);
        text.push_str(name);
    }

    fn partition(&self, name: &str) -> u16 {
        // FNV-1a, which every version computes alike, folded: its low bits alone are not spread well.
        let hash = hashed(self.seed, name.as_bytes());
        let folded = (hash ^ (hash >> 32)) % u64::from(PARTITIONS);
        u16::try_from(folded).unwrap_or(0)
    }

    /// What an entry or a lease of this cache is called, from its key on a server.
    #[must_use]
    pub fn name_of<'k>(&self, key: &'k str) -> Option<&'k str> {
        let rest = key.strip_prefix(&*self.before)?;
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
        &self.text[self.name..]
    }

    /// The entry, to look at it.
    #[must_use]
    pub fn look(&self) -> CacheLook<'_> {
        CacheLook {
            area: &self.area,
            text: &self.text,
            name: self.name,
        }
    }

    /// The partition it is in.
    #[must_use]
    pub const fn partition(&self) -> u16 {
        self.partition
    }

    /// The key of the entry.
    #[must_use]
    pub fn entry(&self) -> &str {
        &self.text
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
        let (cache, partition) = (&self.area.cache, self.partition);
        let (before, name) = (&self.area.before, self.name());
        format!("{before}{partition}}}:{kind}:{cache}:{name}")
    }
}

impl<'a> CacheLook<'a> {
    /// The cache it is in.
    #[must_use]
    pub const fn area(&self) -> &'a CacheArea {
        self.area
    }

    /// What it is called there.
    #[must_use]
    pub fn name(&self) -> &'a str {
        &self.text[self.name..]
    }

    /// The key of the entry.
    #[must_use]
    pub const fn entry(&self) -> &'a str {
        self.text
    }
}

const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a, gone on with.
fn hashed(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// What errors call it.
impl fmt::Display for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.area.cache, self.name())
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
            let key = profiles.key(name).unwrap();
            assert_eq!(profiles.name_of(key.entry()), Some(name));
            assert_eq!(profiles.name_of(&key.lease()), Some(name));
            assert_eq!(profiles.name_of(&key.tags()), None);
            assert_eq!(area("profile").name_of(key.entry()), None);
        }
        let key = profiles.key("7").unwrap();
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
        let of = |name: usize| profiles.key(&name.to_string()).unwrap().partition();
        assert_eq!([of(0), of(1), of(2)], [45, 26, 23]);
        let mut counts = [0_u32; PARTITIONS as usize];
        (0..64_000).for_each(|name| counts[usize::from(of(name))] += 1);
        assert!(
            counts.iter().all(|count| (800..1200).contains(count)),
            "{counts:?}"
        );
    }
}
