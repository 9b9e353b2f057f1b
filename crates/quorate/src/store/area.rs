//! The part of a namespace that a store has for itself, and the keys in it.

use std::fmt;

use crate::entry_key::{self, EntryKey, with_text};
use crate::error::{Error, Result};
use crate::key::{Namespace, hash_tag, untag};

/// The part of a namespace that a store has for itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Area {
    /// What stands before the name of each entry.
    prefix: String,
    /// Whether keys are exactly the namespace and the name, for programs that know nothing of us.
    raw: bool,
}

/// The key of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StoreKey {
    text: String,
    /// Where in it the name begins.
    name_at: usize,
    raw: bool,
}

impl Area {
    /// The area of the store `name`: its keys are `<namespace>:store:{<name>:<key>}`.
    pub(super) fn named(namespace: &Namespace, name: &str) -> Self {
        Self {
            prefix: namespace.qualify(&format!("store:{{{name}:")),
            raw: false,
        }
    }

    /// The namespace itself: keys are `<namespace>:<key>`.
    pub(super) fn raw(namespace: &Namespace) -> Self {
        Self {
            prefix: namespace.qualify(""),
            raw: true,
        }
    }

    /// The key of the entry called `name`.
    ///
    /// # Errors
    /// `InvalidInput` if no entry can be called that.
    pub fn key(&self, name: &str) -> Result<StoreKey> {
        let mut text = String::with_capacity(self.prefix.len() + name.len() + 1);
        self.write_key(name, &mut text)?;
        Ok(StoreKey {
            text,
            name_at: self.prefix.len(),
            raw: self.raw,
        })
    }

    /// What `look` makes of the key of an entry as text, without allocating. `None` if no entry can be called that.
    pub(super) fn with_key<K: EntryKey + ?Sized, R>(
        &self,
        key: &K,
        look: impl FnOnce(&str) -> R,
    ) -> Option<R> {
        with_text(key, |name, text| {
            self.write_key(name, text).ok()?;
            Some(look(text))
        })
    }

    /// Appends the key of an entry.
    fn write_key(&self, name: &str, text: &mut String) -> Result<()> {
        entry_key::check(name)?;
        text.push_str(&self.prefix);
        if self.raw {
            // So it is none of our own keys, which all have a hash tag.
            if name.contains(['{', '}']) {
                return Err(Error::invalid(
                    "key",
                    "must not contain braces where keys are raw",
                ));
            }
            text.push_str(name);
        } else {
            text.push_str(&hash_tag(name));
            text.push('}');
        }
        Ok(())
    }

    /// What the entry with this key is called, if it is one of this area.
    #[must_use]
    pub fn name_of(&self, key: &str) -> Option<String> {
        let rest = key.strip_prefix(&*self.prefix)?;
        if self.raw {
            return (!rest.is_empty() && !rest.contains(['{', '}'])).then(|| rest.to_owned());
        }
        // What belongs to an entry has more behind the tag.
        let name = rest.strip_suffix('}').filter(|name| !name.contains('}'))?;
        Some(untag(name))
    }

    /// What the keys of entries begin with whose names begin with `prefix`.
    #[must_use]
    pub fn beginning_with(&self, prefix: &str) -> String {
        let prefix = if self.raw {
            prefix.into()
        } else {
            hash_tag(prefix)
        };
        format!("{}{prefix}", self.prefix)
    }
}

impl StoreKey {
    /// The key as it is on a server: different for every entry of a home.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What errors call it: the store and the name in it.
    pub(crate) fn shown(&self) -> &str {
        let named = || {
            let begin = self.text[..self.name_at].rfind('{')? + 1;
            self.text.get(begin..self.text.len() - 1)
        };
        let raw = &self.text[self.name_at..];
        if self.raw {
            raw
        } else {
            named().unwrap_or(raw)
        }
    }

    /// The key of what is remembered of a write with this id, in the same slot of a cluster.
    #[must_use]
    pub fn once(&self, id: &str) -> String {
        self.beside(&format!("once:{id}"))
    }

    /// The key of the greatest fencing token that it was written with, in the same slot of a cluster.
    #[must_use]
    pub fn fence(&self) -> String {
        self.beside("fence")
    }

    fn beside(&self, what: &str) -> String {
        if self.raw {
            let (before, tag) = (&self.text[..self.name_at], &self.text);
            // A key without braces has the slot of a tag with the same text.
            format!("{before}store:{{{tag}}}:raw-{what}")
        } else {
            format!("{}:{what}", self.text)
        }
    }
}

impl fmt::Display for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace() -> Namespace {
        Namespace::new("shop").unwrap()
    }

    #[test]
    fn every_name_reads_back_and_nothing_else_does() {
        let (named, raw) = (Area::named(&namespace(), "flags"), Area::raw(&namespace()));
        for name in ["beta", "a:b", "{x}", "50%", "%7B", "é "] {
            let key = named.key(name).unwrap();
            assert_eq!(named.name_of(key.text()).as_deref(), Some(name));
            let first: String = name.chars().take(1).collect();
            assert!(key.text().starts_with(&named.beginning_with(&first)));
            assert_eq!(named.name_of(&key.once("1")), None);
            assert_eq!(raw.name_of(key.text()), None);
        }
        assert_eq!(named.key("beta").unwrap().text(), "shop:store:{flags:beta}");
        assert_eq!(raw.key("beta").unwrap().text(), "shop:beta");
        assert_eq!(named.key("beta").unwrap().shown(), "flags:beta");
        assert_eq!(raw.key("beta").unwrap().shown(), "beta");
        assert_eq!(raw.name_of("shop:beta").as_deref(), Some("beta"));
        assert_eq!(
            raw.key("beta").unwrap().once("1"),
            "shop:store:{shop:beta}:raw-once:1"
        );
        assert!(raw.key("lock:{report}").is_err());
        assert_eq!(raw.name_of(&raw.key("beta").unwrap().once("1")), None);
    }
}
