//! What names an entry of a store or a cache.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt::Write as _;
use std::sync::Arc;

use uuid::Uuid;

use crate::error::{Error, Result};

/// The longest key of an entry as text, in bytes.
pub const MAX_ENTRY_KEY: usize = 512;

/// What names an entry of a store or a cache: a value with one text, from which it differs from every
/// other.
///
/// Text, numbers, `bool`, [`Uuid`], references to them, and tuples of up to four of them: the parts of a tuple
/// are joined by `:`, and written so that no two tuples are alike (`:` in a part is `%3A`, `%` is `%25`).
///
/// For a type of your own, write what makes it unique:
/// ```
/// use quorate::{EntryKey, StoreSpec};
///
/// struct OrderId { shop: u32, number: u64 }
///
/// impl EntryKey for OrderId {
///     fn write_to(&self, text: &mut String) {
///         (self.shop, self.number).write_to(text);
///     }
/// }
///
/// const ORDERS: StoreSpec<OrderId, String> = StoreSpec::new("orders");
/// # let _ = ORDERS;
/// ```
pub trait EntryKey {
    /// Appends the text. Two values must append the same only if they are the same key.
    fn write_to(&self, text: &mut String);
}

/// The text of a key, checked.
pub(crate) fn text_of<K: EntryKey + ?Sized>(key: &K) -> Result<String> {
    let mut text = String::with_capacity(32);
    key.write_to(&mut text);
    check(&text)?;
    Ok(text)
}

/// What `look` makes of the text of a key, and of an empty text to write to, without allocating once the thread has done so
/// before.
pub(crate) fn with_text<K: EntryKey + ?Sized, R>(
    key: &K,
    look: impl FnOnce(&str, &mut String) -> R,
) -> R {
    thread_local! {
        static TEXTS: RefCell<[String; 2]> = const { RefCell::new([String::new(), String::new()]) };
    }
    let write = |[text, other]: &mut [String; 2]| {
        text.clear();
        other.clear();
        key.write_to(text);
        look(text, other)
    };
    TEXTS.with(|texts| match texts.try_borrow_mut() {
        Ok(mut texts) => write(&mut texts),
        // A key asks for another meanwhile.
        Err(_) => write(&mut Default::default()),
    })
}

/// Refuses what cannot be a key.
pub(crate) fn check(text: &str) -> Result<()> {
    if text.is_empty() {
        return Err(Error::invalid("key", "must not be empty"));
    }
    if text.len() > MAX_ENTRY_KEY {
        let rule = format_args!("must be at most {MAX_ENTRY_KEY} bytes as text");
        return Err(Error::invalid("key", rule));
    }
    // Nearly always it is ASCII, which is looked at quickly.
    let has_control = if text.is_ascii() {
        text.bytes().any(|byte| byte.is_ascii_control())
    } else {
        text.chars().any(char::is_control)
    };
    if has_control {
        return Err(Error::invalid("key", "must not contain control characters"));
    }
    Ok(())
}

/// The longest name of a store or a cache, in bytes.
const MAX_AREA: usize = 128;

/// The rule for the names of stores and caches, as a `const fn` so that a bad `const` does not compile. A `:` ends
/// the name in a key.
pub(crate) const fn check_area(name: &[u8]) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("must not be empty");
    }
    if name.len() > MAX_AREA {
        return Err("must be at most 128 bytes");
    }
    let mut at = 0;
    while at < name.len() {
        if !(name[at].is_ascii_alphanumeric() || matches!(name[at], b'_' | b'.' | b'/' | b'-')) {
            return Err("may contain only letters, digits and `_ . / -`");
        }
        at += 1;
    }
    Ok(())
}

macro_rules! as_text {
    ($($type:ty),*) => {$(
        impl EntryKey for $type {
            fn write_to(&self, text: &mut String) {
                text.push_str(self);
            }
        }
    )*};
}

as_text!(str, String, Cow<'_, str>, Box<str>, Arc<str>);

macro_rules! as_shown {
    ($($type:ty),*) => {$(
        impl EntryKey for $type {
            fn write_to(&self, text: &mut String) {
                write!(text, "{self}").expect("a String takes everything");
            }
        }
    )*};
}

as_shown!(
    u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize, bool, Uuid
);

impl<K: EntryKey + ?Sized> EntryKey for &K {
    fn write_to(&self, text: &mut String) {
        (**self).write_to(text);
    }
}

/// Appends one part of a tuple.
fn part<K: EntryKey>(key: &K, text: &mut String) {
    let begin = text.len();
    key.write_to(text);
    if text[begin..].contains([':', '%']) {
        let written = text
            .split_off(begin)
            .replace('%', "%25")
            .replace(':', "%3A");
        text.push_str(&written);
    }
}

macro_rules! tuple {
    ($($name:ident),*) => {
        impl<First: EntryKey, $($name: EntryKey),*> EntryKey for (First, $($name),*) {
            #[expect(non_snake_case, reason = "the names of the types serve as those of the parts")]
            fn write_to(&self, text: &mut String) {
                let (First, $($name),*) = self;
                part(First, text);
                $(
                    text.push(':');
                    part($name, text);
                )*
            }
        }
    };
}

tuple!(B);
tuple!(B, C);
tuple!(B, C, D);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys_are_readable() {
        let uuid = Uuid::nil();
        assert_eq!(text_of("user:7").unwrap(), "user:7");
        assert_eq!(text_of(&7_u64).unwrap(), "7");
        assert_eq!(
            text_of(&("shop", 7, uuid)).unwrap(),
            format!("shop:7:{uuid}")
        );
        assert_eq!(text_of(&("a:b", "50%")).unwrap(), "a%3Ab:50%25");
    }

    #[test]
    fn what_cannot_be_a_key_is_refused_with_the_rule() {
        for (key, rule) in [
            ("", "key must not be empty"),
            ("a\nb", "key must not contain control characters"),
            (&*"x".repeat(513), "key must be at most 512 bytes as text"),
        ] {
            assert_eq!(text_of(key).unwrap_err().message(), Some(rule));
        }
    }

    proptest! {
        /// Defect 11 of the register: two different keys were written as one.
        #[test]
        fn defect_11_no_two_tuples_are_alike(
            one in ("[a:%0-9]{1,4}", "[a:%0-9]{1,4}"), two in ("[a:%0-9]{1,4}", "[a:%0-9]{1,4}"),
        ) {
            prop_assert_eq!(one == two, text_of(&one).unwrap() == text_of(&two).unwrap());
        }
    }
}
