//! What stores and caches have in common over HTTP: values, conditions, times, pages of keys.

use std::time::Duration;

use axum::Json;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use quorate::store::{Scan, ScanCursor};
use quorate_http::{Code, Problem, Rejection};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use utoipa::ToSchema;

use super::document::{is_json, media_type, unreadable, unsupported};
use crate::app::App;
use crate::json::{MOST_BYTES, compact, is_json as is_json_text};

/// How much longer an entry stays, in milliseconds.
pub(super) const EXPIRES_IN: HeaderName = HeaderName::from_static("quorate-expires-in-ms");

/// Makes a write happen once however often it is sent.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The most keys that may be asked for on one page.
const MOST_KEYS: usize = 1_000;
/// Keys of a page unless asked otherwise.
const USUAL_KEYS: usize = 100;
/// How long a page is looked for: where few of many keys are asked for, it ends short.
pub(super) const LOOKS_FOR: Duration = Duration::from_secs(1);

/// The most bytes of one value.
pub(super) fn max_bytes(app: &App) -> usize {
    app.max_body.min(MOST_BYTES)
}

/// A value: JSON without the white space that means nothing, as the library writes it.
#[derive(Debug)]
pub(crate) struct JsonValue(pub(crate) Bytes);

impl FromRequest<App> for JsonValue {
    type Rejection = Rejection;

    async fn from_request(request: Request, app: &App) -> Result<Self, Rejection> {
        let media = media_type(request.headers())?;
        if !media.as_ref().is_some_and(is_json) {
            return Err(unsupported("content-type must be application/json").into());
        }
        let body = Bytes::from_request(request, app).await;
        let body = body.map_err(|rejection| unreadable(&rejection, app))?;
        compact(&body)
            .map(Self)
            .map_err(|rule| invalid(rule).into())
    }
}

/// A value as an answer, unless the client has it already.
pub(super) fn answer(value: Bytes, sent: &HeaderMap, headers: HeaderMap) -> Response {
    let tag = entity_tag(&value);
    let known = listed(sent, &header::IF_NONE_MATCH);
    let mut response = if known.iter().any(|one| *one == "*" || weakly(one) == tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        // What other programs and codecs store may be anything.
        let media = if is_json_text(&value) {
            mime::APPLICATION_JSON
        } else {
            mime::APPLICATION_OCTET_STREAM
        };
        ([(header::CONTENT_TYPE, media.as_ref())], value).into_response()
    };
    let own = response.headers_mut();
    own.extend(headers);
    let tag = HeaderValue::from_str(&tag).expect("made of visible ASCII characters");
    own.insert(header::ETAG, tag);
    own.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// The entity tag of a value: two values have the same only if their bytes are.
pub(super) fn entity_tag(value: &[u8]) -> String {
    let digest = Sha256::digest(value);
    let digits: String = digest[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("\"{digits}\"")
}

fn weakly(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}

/// On which condition a write is to be made.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Condition {
    None,
    /// There is nothing yet.
    Absent,
    /// What is there has one of these entity tags.
    OneOf(Vec<String>),
}

impl Condition {
    /// What the headers say.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let absent = listed(headers, &header::IF_NONE_MATCH);
        let tags = listed(headers, &header::IF_MATCH);
        match (&*absent, &*tags) {
            ([], []) => Ok(Self::None),
            (["*"], []) => Ok(Self::Absent),
            ([], tags) if tags.iter().all(|tag| is_entity_tag(tag)) => Ok(Self::OneOf(
                tags.iter().map(|&tag| tag.to_owned()).collect(),
            )),
            ([], _) => Err(invalid("if-match must be an etag as it was handed out")),
            (_, []) => Err(invalid("if-none-match must be `*` here")),
            _ => Err(invalid(
                "if-match and if-none-match must not be given together",
            )),
        }
    }

    /// Whether this value is one of those it asks for. A weak tag never is.
    pub(super) fn admits(&self, value: &[u8]) -> bool {
        match self {
            Self::OneOf(tags) => tags.contains(&entity_tag(value)),
            Self::None | Self::Absent => true,
        }
    }
}

fn is_entity_tag(text: &str) -> bool {
    let quoted = weakly(text)
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    quoted.is_some_and(|tag| !tag.contains('"'))
}

/// The members of a header that is a list. A header that is no text is one member that fits nothing.
fn listed<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Vec<&'h str> {
    let lines = headers.get_all(name).into_iter();
    lines
        .flat_map(|line| line.to_str().unwrap_or("?").split(','))
        .map(str::trim)
        .filter(|member| !member.is_empty())
        .collect()
}

/// A write was not made because its condition does not hold.
pub(super) fn precondition_failed(rule: &str) -> Rejection {
    Problem::new(Code::FailedPrecondition, rule)
        .with_status(StatusCode::PRECONDITION_FAILED)
        .into()
}

/// The key that makes a write happen once, with or without the quotes of a structured header.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(&IDEMPOTENCY_KEY) else {
        return Ok(None);
    };
    let text = value.to_str().ok();
    let quoted = |text| str::strip_prefix(text, '"')?.strip_suffix('"');
    let text = text.map(|text| quoted(text).unwrap_or(text));
    match text {
        Some(key) if !key.is_empty() => Ok(Some(key.to_owned())),
        _ => Err(invalid("idempotency-key must be visible ASCII text")),
    }
}

