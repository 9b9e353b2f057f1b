//! What a request is: its type, what it carries, and what it is answered with.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use quorate::events::Validate;

/// The longest type of a request, in bytes.
const MAX_TYPE: usize = 128;

/// How long a handler may take, unless its request says otherwise.
const DEADLINE: Duration = Duration::from_secs(30);

/// The type of a request, and what belongs to it: clients send a `T` and are answered with an `R`.
///
/// # Example
/// ```
/// use quorate_http::MessageSpec;
/// use serde::{Deserialize, Serialize};
/// use std::time::Duration;
///
/// #[derive(Serialize, Deserialize)]
/// struct SendMessage { room: String, text: String }
/// #[derive(Serialize, Deserialize)]
/// struct Sent { id: u64 }
///
/// const SEND: MessageSpec<SendMessage, Sent> = MessageSpec::new("message.send")
///     .validate(|message: &SendMessage| {
///         if message.text.is_empty() { Err("text must not be empty".into()) } else { Ok(()) }
///     })
///     .deadline(Duration::from_secs(5));
/// assert_eq!(SEND.kind(), "message.send");
/// ```
#[must_use = "a request does nothing until a router handles it"]
pub struct MessageSpec<T, R> {
    kind: &'static str,
    validate: Option<Validate<T>>,
    deadline: Duration,
    answer: PhantomData<fn() -> R>,
}

impl<T, R> MessageSpec<T, R> {
    /// Requests of this type: 1 to 128 letters, digits and `: _ . / -`, beginning neither with `__` nor with
    /// `$`, which are reserved.
    ///
    /// # Panics
    /// If the type breaks that rule; in a `const` this is a compile error.
    pub const fn new(kind: &'static str) -> Self {
        if let Err(rule) = check(kind.as_bytes()) {
            panic!("{}", rule);
        }
        Self {
            kind,
            validate: None,
            deadline: DEADLINE,
            answer: PhantomData,
        }
    }

    /// Checks what clients send; `Err` says which rule is broken, and is sent to the client.
    pub const fn validate(mut self, validate: Validate<T>) -> Self {
        self.validate = Some(validate);
        self
    }

    /// How long the handler may take; then the client is answered `DEADLINE_EXCEEDED` and the handler's
    /// future is dropped. Default 30 s.
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// The type, as it stands in frames.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        self.kind
    }

    pub(crate) const fn rule(&self) -> Option<Validate<T>> {
        self.validate
    }

    pub(super) const fn time(&self) -> Duration {
        self.deadline
    }
}

/// Whether a type is one that nobody may handle: the protocol's own.
pub(super) fn is_reserved(kind: &str) -> bool {
    kind.starts_with("__") || kind.starts_with('$')
}

/// The rule for types, as a `const fn` so that a bad `const` does not compile.
const fn check(kind: &[u8]) -> Result<(), &'static str> {
    if kind.is_empty() {
        return Err("type must not be empty");
    }
    if kind.len() > MAX_TYPE {
        return Err("type must be at most 128 bytes");
    }
    if let [b'_', b'_', ..] | [b'$', ..] = kind {
        return Err("type must not begin with `__` or `$`, which are reserved");
    }
    let mut at = 0;
    while at < kind.len() {
        let byte = kind[at];
        if !(byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'_' | b'.' | b'/' | b'-')) {
            return Err("type may contain only letters, digits and `: _ . / -`");
        }
        at += 1;
    }
    Ok(())
}

impl<T, R> Clone for MessageSpec<T, R> {
    fn clone(&self) -> Self {
        Self { ..*self }
    }
}

impl<T, R> fmt::Debug for MessageSpec<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageSpec")
            .field("kind", &self.kind)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_checked_with_the_rule_in_the_message() {
        for (kind, says) in [
            ("", "empty"),
            ("__ack", "reserved"),
            ("$ws", "reserved"),
            ("a b", "may contain"),
            (&"x".repeat(129), "128"),
        ] {
            assert!(check(kind.as_bytes()).unwrap_err().contains(says), "{kind}");
        }
        check(b"message.send/v1:a_b-c").unwrap();
    }
}
