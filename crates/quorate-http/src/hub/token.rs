//! Short-lived tokens that a service gives its users, and a hub takes.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hmac::{Hmac, KeyInit, Mac};
use quorate::{Error, ErrorKind};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::Sha256;

use super::access::{Authenticate, Denied};
use super::credentials::Credentials;
use super::identity::{Identity, wall_clock};

/// Stands in front of what is signed, so that a signature made with the same secret for anything else is
/// none here.
const DOMAIN: &[u8] = b"quorate/connection-token/1\0";

/// What a token begins with: the version of its form.
const VERSION: &str = "q1.";

/// Fewest bytes of a secret.
const MIN_SECRET: usize = 32;

/// A token that is longer is not looked at: no identity needs as much.
const MAX_TOKEN: usize = 16 * 1024;

/// Makes and checks short-lived tokens with which a user connects to a hub.
///
/// Your service, which knows who asks, gives its page a token; the page sends it in its first frame, and
/// a fresh one in time before it ends. Every instance that has the secret takes it: nothing is stored. A
/// token cannot be taken back, so give it minutes, and see `Hub::disconnect`.
///
/// A token is signed (HMAC-SHA256) and not encrypted: who holds it can read the user's id and `info`.
///
/// # Example
/// ```
/// # fn main() -> quorate::Result<()> {
/// use std::time::Duration;
/// use quorate_http::ConnectionTokens;
/// use serde_json::json;
///
/// let tokens = ConnectionTokens::new(b"32 bytes or more from your vault")?;
/// let token = tokens.issue("ada", &json!({"name": "Ada"}), Duration::from_secs(300))?;
/// assert_eq!(tokens.verify(&token).unwrap().user(), "ada");
///
/// // A new secret: sign with it, and take what the old one signed until that has expired.
/// let rotated = ConnectionTokens::new(b"another 32 bytes from your vault")?
///     .also_accept(b"32 bytes or more from your vault")?;
/// assert!(rotated.verify(&token).is_ok());
/// # Ok(()) }
/// ```
#[derive(Clone)]
#[must_use = "tokens are made by `issue` and checked by `verify`"]
pub struct ConnectionTokens {
    /// With the domain in it already. The first one signs; all of them verify.
    keys: Vec<Hmac<Sha256>>,
}

/// What is signed.
#[derive(Serialize, Deserialize)]
struct Claims {
    user: String,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    info: Value,
    /// Milliseconds since the Unix epoch.
    expires: u64,
}

impl ConnectionTokens {
    /// Signs with `secret`: at least 32 bytes, random, the same on every instance.
    ///
    /// # Errors
    /// `InvalidInput` if the secret is shorter.
    pub fn new(secret: impl AsRef<[u8]>) -> quorate::Result<Self> {
        let keys = Vec::new();
        Self { keys }.also_accept(secret)
    }

    /// Takes also what was signed with `secret`. To change secrets: let every instance accept the new
    /// one, then let it sign and accept the old one, then leave the old one out.
    ///
    /// # Errors
    /// `InvalidInput` if the secret has fewer than 32 bytes.
    pub fn also_accept(mut self, secret: impl AsRef<[u8]>) -> quorate::Result<Self> {
        let secret = secret.as_ref();
        if secret.len() < MIN_SECRET {
            let rule = format!("must have at least {MIN_SECRET} bytes");
            return Err(Error::invalid("secret", rule));
        }
        let mut key = Hmac::<Sha256>::new_from_slice(secret)
            .map_err(|error| Error::invalid("secret", error))?;
        key.update(DOMAIN);
        self.keys.push(key);
        Ok(self)
    }

