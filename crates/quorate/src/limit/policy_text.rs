//! Policies as text, for configurations and command lines. Pure functions.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::policy::{Algorithm, Policy, Span};
use crate::error::{Error, Result};

const RULE: &str = "must be an algorithm (log, counter, fixed, bucket), a limit and a window, such as `log:100/60s`, or \
     `bucket:10/1s+50` with a burst; a window has the unit us, ms, s, m, h or d";

/// `<algorithm>:<limit>/<window>`, and `+<burst>` behind that for token buckets: `log:100/60s`, `bucket:10/1s+50`.
impl FromStr for Policy {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let policy = read(text).ok_or_else(|| Error::invalid("policy", RULE))?;
        policy.check()?;
        Ok(policy)
    }
}

fn read(text: &str) -> Option<Policy> {
    let (algorithm, rest) = text.split_once(':')?;
    let (limit, rest) = rest.split_once('/')?;
    let (window, burst) = match rest.split_once('+') {
        Some((window, burst)) => (window, Some(number(burst)?)),
        None => (rest, None),
    };
    let (limit, window) = (number(limit)?, span(window)?);
    let policy = match algorithm {
        "log" => Policy::sliding_log(limit, window),
        "counter" => Policy::sliding_counter(limit, window),
        "fixed" => Policy::fixed_window(limit, window),
        "bucket" => Policy::token_bucket(limit, window),
        _ => return None,
    };
    Some(match burst {
        Some(burst) => policy.burst(burst),
        None => policy,
    })
}

/// Digits, and nothing else: `parse` takes a sign as well.
fn number(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

fn span(text: &str) -> Option<Duration> {
    let unit = text.find(|letter: char| !letter.is_ascii_digit())?;
    let (count, unit) = text.split_at(unit);
    let micros: u64 = match unit {
        "us" => 1,
        "ms" => 1000,
        "s" => 1_000_000,
        "m" => 60_000_000,
        "h" => 3_600_000_000,
        "d" => 86_400_000_000,
        _ => return None,
    };
    let micros = number(count)?.checked_mul(micros)?;
    Some(Duration::from_micros(micros))
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (algorithm, window) = (self.algorithm().as_str(), Span(self.window()));
        write!(f, "{algorithm}:{}/{window}", self.limit())?;
        if self.algorithm() == Algorithm::TokenBucket && self.capacity() != self.limit() {
            write!(f, "+{}", self.capacity())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_read_back_what_they_write() {
        for text in [
            "log:100/60s",
            "counter:5/250ms",
            "fixed:1/86400s",
            "bucket:10/1s+50",
            "bucket:10/1500us",
        ] {
            assert_eq!(text.parse::<Policy>().unwrap().to_string(), text);
        }
        let hour = "log:3/1h".parse::<Policy>().unwrap();
        assert_eq!(hour.window(), Duration::from_secs(3600));
    }

    #[test]
    fn what_is_none_is_refused_with_the_rule() {
        for text in [
            "",
            "log",
            "log:1",
            "log:/1s",
            "log:+1/1s",
            "log:1/s",
            "log:1/1",
            "tree:1/1s",
            "log:1/99999999999999999d",
        ] {
            let error = text.parse::<Policy>().unwrap_err();
            assert!(
                error.message().unwrap().starts_with("policy must be"),
                "{text}"
            );
        }
        let error = "log:0/1s".parse::<Policy>().unwrap_err();
        assert_eq!(error.message(), Some("limit must be from 1 to 10000"));
        assert!("log:1/1s+5".parse::<Policy>().is_err());
    }
}
