//! What names a session: a secret id for its holder, a public handle for everybody else.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use rand::TryRng;
use rand::rngs::SysRng;
use sha2::{Digest as _, Sha256};

use crate::error::{Error, ErrorKind, Result};

/// Bytes of an id: partition, serial and secret.
const ID: usize = 16 + 16 + 32;

/// The unit that a session belongs to: that of its user, or one of its own.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Place([u8; 16]);

/// The number of a session in its partition. 128 random bits, never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial([u8; 16]);

/// What is kept of an id: its SHA-256.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct IdDigest(pub(super) [u8; 32]);

/// The secret by which its holder proves a session: 256 bits from the operating system.
///
/// It is shown once, when the session is made or rotated; what is stored is only its SHA-256. `Debug` does not
/// show it.
///
/// # Example
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> quorate::Result<()> {
/// use quorate::{Fleet, SessionId};
///
/// let sessions = Fleet::embedded().sessions();
/// let cookie = sessions.create("alice").await?.id.expose();
/// let id = SessionId::parse(&cookie).expect("what was exposed");
/// assert!(sessions.is_valid(&id).await?);
/// assert!(SessionId::parse("anything else").is_none());
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct SessionId {
    pub(super) handle: SessionHandle,
    secret: [u8; 32],
}

/// The public name of a session: it can be shown in a list and deletes the session, but does not prove it.
///
/// It stays the same when the session's id is rotated, until somebody logs in.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionHandle {
    pub(super) place: Place,
    pub(super) serial: Serial,
}

/// A session by its [`SessionId`] or its [`SessionHandle`].
pub trait SessionRef: sealed::Sealed + Sync {
    /// Its public name.
    fn handle(&self) -> SessionHandle;

    #[doc(hidden)]
    fn digest(&self) -> Option<IdDigest>;
}

mod sealed {
    #[expect(unnameable_types, reason = "nobody else implements it")]
    pub trait Sealed {}
    impl Sealed for super::SessionId {}
    impl Sealed for super::SessionHandle {}
}

impl SessionRef for SessionId {
    fn handle(&self) -> SessionHandle {
        self.handle
    }

    fn digest(&self) -> Option<IdDigest> {
        let mut hash = Sha256::new();
        hash.update(self.handle.place.0);
        hash.update(self.handle.serial.0);
        hash.update(self.secret);
        Some(IdDigest(hash.finalize().into()))
    }
}

impl SessionRef for SessionHandle {
    fn handle(&self) -> SessionHandle {
        *self
    }

    fn digest(&self) -> Option<IdDigest> {
        None
    }
}

/// Bytes that nobody can guess.
fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    SysRng.try_fill_bytes(&mut bytes).map_err(|source| {
        Error::new(ErrorKind::Backend)
            .with_message("the operating system gave no random bytes")
            .with_source(source)
    })?;
    Ok(bytes)
}

impl Place {
    /// That of a user: the same for all who have the key, and for nobody else.
    pub(super) fn of_user(key: &[u8], user: &str) -> Self {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length is a key");
        mac.update(user.as_bytes());
        let mut place = [0; 16];
        place.copy_from_slice(&mac.finalize().into_bytes()[..16]);
        Self(place)
    }

    /// One of its own.
    pub(super) fn random() -> Result<Self> {
        random().map(Self)
    }
}

impl SessionId {
    /// A new session in this partition.
    pub(super) fn new(place: Place) -> Result<Self> {
        let serial = Serial(random()?);
        Self::of(SessionHandle { place, serial })
    }

    /// A new secret for a session.
    pub(super) fn of(handle: SessionHandle) -> Result<Self> {
        let secret = random()?;
        Ok(Self { handle, secret })
    }

