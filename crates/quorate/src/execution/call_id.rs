//! What tells one call from another, so that one that is made again is known.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Identifies one call, with all its attempts. 128 random bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CallId([u8; 16]);

impl CallId {
    /// A new one, never seen before.
    #[must_use]
    pub fn random() -> Self {
        Self(rand::random())
    }
}

/// 32 hexadecimal digits.
impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}