/// A time to live, from a query.
pub(super) fn ttl(text: &str) -> Result<Duration, Problem> {
    humantime::parse_duration(text)
        .map_err(|_| invalid("ttl must be a duration with its unit, such as `500ms` or `5s`"))
}

/// Whole milliseconds, as a header.
pub(super) fn millis(time: Duration) -> HeaderValue {
    HeaderValue::from(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

/// Which page of keys is asked for.
#[derive(Debug, Default)]
pub(super) struct PageQuery {
    limit: Option<usize>,
    pub(super) from: Option<ScanCursor>,
}

impl PageQuery {
    /// Takes what concerns pages out of a query.
    pub(super) fn new(limit: Option<usize>, from: Option<&str>) -> Result<Self, Problem> {
        if limit.is_some_and(|limit| !(1..=MOST_KEYS).contains(&limit)) {
            return Err(invalid(format!("limit must be from 1 to {MOST_KEYS}")));
        }
        // Every home of this server writes them in digits.
        if from.is_some_and(|from| from.parse::<u64>().is_err()) {
            return Err(invalid("from must be the `next` of the page before"));
        }
        Ok(Self {
            limit,
            from: from.map(ScanCursor::new),
        })
    }

    /// About how many are asked for.
    pub(super) fn limit(&self) -> usize {
        self.limit.unwrap_or(USUAL_KEYS)
    }

    /// Reads a page.
    pub(super) async fn read(self, mut scan: Scan) -> quorate::Result<Json<KeyPage>> {
        let limit = self.limit();
        if let Some(from) = self.from {
            scan = scan.after(from);
        }
        let ends = Instant::now() + LOOKS_FOR;
        let (mut keys, mut next) = (Vec::new(), None);
        while let Some(page) = scan.next_page().await? {
            keys.extend(page.names);
            next = page.next;
            if keys.len() >= limit || Instant::now() >= ends {
                break;
            }
        }
        keys.sort_unstable();
        let next = next.map(|next| next.as_str().to_owned());
        Ok(Json(KeyPage { keys, next }))
    }
}

/// Some of the keys.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeyPage {
    /// Keys, in the order of the alphabet within the page. As many as were asked for or somewhat more; fewer, even
    /// none, where others would have to be searched for long, and on the last page.
    keys: Vec<String>,
    /// Where the next page begins (`from`); `null` on the last. A key may come on two pages.
    next: Option<String>,
}

/// Whether there was something to delete.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Deleted {
    pub(super) deleted: bool,
}

/// `from` and `limit` of a query.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct KeyQuery {
    prefix: Option<String>,
    #[serde(rename = "match")]
    glob: Option<String>,
    limit: Option<usize>,
    from: Option<String>,
}

/// Which keys are asked for.
#[derive(Debug)]
pub(super) struct AskedKeys {
    /// What they begin with, or the glob that they match.
    pub(super) text: String,
    pub(super) page: PageQuery,
}

impl KeyQuery {
    /// As stores are listed.
    pub(super) fn by_prefix(self) -> Result<AskedKeys, Problem> {
        if self.glob.is_some() {
            let rule = "match is for caches; stores are listed by prefix";
            return Err(invalid(rule));
        }
        Ok(AskedKeys {
            page: PageQuery::new(self.limit, self.from.as_deref())?,
            text: self.prefix.unwrap_or_default(),
        })
    }

    /// As caches are listed.
    pub(super) fn by_glob(self) -> Result<AskedKeys, Problem> {
        if self.prefix.is_some() {
            let rule = "prefix is for stores; caches are listed by match";
            return Err(invalid(rule));
        }
        Ok(AskedKeys {
            page: PageQuery::new(self.limit, self.from.as_deref())?,
            text: self.glob.unwrap_or_else(|| "*".to_owned()),
        })
    }
}

pub(super) fn invalid(rule: impl Into<String>) -> Problem {
    Problem::new(Code::InvalidArgument, rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read_as_a_whole() {
        let of = |pairs: &[(HeaderName, &'static str)]| {
            let pairs = pairs.iter().cloned();
            let headers = pairs.map(|(name, value)| (name, HeaderValue::from_static(value)));
            Condition::of(&HeaderMap::from_iter(headers))
                .map_err(|problem| problem.detail().to_owned())
        };
        let (absent, matching) = (header::IF_NONE_MATCH, header::IF_MATCH);
        assert_eq!(of(&[]), Ok(Condition::None));
        assert_eq!(of(&[(absent.clone(), "*")]), Ok(Condition::Absent));
        let tags = vec!["\"a\"".to_owned(), "W/\"b\"".to_owned()];
        assert_eq!(
            of(&[(matching.clone(), "\"a\", W/\"b\"")]),
            Ok(Condition::OneOf(tags))
        );
        for (pairs, rule) in [
            (&[(matching.clone(), "*")][..], "if-match must be an etag"),
            (&[(matching.clone(), "abc")], "if-match must be an etag"),
            (
                &[(absent.clone(), "\"a\"")],
                "if-none-match must be `*` here",
            ),
            (
                &[(absent, "*"), (matching, "\"a\"")],
                "must not be given together",
            ),
        ] {
            assert!(of(pairs).unwrap_err().contains(rule), "{pairs:?}");
        }
        let value = b"1";
        assert!(Condition::OneOf(vec![entity_tag(value)]).admits(value));
        assert!(!Condition::OneOf(vec![format!("W/{}", entity_tag(value))]).admits(value));
    }
}
