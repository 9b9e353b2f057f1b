//! What a response says of limits: the fields `RateLimit` and `RateLimit-Policy` of the IETF's draft
//! (draft-ietf-httpapi-ratelimit-headers), and the older ones that have no standard.

use std::fmt::Write;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use quorate::Decision;
use quorate::limit::PolicyUsage;

const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// Whole seconds, rounded up.
fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// When there is more: for who is refused, when a request is allowed.
fn more_after(usage: &PolicyUsage) -> u64 {
    seconds(usage.retry_after.unwrap_or(usage.reset_after))
}

/// Adds what the decisions say.
pub(super) fn add<'d>(
    headers: &mut HeaderMap,
    decisions: impl Iterator<Item = &'d Decision>,
    with_legacy: bool,
) {
    let each: Vec<_> = decisions
        .flat_map(|decision| decision.usage().policies())
        .collect();
    if each.is_empty() {
        return;
    }
    let (mut left, mut policies) = (String::new(), String::new());
    for usage in &each {
        let between = if left.is_empty() { "" } else { ", " };
        // The rule for names of policies leaves nothing that had to be escaped here.
        let name = usage.policy.name();
        let (quota, window) = (usage.policy.capacity(), seconds(usage.policy.window()));
        let (remaining, more) = (usage.remaining, more_after(usage));
        write!(left, "{between}\"{name}\";r={remaining};t={more}")
            .expect("a String takes everything");
        write!(policies, "{between}\"{name}\";q={quota};w={window}")
            .expect("a String takes everything");
    }
    append(headers, RATELIMIT, &left);
    append(headers, RATELIMIT_POLICY, &policies);
    let tightest = each
        .iter()
        .min_by_key(|usage| (usage.remaining, std::cmp::Reverse(more_after(usage))));
    if let Some(tightest) = tightest.filter(|_| with_legacy) {
        headers.insert(LIMIT, HeaderValue::from(tightest.policy.capacity()));
        headers.insert(REMAINING, HeaderValue::from(tightest.remaining));
        headers.insert(RESET, HeaderValue::from(more_after(tightest)));
    }
}

/// Behind what another layer may have said.
fn append(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.append(name, value);
    }
}