    /// A token for `user`, good for `lifetime` from now by this machine's clock. `info` is what others are
    /// shown of the user in presence; `null` for nothing.
    ///
    /// # Errors
    /// `InvalidInput` if the id or `info` breaks the rule of [`Identity`], or the lifetime is shorter than
    /// a millisecond or longer than the clock's range.
    pub fn issue(&self, user: &str, info: &Value, lifetime: Duration) -> quorate::Result<String> {
        const RULE: &str = "must be at least 1 ms, and within the clock's range";
        let identity = Identity::new(user).with_info(info.clone());
        identity
            .check()
            .map_err(|rule| Error::new(ErrorKind::InvalidInput).with_message(rule))?;
        if lifetime < Duration::from_millis(1) {
            return Err(Error::invalid("lifetime", RULE));
        }
        let expires = since_epoch(wall_clock())
            .checked_add(lifetime)
            .and_then(|end| u64::try_from(end.as_millis()).ok())
            .filter(|end| moment(*end).is_some())
            .ok_or_else(|| Error::invalid("lifetime", RULE))?;
        let claims = Claims {
            user: identity.user,
            info: identity.info,
            expires,
        };
        let claims = serde_json::to_vec(&claims)
            .map_err(|source| Error::new(ErrorKind::Encode).with_source(source))?;
        let claims = URL_SAFE_NO_PAD.encode(claims);
        let mut mac = self.keys[0].clone();
        mac.update(claims.as_bytes());
        let signature = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
        Ok(format!("{VERSION}{claims}.{signature}"))
    }

    /// Who holds this token. The signature is compared in constant time.
    ///
    /// # Errors
    /// `UNAUTHENTICATED` if it was signed with no secret of ours, was changed, or has expired.
    pub fn verify(&self, token: &str) -> Result<Identity, Denied> {
        let claims = self
            .signed(token)
            .ok_or_else(|| Denied::unauthenticated("the token is not valid"))?;
        let expires = moment(claims.expires)
            .filter(|end| *end > wall_clock())
            .ok_or_else(|| Denied::unauthenticated("the token has expired"))?;
        let identity = Identity::new(claims.user).with_info(claims.info);
        Ok(identity.with_expiry(expires))
    }

    /// What the token says, if one of our keys signed it.
    fn signed(&self, token: &str) -> Option<Claims> {
        if token.len() > MAX_TOKEN {
            return None;
        }
        let (claims, signature) = token.strip_prefix(VERSION)?.split_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        let ours = self.keys.iter().any(|key| {
            let mut mac = key.clone();
            mac.update(claims.as_bytes());
            mac.verify_slice(&signature).is_ok()
        });
        // Nothing of it is read before the signature was found to be ours.
        let claims = ours.then(|| URL_SAFE_NO_PAD.decode(claims))?.ok()?;
        serde_json::from_slice(&claims).ok()
    }
}

/// As the hook that says who a client is, it takes the token of the first frame, or of the header
/// `authorization`.
impl Authenticate for ConnectionTokens {
    fn authenticate(
        &self,
        credentials: Credentials,
    ) -> BoxFuture<'static, Result<Identity, Denied>> {
        let identity = match credentials.token().or_else(|| credentials.bearer()) {
            Some(token) => self.verify(token),
            None => Err(Denied::unauthenticated("a token must be given")),
        };
        std::future::ready(identity).boxed()
    }
}

impl fmt::Debug for ConnectionTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionTokens")
            .field("keys", &self.keys.len())
            .finish()
    }
}