    /// The whole id, as a cookie or a bearer token carries it: 86 letters, digits, `-` and `_`.
    #[must_use]
    pub fn expose(&self) -> String {
        let mut bytes = [0; ID];
        bytes[..16].copy_from_slice(&self.handle.place.0);
        bytes[16..32].copy_from_slice(&self.handle.serial.0);
        bytes[32..].copy_from_slice(&self.secret);
        BASE64.encode(bytes)
    }

    /// Reads what [`expose`](Self::expose) wrote; `None` if it is not that. Whether there is such a session is
    /// not asked.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes: [u8; ID] = BASE64.decode(text).ok()?.try_into().ok()?;
        let (mut place, mut serial, mut secret) = ([0; 16], [0; 16], [0; 32]);
        place.copy_from_slice(&bytes[..16]);
        serial.copy_from_slice(&bytes[16..32]);
        secret.copy_from_slice(&bytes[32..]);
        let handle = SessionHandle {
            place: Place(place),
            serial: Serial(serial),
        };
        Some(Self { handle, secret })
    }
}

impl SessionHandle {
    /// Reads the form that `Display` writes; `None` if it is not that.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (place, serial) = text.split_once('.')?;
        Some(Self {
            place: Place(bytes_of(place)?),
            serial: Serial(bytes_of(serial)?),
        })
    }
}

impl Serial {
    /// None is behind it.
    pub(super) const LAST: Self = Self([0xff; 16]);

    /// Reads the form that `Display` writes: 32 hexadecimal digits in lower case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        bytes_of(text).map(Self)
    }

    /// From its bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl IdDigest {
    /// From its bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

fn bytes_of(text: &str) -> Option<[u8; 16]> {
    let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if text.len() != 32 || !text.bytes().all(is_hex) {
        return None;
    }
    u128::from_str_radix(text, 16).ok().map(u128::to_be_bytes)
}

/// Every call about a session does this: the formatting of numbers takes several times as long.
fn write_hex(bytes: [u8; 16], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 32];
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    f.write_str(std::str::from_utf8(&text).expect("digits"))
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(self.0, f)
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(self.0, f)
    }
}

impl fmt::Display for SessionHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.place, f)?;
        f.write_str(".")?;
        fmt::Display::fmt(&self.serial, f)
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for SessionHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionHandle({self})")
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({}, …)", self.handle)
    }
}

impl fmt::Debug for IdDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdDigest(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_handles_read_back_and_nothing_else_does() {
        let id = SessionId::new(Place::random().unwrap()).unwrap();
        let text = id.expose();
        assert_eq!(text.len(), 86);
        let read = SessionId::parse(&text).unwrap();
        assert!(read.digest() == id.digest() && read.handle() == id.handle());
        let handle = id.handle().to_string();
        assert_eq!(SessionHandle::parse(&handle), Some(id.handle()));
        for wrong in [
            "",
            "é",
            &text[1..],
            &format!("{text}A"),
            &handle,
            &"~".repeat(86),
        ] {
            assert!(SessionId::parse(wrong).is_none(), "{wrong}");
        }
        for wrong in [
            "",
            ".",
            &text,
            &handle[1..],
            &handle.to_uppercase(),
            &"+".repeat(65),
        ] {
            assert!(
                SessionHandle::parse(wrong).is_none() || *wrong == handle,
                "{wrong}"
            );
        }
    }

    #[test]
    fn neither_debug_nor_the_handle_shows_the_secret() {
        let id = SessionId::new(Place::random().unwrap()).unwrap();
        let secret = &id.expose()[43..];
        assert!(!format!("{id:?} {} {:?}", id.handle(), id.digest()).contains(secret));
        let hex: String = id.secret.iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(!format!("{id:?} {}", id.handle()).contains(&hex));
    }

    #[test]
    fn a_users_partition_is_that_of_key_and_user() {
        let place = Place::of_user(b"k", "alice");
        assert_eq!(place, Place::of_user(b"k", "alice"));
        assert_ne!(place, Place::of_user(b"k", "bob"));
        assert_ne!(place, Place::of_user(b"l", "alice"));
    }
}
