//! Namespaces and names: what may stand in a key or a channel.

use std::fmt;
use std::sync::Arc;

use crate::error::{Error, Result};

/// The longest namespace, in bytes.
pub const MAX_NAMESPACE: usize = 128;
/// The longest name of a topic, lock or other unit, in bytes.
pub const MAX_NAME: usize = 512;

/// The prefix under which a fleet keeps its keys and channels.
///
/// Letters, digits and `: _ . -`, beginning with a letter or digit; at most 128 bytes. A trailing `:`
/// is dropped, because the separator is added anyway. Empty means no prefix at all.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Namespace(Arc<str>);

impl Namespace {
    /// Checks `namespace`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) with the rule that is broken.
    pub fn new(namespace: &str) -> Result<Self> {
        let trimmed = namespace.trim_end_matches(':');
        if trimmed.len() > MAX_NAMESPACE {
            return Err(Error::config(
                "namespace",
                format_args!("must be at most {MAX_NAMESPACE} bytes"),
            ));
        }
        if trimmed.is_empty() && !namespace.is_empty() {
            return Err(Error::config("namespace", "must not consist of `:` alone"));
        }
        let mut bytes = trimmed.bytes();
        if bytes
            .next()
            .is_some_and(|first| !first.is_ascii_alphanumeric())
        {
            return Err(Error::config(
                "namespace",
                "must begin with a letter or digit",
            ));
        }
        if !bytes.all(|byte| byte.is_ascii_alphanumeric() || b":_.-".contains(&byte)) {
            return Err(Error::config(
                "namespace",
                "may contain only letters, digits and `: _ . -`",
            ));
        }
        Ok(Self(trimmed.into()))
    }

    /// This namespace extended by `inner`.
    ///
    /// # Errors
    /// As [`new`](Self::new), for the whole.
    pub fn nested(&self, inner: &str) -> Result<Self> {
        if inner.is_empty() {
            return Err(Error::config("namespace", "must not be empty"));
        }
        let inner = Self::new(inner)?;
        if self.is_empty() {
            Ok(inner)
        } else {
            Self::new(&format!("{self}:{inner}"))
        }
    }

    /// Whether there is no prefix.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The namespace as text, without a trailing separator.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `rest` under this namespace: `namespace:rest`, or `rest` alone when the namespace is empty.
    #[must_use]
    pub fn qualify(&self, rest: &str) -> String {
        if self.is_empty() {
            rest.to_owned()
        } else {
            format!("{}:{rest}", self.0)
        }
    }

    /// What is left of `qualified` without this namespace, if it is under it.
    #[must_use]
    pub fn strip<'a>(&self, qualified: &'a str) -> Option<&'a str> {
        if self.is_empty() {
            return Some(qualified);
        }
        qualified.strip_prefix(&*self.0)?.strip_prefix(':')
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// The unit a port works on: a name within a namespace.
///
/// A home turns it into keys of its own; on Redis everything that belongs to one unit shares a hash tag.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    namespace: Namespace,
    name: Arc<str>,
}

impl Key {
    /// The unit called `name` in `namespace`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if `name` is empty, longer than 512
    /// bytes, or contains a control character.
    pub fn new(namespace: &Namespace, name: &str) -> Result<Self> {
        check_name("name", name)?;
        Ok(Self {
            namespace: namespace.clone(),
            name: name.into(),
        })
    }

    /// The namespace.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The name within the namespace.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Key {
    /// A key or channel of this unit: `<namespace>:<capability>:{<name>}<rest>`.
    ///
    /// Everything made for one unit shares the hash tag, and so the slot of a cluster.
    #[must_use]
    pub fn unit(&self, capability: &str, rest: &str) -> String {
        let tag = hash_tag(&self.name);
        self.namespace
            .qualify(&format!("{capability}:{{{tag}}}{rest}"))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Refuses names that are empty, oversized, or hold control characters.
pub(crate) fn check_name(field: &str, name: &str) -> Result<()> {
    if name.is_empty() {
        return Err(Error::invalid(field, "must not be empty"));
    }
    if name.len() > MAX_NAME {
        return Err(Error::invalid(
            field,
            format_args!("must be at most {MAX_NAME} bytes"),
        ));
    }
    if name.chars().any(char::is_control) {
        return Err(Error::invalid(field, "must not contain control characters"));
    }
    Ok(())
}

/// `name` as it may stand between the braces of a hash tag: a brace in it would end or begin the tag
/// elsewhere, and spread one unit over two slots.
pub(crate) fn hash_tag(name: &str) -> std::borrow::Cow<'_, str> {
    if name.bytes().any(|byte| matches!(byte, b'{' | b'}' | b'%')) {
        name.replace('%', "%25")
            .replace('{', "%7B")
            .replace('}', "%7D")
            .into()
    } else {
        name.into()
    }
}

/// The name that was written as `tag`.
pub(crate) fn untag(tag: &str) -> String {
    if tag.contains('%') {
        tag.replace("%7B", "{")
            .replace("%7D", "}")
            .replace("%25", "%")
    } else {
        tag.to_owned()
    }
}

impl From<&Self> for Key {
    fn from(key: &Self) -> Self {
        key.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_never_reach_the_hash_tag() {
        assert_eq!(hash_tag("report"), "report");
        assert_eq!(hash_tag("}{%"), "%7D%7B%25");
        assert_eq!(hash_tag("größe"), "größe");
        for name in ["report", "}{%", "%7B", "%257D{", "größe"] {
            assert_eq!(untag(&hash_tag(name)), name);
        }
        let key = Key::new(&Namespace::new("shop").unwrap(), "}x").unwrap();
        assert_eq!(key.unit("lock", ":released"), "shop:lock:{%7Dx}:released");
    }

    #[test]
    fn a_namespace_is_checked_and_trimmed() {
        assert_eq!(Namespace::new("shop:prod:").unwrap().as_str(), "shop:prod");
        assert_eq!(Namespace::new("").unwrap().qualify("c"), "c");
        assert_eq!(Namespace::new("a").unwrap().qualify("c"), "a:c");
        for bad in [":", "*", "a b", "ä", "-a", &"x".repeat(129)] {
            let error = Namespace::new(bad).unwrap_err().to_string();
            assert!(error.contains("namespace"), "{bad}: {error}");
        }
    }

    #[test]
    fn nesting_keeps_the_outer_namespace() {
        let outer = Namespace::new("shop").unwrap();
        assert_eq!(
            outer.nested("tenant:acme").unwrap().as_str(),
            "shop:tenant:acme"
        );
        assert_eq!(outer.strip("shop:x"), Some("x"));
        assert_eq!(outer.strip("shopping:x"), None);
        assert!(outer.nested("").is_err());
    }

    #[test]
    fn names_are_checked() {
        let namespace = Namespace::default();
        assert!(Key::new(&namespace, "{}").is_ok());
        assert!(Key::new(&namespace, "").is_err());
        assert!(Key::new(&namespace, "a\nb").is_err());
        assert!(Key::new(&namespace, &"x".repeat(513)).is_err());
    }
}