fn since_epoch(at: SystemTime) -> Duration {
    at.duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The moment this many milliseconds after the epoch, if the clock has it.
fn moment(millis: u64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Code;
    use proptest::prelude::*;
    use serde_json::json;

    const MINUTE: Duration = Duration::from_secs(60);

    fn tokens(secret: u8) -> ConnectionTokens {
        ConnectionTokens::new([secret; 32]).unwrap()
    }

    /// A token that says `claims`, signed with the secret of `tokens(1)`.
    fn signed(domain: &[u8], claims: &str) -> String {
        let claims = URL_SAFE_NO_PAD.encode(claims);
        let mut mac = Hmac::<Sha256>::new_from_slice(&[1; 32]).unwrap();
        mac.update(domain);
        mac.update(claims.as_bytes());
        let signature = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
        format!("{VERSION}{claims}.{signature}")
    }

    #[test]
    fn what_was_issued_is_taken_and_nothing_else() {
        let info = json!({"name": "Ada", "colour": [1, 2]});
        let token = tokens(1).issue("ada", &info, MINUTE).unwrap();
        let ada = tokens(1).verify(&token).unwrap();
        assert_eq!((ada.user(), ada.info()), ("ada", &info));
        assert!(ada.remaining(wall_clock()).unwrap() <= MINUTE);

        let future = since_epoch(wall_clock()).as_millis() + 60_000;
        let good = format!(r#"{{"user":"ada","expires":{future}}}"#);
        assert!(tokens(1).verify(&signed(DOMAIN, &good)).is_ok());
        for (token, reason) in [
            (tokens(2).issue("ada", &info, MINUTE).unwrap(), "not valid"),
            (signed(b"", &good), "not valid"),
            (signed(DOMAIN, "{}"), "not valid"),
            (signed(DOMAIN, r#"{"user":"ada"}"#), "not valid"),
            (signed(DOMAIN, r#"{"user":"ada","expires":1}"#), "expired"),
            (
                signed(
                    DOMAIN,
                    &format!(r#"{{"user":"ada","expires":{}}}"#, u64::MAX),
                ),
                // Further than any clock goes, or a long time; never a panic.
                "",
            ),
            (String::new(), "not valid"),
            ("q1.".to_owned(), "not valid"),
            ("q1..".to_owned(), "not valid"),
            (format!("q1.{}", "x".repeat(MAX_TOKEN)), "not valid"),
        ] {
            if let Err(denied) = tokens(1).verify(&token) {
                assert_eq!(denied.code(), Code::Unauthenticated);
                assert!(denied.reason().contains(reason), "{token}: {denied:?}");
            } else {
                assert_eq!(reason, "", "{token}");
            }
        }
    }

    #[test]
    fn secrets_rotate_and_are_never_shown() {
        let old = tokens(1).issue("ada", &Value::Null, MINUTE).unwrap();
        let rotated = tokens(2).also_accept([1; 32]).unwrap();
        assert!(rotated.verify(&old).is_ok());
        let new = rotated.issue("ada", &Value::Null, MINUTE).unwrap();
        assert!(tokens(2).verify(&new).is_ok());
        assert!(tokens(1).verify(&new).is_err());
        assert_eq!(format!("{rotated:?}"), "ConnectionTokens { keys: 2 }");
    }

    #[test]
    fn what_breaks_a_rule_is_refused_when_issuing() {
        let error = ConnectionTokens::new([1; 31]).unwrap_err().to_string();
        assert!(error.contains("secret must have at least 32"), "{error}");
        let issue = |user, info, lifetime| {
            let issued = tokens(1).issue(user, &info, lifetime);
            issued.unwrap_err().to_string()
        };
        assert!(issue("", Value::Null, MINUTE).contains("user must"));
        let long = json!("x".repeat(5_000));
        assert!(issue("ada", long, MINUTE).contains("info must"));
        assert!(issue("ada", Value::Null, Duration::ZERO).contains("lifetime must"));
        assert!(issue("ada", Value::Null, Duration::MAX).contains("lifetime must"));
    }

    #[tokio::test]
    async fn it_is_the_hook_itself() {
        let token = tokens(1).issue("ada", &Value::Null, MINUTE).unwrap();
        let by_frame = Credentials::of_frame(token.clone(), None);
        assert_eq!(
            tokens(1).authenticate(by_frame).await.unwrap().user(),
            "ada"
        );
        let mut headers = axum::http::HeaderMap::new();
        let nothing = Credentials::of_request(headers.clone(), None);
        assert!(tokens(1).authenticate(nothing).await.is_err());
        headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
        let by_header = Credentials::of_request(headers, None);
        assert_eq!(
            tokens(1).authenticate(by_header).await.unwrap().user(),
            "ada"
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_verifying_panic(text in ".{0,100}") {
            prop_assert!(tokens(1).verify(&text).is_err());
        }

        #[test]
        fn a_token_with_any_one_byte_changed_is_not_taken(at in 0_usize..200, by in 1_u8..127) {
            let mut token = tokens(1).issue("ada", &json!({"name": "Ada"}), MINUTE).unwrap().into_bytes();
            let at = at % token.len();
            token[at] = (token[at].wrapping_add(by)) & 0x7f;
            if let Ok(text) = String::from_utf8(token) {
                prop_assert!(tokens(1).verify(&text).is_err());
            }
        }
    }
}
