//! Conditions of requests, and validators of responses, as pure functions.

use axum::http::header::{
    AGE, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_LOCATION,
    CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG, EXPIRES, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, RANGE,
    TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VARY,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::date;
use super::status::CACHE_STATUS;

/// Whether a request has a condition that only the service itself can decide.
pub(super) fn needs_service(request: &Parts) -> bool {
    let others = [IF_MATCH, IF_UNMODIFIED_SINCE, IF_RANGE, RANGE];
    let said = |name: &HeaderName| request.headers.contains_key(name);
    // Of other methods it is about what they would change, and 412 the answer (RFC 9110, 13.1.2).
    others.iter().any(said) || (!is_read(&request.method) && said(&IF_NONE_MATCH))
}

/// Whether 304 is an answer to a request with this method (RFC 9110, 15.4.5).
pub(super) fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// Whether a client that says this has what would be sent already.
pub(super) fn has_it_already(request: &HeaderMap, response: &HeaderMap) -> bool {
    if request.contains_key(IF_NONE_MATCH) {
        let Some(own) = response.get(ETAG).map(|tag| opaque(tag.as_bytes())) else {
            return false;
        };
        return tags(request).any(|tag| tag == b"*" || opaque(&tag) == own);
    }
    let Some(since) = date::of(request, &IF_MODIFIED_SINCE) else {
        return false;
    };
    date::of(response, &LAST_MODIFIED).is_some_and(|modified| modified <= since)
}

/// The entity tags of a request's `If-None-Match`.
fn tags(request: &HeaderMap) -> impl Iterator<Item = Vec<u8>> {
    let mut tags = Vec::new();
    for line in request.get_all(IF_NONE_MATCH) {
        let (mut tag, mut is_quoted) = (Vec::new(), false);
        for byte in line.as_bytes() {
            is_quoted ^= *byte == b'"';
            if *byte == b',' && !is_quoted {
                tags.push(std::mem::take(&mut tag));
            } else {
                tag.push(*byte);
            }
        }
        tags.push(tag);
    }
    let trimmed = tags.into_iter().map(|tag| tag.trim_ascii().to_vec());
    trimmed.filter(|tag| !tag.is_empty())
}

/// An entity tag for a weak comparison.
fn opaque(tag: &[u8]) -> &[u8] {
    let tag = tag.trim_ascii();
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

/// Whether a response can be validated.
pub(super) fn has_validator(response: &HeaderMap) -> bool {
    response.contains_key(ETAG) || response.contains_key(LAST_MODIFIED)
}

/// Takes a request's own conditions, so that it is answered in full.
pub(super) fn remove_conditions(request: &mut HeaderMap) {
    request.remove(IF_NONE_MATCH);
    request.remove(IF_MODIFIED_SINCE);
}

/// Asks whether a response still holds.
pub(super) fn ask_whether_it_holds(request: &mut HeaderMap, response: &HeaderMap) {
    remove_conditions(request);
    for (validator, condition) in [(ETAG, IF_NONE_MATCH), (LAST_MODIFIED, IF_MODIFIED_SINCE)] {
        if let Some(value) = response.get(validator) {
            request.insert(condition, value.clone());
        }
    }
}

/// Whether a 304 is about this response.
pub(super) fn is_about(not_modified: &HeaderMap, response: &HeaderMap) -> bool {
    match (not_modified.get(ETAG), response.get(ETAG)) {
        (Some(said), Some(own)) => opaque(said.as_bytes()) == opaque(own.as_bytes()),
        (Some(_), None) => false,
        (None, _) => match not_modified.get(LAST_MODIFIED) {
            Some(said) => response.get(LAST_MODIFIED) == Some(said),
            None => true,
        },
    }
}

/// What the answer to a HEAD says of what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// It still holds.
    Same,
    /// It is an old one.
    Another,
    /// Nothing.
    Nothing,
}

/// What the answer to a HEAD says of a response of this length (RFC 9111, 4.3.5). Without a validator it says nothing: the
/// same length is not the same content.
pub(super) fn heard(head: &HeaderMap, response: &HeaderMap, length: usize) -> Heard {
    let (mut is_said, mut is_same) = (false, true);
    for name in [ETAG, LAST_MODIFIED] {
        if let Some(said) = head.get(&name) {
            let own = response.get(&name).map(|own| opaque(own.as_bytes()));
            is_said = true;
            is_same &= own == Some(opaque(said.as_bytes()));
        }
    }
    if let Some(said) = head.get(CONTENT_LENGTH) {
        let said = said.to_str().ok().and_then(|digits| digits.parse().ok());
        is_same &= said == Some(length);
    }
    match (is_said, is_same) {
        (_, false) => Heard::Another,
        (true, true) => Heard::Same,
        (false, true) => Heard::Nothing,
    }
}

/// The fields of a response after a 304 about it.
pub(super) fn freshen(response: &mut HeaderMap, not_modified: &HeaderMap) {
    // What a 304 says of the content's form is not about what is stored.
    let about_content = [
        CONTENT_ENCODING,
        CONTENT_TYPE,
        CONTENT_RANGE,
        CONTENT_LENGTH,
    ];
    // The time before is that of the last answer.
    response.remove(AGE);
    let mut fields = not_modified.clone();
    remove_unstorable(&mut fields);
    let names: Vec<_> = fields.keys().cloned().collect();
    for name in names {
        if about_content.contains(&name) {
            continue;
        }
        response.remove(&name);
        for value in fields.get_all(&name) {
            response.append(name.clone(), value.clone());
        }
    }
}

/// Takes what is only of one connection, or one answer, and not stored.
pub(super) fn remove_unstorable(headers: &mut HeaderMap) {
    let listed: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
        .collect();
    for name in listed {
        headers.remove(name);
    }
    for name in [
        CONNECTION,
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
        HeaderName::from_static("proxy-authentication-info"),
        CACHE_STATUS,
    ] {
        headers.remove(name);
    }
}

/// The fields of a 304 for a response.
pub(super) fn not_modified(response: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let cdn = HeaderName::from_static("cdn-cache-control");
    for name in [
        CACHE_CONTROL,
        cdn,
        CONTENT_LOCATION,
        DATE,
        ETAG,
        EXPIRES,
        VARY,
    ] {
        for value in response.get_all(&name) {
            headers.append(name.clone(), value.clone());
        }
    }
    if !headers.contains_key(ETAG)
        && let Some(modified) = response.get(LAST_MODIFIED)
    {
        headers.insert(LAST_MODIFIED, modified.clone());
    }
    headers
}

/// What a response varies by; `None`: by more than fields.
pub(super) fn varies_by(response: &HeaderMap) -> Option<Vec<HeaderName>> {
    let mut names = Vec::new();
    for line in response.get_all(VARY) {
        for name in line.as_bytes().split(|byte| *byte == b',') {
            let name = name.trim_ascii();
            if name.is_empty() {
                continue;
            }
            if name == b"*" {
                return None;
            }
            // A name that none can be says nothing that could be compared.
            names.push(HeaderName::from_bytes(name).ok()?);
        }
    }
    names.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
    names.dedup();
    Some(names)
}

/// Whether a status is the service's own failure.
pub(super) fn is_failure(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}

/// Whether a status refuses a request for what is wrong with that request, or who sent it.
pub(super) fn is_refusal(status: StatusCode) -> bool {
    status.is_client_error() && !matches!(status.as_u16(), 404 | 405 | 410)
}

/// `Content-Length` for an answer without its body.
pub(super) fn say_length(headers: &mut HeaderMap, length: usize) {
    headers
        .entry(CONTENT_LENGTH)
        .or_insert_with(|| HeaderValue::from(length));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(HeaderName, &'static str)]) -> HeaderMap {
        let line = |(name, value): &(HeaderName, &'static str)| {
            (name.clone(), HeaderValue::from_static(value))
        };
        lines.iter().map(line).collect()
    }

    #[test]
    fn entity_tags_are_compared_weakly() {
        let response = headers(&[(ETAG, "W/\"a,b\"")]);
        for (said, has) in [
            ("\"a,b\"", true),
            ("\"x\", W/\"a,b\"", true),
            ("*", true),
            ("\"a\"", false),
            ("\"a", false),
            ("", false),
        ] {
            let request = headers(&[(IF_NONE_MATCH, said)]);
            assert_eq!(has_it_already(&request, &response), has, "{said}");
        }
        let request = headers(&[(IF_NONE_MATCH, "*")]);
        assert!(!has_it_already(&request, &HeaderMap::new()));
    }

    #[test]
    fn a_date_counts_only_without_an_entity_tag() {
        let response = headers(&[
            (ETAG, "\"a\""),
            (LAST_MODIFIED, "Sat, 21 Nov 2026 10:00:00 GMT"),
        ]);
        let later = (IF_MODIFIED_SINCE, "Sat, 21 Nov 2026 11:00:00 GMT");
        let earlier = (IF_MODIFIED_SINCE, "Sat, 21 Nov 2026 09:00:00 GMT");
        assert!(has_it_already(
            &headers(std::slice::from_ref(&later)),
            &response
        ));
        assert!(!has_it_already(&headers(&[earlier]), &response));
        let both = headers(&[later, (IF_NONE_MATCH, "\"b\"")]);
        assert!(!has_it_already(&both, &response));
        let nonsense = headers(&[(IF_MODIFIED_SINCE, "yesterday")]);
        assert!(!has_it_already(&nonsense, &response));
    }

    #[test]
    fn what_is_of_a_connection_is_not_stored() {
        let mut response = headers(&[
            (CONNECTION, "x-hop, close"),
            (HeaderName::from_static("x-hop"), "1"),
            (HeaderName::from_static("x-end"), "1"),
            (TRANSFER_ENCODING, "chunked"),
        ]);
        remove_unstorable(&mut response);
        assert_eq!(
            response,
            headers(&[(HeaderName::from_static("x-end"), "1")])
        );
    }

    #[test]
    fn names_are_in_order_and_a_star_is_more_than_names() {
        let names = varies_by(&headers(&[(VARY, "b, A,"), (VARY, "a")])).unwrap();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(varies_by(&headers(&[(VARY, "a, *")])), None);
        assert_eq!(varies_by(&headers(&[(VARY, "a b")])), None);
    }

    #[test]
    fn a_head_is_about_what_has_its_validators_and_length() {
        let changed = (LAST_MODIFIED, "Sat, 21 Nov 2026 10:00:00 GMT");
        let stored = headers(&[(ETAG, "\"a\""), changed.clone()]);
        for (said, expected) in [
            (vec![(ETAG, "W/\"a\"")], Heard::Same),
            (vec![changed.clone(), (CONTENT_LENGTH, "3")], Heard::Same),
            (vec![changed.clone(), (ETAG, "\"b\"")], Heard::Another),
            (vec![changed, (CONTENT_LENGTH, "4")], Heard::Another),
            (vec![(CONTENT_LENGTH, "many")], Heard::Another),
            (vec![(CONTENT_LENGTH, "3")], Heard::Nothing),
            (vec![], Heard::Nothing),
        ] {
            assert_eq!(heard(&headers(&said), &stored, 3), expected, "{said:?}");
        }
        let validator = headers(&[(ETAG, "\"a\"")]);
        assert_eq!(heard(&validator, &HeaderMap::new(), 3), Heard::Another);
    }

    #[test]
    fn a_304_is_about_what_has_its_validator() {
        let stored = headers(&[(ETAG, "\"a\"")]);
        assert!(is_about(&headers(&[(ETAG, "W/\"a\"")]), &stored));
        assert!(!is_about(&headers(&[(ETAG, "\"b\"")]), &stored));
        assert!(is_about(&HeaderMap::new(), &stored));
    }
}
