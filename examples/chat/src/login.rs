//! Who comes in: `POST /login` with a name gives a short-lived token for the hub.

use std::time::Duration;

use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderName, header};
use axum::routing::post;
use axum::{Json, Router};
use quorate_http::{Code, ConnectionTokens, Problem};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::rooms::Room;

/// How long a token is good for. The page fetches the next one in time, so this is also how long somebody
/// stays whom you no longer let in.
const LIFETIME: Duration = Duration::from_secs(300);

/// The longest name, in characters.
const MAX_NAME: usize = 24;

/// The largest request, in bytes.
const MAX_BODY: usize = 1_024;

#[derive(Debug, Deserialize)]
struct Login {
    name: String,
}

#[derive(Debug, Serialize)]
struct Welcome {
    user: String,
    token: String,
    rooms: [Room; 3],
}

/// `POST /login`.
pub(crate) fn routes(tokens: ConnectionTokens) -> Router {
    Router::new()
        .route("/login", post(login))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(tokens)
}

/// Here stands *your* login. This one believes everybody: who says a name is that person.
async fn login(
    State(tokens): State<ConnectionTokens>,
    body: Result<Json<Login>, JsonRejection>,
) -> Result<([(HeaderName, &'static str); 1], Json<Welcome>), Problem> {
    let Json(login) =
        body.map_err(|error| Problem::new(Code::InvalidArgument, error.body_text()))?;
    let user = checked(&login.name).map_err(|rule| Problem::new(Code::InvalidArgument, rule))?;
    let token = tokens
        .issue(user, &Value::Null, LIFETIME)
        .map_err(|error| Problem::from(&error))?;
    let welcome = Welcome {
        user: user.to_owned(),
        token,
        rooms: Room::ALL,
    };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(welcome)))
}

fn checked(name: &str) -> Result<&str, String> {
    let name = name.trim();
    if !(1..=MAX_NAME).contains(&name.chars().count()) {
        return Err(format!("name must have 1 to {MAX_NAME} characters"));
    }
    // Some characters show nothing, or turn the text around them: with them one could look like another.
    if name.chars().any(|c| c.is_control() || is_invisible(c)) {
        return Err("name must not contain invisible characters".to_owned());
    }
    Ok(name)
}

const fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_trimmed_and_bounded_and_seen() {
        assert_eq!(checked("  Ada Lovelace "), Ok("Ada Lovelace"));
        assert_eq!(checked("Ağa 😀"), Ok("Ağa 😀"));
        for name in ["", "   ", &"x".repeat(25)] {
            assert!(checked(name).unwrap_err().contains("1 to 24"), "{name}");
        }
        for name in ["A\u{200b}da", "\u{202e}adA", "A\nda"] {
            assert!(checked(name).unwrap_err().contains("invisible"), "{name:?}");
        }
    }
}
