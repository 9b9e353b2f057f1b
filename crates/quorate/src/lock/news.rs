//! What is announced of a lock, as text on its channel: a pure function of it, there and back.

use std::fmt;

use super::lease::{FencingToken, LeaseId};

/// What is public of a lease id: enough for its owner to know itself by, and not enough to release it with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WaiterId(u64);

impl WaiterId {
    /// Reads the form that `Display` writes: 16 hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u64::from_str_radix(text, 16).ok();
        digits.then_some(number).flatten().map(Self)
    }
}

impl From<LeaseId> for WaiterId {
    fn from(lease: LeaseId) -> Self {
        Self(lease.public())
    }
}

impl fmt::Display for WaiterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Something that happened to a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum News {
    /// Somebody who waited holds it now, for [`HEARTBEAT`](super::HEARTBEAT) or its lease if that is shorter, until it
    /// extends that.
    Granted {
        /// Who.
        waiter: WaiterId,
        /// With this token.
        token: FencingToken,
    },
    /// Somebody who did not wait holds it now. Only of kinds that are watched.
    Acquired {
        /// With this token.
        token: FencingToken,
    },
    /// A holder gave it back. Only of kinds that are watched.
    Released {
        /// Which one.
        token: FencingToken,
    },
    /// A lease that was held for a while was given back, by its holder or by who knows its id.
    Ended {
        /// Whose.
        holder: WaiterId,
    },
    /// A lease ends sooner than it was to.
    Shortened {
        /// Whose.
        holder: WaiterId,
    },
    /// It was taken away from holders.
    Forced {
        /// From which.
        tokens: Vec<FencingToken>,
    },
}

/// Whether news are for the holder or waiter whose id this is: about it, or about tokens, of which it may have one.
pub(super) fn is_for(news: &[u8], me: u64) -> bool {
    let mut words = news.split(|byte| *byte == b' ');
    match words.next() {
        Some(b"forced") => true,
        Some(b"granted" | b"ended" | b"shortened") => {
            let who = words.next().and_then(|word| std::str::from_utf8(word).ok());
            who.and_then(WaiterId::parse) == Some(WaiterId(me))
        }
        _ => false,
    }
}

impl News {
    /// Reads the form that `Display` writes; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let verb = words.next()?;
        let news = match verb {
            "granted" => Self::Granted {
                waiter: WaiterId::parse(words.next()?)?,
                token: token(words.next()?)?,
            },
            "acquired" => Self::Acquired {
                token: token(words.next()?)?,
            },
            "released" => Self::Released {
                token: token(words.next()?)?,
            },
            "ended" => Self::Ended {
                holder: WaiterId::parse(words.next()?)?,
            },
            "shortened" => Self::Shortened {
                holder: WaiterId::parse(words.next()?)?,
            },
            "forced" => Self::Forced {
                tokens: words.by_ref().map(token).collect::<Option<_>>()?,
            },
            _ => return None,
        };
        words.next().is_none().then_some(news)
    }

    /// Whether only who watches a lock wants to know.
    #[must_use]
    pub const fn is_for_watchers(&self) -> bool {
        matches!(self, Self::Acquired { .. } | Self::Released { .. })
    }
}

fn token(word: &str) -> Option<FencingToken> {
    let digits = word.bytes().all(|byte| byte.is_ascii_digit());
    let number = word.parse().ok();
    digits.then_some(number).flatten().map(FencingToken::new)
}

impl fmt::Display for News {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Granted { waiter, token } => write!(f, "granted {waiter} {token}"),
            Self::Acquired { token } => write!(f, "acquired {token}"),
            Self::Released { token } => write!(f, "released {token}"),
            Self::Ended { holder } => write!(f, "ended {holder}"),
            Self::Shortened { holder } => write!(f, "shortened {holder}"),
            Self::Forced { tokens } => {
                f.write_str("forced")?;
                tokens.iter().try_for_each(|token| write!(f, " {token}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn news_read_back_what_they_write() {
        let token = FencingToken::new(7);
        let waiter = WaiterId::from(LeaseId::random());
        for news in [
            News::Granted { waiter, token },
            News::Acquired { token },
            News::Released { token },
            News::Ended { holder: waiter },
            News::Shortened { holder: waiter },
            News::Forced {
                tokens: vec![token, FencingToken::new(9)],
            },
        ] {
            assert_eq!(News::parse(&news.to_string()), Some(news));
        }
    }

    #[test]
    fn news_are_for_whom_they_are_about() {
        let (one, other) = (LeaseId::random(), LeaseId::random());
        let (waiter, token) = (WaiterId::from(one), FencingToken::new(7));
        for news in [
            News::Granted { waiter, token },
            News::Ended { holder: waiter },
            News::Shortened { holder: waiter },
        ] {
            let text = news.to_string();
            assert!(is_for(text.as_bytes(), one.public()), "{text}");
            assert!(!is_for(text.as_bytes(), other.public()), "{text}");
        }
        let forced = News::Forced {
            tokens: vec![token],
        }
        .to_string();
        assert!(is_for(forced.as_bytes(), other.public()));
        for text in ["acquired 7", "released 7", "granted", ""] {
            assert!(!is_for(text.as_bytes(), one.public()), "{text}");
        }
    }

    /// Who hears the news cannot release with them.
    #[test]
    fn news_give_no_lease_away() {
        let lease = LeaseId::random();
        let news = News::Granted {
            waiter: lease.into(),
            token: FencingToken::new(7),
        };
        assert!(!news.to_string().contains(&lease.to_string()[16..]));
    }

    proptest! {
        #[test]
        fn any_text_is_news_or_none(text in "(granted|acquired|released|ended|shortened|forced|x)?( [0-9a-f+-]{0,17}){0,3}") {
            if let Some(news) = News::parse(&text) {
                prop_assert_eq!(News::parse(&news.to_string()), Some(news));
            }
        }
    }
}
