//! How old a response is, and for how long it may be used, as pure functions (RFC 9111, 4.2).

use std::time::{Duration, SystemTime};

use axum::http::header::{AGE, DATE, EXPIRES, LAST_MODIFIED};
use axum::http::{HeaderMap, StatusCode};

use super::date::{self, between};
use super::directives::ResponseDirectives;
use super::mode::Basics;

/// How old a response was when it was stored: by what it says, or by its date, and the time that asking took.
pub(super) fn initial_age(headers: &HeaderMap, with: &Basics) -> Duration {
    let apparent = date::of(headers, &DATE).map_or(Duration::ZERO, |at| between(at, with.now));
    let said = headers.get(AGE).and_then(|age| {
        // Of several the first counts (RFC 9111, 5.1).
        let first = age.to_str().ok()?.split(',').next()?.trim();
        first.parse::<u32>().ok()
    });
    let corrected = said.map_or(Duration::ZERO, |said| {
        Duration::from_secs(said.into()) + with.delay
    });
    apparent.max(corrected)
}

/// How long a response is fresh from its date, where it says so itself.
pub(super) fn explicit_lifetime(
    headers: &HeaderMap,
    said: &ResponseDirectives,
    now: SystemTime,
) -> Option<Duration> {
    if let Some(seconds) = said.s_maxage.or(said.max_age) {
        return Some(Duration::from_secs(seconds));
    }
    if said.is_targeted || !headers.contains_key(EXPIRES) {
        return None;
    }
    // One that cannot be read, or several, is in the past (RFC 9111, 5.3).
    let is_single = headers.get_all(EXPIRES).iter().count() == 1;
    let expires = date::of(headers, &EXPIRES).filter(|_| is_single);
    let from = date::of(headers, &DATE).unwrap_or(now);
    Some(expires.map_or(Duration::ZERO, |expires| between(from, expires)))
}

/// How long a response is taken to be fresh that does not say it: a share of the time since it last changed.
pub(super) fn heuristic_lifetime(
    headers: &HeaderMap,
    share: f64,
    most: Duration,
    now: SystemTime,
) -> Duration {
    let from = date::of(headers, &DATE).unwrap_or(now);
    let unchanged = date::of(headers, &LAST_MODIFIED).map(|changed| between(changed, from));
    unchanged.map_or(Duration::ZERO, |time| time.mul_f64(share).min(most))
}

/// Whether answers with a status may be taken to be fresh though they do not say it (RFC 9110, 15.1).
pub(super) fn is_heuristically_cacheable(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501
    )
}

/// Whether it is known here what caches have to heed of a status (RFC 9111, 5.2.2.3).
pub(super) fn is_understood(status: StatusCode) -> bool {
    is_heuristically_cacheable(status)
        || matches!(
            status.as_u16(),
            201 | 202 | 205 | 302 | 303 | 307 | 400..=417 | 421 | 422 | 426 | 451 | 500..=505
        )
}

#[cfg(test)]
mod tests {
    use super::super::control::CacheControl;
    use super::*;
    use axum::http::{HeaderName, HeaderValue};

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000 + seconds)
    }

    fn basics(now: SystemTime, delay: u64) -> Basics {
        Basics {
            now,
            delay: Duration::from_secs(delay),
            control: CacheControl::new(),
            vary: Vec::new(),
            origin: String::new(),
        }
    }

    fn headers(lines: &[(HeaderName, HeaderValue)]) -> HeaderMap {
        lines.iter().cloned().collect()
    }

    #[test]
    fn the_age_is_the_greater_of_what_is_said_and_what_is_seen() {
        let date = (DATE, date::field(at(0)));
        let age = |text| (AGE, HeaderValue::from_static(text));
        for (lines, now, delay, expected) in [
            (vec![], 10, 2, 0),
            (vec![date.clone()], 10, 2, 10),
            (vec![date.clone(), age("30")], 10, 2, 32),
            (vec![date.clone(), age("5")], 10, 2, 10),
            (vec![date.clone(), age("old")], 0, 2, 0),
            (vec![age("7, 9")], 0, 0, 7),
        ] {
            let age = initial_age(&headers(&lines), &basics(at(now), delay));
            assert_eq!(age.as_secs(), expected, "{lines:?}");
        }
        // The other clock is ahead.
        let ahead = headers(&[(DATE, date::field(at(100)))]);
        assert_eq!(initial_age(&ahead, &basics(at(0), 0)), Duration::ZERO);
    }

    #[test]
    fn the_lifetime_is_what_is_said_first() {
        let expires = |seconds| (EXPIRES, date::field(at(seconds)));
        let date = (DATE, date::field(at(0)));
        let said = |max_age, s_maxage| ResponseDirectives {
            max_age,
            s_maxage,
            ..ResponseDirectives::default()
        };
        let lifetime = |lines: &[_], said: ResponseDirectives| {
            explicit_lifetime(&headers(lines), &said, at(5)).map(|time| time.as_secs())
        };
        let both = [date.clone(), expires(60)];
        assert_eq!(lifetime(&both, said(Some(10), Some(20))), Some(20));
        assert_eq!(lifetime(&both, said(Some(10), None)), Some(10));
        assert_eq!(lifetime(&both, said(None, None)), Some(60));
        assert_eq!(lifetime(&[expires(60)], said(None, None)), Some(55));
        let zero = (EXPIRES, HeaderValue::from_static("0"));
        assert_eq!(lifetime(&[zero], said(None, None)), Some(0));
        assert_eq!(lifetime(&[date], said(None, None)), None);
    }

    #[test]
    fn what_did_not_change_for_long_is_fresh_for_a_share_of_that() {
        let lines = [
            (DATE, date::field(at(1000))),
            (LAST_MODIFIED, date::field(at(0))),
        ];
        let lifetime = |most| {
            let most = Duration::from_secs(most);
            heuristic_lifetime(&headers(&lines), 0.1, most, at(2000)).as_secs()
        };
        assert_eq!((lifetime(1000), lifetime(50)), (100, 50));
    }
}
